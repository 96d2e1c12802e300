//! Files of CatBoost and of scikit-learn's exporter: the engine's fixtures, proven by the libraries' own margins.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::elsewhere::publish;
use crate::rig::Rig;

fn fixture(name: &str, ending: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/engine/tests/it/fixtures");
    folder.join(format!("fixture-{name}.{ending}"))
}

fn numbers(name: &str, ending: &str) -> Vec<f64> {
    let bytes = std::fs::read(fixture(name, ending)).unwrap();
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Golden rows as callers write them: `features` with their categories.
fn golden(name: &str, features: &[(&str, &[&str])]) -> String {
    let (x, margins) = (numbers(name, "x"), numbers(name, "margins"));
    let width = margins.len() * features.len() / x.len();
    let mut lines = String::new();
    for (row, margins) in x.chunks(features.len()).zip(margins.chunks(width)) {
        let mut cells: Map<String, Value> = Map::new();
        for (&value, (feature, categories)) in row.iter().zip(features) {
            let cell = match categories.get(value as usize) {
                _ if value.is_nan() => Value::Null,
                Some(text) => json!(text),
                None if value.is_infinite() => json!(if value > 0.0 { "Infinity" } else { "-Infinity" }),
                None => json!(value),
            };
            cells.insert((*feature).to_owned(), cell);
        }
        cells.insert("margin".into(), json!(margins));
        lines += &(serde_json::to_string(&cells).unwrap() + "\n");
    }
    lines
}

#[tokio::test]
async fn their_features_categories_and_classes_become_the_signature() {
    let rig = Rig::new().await;
    let no: &[&str] = &[];
    let jobs: &[&str] = &["São Paulo", "admin.", "x,y]"];
    for (name, features, engine, version, classes) in [
        (
            "cat-onehot",
            vec![("c0", no), ("c1", no), ("c2", &["x,y]", "São Paulo"]), ("c3", no)],
            "catboost",
            "1.2.10",
            vec!["1"],
        ),
        ("cat-nested", vec![("f0", no), ("f1", no), ("f2", no), ("f3", no)], "catboost", "1.2.10", vec!["0", "1", "2"]),
        (
            "skl-hist",
            vec![("age", no), ("a b", no), ("é", no), ("d", no), ("job", jobs)],
            "forest",
            "scikit-learn 1.9.1",
            vec!["true"],
        ),
        (
            "skl-forest",
            vec![("f0", no), ("f1", no), ("f2", no), ("f3", no)],
            "forest",
            "scikit-learn 1.9.1",
            vec!["São", "no", "yes"],
        ),
    ] {
        let rows = rig.dir.path().join("rows.jsonl");
        std::fs::write(&rows, golden(name, &features)).unwrap();
        let (model, rows) = (fixture(name, "model").display().to_string(), rows.display().to_string());
        let args = [&model, "--model", name, "--golden", &rows, "--promote"];
        let report = publish(&rig, &args).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (manifest, _) = rig.artifact(&report.model).await;
        assert_eq!((manifest.engine.name.as_str(), manifest.engine.version.as_deref()), (engine, Some(version)));
        let inputs = manifest.signature.inputs.iter().zip(&features);
        for (input, (feature, categories)) in inputs {
            assert_eq!(input.name, *feature);
            assert_eq!(input.categories.as_deref().unwrap_or_default(), *categories, "{name}: {feature}");
        }
        assert_eq!(manifest.signature.outputs[0].classes, classes, "{name}");
        assert_eq!(manifest.golden.unwrap().rows, 25);
    }
}
