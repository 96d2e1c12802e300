#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

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
