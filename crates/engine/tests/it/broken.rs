//! Broken files: each is refused with words that name the place.

use headgate_engine::{Format, Limits, LoadError, load};

use crate::fixtures::model;

mod catboost;
mod forest_json;

fn refused(format: Format, bytes: &[u8]) -> String {
    match load(format, bytes, &Limits::default()) {
        Err(e) => e.to_string(),
        Ok(_) => "loaded".into(),
    }
}

/// The fixture with the first occurrence of `from`, which must be there, replaced.
fn edited(name: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(model(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn lightgbm_files() {
    for (from, to, message) in [
        ("tree\n", "tre\n", "line 1: expected `tree`, the first line of LightGBM's text format"),
        ("num_class=1", "num_class=0", "header: `num_class=0`, expected 1 or more"),
        ("num_class=1\n", "", "header: no `num_class`"),
        ("num_class=1", "num_class=x", "header: `num_class=x` is not a number"),
        ("max_feature_idx=5", "max_feature_idx=6", "header: `feature_names` lists 6, but `max_feature_idx` says 7"),
        ("max_feature_idx=5", "max_feature_idx=-1", "header: `max_feature_idx=-1`, expected 0 or more"),
        (
            "num_tree_per_iteration=1",
            "num_tree_per_iteration=3",
            "header: 4 trees are no multiple of `num_tree_per_iteration=3`",
        ),
        (
            "num_tree_per_iteration=1",
            "num_tree_per_iteration=2",
            "header: objective `binary` with `num_tree_per_iteration=2`, expected 1",
        ),
        ("binary sigmoid:1", "binary sigmoid:-1", "header: objective `binary sigmoid:-1` has no `sigmoid` over 0"),
        ("binary sigmoid:1", "my_own", "not supported: LightGBM objective `my_own`"),
        ("Tree=1\n", "Tree=2\n", "tree 1: `Tree=2` is out of order"),
        ("end of trees", "end of tree", "end of file: no `end of trees`: the file was cut short"),
        ("num_cat=2", "num_cat 2", "tree 0: a line without `=`"),
        ("num_leaves=6", "num_leaves=7", "tree 0: `leaf_value` has 6 values, expected 7"),
        ("num_leaves=6", "num_leaves=0", "tree 0: `num_leaves=0`"),
        ("num_leaves=6", "num_leaves=99999999999999999999", "tree 0: `num_leaves=99999999999999999999` is not a count"),
        ("split_feature=4 0", "split_feature=55 0", "tree 0, node 0: feature 55 of 6"),
        ("split_feature=4 0", "split_feature=-4 0", "tree 0: `split_feature` has `-4` at place 0"),
        ("left_child=-1 3", "left_child=-1 9", "tree 0, node 1: child 9 of 5 splits"),
        ("left_child=-1 3", "left_child=-1 -9", "tree 0, node 1: child 13 of 11 nodes"),
        ("left_child=-1 3", "left_child=-1 0", "tree 0, node 1: child 0 has another parent already"),
        ("left_child=-1 3", "left_child=1 3", "tree 0, node 0: child 1 has another parent already"),
        ("threshold=0 0.0006", "threshold=0 nan 0.0006", "tree 0: `threshold` has 6 values, expected 5"),
        ("threshold=0 0.00068431990567093936", "threshold=0 nan", "tree 0, node 1: threshold is not a number"),
        ("threshold=0 ", "threshold=2 ", "tree 0, node 0: category set 2 of 2"),
        ("decision_type=1 10", "decision_type=1 14", "tree 0, node 1: decision type 14, expected 0 to 11"),
        ("leaf_value=0.4", "leaf_value=inf 0.4", "tree 0: `leaf_value` has 7 values, expected 6"),
        ("leaf_value=0.44126727337286309", "leaf_value=inf", "tree 0, leaf 0: leaf value inf is not finite"),
        ("cat_boundaries=0 1 2", "cat_boundaries=0 2 1", "tree 0: `cat_boundaries` do not rise from 0"),
        (
            "cat_boundaries=0 1 2",
            "cat_boundaries=0 1 4000000000",
            "tree 0: `cat_threshold` has 2 values, expected 4000000000",
        ),
        ("cat_threshold=2 2\n", "", "tree 0: no `cat_threshold`"),
        ("[5, 7, 11]]", "[5, 7, 11", "last line: `pandas_categorical`: EOF while parsing a list at line 1 column 48"),
        ("-1:0:1:2", "-1:0:x", "header, feature 4: `feature_infos` has `-1:0:x`"),
    ] {
        assert_eq!(refused(Format::LightgbmText, &edited("lgb-pandas", from, to)), message);
    }
}

#[test]
fn a_lightgbm_file_cut_anywhere_before_its_trees_end_is_refused() {
    let whole = model("lgb-pandas");
    let end = whole.windows(12).position(|w| w == b"end of trees").unwrap();
    for cut in 0..end + 12 {
        assert_ne!(refused(Format::LightgbmText, &whole[..cut]), "loaded", "cut at {cut}");
    }
}

#[test]
fn xgboost_files() {
    let param = "learner.learner_model_param";
    for (from, to, message) in [
        ("\"learner\"", "\"lerner\"", "the document: no `learner`".to_owned()),
        (
            "\"num_feature\":\"4\",\"num_target\"",
            "\"num_feature\":\"x\",\"num_target\"",
            format!("{param}.num_feature: `x` is not an integer"),
        ),
        (
            "\"num_feature\":\"4\",\"num_target\"",
            "\"num_feature\":\"3\",\"num_target\"",
            "learner.feature_types: 4 texts for 3 features".into(),
        ),
        (
            "\"num_feature\":\"4\",\"num_target\"",
            "\"num_feature\":\"-4\",\"num_target\"",
            format!("{param}.num_feature: -4, expected 0 or more"),
        ),
        ("[5.466667E-1]", "[nope]", format!("{param}.base_score: `nope` is not a finite number")),
        ("[5.466667E-1]", "[0.5,0.5]", format!("{param}.base_score: 2 values for 1 outputs")),
        ("[5.466667E-1]", "[1.5]", format!("{param}.base_score: 1.5, expected 0 to 1 for a logistic objective")),
        (
            "\"binary:logistic\"",
            "\"multi:softprob\"",
            "learner.objective: `multi:softprob` with `num_class` 0 and 1 outputs".into(),
        ),
        ("\"binary:logistic\"", "\"my:own\"", "not supported: XGBoost objective `my:own`".into()),
        ("\"name\":\"gbtree\"", "\"name\":\"gbforest\"", "not supported: XGBoost booster `gbforest`".into()),
        (
            "\"num_trees\":\"3\"",
            "\"num_trees\":\"4\"",
            "learner.gradient_booster.model.trees: 3 trees, but `num_trees` is 4".into(),
        ),
        (
            "\"tree_info\":[0,0,0]",
            "\"tree_info\":[0,0]",
            "learner.gradient_booster.model.tree_info: 2 values for 3 trees".into(),
        ),
        (
            "\"tree_info\":[0,0,0]",
            "\"tree_info\":[0,1,0]",
            "learner.gradient_booster.model.tree_info: tree 1 adds to none of 1 outputs".into(),
        ),
        ("\"id\":1", "\"id\":0", "tree 1: its id 0 is out of range or taken".into()),
        (
            "\"num_nodes\":\"13\",\"size_leaf_vector\":\"1\"",
            "\"num_nodes\":\"14\",\"size_leaf_vector\":\"1\"",
            "tree 0: `split_conditions` has 13 values for 14 nodes".into(),
        ),
        ("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\"", "tree 0: 3 values in a leaf for 1 outputs".into()),
        (
            "\"left_children\":[1,3",
            "\"left_children\":[1,0",
            "tree 0, node 1: child 0 has another parent already".into(),
        ),
        ("\"left_children\":[1,3", "\"left_children\":[1,99", "tree 0, node 1: child 99 of 13 nodes".into()),
        ("\"left_children\":[1,3", "\"left_children\":[1,-3", "tree 0, node 1: left child -3".into()),
        (
            "\"left_children\":[1,3",
            "\"left_children\":[1,3.5",
            "tree 0.left_children: expected an array of integers, found an array of numbers".into(),
        ),
        ("\"split_indices\":[2,0", "\"split_indices\":[2,55", "tree 0, node 1: feature 55 of 4".into()),
        (
            "\"split_conditions\":[1E-45,-2.8956845E-1",
            "\"split_conditions\":[1E-45,NaN",
            "tree 0, node 1: threshold is not a number".into(),
        ),
        ("4.8442993E-1,2.5242858E0", "Infinity,2.5242858E0", "tree 0, node 4: leaf value inf is not finite".into()),
        (
            "\"categories_nodes\":[0]",
            "\"categories_nodes\":[77]",
            "tree 0.categories_nodes: node 77 is out of range or order".into(),
        ),
        (
            "\"categories_nodes\":[0,5]",
            "\"categories_nodes\":[5,0]",
            "tree 1.categories_nodes: node 0 is out of range or order".into(),
        ),
        (
            "\"categories_sizes\":[25]",
            "\"categories_sizes\":[26]",
            "tree 0, node 0: categories 0 and 26 on of 25".into(),
        ),
        (
            "\"categories_sizes\":[25]",
            "\"categories_sizes\":[9223372036854775807]",
            "tree 0, node 0: categories 0 and 9223372036854775807 on of 25".into(),
        ),
        (
            "\"categories\":[1,2",
            "\"categories\":[1,3000000000",
            "tree 0, node 0: category 3000000000, expected 0 to 16777215".into(),
        ),
        ("\"categories\":[1,2", "\"categories\":[1,-2", "tree 0, node 0: category -2, expected 0 to 16777215".into()),
    ] {
        assert_eq!(refused(Format::XgboostJson, &edited("xgb3-logistic-json", from, to)), message);
    }
    for (from, to, message) in [
        ("\"size_leaf_vector\":\"2\"", "\"size_leaf_vector\":\"3\"", "tree 0: 3 values in a leaf for 2 outputs"),
        (
            "\"leaf_weights\":[-2.614235E-1",
            "\"leaf_weights\":[Infinity",
            "tree 0, node 3: leaf value inf is not finite",
        ),
        (
            "\"right_children\":[2,4,6,0",
            "\"right_children\":[2,4,6,7",
            "tree 0, node 3: leaf 7 of 8 values, 2 for each",
        ),
        (
            "\"right_children\":[2,4,6,0",
            "\"right_children\":[2,4,6,-1",
            "tree 0, node 3: leaf -1 of 8 values, 2 for each",
        ),
    ] {
        assert_eq!(refused(Format::XgboostJson, &edited("xgb3-vectors-json", from, to)), message);
    }
    let weights = "\"weight_drop\":[";
    let message = "learner.gradient_booster.weight_drop: 10 values for 9 trees";
    assert_eq!(refused(Format::XgboostJson, &edited("xgb3-dart-json", weights, "\"weight_drop\":[1,")), message);
}

#[test]
fn an_xgboost_file_cut_anywhere_is_refused() {
    for (name, format) in [("xgb3-logistic-json", Format::XgboostJson), ("xgb3-logistic-ubj", Format::XgboostUbj)] {
        let whole = model(name);
        for cut in 0..whole.len() {
            assert_ne!(refused(format, &whole[..cut]), "loaded", "{name} cut at {cut}");
        }
    }
}

#[test]
fn a_category_costs_no_more_than_the_limit() {
    // Eight bytes of file that ask for two megabytes.
    let bytes = edited("xgb3-logistic-json", "\"categories\":[1,2", "\"categories\":[1,16777215");
    let limits = Limits { max_memory_bytes: 1 << 20, ..Limits::default() };
    let error = load(Format::XgboostJson, &bytes, &limits).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { came: 2_097_152, .. }), "{error}");
    assert!(load(Format::XgboostJson, &bytes, &Limits::default()).is_ok());
}
