//! Broken forests.

use headgate_engine::{Format, Limits, LoadError, load};

use super::{edited, refused};
use crate::fixtures::model;

fn broken(name: &str, cases: &[(&str, &str, &str)]) {
    for (from, to, message) in cases {
        assert_eq!(&refused(Format::ForestJson, &edited(name, from, to)), message, "{from} -> {to}");
    }
}

#[test]
fn the_document() {
    broken(
        "skl-forest",
        &[
            (
                "headgate-forest/1",
                "headgate-forest/2",
                "not supported: forest format `headgate-forest/2`, this build reads `headgate-forest/1`",
            ),
            (
                "\"start\": [0.0, 0.0, 0.0]",
                "\"start\": []",
                "forest: `start` is empty, expected a value for each margin",
            ),
            ("\"start\": [0.0, 0.0, 0.0]", "\"start\": [0, 0]", "forest: 3 classes for 2 margins, expected 2"),
            ("\"divide_by\": 3.0", "\"divide_by\": 0", "forest: `divide_by` is not over 0"),
            ("\"divide_by\": 3.0", "\"divide_by\": 3.0, \"transform\": {\"sigmoid\": -1}", "forest: `sigmoid` of -1"),
            (
                "\"divide_by\": 3.0",
                "\"divide_by\": 3.0, \"transform\": {\"isolation\": -1}",
                "forest: `isolation` of -1",
            ),
            ("\"multiclass\"", "\"binary\"", "forest: 3 classes for 3 margins, expected 2"),
        ],
    );
    broken("skl-hist", &[("{\"sigmoid\": 1.0}", "\"softmax\"", "forest: `softmax` over one margin")]);
    for (from, to, message) in [
        ("\"multiclass\"", "\"classes\"", "forest: unknown variant `classes`, expected one of `regression`"),
        ("\"f32\"", "\"f16\"", "forest: unknown variant `f16`, expected `f32` or `f64`"),
        ("\"divide_by\": 3.0", "\"divide_by\": 3.0, \"transform\": \"probit\"", "forest: unknown variant `probit`"),
        ("\"leaf\": [", "\"leaf\": [1e999, ", "forest: number out of range at line 1"),
        ("\"leaf\": [", "\"leaf\": [NaN, ", "forest: expected value at line 1"),
        ("\"left\": [1", "\"left\": [-1", "forest: invalid value: integer `-1`"),
        ("\"trees\": [", "\"trees\": [[[[", "forest: invalid type: sequence"),
    ] {
        let came = refused(Format::ForestJson, &edited("skl-forest", from, to));
        assert!(came.starts_with(message), "{came}");
    }
    let deep = format!("{{\"format\": \"headgate-forest/1\", \"trees\": {}", "[".repeat(1_000_000));
    assert!(refused(Format::ForestJson, deep.as_bytes()).starts_with("forest: invalid type: sequence"));
    let deep = format!("{{\"format\": \"headgate-forest/1\", \"later\": {}", "[".repeat(1_000_000));
    assert!(refused(Format::ForestJson, deep.as_bytes()).starts_with("forest: EOF while parsing a list at line 1"));
}

#[test]
fn trees() {
    broken(
        "skl-hist",
        &[
            ("\"margin\": 0", "\"margin\": 1", "tree 0: margin 1 of 1"),
            ("\"feature\": [4, -1", "\"feature\": [4", "tree 0: `threshold` has 9 values for 8 nodes"),
            ("\"missing_left\": [0,", "\"missing_left\": [", "tree 0: `missing_left` has 8 values for 9 nodes"),
            ("\"weight\": [300.0,", "\"weight\": [", "tree 0: `weight` has 8 values for 9 nodes"),
            ("\"feature\": [4, -1", "\"feature\": [5, -1", "tree 0, node 0: feature 5 of 5"),
            ("\"left\": [1, 0, 3", "\"left\": [1, 5, 3", "tree 0, node 1: leaf 5 of 5 values, 1 for each"),
            (
                "\"left\": [1, 0, 3",
                "\"left\": [1, 18446744073709551615, 3",
                "tree 0, node 1: leaf 18446744073709551615 of 5 values, 1 for each",
            ),
            ("\"left\": [1, 0, 3", "\"left\": [1, 0, 0", "tree 0, node 2: child 0 has another parent already"),
            ("\"left\": [1, 0, 3", "\"left\": [1, 0, 9", "tree 0, node 2: child 9 of 9 nodes"),
            ("\"left\": [1, 0, 3", "\"left\": [2, 0, 3", "tree 0, node 0: child 2 has another parent already"),
            (
                "\"sets\": [{\"node\": 0",
                "\"sets\": [{\"node\": 9",
                "tree 0, node 9: its set of categories is out of range or order",
            ),
            (
                "\"sets\": [",
                "\"sets\": [{\"node\": 0, \"codes\": [], \"left\": true}, ",
                "tree 0, node 0: its set of categories is out of range or order",
            ),
            (
                "\"codes\": [0]",
                "\"codes\": [2147483648]",
                "tree 0, node 0: category 2147483648, expected 0 to 2147483647",
            ),
            (
                "\"codes\": [0]",
                "\"codes\": [18446744073709551615]",
                "tree 0, node 0: category 18446744073709551615, expected 0 to 2147483647",
            ),
        ],
    );
    // A node that nothing leads to.
    let name = "skl-hist";
    let text = String::from_utf8(model(name)).unwrap();
    let mut text =
        text.replacen("\"feature\": [", "\"feature\": [-1, ", 1).replacen("\"threshold\": [", "\"threshold\": [0, ", 1);
    for (key, value) in [("left", "0"), ("right", "0"), ("missing_left", "0"), ("weight", "1")] {
        text = text.replacen(&format!("\"{key}\": ["), &format!("\"{key}\": [{value}, "), 1);
    }
    let text = text.replacen("\"sets\": [{\"node\": 0", "\"sets\": [{\"node\": 1", 1);
    assert_eq!(refused(Format::ForestJson, text.as_bytes()), "tree 0: 9 nodes are not reached");
}

#[test]
fn cut_anywhere() {
    for name in ["skl-forest", "skl-hist"] {
        let whole = model(name);
        for cut in 0..whole.len() {
            assert_ne!(refused(Format::ForestJson, &whole[..cut]), "loaded", "{name} cut at {cut}");
        }
    }
}

#[test]
fn a_category_costs_no_more_than_the_limit() {
    let bytes = edited("skl-hist", "\"codes\": [0]", "\"codes\": [16777215]");
    let limits = Limits { max_memory_bytes: 1 << 20, ..Limits::default() };
    let error = load(Format::ForestJson, &bytes, &limits).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { came: 2_097_152, .. }), "{error}");
    assert!(load(Format::ForestJson, &bytes, &Limits::default()).is_ok());
}

/// A chain of splits, each with a leaf on its right.
#[test]
fn a_hundred_thousand_levels_load() {
    let n = 100_000;
    let join =
        |value: &dyn Fn(usize) -> i64| (0..2 * n + 1).map(|i| value(i).to_string()).collect::<Vec<_>>().join(",");
    let split = |i: usize| i.is_multiple_of(2) && i < 2 * n;
    let leaf = |i: usize| if i == 2 * n { n as i64 } else { (i / 2) as i64 };
    let text = format!(
        "{{\"format\":\"headgate-forest/1\",\"features\":[{{}}],\"compare\":\"f64\",\"output\":\"regression\",\"start\":[0],\
         \"trees\":[{{\"feature\":[{}],\"threshold\":[{}],\"left\":[{}],\"right\":[{}],\"leaf\":[{}]}}]}}",
        join(&|i| if split(i) { 0 } else { -1 }),
        join(&|i| -(i as i64)),
        join(&|i| if split(i) { i as i64 + 2 } else { leaf(i) }),
        join(&|i| if split(i) { i as i64 + 1 } else { 0 }),
        (0..=n).map(|i| i.to_string()).collect::<Vec<_>>().join(","),
    );
    assert!(load(Format::ForestJson, text.as_bytes(), &Limits::default()).is_ok());
}
