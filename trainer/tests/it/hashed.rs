//! A linear model over hashed features, as scikit-learn trained it.

use headgate_contract::manifest::Dtype;

use crate::elsewhere::publish;
use crate::rig::Rig;

fn fixture(name: &str) -> String {
    format!("{}/tests/it/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn its_inputs_are_numbers_and_texts_and_its_rows_are_held_to_the_stated_tolerance() {
    let rig = Rig::new().await;
    let (file, rows) = (fixture("hashed.hgl"), fixture("hashed.jsonl"));
    let args = [&file, "--model", "ctr", "--golden", &rows];
    // Weights of 32 bits, and a sum in another order.
    let error = publish(&rig, &args).await.unwrap_err().to_string();
    assert!(error.contains("golden row 0 does not reproduce: margin"), "{error}");
    let report = publish(&rig, &[&args[..], &["--tolerance", "1e-6"]].concat()).await.unwrap();
    let (manifest, bytes) = rig.artifact(&report.model).await;
    assert!(bytes == std::fs::read(&file).unwrap());
    assert_eq!((manifest.engine.name.as_str(), manifest.files[0].name.as_str()), ("linear", "model.hgl"));
    let inputs: Vec<_> = manifest.signature.inputs.iter().map(|i| (i.name.as_str(), i.dtype)).collect();
    let expected = [("age", Dtype::Fp64), ("job", Dtype::Bytes), ("balance", Dtype::Fp64), ("housing", Dtype::Bytes)];
    assert_eq!(inputs, expected);
    assert!(manifest.signature.inputs.iter().all(|i| i.categories.is_none()));
    let golden = manifest.golden.unwrap();
    assert_eq!((golden.rows, golden.tolerance), (12, 1e-6));
    let another = publish(&rig, &[&args[..], &["--tolerance", "1e-5"]].concat()).await.unwrap();
    assert!(!another.model.published().unwrap().existing);
}

#[tokio::test]
async fn rows_and_tolerances_that_do_not_fit_are_named() {
    let rig = Rig::new().await;
    let file = fixture("hashed.hgl");
    let rows = rig.dir.path().join("rows.jsonl").display().to_string();
    for (line, tolerance, words) in [
        (r#"{"job": 5, "margin": 1}"#, "1e-6", "golden row 0, feature 'job': Number(5.0) came, a text expected"),
        (r#"{"age": "x", "margin": 1}"#, "1e-6", "golden row 0, feature 'age': Text(\"x\") came, a number expected"),
        (r#"{"age": 5, "margin": 1}"#, "nan", "golden tolerance NaN is no number from 0 up"),
    ] {
        std::fs::write(&rows, line).unwrap();
        let args = [&file, "--model", "ctr", "--golden", &rows, "--tolerance", tolerance];
        let error = publish(&rig, &args).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let (file, rows) = (fixture("lightgbm.txt"), fixture("lightgbm.jsonl"));
    let args = [&file, "--model", "trees", "--golden", &rows, "--tolerance", "1e-6"];
    let error = publish(&rig, &args).await.unwrap_err().to_string();
    assert!(error.contains("'lightgbm' is held to the training library's own bits"), "{error}");
}

#[tokio::test]
async fn a_table_of_golden_rows_keeps_texts_that_look_like_numbers() {
    let rig = Rig::new().await;
    let rows = rig.dir.path().join("rows.csv");
    std::fs::write(&rows, "age,job,housing,margin\n30,007,true,0\n,,no,0\n").unwrap();
    let rows = rows.display().to_string();
    let args = [&fixture("hashed.hgl"), "--model", "ctr", "--golden", &rows, "--tolerance", "100"];
    let report = publish(&rig, &args).await.unwrap();
    let golden = rig.artifact(&report.model).await.0.golden.unwrap();
    let values = serde_json::to_value(&golden.inputs).unwrap();
    assert_eq!(values[1]["values"], serde_json::json!(["007", null]));
    assert_eq!(values[3]["values"], serde_json::json!(["true", "no"]));
}
