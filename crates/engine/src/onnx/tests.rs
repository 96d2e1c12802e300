#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

/// A field of bytes.
fn bytes(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(u64::from(number) << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A field of a number.
fn number(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tensor_type(element: u64, dims: &[Option<u64>]) -> Vec<u8> {
    let dim = |d: &Option<u64>| bytes(1, d.map_or_else(|| bytes(2, "N"), |d| number(1, d)));
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    bytes(1, [number(1, element), bytes(2, shape)].concat())
}

fn port(field: u32, name: &str, kind: &[u8]) -> Vec<u8> {
    bytes(field, [bytes(1, name), bytes(2, kind)].concat())
}

fn node(domain: &str, operator: &str, output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes.iter().flat_map(|a| bytes(5, a)).collect();
    bytes(1, [bytes(2, output), bytes(3, "n1"), bytes(4, operator), attributes, bytes(7, domain)].concat())
}

fn file(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), bytes(2, "tests"), bytes(3, "1.0"), bytes(7, graph.concat())].concat()
}

/// Two inputs, of which one has a value of its own, and a map a row.
fn pipeline() -> Vec<u8> {
    let maps = bytes(4, bytes(1, bytes(5, [number(1, 8), bytes(2, tensor_type(1, &[]))].concat())));
    let classes = [bytes(1, "classlabels_strings"), bytes(9, "no"), bytes(9, "yes")].concat();
    file(&[
        node("ai.onnx.ml", "ZipMap", "chances", &[classes]),
        bytes(5, bytes(8, "fixed")),
        port(11, "age", &tensor_type(1, &[None, Some(1)])),
        port(11, "fixed", &tensor_type(1, &[Some(1)])),
        port(11, "words", &tensor_type(8, &[None, Some(3)])),
        port(12, "chances", &maps),
        port(12, "label", &tensor_type(8, &[None])),
    ])
}

/// A graph within a graph, so many times.
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = Vec::new();
    for _ in 0..depth {
        graph = node("", "If", "y", &[[bytes(1, "then"), bytes(6, graph)].concat()]);
    }
    file(&[graph, port(11, "x", &tensor_type(1, &[None])), port(12, "y", &tensor_type(1, &[None]))])
}

#[test]
fn a_graph_says_what_goes_in_and_comes_out() {
    let file = pipeline();
    assert!(sniff(&file));
    let graph = describe(&file).unwrap();
    assert_eq!((graph.producer.as_str(), &*graph.classes), ("tests 1.0", &["no".to_owned(), "yes".to_owned()][..]));
    let said = |ports: &[Port]| -> Vec<String> {
        ports.iter().map(|p| format!("{} {} {:?} {:?}", p.name, p.kind, p.width(), p.rows())).collect()
    };
    let expected = ["age a tensor of float [?, 1] Some(1) None", "words a tensor of string [?, 3] Some(3) None"];
    assert_eq!(said(&graph.inputs), expected);
    let expected =
        ["chances a sequence of maps from string to float Some(2) None", "label a tensor of string [?] Some(1) None"];
    assert_eq!(said(&graph.outputs), expected);
}

#[test]
fn what_is_not_served_is_refused_with_its_place() {
    let port = |field, name: &str| port(field, name, &tensor_type(1, &[None, Some(2)]));
    let with = |part: Vec<u8>| file(&[part, port(11, "x"), port(12, "y")]);
    let outside = [bytes(8, "w"), bytes(13, [bytes(1, "location"), bytes(2, "/etc/passwd")].concat()), number(14, 1)];
    let outside = outside.concat();
    let sparse = bytes(22, bytes(2, &outside));
    for (file, words) in [
        (with(node("com.example", "Mystery", "y", &[])), "node 'n1' needs operator 'Mystery' of 'com.example'"),
        (with(bytes(5, &outside)), "tensor 'w' lies in another file, '/etc/passwd'"),
        (with(node("", "Constant", "y", &[bytes(5, &outside)])), "'/etc/passwd'"),
        (with(node("", "Constant", "y", &[sparse])), "'/etc/passwd'"),
        (with(bytes(15, bytes(1, &outside))), "'/etc/passwd'"),
        (with(bytes(5, number(14, 1))), "lies in another file"),
        (file(&[port(11, "x")]), "no inputs or no outputs"),
        (number(1, 8), "byte 2: it has no graph"),
        (nested(NESTED_MAX + 1), "16 graphs within graphs"),
        (b"\x08\x08\x12\x00ORTM".to_vec(), "ONNX Runtime's own format"),
    ] {
        let error = describe(&file).unwrap_err().to_string();
        assert!(error.contains(words), "'{words}' is not in: {error}");
    }
    assert!(describe(&nested(NESTED_MAX)).is_ok());
    // What a file defines itself is its own.
    let own = bytes(25, [bytes(1, "Mystery"), bytes(10, "com.example")].concat());
    assert!(describe(&[with(node("com.example", "Mystery", "y", &[])), own].concat()).is_ok());
}

#[test]
fn a_file_cut_short_names_the_byte() {
    let file = pipeline();
    for length in 0..file.len() {
        let error = describe(&file[..length]).unwrap_err().to_string();
        assert!(error.contains("byte"), "{length}: {error}");
    }
    // A million levels are read no further than the sixteenth.
    let deep = bytes(7, bytes(1, bytes(5, b"\x32\x80\x80\x80\x80\x0a".repeat(1_000_000))));
    assert!(describe(&deep).unwrap_err().to_string().contains("announced"));
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_it_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = describe(&bytes);
        let _ = sniff(&bytes);
    }

    #[test]
    fn whatever_a_file_was_changed_to_it_ends(at in 0usize..200, to in any::<u8>(), cut in 0usize..400) {
        let mut file = pipeline();
        let at = at % file.len();
        file[at] = to;
        file.truncate(cut.max(1));
        if let Ok(graph) = describe(&file) {
            for port in graph.inputs.iter().chain(&graph.outputs) {
                let _ = (port.width(), port.rows(), port.kind.to_string());
            }
        }
    }
}
