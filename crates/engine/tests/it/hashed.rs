//! Hashed linear models: against a naive twin, published hashes, and broken files.

use headgate_engine::{Batch, Engine, Format, Limits, Outputs, Scratch, Want, linear, load, sniff};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use twin::Cell;

mod sklearn;
mod twin;

const ALL: Want = Want { margins: true, outputs: true, contributions: true };

/// A file: prelude, header, zeros up to a multiple of 64, weights.
pub(crate) fn file(header: &Value, weights: &[f64]) -> Vec<u8> {
    let json = serde_json::to_vec(header).unwrap();
    let mut bytes = b"HGLINEAR".to_vec();
    bytes.extend(2u32.to_le_bytes());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend((weights.len() as u64).to_le_bytes());
    bytes.extend(json);
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    for weight in weights {
        match header["weights"] == "f32" {
            true => bytes.extend((*weight as f32).to_le_bytes()),
            false => bytes.extend(weight.to_le_bytes()),
        }
    }
    bytes
}

fn header(hash: &str, buckets: usize, fields: Value) -> Value {
    json!({"hash": hash, "link": "identity", "buckets": buckets, "weights": "f64", "bias": [0.0], "fields": fields})
}

/// A model whose weights are their own places: a margin of one hit tells the bucket and the sign.
fn telling(hash: &str, buckets: usize, fields: Value) -> Box<dyn Engine> {
    let weights: Vec<f64> = (0..buckets).map(|at| at as f64).collect();
    let bytes = file(&header(hash, buckets, fields), &weights);
    load(Format::LinearHashed, &bytes, &Limits::default()).unwrap()
}

fn batch(engine: &dyn Engine, rows: &[Vec<Cell>]) -> Batch {
    let mut batch = Batch::new(engine.inputs(), rows.len());
    for (row, cells) in rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            match cell {
                Cell::Missing => {}
                Cell::Number(value) => batch.set(row, column, *value),
                Cell::Text(text) => {
                    let place = batch.texts_mut().push(text);
                    batch.set(row, column, place as f64);
                }
            }
        }
    }
    batch
}

fn score(engine: &dyn Engine, rows: &[Vec<Cell>]) -> Outputs {
    let mut out = Outputs::default();
    engine.score(&batch(engine, rows), &mut Scratch::default(), &mut out, ALL).unwrap();
    out
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn buckets_of_scikit_learns_documentation() {
    // FeatureHasher(n_features=10) of {"dog": 1, "cat": 2, "elephant": 4} and {"dog": 2, "run": 5}.
    let fields = ["dog", "cat", "elephant", "run"].map(|input| json!({"kind": "number", "input": input}));
    let engine = telling("sklearn", 10, json!(fields));
    for (column, value, expected) in [(0, 1.0, -3.0), (1, 2.0, 18.0), (2, 4.0, -8.0), (0, 2.0, -6.0), (3, 5.0, -20.0)] {
        let mut row = vec![Cell::Missing; 4];
        row[column] = Cell::Number(value);
        assert_eq!(score(engine.as_ref(), &[row]).margins, [expected]);
    }
}

#[test]
fn buckets_of_sparks_documentation() {
    // FeatureHasher of (2.0, true, "1", "foo") and (3.0, false, "2", "bar"), 2^18 buckets; HashingTF of a, b, c, 10.
    let fields = json!([
        {"kind": "number", "input": "real"}, {"kind": "category", "input": "bool"},
        {"kind": "category", "input": "stringNum"}, {"kind": "category", "input": "string"},
    ]);
    let engine = telling("spark", 1 << 18, fields);
    let alone = |column: usize, cell: Cell| {
        let mut row = vec![Cell::Missing; 4];
        row[column] = cell;
        score(engine.as_ref(), &[row]).margins[0]
    };
    assert_eq!(alone(0, Cell::Number(1.0)), 174_475.0);
    assert_eq!((alone(1, text("true")), alone(1, text("false"))), (247_670.0, 70_644.0));
    assert_eq!((alone(2, text("1")), alone(2, text("2"))), (262_126.0, 89_673.0));
    assert_eq!((alone(3, text("foo")), alone(3, text("bar"))), (257_907.0, 173_866.0));
    let engine = telling("spark", 10, json!([{"kind": "tokens", "input": "words", "split": "whitespace"}]));
    for (token, expected) in [("a", 7.0), ("b", 5.0), ("c", 8.0)] {
        assert_eq!(score(engine.as_ref(), &[vec![text(token)]]).margins, [expected]);
    }
}

#[test]
fn a_missing_value_adds_nothing_and_a_cross_needs_both() {
    let fields = json!([
        {"kind": "category", "input": "a"}, {"kind": "cross", "inputs": ["a", "b"]}, {"kind": "number", "input": "x", "index": 3}
    ]);
    let engine = telling("sklearn-unsigned", 1 << 20, fields);
    assert_eq!(engine.input_names(), ["a", "b", "x"]);
    assert!(engine.takes_text(0) && engine.takes_text(1) && !engine.takes_text(2) && !engine.takes_text(3));
    let bucket = |text: &str| f64::from(twin::murmur3(text.as_bytes(), 0).cast_signed().unsigned_abs() % (1 << 20));
    let rows = [
        vec![Cell::Missing; 3],
        vec![text("1"), Cell::Missing, Cell::Number(0.5)],
        vec![Cell::Missing, text("2"), Cell::Missing],
        vec![text("1"), text("2"), Cell::Missing],
    ];
    let out = score(engine.as_ref(), &rows);
    let (a, cross) = (bucket("a=1"), bucket("a^b=1^2"));
    assert_eq!(out.margins, [0.0, a + 1.5, 0.0, a + cross]);
    assert_eq!(out.contributions[4..8], [a, 0.0, 1.5, 0.0]);
    assert_eq!(out.contributions[12..], [a + cross / 2.0, cross / 2.0, 0.0, 0.0]);
}

#[test]
fn bytes_that_are_kept_are_not_copied() {
    let bytes = file(&header("spark", 1 << 16, json!([{"kind": "category", "input": "a"}])), &vec![1.0; 1 << 16]);
    assert_eq!(sniff(&bytes), Some(Format::LinearHashed));
    let shared = std::sync::Arc::<[u8]>::from(bytes);
    let engine = linear::open(Box::new(std::sync::Arc::clone(&shared)), &Limits::default()).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&shared), 2);
    assert!(engine.memory_bytes() > shared.len() && engine.memory_bytes() < shared.len() + 2000);
    drop(engine);
    assert_eq!(std::sync::Arc::strong_count(&shared), 1);
}

fn refused(bytes: &[u8]) -> String {
    load(Format::LinearHashed, bytes, &Limits::default()).map_or_else(|e| e.to_string(), |_| "loaded".to_owned())
}

#[test]
fn headers_that_contradict_themselves() {
    let whole = header("sklearn", 4, json!([{"kind": "category", "input": "a"}]));
    assert_eq!(refused(&file(&whole, &[1.0; 4])), "loaded");
    let number = |more: &str| format!(r#"[{{"kind":"number","input":"x",{more}}}]"#);
    for (member, value, words) in [
        ("hash", json!("fnv"), "header: unknown variant `fnv`"),
        ("link", json!("probit"), "header: unknown variant `probit`"),
        ("link", json!("softmax"), "header: `softmax` over one output"),
        ("weights", json!("f16"), "header: unknown variant `f16`"),
        ("ngrams", json!(2), "header: unknown field `ngrams`"),
        ("bias", json!([]), "header: 4 buckets and 0 outputs, 1 to 268435456 weights expected"),
        ("bias", json!([0, 0]), "byte 16: 4 weights, 4 buckets and 2 outputs make 8"),
        ("buckets", json!(0), "header: 0 buckets and 1 outputs, 1 to 268435456 weights expected"),
        ("buckets", json!(1u64 << 29), "header: 536870912 buckets and 1 outputs, 1 to 268435456 weights expected"),
        ("buckets", json!(u64::MAX), "header: 18446744073709551615 buckets and 1 outputs"),
        ("buckets", json!(5), "byte 16: 4 weights, 5 buckets and 1 outputs make 5"),
        ("buckets", json!(-1), "header: invalid value"),
        ("fields", json!([{"kind": "hash", "input": "a"}]), "header: unknown variant `hash`"),
        ("fields", json!([{"kind": "category"}]), "header: missing field `input`"),
        ("fields", json!([{"kind": "category", "input": "a", "weight": 2}]), "header: unknown field `weight`"),
        ("fields", serde_json::from_str(&number(r#""index":4"#)).unwrap(), "header, field 0: index 4 of 4 buckets"),
        (
            "fields",
            serde_json::from_str(&number(r#""index":1,"key":"y""#)).unwrap(),
            "header, field 0: an `index` beside a `key` or a `space`",
        ),
        (
            "fields",
            json!([{"kind": "category", "input": "a"}, {"kind": "number", "input": "a"}]),
            "header, field 1: input `a` is a number in one field and a text in another",
        ),
        (
            "fields",
            json!([{"kind": "category", "input": "a", "space": {"first": 2, "buckets": 3}}]),
            "header, field 0: a space of 3 buckets from 2 in 4",
        ),
        (
            "fields",
            json!([{"kind": "category", "input": "a", "space": {"first": u64::MAX, "buckets": 2}}]),
            "header, field 0: a space of 2 buckets from 18446744073709551615 in 4",
        ),
        (
            "fields",
            json!([{"kind": "category", "input": "a", "space": {"first": 4, "buckets": 0}}]),
            "header, field 0: a space of 0 buckets from 4 in 4",
        ),
        (
            "fields",
            json!([{"kind": "cross", "inputs": ["a"]}]),
            "header, field 0: a cross of 1 inputs, 2 to 8 expected",
        ),
        (
            "fields",
            json!([{"kind": "tokens", "input": "a", "split": {"on": ""}}]),
            "header, field 0: it is split on an empty text",
        ),
    ] {
        let mut header = whole.clone();
        header[member] = value;
        let came = refused(&file(&header, &[1.0; 4]));
        assert!(came.starts_with(words), "{member}: {came}");
    }
}

#[test]
fn files_that_are_not_what_they_say() {
    let whole = file(&header("sklearn", 4, json!([{"kind": "category", "input": "a"}])), &[1.0, 2.0, 3.0, 4.0]);
    let first = whole.len() - 32;
    let edited = |at: usize, with: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        refused(&bytes)
    };
    assert_eq!(edited(0, b"X"), "byte 0: `HGLINEAR` and 16 bytes more expected");
    let version = "not supported: hashed linear format";
    assert_eq!(edited(8, &[3]), format!("{version} 3: this build reads 2, little-endian"));
    let swapped = edited(8, &[0, 0, 0, 2]);
    assert_eq!(swapped, format!("{version} 33554432, written big-endian: this build reads 2, little-endian"));
    assert!(edited(12, &[0xff, 0xff]).contains("byte 12: a header of 65535 bytes"));
    assert_eq!(edited(12, &[0xff; 4]), "the header's length in bytes is 4294967295, the limit is 16777216");
    assert!(edited(12, &[2]).starts_with("header: EOF"));
    assert_eq!(edited(16, &[0xff; 8]), "byte 16: 18446744073709551615 weights, 4 buckets and 1 outputs make 4");
    assert_eq!(edited(first - 1, &[1]), format!("byte {}: zeros expected up to the first weight", first - 1));
    assert_eq!(edited(first + 16, &f64::NAN.to_le_bytes()), "bucket 2: its weight is NaN");
    assert_eq!(edited(first + 24, &f64::NEG_INFINITY.to_le_bytes()), "bucket 3: its weight is -inf");
    let longer = [&whole[..], b"abc"].concat();
    assert_eq!(refused(&longer), "end of file: 3 bytes follow the last weight");
    for cut in 0..whole.len() {
        assert_ne!(refused(&whole[..cut]), "loaded", "cut at {cut}");
    }
    let bias = whole.windows(5).position(|w| w == b"[0.0]").unwrap();
    assert!(edited(bias, b"[1e9999]").starts_with("header: number out of range"));
    let limits = Limits { max_memory_bytes: whole.len(), ..Limits::default() };
    let error = load(Format::LinearHashed, &whole, &limits).unwrap_err().to_string();
    assert!(error.contains("the model's memory in bytes"), "{error}");
}

#[test]
fn a_weight_that_is_no_number_is_named_wherever_it_is() {
    for (width, outputs) in [("f32", 1), ("f32", 3), ("f64", 3)] {
        let buckets = 5000;
        let mut header = header("spark", buckets, json!([{"kind": "category", "input": "a"}]));
        header["weights"] = json!(width);
        header["bias"] = json!(vec![0.0; outputs]);
        for at in [0, 4095, 4096, buckets * outputs - 1] {
            let mut weights = vec![f64::from(f32::MAX); buckets * outputs];
            weights[at] = f64::INFINITY;
            let output = if outputs > 1 { format!(", output {}", at % outputs) } else { String::new() };
            let expected = format!("bucket {}{output}: its weight is inf", at / outputs);
            assert_eq!(refused(&file(&header, &weights)), expected);
        }
    }
}

fn cell(text: bool) -> BoxedStrategy<Cell> {
    let parts = "[a-cA-C0-2_ ,É΂Σς\u{1c}\u{3000}-]{0,24}";
    match text {
        true => prop_oneof![1 => Just(Cell::Missing), 6 => parts.prop_map(Cell::Text)].boxed(),
        false => prop_oneof![1 => Just(Cell::Missing), 6 => (-1e3..1e3).prop_map(Cell::Number)].boxed(),
    }
}

/// Fields over the texts a, b, c and the numbers x, y.
fn field(buckets: u64) -> impl Strategy<Value = Value> {
    let input = prop_oneof![Just("a"), Just("b"), Just("c")];
    let space = prop_oneof![
        2 => Just(Value::Null),
        1 => (0..buckets, 1..buckets).prop_map(move |(first, count)| json!({"first": first, "buckets": count.min(buckets - first)})),
    ];
    let split = prop_oneof![
        Just(json!("words")),
        Just(json!("whitespace")),
        Just(json!({"on": ", "})),
        Just(json!({"on": "a"}))
    ];
    let norm = prop_oneof![Just("none"), Just("l1"), Just("l2")];
    let number = prop_oneof![Just("x"), Just("y")];
    prop_oneof![
        (number.clone(), 0..buckets).prop_map(|(x, index)| json!({"kind": "number", "input": x, "index": index})),
        (number.clone(), space.clone()).prop_map(|(x, space)| json!({"kind": "number", "input": x, "space": space})),
        (number, "[a-z]{0,5}").prop_map(|(x, key)| json!({"kind": "number", "input": x, "key": key})),
        (input.clone(), space.clone()).prop_map(|(a, space)| json!({"kind": "category", "input": a, "space": space})),
        (input.clone(), "[a-z]{0,5}").prop_map(|(a, prefix)| json!({"kind": "category", "input": a, "prefix": prefix})),
        (vec(input.clone(), 2..5), space.clone())
            .prop_map(|(inputs, space)| json!({"kind": "cross", "inputs": inputs, "space": space})),
        (vec(input.clone(), 2..4), "[a-z]{0,5}", "[a-z]{0,2}").prop_map(
            |(inputs, prefix, join)| json!({"kind": "cross", "inputs": inputs, "prefix": prefix, "join": join})
        ),
        (input, split, norm, any::<(bool, bool)>(), "[a-z]{0,5}", space).prop_map(
            |(a, split, norm, (lowercase, binary), prefix, space)| json!({
                "kind": "tokens", "input": a, "split": split, "lowercase": lowercase, "prefix": prefix,
                "binary": binary, "norm": norm, "space": space
            })
        ),
    ]
}

fn model() -> impl Strategy<Value = (Value, Vec<f64>)> {
    let buckets = prop_oneof![Just(64u64), 2..200u64];
    let hash = prop_oneof![Just("sklearn"), Just("sklearn-unsigned"), Just("spark")];
    (buckets, 1..4usize, hash, any::<bool>()).prop_flat_map(|(buckets, outputs, hash, wide)| {
        let weights = vec(-1e3..1e3f64, buckets as usize * outputs);
        (vec(field(buckets), 0..8), vec(-1e3..1e3f64, outputs), weights).prop_map(move |(fields, bias, weights)| {
            let link = if outputs > 1 { "ovr" } else { "logistic" };
            let width = if wide { "f64" } else { "f32" };
            let header = json!({
                "hash": hash, "link": link, "buckets": buckets, "weights": width, "bias": bias, "fields": fields
            });
            (header, weights)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn scores_equal_the_twins(
        (header, weights) in model(),
        rows in vec([cell(true), cell(true), cell(true), cell(false), cell(false)], 1..40),
    ) {
        let engine = load(Format::LinearHashed, &file(&header, &weights), &Limits::default()).unwrap();
        // As the model orders its inputs.
        let places = ["a", "b", "c", "x", "y"];
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .map(|row| {
                let cell = |name: &String| row[places.iter().position(|p| p == name).unwrap()].clone();
                engine.input_names().iter().map(cell).collect()
            })
            .collect();
        let whole = score(engine.as_ref(), &rows);
        let width = engine.margin_width();
        for (at, row) in rows.iter().enumerate() {
            let expected = twin::margins(&header, &weights, engine.input_names(), row);
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole.margins[at * width..][..width]), bits(&expected), "row {}: {:?}", at, row);
            let alone = score(engine.as_ref(), std::slice::from_ref(row));
            prop_assert_eq!(bits(&alone.margins), bits(&expected));
            prop_assert_eq!(bits(&alone.values), bits(&whole.values[at * width..][..width]));
        }
    }

    #[test]
    fn changed_files_do_not_panic(
        (header, weights) in model(),
        changes in vec((0.0..1.0f64, any::<u8>()), 1..6),
        cut in prop_oneof![3 => Just(1.0), 1 => 0.0..1.0f64],
    ) {
        let mut bytes = file(&header, &weights);
        // The header, whose bytes mean most, gets half of the changes.
        let start = 24 + serde_json::to_vec(&header).unwrap().len();
        for (n, (at, byte)) in changes.into_iter().enumerate() {
            let within = if n % 2 == 0 { start } else { bytes.len() };
            bytes[(at * within as f64) as usize] = byte;
        }
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        let limits = Limits { max_memory_bytes: 1 << 20, max_features: 1000, max_outputs: 100, ..Limits::default() };
        if let Ok(engine) = load(Format::LinearHashed, &bytes, &limits) {
            let cell = |column| if engine.takes_text(column) { text("a, b c") } else { Cell::Number(f64::INFINITY) };
            let row: Vec<Cell> = (0..engine.inputs()).map(cell).collect();
            let mut out = Outputs::default();
            let want = Want { contributions: false, ..ALL };
            engine.score(&batch(engine.as_ref(), &[row]), &mut Scratch::default(), &mut out, want).unwrap();
            prop_assert_eq!(out.margins.len(), engine.margin_width());
        }
    }
}
