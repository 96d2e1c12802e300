//! Valid files with bytes changed: whatever comes of it, nothing panics, and what loads can score.

use headgate_engine::{
    Batch, Format, Limits, Outputs, ScoreError, Scratch, Want, catboost, forest_json, lightgbm, load, sniff, xgboost,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fixtures::{ALL, model};

/// One change, its places as fractions of the file.
#[derive(Clone, Debug)]
enum Change {
    Flip(f64, u8),
    Cut(f64),
    Repeat(f64, usize),
    Drop(f64, usize),
    /// Puts a number or a structure in a number's place.
    Replace(f64, &'static str),
}

const PLACED: [&str; 14] = [
    "-1",
    "0",
    "1",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "1e308",
    "nan",
    "inf",
    "NaN",
    "-Infinity",
    "[]",
    "{}",
];

fn change() -> impl Strategy<Value = Change> {
    let at = 0.0..1.0f64;
    prop_oneof![
        4 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        1 => at.clone().prop_map(Change::Cut),
        1 => (at.clone(), 1..64usize).prop_map(|(at, n)| Change::Repeat(at, n)),
        1 => (at.clone(), 1..64usize).prop_map(|(at, n)| Change::Drop(at, n)),
        6 => (at, 0..PLACED.len()).prop_map(|(at, i)| Change::Replace(at, PLACED[i])),
    ]
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    let place = |at: f64| (at * bytes.len() as f64) as usize;
    match *change {
        _ if bytes.is_empty() => {}
        Change::Flip(at, byte) => {
            let at = place(at);
            bytes[at] = byte;
        }
        Change::Cut(at) => bytes.truncate(place(at)),
        Change::Repeat(at, n) => {
            let at = place(at);
            let part = bytes[at..(at + n).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
        Change::Drop(at, n) => {
            let at = place(at);
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        Change::Replace(at, with) => {
            let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
            let Some(start) = bytes[place(at)..].iter().position(number).map(|p| p + place(at)) else { return };
            let end = bytes[start..].iter().position(|b| !number(b)).map_or(bytes.len(), |p| p + start);
            bytes.splice(start..end, with.bytes());
        }
    }
}

/// Loads, and scores what loads.
fn survives(format: Format, bytes: &[u8]) {
    let limits = Limits { max_memory_bytes: 1 << 24, max_features: 1000, max_outputs: 100, ..Limits::default() };
    let _ = sniff(bytes);
    match format {
        Format::LightgbmText => drop(lightgbm::describe(bytes).map(|d| d.categories().map(|c| c.len()))),
        Format::CatboostJson => drop(catboost::describe(bytes)),
        Format::ForestJson => drop(forest_json::describe(bytes)),
        format => drop(xgboost::describe(format, bytes)),
    }
    let Ok(engine) = load(format, bytes, &limits) else { return };
    assert!(engine.memory_bytes() <= limits.max_memory_bytes);
    let values = [0.0, -1.0, 1e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0, 1e-36, 4e9, 31.5];
    let mut alone = Vec::new();
    // Each number of rows is scored in another way.
    for rows in [1, 8, 9, 17] {
        let mut batch = Batch::new(engine.inputs(), rows);
        for c in 0..engine.inputs() {
            batch.column_mut(c).iter_mut().enumerate().for_each(|(r, v)| *v = values[(c + r) % values.len()]);
        }
        let mut out = Outputs::default();
        engine
            .score(
                &batch,
                &mut Scratch::default(),
                &mut out,
                Want { margins: true, outputs: true, contributions: false },
            )
            .unwrap();
        assert_eq!(out.margins.len(), rows * engine.margin_width());
        assert_eq!(out.values.len(), rows * engine.output_width());
        let first: Vec<u64> = out.margins[..engine.margin_width()].iter().map(|m| m.to_bits()).collect();
        if rows == 1 {
            alone.clone_from(&first);
        }
        assert_eq!(first, alone, "the first of {rows} rows");
        let want = Want { contributions: true, ..Want::default() };
        match engine.score(&batch, &mut Scratch::default(), &mut out, want) {
            Ok(()) => {
                assert_eq!(out.contributions.len(), rows * engine.margin_width() * (engine.inputs() + 1));
                assert_eq!(engine.no_contributions(), None);
            }
            Err(ScoreError::Contributions(why)) => assert_eq!(engine.no_contributions(), Some(why)),
            Err(e) => panic!("{e}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_do_not_panic(which in 0..ALL.len(), changes in vec(change(), 1..5)) {
        let (name, format) = ALL[which];
        let mut bytes = model(name);
        changes.iter().for_each(|change| apply(change, &mut bytes));
        survives(format, &bytes);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            survives(format, &bytes);
            survives(format, &[b"{\"learner\":", &bytes[..]].concat());
            survives(format, &[b"{L\0\0\0\0\0\0\0\x07learner", &bytes[..]].concat());
            survives(format, &[b"tree\n", &bytes[..]].concat());
            survives(format, &[b"{\"oblivious_trees\":", &bytes[..]].concat());
            survives(format, &[b"{\"format\":\"headgate-forest/1\",\"trees\":", &bytes[..]].concat());
        }
    }
}
