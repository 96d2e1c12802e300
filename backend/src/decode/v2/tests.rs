#![allow(clippy::unwrap_used)]

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, Input as Feature, Output, Signature};
use headgate_contract::{Digest, Kind, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode::{Bounds, Form, Staging, decode as decode_body};
use crate::schema::Schema;

const BOUNDS: Bounds = Bounds { rows_max: 1000, strict: false };
const NUMBERS: [&str; 13] =
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64"];

fn schema(inputs: Vec<Feature>) -> Schema {
    let output = |name: &str, role| Output { name: name.into(), role, dtype: Dtype::Fp64, width: 1, classes: vec![] };
    let outputs = vec![output("probability", Role::Value), output("margin", Role::Margin)];
    Schema::new("bank".parse().unwrap(), Version::FIRST, Digest::of(""), &Signature { inputs, outputs }).unwrap()
}

/// Two numbers, a category and a text.
fn bank() -> Schema {
    let categories = ["student", "3", "true", "-1", "2.5", "9007199254740993"].map(str::to_owned).to_vec();
    let note = Feature { dtype: Dtype::Bytes, ..Feature::numeric("note") };
    let job = Feature { default: None, ..Feature::categorical("job", categories) };
    schema(vec![Feature::numeric("age"), Feature::numeric("balance"), job, note])
}

fn numbers(columns: usize) -> Schema {
    schema((0..columns).map(|c| Feature::numeric(format!("x{c}"))).collect())
}

/// A body: JSON, and blobs behind it.
fn body(document: &Value, blobs: &[&[u8]]) -> (Vec<u8>, Option<usize>) {
    let json = document.to_string().into_bytes();
    let length = json.len();
    ([&json[..], &blobs.concat()].concat(), Some(length))
}

fn tensor(name: &str, shape: Value, datatype: &str, blob: &[u8]) -> Value {
    json!({"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": blob.len()}})
}

fn read(schema: &Schema, (bytes, json_bytes): (Vec<u8>, Option<usize>)) -> Result<(Asked, Batch), Refusal> {
    let mut batch = Batch::default();
    let asked = decode_body(Form::V2 { json_bytes }, &bytes, schema, BOUNDS, &mut Staging::default(), &mut batch)?;
    Ok((asked, batch))
}

/// Columns as bits, texts as themselves.
fn seen(schema: &Schema, batch: &Batch) -> Vec<Vec<String>> {
    let cell = |row, column: usize| match batch.value(row, column) {
        value if value.is_nan() => "NaN".to_owned(),
        place if schema.features[column].is_text() => batch.texts().get(place as usize).unwrap().to_owned(),
        value => format!("{value:?}"),
    };
    (0..batch.rows()).map(|row| (0..batch.columns()).map(|column| cell(row, column)).collect()).collect()
}

fn fp64(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|t| [&(t.len() as u32).to_le_bytes()[..], t.as_bytes()].concat()).collect()
}

#[track_caller]
fn says(result: Result<(Asked, Batch), Refusal>, words: &[&str]) {
    let error = result.map(|(_, batch)| batch.rows()).unwrap_err();
    assert_eq!(error.kind, Kind::InvalidRequest, "{error}");
    for word in ["model 'bank' version 1"].iter().chain(words) {
        assert!(error.message.contains(word), "'{word}' is not in: {error}");
    }
}

#[test]
fn json_and_binary_in_one_request_in_any_order() {
    let (age, note) = (fp64(&[1.0, f64::NAN]), texts(&["", "São"]));
    let inputs = [
        json!({"data": [2, f64::from(0.5f32)], "name": "balance", "datatype": "FP32", "shape": [2, 1]}),
        json!({"parameters": {"x": [1], "binary_data_size": age.len()}, "datatype": "FP64", "shape": [2], "name": "age"}),
        json!({"name": "job", "shape": [2], "datatype": "BYTES", "data": ["student", null]}),
        tensor("note", json!([2, 1]), "BYTES", &note),
    ];
    let expected = [["1.0", "2.0", "0.0", ""], ["NaN", "0.5", "NaN", "São"]];
    let (asked, batch) = read(&bank(), body(&json!({"id": "7", "inputs": inputs}), &[&age, &note])).unwrap();
    assert_eq!(seen(&bank(), &batch), expected);
    assert_eq!((asked.id.as_deref(), asked.binary, asked.rows), (Some("7"), false, 2));
    let turned: Vec<&Value> = inputs.iter().rev().collect();
    let (_, batch) = read(&bank(), body(&json!({ "inputs": turned }), &[&note, &age])).unwrap();
    assert_eq!(seen(&bank(), &batch), expected);
    // A feature that is not known takes its place among the blobs.
    let inputs = json!([tensor("new", json!([2]), "BYTES", &note), tensor("age", json!([2]), "FP64", &age)]);
    let (asked, batch) = read(&bank(), body(&json!({ "inputs": inputs }), &[&note, &age])).unwrap();
    assert_eq!((asked.ignored.to_string().as_str(), batch.column(0)[0]), ("new", 1.0));
}

#[test]
fn categories_are_found_by_numbers_as_in_json() {
    let by = |datatype: &str, blob: &[u8], n: usize| {
        let inputs = json!([tensor("job", json!([n]), datatype, blob)]);
        read(&bank(), body(&json!({ "inputs": inputs }), &[blob])).map(|(_, batch)| batch.column(2).to_vec()).unwrap()
    };
    assert_eq!(by("INT8", &[3, 255], 2), [1.0, 3.0]);
    assert_eq!(by("BOOL", &[1], 1), [2.0]);
    assert_eq!(by("FP64", &fp64(&[3.0, 2.5]), 2), [1.0, 4.0]);
    // A float has no such number, but the text that is written for it is the category.
    assert_eq!(by("INT64", &9007199254740993i64.to_le_bytes(), 1), [5.0]);
    assert_eq!(by("UINT64", &9007199254740993u64.to_le_bytes(), 1), [5.0]);
    assert!(by("INT64", &9i64.to_le_bytes(), 1)[0].is_nan());
    assert!(by("FP32", &f32::NAN.to_le_bytes(), 1)[0].is_nan());
}

#[test]
fn inputs_that_are_written_alike_are_each_their_own() {
    let names = ["x0", "shape", "x1", "x2", "FP64", "a\"b", "x3", "é", "x4"];
    let schema = schema(names.iter().map(|name| Feature::numeric(*name)).collect());
    let blobs: Vec<Vec<u8>> = (0..names.len()).map(|at| fp64(&[at as f64, 0.5])).collect();
    let inputs: Vec<Value> = names.iter().zip(&blobs).map(|(n, blob)| tensor(n, json!([2]), "FP64", blob)).collect();
    let expected: Vec<f64> = (0..names.len()).map(|at| at as f64).collect();
    for turn in 0..names.len() {
        let order: Vec<usize> = (0..names.len()).map(|at| (at + turn) % names.len()).collect();
        let document = json!({"inputs": order.iter().map(|at| &inputs[*at]).collect::<Vec<_>>()});
        let blobs: Vec<&[u8]> = order.iter().map(|at| blobs[*at].as_slice()).collect();
        let (_, batch) = read(&schema, body(&document, &blobs)).unwrap();
        assert_eq!((0..names.len()).map(|at| batch.column(at)[0]).collect::<Vec<_>>(), expected, "{turn}");
    }
    // The name is not what is between the same quotation marks twice, nor what is written with an escape.
    let other = r#"{"inputs":[{"parameters":{"x0":1,"binary_data_size":8},"name":"x0","shape":[1],"datatype":"FP64"},
        {"parameters":{"shape":1,"binary_data_size":8},"name":"x0","shape":[1],"datatype":"FP64"}]}"#;
    let refused = read(&schema, ([other.as_bytes(), &[0; 16]].concat(), Some(other.len())));
    says(refused, &["'x0' is sent twice"]);
    let escaped = r#"{"inputs":[{"parameters":{"y":"x0","binary_data_size":8},"name":"x\u0030","shape":[1],"datatype":"FP64"},{"parameters":{"y":"shape","binary_data_size":8},"name":"x\u0030","shape":[1],"datatype":"FP64"}]}"#;
    let refused = read(&schema, ([escaped.as_bytes(), &[0; 16]].concat(), Some(escaped.len())));
    says(refused, &["'x0' is sent twice"]);
    // Blobs end before the last of them.
    let document = json!({ "inputs": inputs });
    let blobs: Vec<&[u8]> = blobs[1..].iter().map(Vec::as_slice).collect();
    says(read(&schema, body(&document, &blobs)), &["'x4'", "'binary_data_size' of 16, 0 bytes"]);
}

#[test]
fn rows_fail_alone_in_binary_too() {
    let blob = [texts(&["a"]), vec![2, 0, 0, 0, b'x', 0xff], texts(&["b"])].concat();
    let inputs = json!([tensor("note", json!([3]), "BYTES", &blob)]);
    let (asked, batch) =
        read(&bank(), body(&json!({"parameters": {"row_status": true}, "inputs": inputs}), &[&blob])).unwrap();
    assert_eq!(asked.faults.reason(1), Some("row 1, feature 'note': bytes that are no UTF-8 came, a text expected"));
    let written: Vec<_> = seen(&bank(), &batch).into_iter().map(|mut row| row.remove(3)).collect();
    assert_eq!(written, ["a", "b"]);
    says(read(&bank(), body(&json!({ "inputs": inputs }), &[&blob])), &["row 1", "'note'", "no UTF-8"]);
    let matrix = json!([tensor("all", json!([1, 4]), "BYTES", &texts(&["1", "NaN", "student", "x"]))]);
    let refused = read(&bank(), body(&json!({ "inputs": matrix }), &[&texts(&["1", "NaN", "student", "x"])]));
    says(refused, &["row 0", "'age'", "text \"1\" came", "a number expected"]);
    let number = json!([tensor("note", json!([1]), "INT32", &[7, 0, 0, 0])]);
    says(read(&bank(), body(&json!({ "inputs": number }), &[&[7, 0, 0, 0]])), &["'note'", "7 came", "a text expected"]);
}

#[test]
fn sizes_and_shapes_that_lie_are_named() {
    let age = fp64(&[1.0, 2.0]);
    let with = |size: Value, shape: Value, datatype: &str, blob: &[u8]| {
        let input =
            json!({"name": "age", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}});
        read(&bank(), body(&json!({ "inputs": [input] }), &[blob]))
    };
    assert!(with(json!(16), json!([2]), "FP64", &age).is_ok());
    says(with(json!(16), json!([3]), "FP64", &age), &["'age'", "16 bytes came", "3 values of FP64 take 24"]);
    says(with(json!(16), json!([2]), "FP32", &age), &["'age'", "2 values of FP32 take 8"]);
    says(with(json!(8), json!([1]), "FP64", &age), &["8 bytes follow the last input"]);
    says(with(json!(24), json!([3]), "FP64", &age), &["'age'", "'binary_data_size' of 24", "16 bytes"]);
    for (size, came) in [
        (json!(-8), "-8 came"),
        (json!(1.5), "1.5 came"),
        (json!("16"), "text \"16\""),
        (json!(null), "null"),
        (json!([16]), "an array"),
        (json!(1e300), "1e+300 came"),
    ] {
        says(with(size, json!([2]), "FP64", &age), &["'age'", "'binary_data_size'", came, "number of bytes expected"]);
    }
    says(with(json!(16), json!([2]), "BYTES", &age), &["'age'", "BYTES", "FP64 expected"]);
    says(with(json!(16), json!([2]), "FP65", &age), &["'age'", "'FP65'"]);
    says(with(json!(16), json!([2, 2]), "FP64", &age), &["'age'", "[2, 2]", "[n, 4]"]);
    says(with(json!(16), json!([1u64 << 49, 1u64 << 49, 1u64 << 49]), "FP64", &age), &["'age'", "[n, 4] for all"]);
    for rows in [1001u64, 1_000_000, 999_999_999_999_999] {
        let refused = with(json!(16), json!([rows]), "FP64", &age).unwrap_err();
        assert!(refused.kind == Kind::TooLarge && refused.message.contains("'age'"), "{refused}");
        assert!(refused.message.contains("more than 1000 rows") && refused.message.contains(&rows.to_string()));
    }
    let both = json!({"name": "age", "shape": [2], "datatype": "FP64", "data": [1, 2], "parameters": {"binary_data_size": 16}});
    says(read(&bank(), body(&json!({ "inputs": [both] }), &[&age])), &["'age'", "both 'data' and 'binary_data_size'"]);
    let (bytes, length) = body(&json!({"inputs": [tensor("age", json!([2]), "FP64", &age)]}), &[&age]);
    let whole = bytes.len();
    says(read(&bank(), (bytes.clone(), length.map(|n| n + 17))), &["the body has", "is said to have"]);
    says(read(&bank(), (bytes.clone(), Some(usize::MAX))), &["is said to have"]);
    let short = read(&bank(), (bytes[..whole - 16].to_vec(), None));
    says(short, &["'age'", "no header inference-header-content-length"]);
    let refused = read(&bank(), (bytes.clone(), length.map(|n| n - 1))).unwrap_err();
    assert!(refused.message.contains("ends too early"), "{refused}");
    assert!(read(&bank(), (bytes, length.map(|n| n + 1))).is_err());
    let twice = json!([tensor("age", json!([2]), "FP64", &age), tensor("age", json!([2]), "FP64", &age)]);
    says(read(&bank(), body(&json!({ "inputs": twice }), &[&age, &age])), &["'age' is sent twice"]);
}

#[test]
fn lengths_of_texts_that_lie_are_named() {
    let with = |blob: &[u8], n: usize| {
        read(&bank(), body(&json!({ "inputs": [tensor("note", json!([n]), "BYTES", blob)] }), &[blob]))
    };
    assert!(with(&texts(&["a", ""]), 2).is_ok());
    says(with(&texts(&["a", ""]), 3), &["'note'", "3 values of BYTES"]);
    says(with(&texts(&["a", ""]), 1), &["'note'", "4 bytes follow the last of 1"]);
    says(with(&[0xff, 0xff, 0xff, 0xff, b'a'], 1), &["'note'", "value 0", "4294967295 bytes, 1 are left"]);
    says(with(&[1, 0, 0], 1), &["'note'", "3 bytes came"]);
}

#[test]
fn what_is_not_done_here_is_refused_by_name() {
    let age = json!({"name": "age", "shape": [1], "datatype": "FP64", "data": [1]});
    for key in ["shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"] {
        let input = json!({"name": "age", "shape": [1], "datatype": "FP64", "parameters": {key: 1}});
        says(read(&bank(), body(&json!({ "inputs": [input] }), &[])), &["input 'age'", key, "shared memory"]);
        let output = json!({"name": "margin", "parameters": {key: "x"}});
        let refused = read(&bank(), body(&json!({ "inputs": [age], "outputs": [output] }), &[]));
        says(refused, &["output 'margin'", key]);
    }
    let ranked = |count: Value| {
        let output = json!({"parameters": {"classification": count}, "name": "margin"});
        read(&bank(), (json!({ "inputs": [age], "outputs": [output] }).to_string().into_bytes(), None))
    };
    assert!(ranked(json!(0)).is_ok());
    says(ranked(json!(3)), &["output 'margin'", "'classification'"]);
    says(ranked(json!([3])), &["output 'margin'", "'classification'"]);
    let output = json!({"name": "margin", "parameters": {"binary_data": 1}});
    let refused = read(&bank(), body(&json!({ "inputs": [age], "outputs": [output] }), &[]));
    says(refused, &["'binary_data'", "true or false"]);
}

#[test]
fn outputs_say_whether_they_are_wanted_in_binary() {
    let age = json!({"name": "age", "shape": [1], "datatype": "FP64", "data": [1]});
    let outputs = json!([
        {"name": "margin", "parameters": {"binary_data": true}}, {"parameters": {"binary_data": false}, "name": "probability"},
    ]);
    let document = json!({"inputs": [age], "outputs": outputs, "parameters": {"binary_data_output": true}});
    let (asked, _) = read(&bank(), (document.to_string().into_bytes(), None)).unwrap();
    let said: Vec<_> = asked.outputs.unwrap().into_iter().map(|wanted| (wanted.output, wanted.binary)).collect();
    assert_eq!((asked.binary, said), (true, vec![(1, Some(true)), (0, Some(false))]));
}

#[test]
fn a_body_without_json_is_one_tensor() {
    let raw = |schema: &Schema, bytes: &[u8]| read(schema, (bytes.to_vec(), Some(0)));
    let (asked, batch) = raw(&numbers(2), &fp64(&[1.0, 2.0, f64::NAN, f64::INFINITY])).unwrap();
    assert_eq!((asked.binary, asked.rows), (true, 2));
    assert_eq!(seen(&numbers(2), &batch), [["1.0", "2.0"], ["NaN", "inf"]]);
    let of = |dtypes: &[Dtype]| {
        let feature = |(at, dtype): (usize, &Dtype)| Feature { dtype: *dtype, ..Feature::numeric(format!("x{at}")) };
        schema(dtypes.iter().enumerate().map(feature).collect())
    };
    let (_, batch) = raw(&of(&[Dtype::Int8; 3]), &[1, 255, 3]).unwrap();
    assert_eq!(seen(&numbers(3), &batch), [["1.0", "-1.0", "3.0"]]);
    assert_eq!(raw(&schema(vec![Feature::numeric("body")]), &fp64(&[7.0])).unwrap().1.column(0), [7.0]);
    says(raw(&numbers(2), &[0; 20]), &["20 bytes came", "rows of 2 FP64 have 16 each"]);
    says(raw(&numbers(2), &[]), &["no rows"]);
    says(raw(&of(&[Dtype::Fp64, Dtype::Fp32]), &[0; 12]), &["'x0' is FP64", "'x1' is FP32"]);
    says(raw(&of(&[Dtype::Bytes]), &[0; 4]), &["'x0' is BYTES"]);
    says(raw(&bank(), &[0; 32]), &["'age' is FP64", "'job' is BYTES"]);
    let refused = raw(&numbers(2), &[0; 16 * 1001]).unwrap_err();
    assert_eq!(refused.kind, Kind::TooLarge);
}

/// A value of a type: its bytes, and how JSON has it.
fn value(datatype: &str, random: u64) -> (Vec<u8>, String) {
    let real = |value: f64| match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        _ => format!("{value:?}"),
    };
    macro_rules! whole {
        ($type:ty) => {{
            let value = random as $type;
            (value.to_le_bytes().to_vec(), value.to_string())
        }};
    }
    match datatype {
        "BOOL" => (vec![u8::from(random & 1 == 1)], (random & 1 == 1).to_string()),
        "UINT8" => whole!(u8),
        "UINT16" => whole!(u16),
        "UINT32" => whole!(u32),
        "UINT64" => whole!(u64),
        "INT8" => whole!(i8),
        "INT16" => whole!(i16),
        "INT32" => whole!(i32),
        "INT64" => whole!(i64),
        "FP16" => {
            let bits = random as u16;
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
            };
            (bits.to_le_bytes().to_vec(), real(if bits >> 15 == 1 { -magnitude } else { magnitude }))
        }
        "BF16" => ((random as u16).to_le_bytes().to_vec(), real(f32::from_bits((random as u32) << 16).into())),
        "FP32" => ((random as u32).to_le_bytes().to_vec(), real(f32::from_bits(random as u32).into())),
        _ => (random.to_le_bytes().to_vec(), real(f64::from_bits(random))),
    }
}

fn random() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0u64..8, Just(f64::NAN.to_bits()), Just(u64::MAX), Just((-1.0f64).to_bits())]
}

proptest! {
    #[test]
    fn binary_is_what_json_is(
        rows in proptest::collection::vec([random(), random(), random()], 1..30),
        types in [0..NUMBERS.len(), 0..NUMBERS.len(), 0..NUMBERS.len()],
        words in proptest::collection::vec(".{0,6}|student", 30),
        tall in any::<bool>(),
    ) {
        let n = rows.len();
        let shape = if tall { json!([n, 1]) } else { json!([n]) };
        let (mut in_binary, mut in_json, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for (at, name) in ["age", "balance", "job"].into_iter().enumerate() {
            let datatype = NUMBERS[types[at]];
            let cells: Vec<_> = rows.iter().map(|row| value(datatype, row[at])).collect();
            let blob: Vec<u8> = cells.iter().flat_map(|c| c.0.clone()).collect();
            let data = cells.iter().map(|c| c.1.as_str()).collect::<Vec<_>>().join(",");
            in_binary.push(tensor(name, shape.clone(), datatype, &blob).to_string());
            in_json.push(format!(r#"{{"name":"{name}","shape":{shape},"datatype":"{datatype}","data":[{data}]}}"#));
            blobs.push(blob);
        }
        let words: Vec<&str> = words[..n].iter().map(String::as_str).collect();
        let blob = texts(&words);
        in_binary.push(tensor("note", shape.clone(), "BYTES", &blob).to_string());
        in_json.push(json!({"name": "note", "shape": shape, "datatype": "BYTES", "data": words}).to_string());
        blobs.push(blob);
        let document = |inputs: &[String]| format!(r#"{{"inputs":[{}]}}"#, inputs.join(",")).into_bytes();
        let json = document(&in_binary);
        let length = json.len();
        let (_, binary) = read(&bank(), ([json, blobs.concat()].concat(), Some(length))).unwrap();
        let (_, json) = read(&bank(), (document(&in_json), None)).unwrap();
        prop_assert_eq!(seen(&bank(), &binary), seen(&bank(), &json));
    }

    #[test]
    fn a_matrix_is_what_json_is(
        rows in proptest::collection::vec([random(), random(), random()], 1..30),
        datatype in 0..NUMBERS.len(),
        texts_too in any::<bool>(),
    ) {
        let (datatype, n) = (NUMBERS[datatype], rows.len());
        let categories = ["1", "3", "true", "-1"].map(str::to_owned).to_vec();
        let last = if texts_too { Feature::categorical("job", categories) } else { Feature::numeric("job") };
        let schema = schema(vec![Feature::numeric("age"), Feature::numeric("balance"), last]);
        let cells: Vec<_> = rows.iter().flatten().map(|random| value(datatype, *random)).collect();
        let blob: Vec<u8> = cells.iter().flat_map(|c| c.0.clone()).collect();
        let data = cells.iter().map(|c| c.1.as_str()).collect::<Vec<_>>().join(",");
        let json = format!(r#"{{"inputs":[{{"name":"x","shape":[{n},3],"datatype":"{datatype}","data":[{data}]}}]}}"#);
        let inputs = json!({"inputs": [tensor("x", json!([n, 3]), datatype, &blob)]});
        let (_, binary) = read(&schema, body(&inputs, &[&blob])).unwrap();
        let (_, json) = read(&schema, (json.into_bytes(), None)).unwrap();
        prop_assert_eq!(seen(&schema, &binary), seen(&schema, &json));
    }

    #[test]
    fn no_mutated_body_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
        shift in -3isize..4,
        blobs_only in any::<bool>(),
    ) {
        let (age, note) = (fp64(&[1.0, 2.0]), texts(&["a", "São"]));
        let inputs = json!([
            tensor("age", json!([2]), "FP64", &age), tensor("note", json!([2, 1]), "BYTES", &note),
            {"name": "job", "shape": [2], "datatype": "BYTES", "data": ["student", "3"]}
        ]);
        let (mut bytes, length) = body(&json!({ "inputs": inputs }), &[&age, &note]);
        let length = length.unwrap();
        for (at, byte, how) in edits {
            let from = if blobs_only { length.min(bytes.len() - 1) } else { 0 };
            let at = from + at.index(bytes.len() - from);
            match how {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => { bytes.remove(at); }
                _ => bytes.insert(at, b"[]{},:\"0-e.nN\\"[usize::from(byte) % 14]),
            }
        }
        for json_bytes in [None, Some(0), Some(length.saturating_add_signed(shift))] {
            if let Ok((_, batch)) = read(&bank(), (bytes.clone(), json_bytes)) {
                prop_assert!(batch.rows() > 0 && batch.columns() == 4);
            }
        }
    }
}
