//! Broken CatBoost files.

use headgate_engine::{Format, Limits, LoadError, catboost, load};

use super::{edited, refused};
use crate::fixtures::model;

fn broken(name: &str, cases: &[(&str, &str, &str)]) {
    for (from, to, message) in cases {
        assert_eq!(&refused(Format::CatboostJson, &edited(name, from, to)), message, "{from} -> {to}");
    }
}

#[test]
fn the_document() {
    broken(
        "cat-onehot",
        &[
            ("oblivious_trees", "trees_of_oblivion", "CatBoost model: neither `oblivious_trees` nor `trees`"),
            (
                "\"oblivious_trees\"",
                "\"trees\":[],\"oblivious_trees\"",
                "CatBoost model: both `oblivious_trees` and `trees`",
            ),
            (
                "\"flat_feature_index\":3",
                "\"flat_feature_index\":1",
                "features_info.float_features[2]: `flat_feature_index` 1 is another feature's too",
            ),
            (
                "\"flat_feature_index\":3",
                "\"flat_feature_index\":18446744073709551615",
                "features_info: a `flat_feature_index` out of range",
            ),
            (
                "\"flat_feature_index\":3",
                "\"flat_feature_index\":4294967296",
                "the number of features is 4294967297, the limit is 1000000",
            ),
            (
                "{\"hash\":607502683,\"value\":\"São Paulo\"},",
                "",
                "not supported: categorical feature `c2` of a CatBoost file that has only hashes of its categories: save it \
                 with their texts, `save_model(file, format=\"json\", pool=pool)`",
            ),
            (
                "\"values\":[-73687130,607502683]",
                "\"values\":[607502683,607502683]",
                "features_info.categorical_features[0]: a category is among its `values` twice",
            ),
            ("\"type\":\"Logloss\"", "\"type\":\"Loss\"", "not supported: CatBoost loss `Loss`"),
            (
                "\"type\":\"Logloss\"",
                "\"type\":\"MultiClass\"",
                "model_info: loss `MultiClass` with 1 values in a leaf",
            ),
            ("\"scale_and_bias\":[1,[0]]", "\"scale_and_bias\":[1,[0,1]]", "scale_and_bias: 2 biases for 1 outputs"),
        ],
    );
    let far = edited("cat-onehot", "\"flat_feature_index\":3", "\"flat_feature_index\":4294967296");
    let message = "the number of features is 4294967297, the limit is 1000000";
    assert_eq!(catboost::describe(&far).unwrap_err().to_string(), message);
    let message = "not supported: CatBoost model of 5 classes that was trained on rows of 3 of them";
    broken("cat-nested", &[("\"classes_count\":0", "\"classes_count\":5", message)]);
    let infinite =
        refused(Format::CatboostJson, &edited("cat-onehot", "\"scale_and_bias\":[1,", "\"scale_and_bias\":[1e999,"));
    assert!(infinite.starts_with("CatBoost model: number out of range at line 1 column"), "{infinite}");
}

#[test]
fn symmetric_trees() {
    broken(
        "cat-onehot",
        &[
            (
                "\"leaf_values\":[",
                "\"leaf_values\":[0,",
                "tree 0: `leaf_values` has 9 values, expected 1 for each of the leaves under 3 splits",
            ),
            ("\"leaf_weights\":[", "\"leaf_weights\":[0,", "tree 0: `leaf_weights` has 9 values for 8 leaves"),
            (
                "\"float_feature_index\":",
                "\"float_feature_index\":9",
                "tree 0, split 2: float feature 91 is none of the model's",
            ),
            ("\"border\":", "\"edge\":", "tree 0, split 2: no `float_feature_index` or no `border`"),
            ("\"value\":-73687130", "\"value\":5", "tree 0, split 0: category 5 is none of feature 2's `values`"),
            (
                "\"cat_feature_index\":0",
                "\"cat_feature_index\":1",
                "tree 0, split 0: categorical feature 1 is none of the model's",
            ),
            (
                "\"split_type\":\"OneHotFeature\"",
                "\"split_type\":\"OnlineCtr\"",
                "not supported: CatBoost statistics of categories (CTR): train with `one_hot_max_size` of at least as many \
                 as a feature has categories",
            ),
            (
                "\"split_type\":\"OneHotFeature\"",
                "\"split_type\":\"EstimatedFeature\"",
                "not supported: CatBoost split on `EstimatedFeature`",
            ),
        ],
    );
}

/// Splits that the leaves do not bear out.
#[test]
fn a_tree_of_a_million_splits_allocates_nothing() {
    let split = "{\"border\":1,\"float_feature_index\":0,\"split_type\":\"FloatFeature\"},";
    for splits in [31, 40, 63, 64, 1_000_000] {
        let many = format!("\"splits\":[{}", split.repeat(splits));
        let message = refused(Format::CatboostJson, &edited("cat-onehot", "\"splits\":[", &many));
        assert!(message.starts_with("tree 0: "), "{message}");
    }
}

#[test]
fn trees_of_any_shape() {
    broken(
        "cat-nested",
        &[
            ("\"value\":[0,0,0]", "\"value\":[0,0]", "tree 1, root.left.right.right: 2 values in a leaf, expected 3"),
            ("\"value\":[0,0,0]", "\"value\":5", "tree 1, root.left.right.right: 1 values in a leaf, expected 3"),
            (
                "\"value\":[0,0,0]",
                "\"valu\":[0,0,0]",
                "tree 1, root.left.right.right: neither a `value` nor a `split` with `left` and `right`",
            ),
            (
                "\"border\":1.5,\"float_feature_index\":2",
                "\"border\":1.5,\"float_feature_index\":7",
                "tree 0, root: float feature 7 is none of the model's",
            ),
        ],
    );
}

#[test]
fn a_million_levels_are_refused_and_sixty_are_not() {
    let nested = |levels: usize| {
        let leaf = "{\"value\":[1,2,3],\"weight\":1}";
        let split = "\"split\":{\"border\":1,\"float_feature_index\":0,\"split_type\":\"FloatFeature\"}";
        let open = "{\"left\":".repeat(levels);
        let close = format!(",\"right\":{leaf},{split}}}").repeat(levels);
        edited("cat-nested", "\"trees\":[", &format!("\"trees\":[{open}{leaf}{close},"))
    };
    assert!(load(Format::CatboostJson, &nested(60), &Limits::default()).is_ok());
    let message = refused(Format::CatboostJson, &nested(1_000_000));
    assert!(message.starts_with("CatBoost model: recursion limit exceeded at line 1 column"), "{message}");
}

#[test]
fn cut_anywhere() {
    for name in ["cat-onehot", "cat-nested"] {
        let whole = model(name);
        for cut in 0..whole.len() {
            assert_ne!(refused(Format::CatboostJson, &whole[..cut]), "loaded", "{name} cut at {cut}");
        }
    }
}

#[test]
fn categories_cost_no_more_than_the_limit() {
    // Each node of a split on the last of many categories has a set of its own.
    let (mut values, mut texts) = (String::new(), String::new());
    for i in 1..40_000 {
        values += &format!("{i},");
        texts += &format!("{{\"hash\":{i},\"value\":\"t{i}\"}},");
    }
    let text = String::from_utf8(edited("cat-onehot", "\"values\":[", &format!("\"values\":[{values}"))).unwrap();
    let text = text.replacen("\"cat_features_hash\":[", &format!("\"cat_features_hash\":[{texts}"), 1);
    let split = "{\"cat_feature_index\":0,\"split_type\":\"OneHotFeature\",\"value\":39999},";
    let leaves = "0,".repeat((1 << 13) - 8);
    let text = text.replacen("\"splits\":[", &format!("\"splits\":[{}", split.repeat(10)), 1);
    let text = text.replacen("\"leaf_values\":[", &format!("\"leaf_values\":[{leaves}"), 1);
    let weights = text.find("\"leaf_weights\"").unwrap();
    let end = weights + text[weights..].find(']').unwrap() + 2;
    let text = format!("{}{}", &text[..weights], &text[end..]);
    let limits = Limits { max_memory_bytes: 32 << 20, ..Limits::default() };
    let error = load(Format::CatboostJson, text.as_bytes(), &limits).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { came: 40_000_000.., .. }), "{error}");
    assert!(load(Format::CatboostJson, text.as_bytes(), &Limits::default()).is_ok());
}
