#![allow(clippy::unwrap_used)]
use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;

fn whole(text: &[u8]) -> Result<()> {
    let mut reader = Reader::new(text);
    reader.skip()?;
    reader.end()
}

#[test]
fn texts_read_as_serde_json_reads_them() {
    for text in
        [r#""""#, r#""a""#, r#""S\u00e3o \"x\" \\ \/ \b\f\n\r\t""#, r#""\ud83d\udeeb""#, "\"é🛫\"", r#""\u0000""#]
    {
        let ours = Reader::new(text.as_bytes()).text().unwrap();
        assert_eq!(ours, serde_json::from_str::<String>(text).unwrap(), "{text}");
    }
    for text in [r#""\ud83d""#, r#""\ud83dx""#, r#""\ude00""#, r#""\x""#, "\"\n\"", "\"", r#""\u12"#, r#""\u12g4""#] {
        assert!(Reader::new(text.as_bytes()).text().is_err(), "{text}");
    }
    assert!(Reader::new(b"\"\xff\"").text().is_err());
    assert!(Reader::new(b"\"\\n\xff\"").text().is_err());
}

#[test]
fn broken_documents_are_refused_and_deep_ones_too() {
    for text in ["", "[", "[1,]", "[,1]", "{\"a\":1,}", "{a:1}", "[1 2]", "{\"a\" 1}", "nul", "[1]x", "+1", "{,}"] {
        assert!(whole(text.as_bytes()).is_err(), "{text}");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(whole(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(whole(deep(10_000).as_bytes()).unwrap_err().what, "nesting deeper than 64");
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        ".{0,8}".prop_map(serde_json::Value::from)
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_valid_document_is_read(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        prop_assert_eq!(whole(&text), Ok(()));
    }

    #[test]
    fn what_serde_json_refuses_is_refused(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        let ours = whole(&text);
        // Ours also reads the bare words for what JSON can't write.
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?} {:?}", String::from_utf8_lossy(&text), ours, theirs);
    }
}

#[test]
fn room_is_made_for_what_comes_not_for_what_might() {
    let text = format!("{}1", "1.25,null,".repeat(50_000));
    let (mut reader, mut numbers) = (Reader::new(text.as_bytes()), Vec::new());
    assert_eq!(reader.numbers(1_000_000, &mut numbers), Ok(1));
    assert!(reader.take(b',') && numbers == [1.25]);
    assert!(numbers.capacity() < 1_000, "room for {}", numbers.capacity());
}

/// [`Reader::numbers`] as its documentation says it, one number at a time.
fn one_by_one(reader: &mut Reader<'_>, most: usize, into: &mut Vec<f64>) -> Result<usize> {
    let mut came = 0;
    while came < most {
        let behind = reader.at;
        if came > 0 && !reader.take(b',') {
            break;
        }
        let Some(value) = reader.number()? else {
            if came > 0 {
                reader.at = behind;
            }
            break;
        };
        into.push(value);
        came += 1;
    }
    Ok(came)
}

/// Reads runs of numbers and what is between them to the text's end or to an error, and answers all that came of it.
fn runs(
    text: &[u8],
    most: usize,
    read: impl Fn(&mut Reader<'_>, usize, &mut Vec<f64>) -> Result<usize>,
) -> Vec<String> {
    let (mut reader, mut seen) = (Reader::new(text), Vec::new());
    loop {
        let mut values = Vec::new();
        let came = read(&mut reader, most, &mut values);
        let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        // The place that an error tells, or that is to be read next.
        let next = reader.peek();
        seen.push(format!("{came:?} {bits:x?} {next:?} at {}", reader.at()));
        if came.is_err() || next.is_none() {
            return seen;
        }
        reader.pass(1);
    }
}

fn same_runs(text: &[u8], most: usize) -> std::result::Result<(), TestCaseError> {
    let (ours, plainly) = (runs(text, most, |r, most, into| r.numbers(most, into)), runs(text, most, one_by_one));
    prop_assert_eq!(ours, plainly, "{:?}", String::from_utf8_lossy(text));
    Ok(())
}

#[test]
fn odd_runs_read_as_number_after_number() {
    let odd = [
        "",
        "-",
        "--1",
        ".5",
        "-.5",
        "0",
        "-0",
        "0.",
        "0.0",
        "-0.0",
        "00",
        "01",
        "01.5",
        "-01",
        "1.",
        "1.,5",
        "1..5",
        "1.2.3",
        "1.2-3",
        "1-2",
        "1/2",
        "1.5/",
        "1e5",
        "1.5e5",
        "12.5E2",
        "1e",
        "+1",
        "1+",
        "null",
        "NaN",
        "-Infinity",
        "9.9999999",
        "99999999",
        "999999999",
        "1234567.8",
        "12345678.9",
        "0.12345678",
        "-0.1234567",
        "-9.12345678",
        "1.0\0",
        "1.5\u{e9}",
        "0.1234567890123456",
        "1:2",
        "1;",
        "5 ",
        " 5",
        "\t5",
        "5\n",
        "]",
        "[",
        "",
        "1.5]",
        "1.5}",
        "1 2",
        "1x",
        "-5",
        "-5.5",
    ];
    for odd in odd {
        for between in [", ", ",", ",\n    ", " ,", ",  ", ",,"] {
            let run = ["0.437983", odd, "-1.25", "3", odd, odd, "12.5", "-0.1"].join(between);
            for text in
                [format!("{run}]"), run.clone(), format!("{run}], [{run}], [{run}, 1.25, 1.5, 1.75, 2.125, 3.25]")]
            {
                for most in [1, 3, 1_000] {
                    same_runs(text.as_bytes(), most).unwrap();
                }
            }
        }
    }
    let text = b"[[-0.437983, 1.256821, 10, 12.5, -0.25, 7, 1.5],[1.5,-2.25,100.125,0],[ 1.5 , 2 ]]";
    for end in 0..=text.len() {
        same_runs(&text[..end], 50).unwrap();
    }
}

proptest! {
    #[test]
    fn runs_read_as_number_after_number(
        numbers in proptest::collection::vec("-?(0|[1-9]|[1-9][0-9]{1,8})(\\.[0-9]{1,9})?|-?[0-9]\\.[0-9]{4,7}|-?[0-9]\\.[0-9]{15,17}", 1..90),
        between in prop_oneof![Just(", "), Just(","), Just(",\n  "), Just(" , "), Just("], ["), Just(",\t")],
        before in 0usize..12,
        most in 1usize..100,
        odd in proptest::collection::vec((any::<prop::sample::Index>(), "[-+.,/:0-9eE \\]\\[\n\t\"a-f]|\\PC"), 0..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut text = format!("{}{}]", "[".repeat(before), numbers.join(between)).into_bytes();
        for (at, odd) in odd {
            let at = at.index(text.len());
            text[at] = odd.as_bytes()[0];
        }
        if cut {
            text.truncate(end.index(text.len()));
        }
        same_runs(&text, most)?;
    }
}
