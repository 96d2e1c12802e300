//! Tiny committed models with the libraries' own scores, so that exactness is tested without Python. Those named `xgb1`
//! were written by XGBoost 1.7.6, the others by XGBoost 3.2.0, LightGBM 4.7.0, CatBoost 1.2.10 and scikit-learn 1.9.1, all
//! by `differential*.py FOLDER fixture`.

use std::path::{Path, PathBuf};

use headgate_engine::lightgbm::{self, FeatureInfo};
use headgate_engine::{
    Batch, Category, Format, Limits, LoadError, OutputKind, Outputs, Scratch, Want, catboost, forest_json, load, sniff,
    xgboost,
};

use crate::cases;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures")
}

/// A fixture's model file.
pub(crate) fn model(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("fixture-{name}.model"))).unwrap()
}

/// The fixtures' names and formats.
pub(crate) const ALL: [(&str, Format); 12] = [
    ("lgb-pandas", Format::LightgbmText),
    ("lgb-multiclass", Format::LightgbmText),
    ("xgb3-logistic-json", Format::XgboostJson),
    ("xgb3-logistic-ubj", Format::XgboostUbj),
    ("xgb3-dart-json", Format::XgboostJson),
    ("xgb1-logistic-json", Format::XgboostJson),
    ("xgb3-vectors-json", Format::XgboostJson),
    ("xgb3-vectors-ubj", Format::XgboostUbj),
    ("cat-onehot", Format::CatboostJson),
    ("cat-nested", Format::CatboostJson),
    ("skl-forest", Format::ForestJson),
    ("skl-hist", Format::ForestJson),
];

#[test]
fn scores_equal_the_libraries_own() {
    let cases = cases::read(&folder());
    assert_eq!(cases.len(), ALL.len());
    cases.iter().for_each(cases::Case::check);
}

#[test]
fn formats_are_told_apart() {
    for (name, format) in ALL {
        assert_eq!(sniff(&model(name)), Some(format), "{name}");
    }
}

#[test]
fn lightgbm_says_what_its_columns_are() {
    let about = lightgbm::describe(&model("lgb-pandas")).unwrap();
    assert_eq!(about.feature_names, ["age", "a_b", "é", "d", "job", "grade"]);
    assert_eq!(about.objective.as_deref(), Some("binary sigmoid:1"));
    assert_eq!((about.classes, about.trees_per_iteration, about.iterations), (1, 1, 4));
    assert_eq!(about.categorical_features, [4, 5]);
    assert!(matches!(about.feature_infos[0], FeatureInfo::Range { min, max } if min < max));
    assert_eq!(about.feature_infos[4], FeatureInfo::Categories(vec![-1, 0, 1, 2]));
    let categories = about.categories().unwrap();
    assert_eq!(categories[0], None);
    let texts = ["São Paulo", "admin.", "x,y]"].map(|t| Category::Text(t.into()));
    assert_eq!(categories[4], Some(&texts[..]));
    assert_eq!(categories[5], Some(&[5, 7, 11].map(Category::Int)[..]));
    let engine = load(Format::LightgbmText, &model("lgb-pandas"), &Limits::default()).unwrap();
    assert_eq!(engine.output_kind(), OutputKind::Binary);
    assert_eq!(engine.input_names(), about.feature_names);
    assert_eq!(engine.categorical()[4].unwrap().max_code, Some(2));
    assert_eq!(engine.categorical()[0], None);
}

#[test]
fn xgboost_says_what_its_columns_are() {
    for (name, format, version) in
        [("xgb3-logistic-ubj", Format::XgboostUbj, "3.2.0"), ("xgb1-logistic-json", Format::XgboostJson, "1.7.6")]
    {
        let about = xgboost::describe(format, &model(name)).unwrap();
        assert_eq!((about.version.as_str(), about.booster.as_str()), (version, "gbtree"));
        assert_eq!(about.objective, "binary:logistic");
        assert_eq!((about.features, about.classes, about.targets, about.rounds), (4, 0, 1, Some(3)));
        assert_eq!(about.feature_types, ["float", "float", "c", "float"]);
        let engine = load(format, &model(name), &Limits::default()).unwrap();
        assert_eq!(engine.output_kind(), OutputKind::Binary);
        assert!(engine.categorical()[2].unwrap().max_code.unwrap() > 30);
        assert_eq!(engine.categorical()[0], None);
    }
    let about = xgboost::describe(Format::XgboostJson, &model("xgb3-dart-json")).unwrap();
    assert_eq!((about.booster.as_str(), about.classes, about.rounds), ("dart", 3, Some(3)));
}

#[test]
fn catboost_says_what_its_columns_are() {
    let about = catboost::describe(&model("cat-onehot")).unwrap();
    assert_eq!((about.version.as_str(), about.loss.as_deref()), ("1.2.10", Some("Logloss")));
    assert_eq!((about.width, about.trees), (1, 4));
    assert_eq!(about.feature_names, ["c0", "c1", "c2", "c3"]);
    assert_eq!(about.classes, [0, 1].map(Category::Int));
    assert_eq!(about.categories, [None, None, Some(vec!["x,y]".into(), "São Paulo".into()]), None]);
    let engine = load(Format::CatboostJson, &model("cat-onehot"), &Limits::default()).unwrap();
    assert_eq!(engine.output_kind(), OutputKind::Binary);
    assert_eq!(engine.input_names(), about.feature_names);
    assert_eq!(engine.categorical()[2].unwrap().max_code, Some(1));
    assert_eq!(engine.categorical()[0], None);
    let about = catboost::describe(&model("cat-nested")).unwrap();
    assert_eq!((about.loss.as_deref(), about.width, about.trees), (Some("MultiClass"), 3, 2));
    assert!(about.feature_names.is_empty());
}

#[test]
fn a_scale_and_a_bias_come_after_the_sum() {
    let plain = String::from_utf8(model("cat-onehot")).unwrap();
    let scaled = plain.replace("\"scale_and_bias\":[1,[0]]", "\"scale_and_bias\":[0.3,[0.7]]");
    assert_ne!(plain, scaled);
    let rows = [[0.5, -1.0, 0.0, 0.2], [f64::NAN; 4]];
    let [plain, scaled] = [plain, scaled].map(|text| {
        let engine = load(Format::CatboostJson, text.as_bytes(), &Limits::default()).unwrap();
        let (mut scratch, mut out) = (Scratch::default(), Outputs::default());
        let want = Want { margins: true, outputs: true, contributions: true };
        engine.score(&Batch::from_rows(4, &rows), &mut scratch, &mut out, want).unwrap();
        out
    });
    for (i, (&margin, &sum)) in scaled.margins.iter().zip(&plain.margins).enumerate() {
        assert_eq!(margin, 0.3 * sum + 0.7);
        assert!((scaled.values[i] - 1.0 / (1.0 + (-margin).exp())).abs() < 1e-15);
        let contributions: f64 = scaled.contributions[5 * i..5 * i + 5].iter().sum();
        assert!((contributions - margin).abs() < 1e-12);
    }
}

#[test]
fn a_forest_says_what_its_columns_are() {
    let about = forest_json::describe(&model("skl-hist")).unwrap();
    assert_eq!(about.library, "scikit-learn 1.9.1");
    assert_eq!(about.model, "HistGradientBoostingClassifier");
    assert_eq!(about.feature_names, ["age", "a b", "é", "d", "job"]);
    assert_eq!(about.classes, [false, true].map(Category::Bool));
    let texts = ["São Paulo", "admin.", "x,y]"].map(|t| Category::Text(t.into()));
    assert_eq!(about.categories[4].as_deref(), Some(&texts[..]));
    assert_eq!(about.categories[0], None);
    let engine = load(Format::ForestJson, &model("skl-hist"), &Limits::default()).unwrap();
    assert_eq!(engine.output_kind(), OutputKind::Binary);
    assert_eq!(engine.categorical()[4].unwrap().max_code, Some(2));
    let about = forest_json::describe(&model("skl-forest")).unwrap();
    assert_eq!(about.classes, ["São", "no", "yes"].map(|t| Category::Text(t.into())));
    let engine = load(Format::ForestJson, &model("skl-forest"), &Limits::default()).unwrap();
    assert_eq!(engine.output_kind(), OutputKind::Multiclass(3));
    assert!(engine.input_names().is_empty());
}

#[test]
fn the_documented_forest_scores_as_documented() {
    let page = include_str!("../../../../docs/FORMATS.md");
    let json = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(sniff(json.as_bytes()), Some(Format::ForestJson));
    let engine = load(Format::ForestJson, json.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(engine.output_kind(), OutputKind::Binary);
    // Age and job: 41.5 is still left, a missing age too; a clerk, an unknown job and none go right.
    let rows = [[41.5, 1.0], [41.6, 1.0], [f64::NAN, 1.0], [30.0, 0.0], [30.0, 7.0], [30.0, f64::NAN]];
    let want = Want { margins: true, ..Want::default() };
    let mut out = Outputs::default();
    engine.score(&Batch::from_rows(2, &rows), &mut Scratch::default(), &mut out, want).unwrap();
    assert_eq!(out.margins, [-0.375, 0.5, -0.375, 0.25, 0.25, 0.25]);
}

#[test]
fn limits_hold() {
    let (name, format) = ALL[0];
    let refused = |limits: Limits| load(format, &model(name), &limits).unwrap_err();
    let small = refused(Limits { max_memory_bytes: 300, ..Limits::default() });
    assert!(matches!(small, LoadError::TooLarge { limit: 300, .. }), "{small}");
    let narrow = refused(Limits { max_features: 5, ..Limits::default() });
    assert_eq!(narrow.to_string(), "the number of features is 6, the limit is 5");
}
