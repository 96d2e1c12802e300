//! ONNX files: what their graphs say becomes the signature, and rows are left to backends to prove.

use headgate_contract::manifest::{Dtype, Input, Output};

use crate::elsewhere::publish;
use crate::rig::Rig;

fn fixture(name: &str) -> String {
    format!("{}/tests/it/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn a_pipeline_is_published_with_the_names_types_and_classes_of_its_graph() {
    let rig = Rig::new().await;
    let args = [&fixture("pipeline.onnx"), "--model", "m", "--golden", &fixture("pipeline.jsonl")];
    let report = publish(&rig, &args).await.unwrap();
    let (manifest, bytes) = rig.artifact(&report.model).await;
    assert!(bytes == std::fs::read(fixture("pipeline.onnx")).unwrap());
    assert_eq!((manifest.engine.name.as_str(), manifest.files[0].name.as_str()), ("onnx", "model.onnx"));
    assert!(manifest.engine.version.unwrap().starts_with("skl2onnx 1."));
    let expected =
        [Input { dtype: Dtype::Bytes, ..Input::numeric("job") }, Input { dtype: Dtype::Fp32, ..Input::numeric("age") }];
    assert_eq!(manifest.signature.inputs, expected);
    // Probabilities first, as they are what golden rows prove.
    let said = |o: &Output| (o.name.clone(), o.dtype, o.width, o.classes.join(" "));
    let outputs: Vec<_> = manifest.signature.outputs.iter().map(said).collect();
    assert_eq!(outputs[0], ("output_probability".into(), Dtype::Fp32, 2, "no yes".into()));
    assert_eq!(outputs[1], ("output_label".into(), Dtype::Bytes, 1, String::new()));
    let golden = manifest.golden.unwrap();
    assert_eq!((golden.rows, golden.outputs.len(), golden.margins.len(), golden.tolerance), (12, 24, 0, 1e-5));
    assert!(rig.notes().contains("backends prove it"), "{}", rig.notes());
}

#[tokio::test]
async fn the_columns_of_a_matrix_have_names_of_their_own_or_given_ones() {
    let rig = Rig::new().await;
    let file = fixture("matrix.onnx");
    for (given, names) in [(&[][..], ["X[0]", "X[1]", "X[2]"]), (&["--name-features", "a,b,c"], ["a", "b", "c"])] {
        let args = [&[file.as_str(), "--model", "m", "--no-proof"], given].concat();
        let (manifest, _) = rig.artifact(&publish(&rig, &args).await.unwrap().model).await;
        assert!(manifest.signature.inputs.iter().map(|i| i.name.as_str()).eq(names));
        assert_eq!(manifest.signature.outputs[0].classes, ["0", "1", "2"]);
    }
    let args = [&file, "--model", "m", "--no-proof", "--classes", "low,middle,high"];
    let (manifest, _) = rig.artifact(&publish(&rig, &args).await.unwrap().model).await;
    assert_eq!(manifest.signature.outputs[0].classes, ["low", "middle", "high"]);
}

#[tokio::test]
async fn what_backends_would_refuse_is_not_published() {
    let rig = Rig::new().await;
    let short = rig.dir.path().join("short.onnx");
    let whole = std::fs::read(fixture("pipeline.onnx")).unwrap();
    std::fs::write(&short, &whole[..whole.len() / 2]).unwrap();
    let (short, pipeline, matrix) = (short.display().to_string(), fixture("pipeline.onnx"), fixture("matrix.onnx"));
    for (file, options, words) in [
        (&fixture("foreign.onnx"), &[][..], &["node 'm'", "'Mystery' of 'com.example'"][..]),
        (&short, &[], &["byte", "announced"]),
        (&matrix, &["--name-features", "a,b"], &["names 2 features, the model has 3"]),
        (&pipeline, &["--name-features", "job,years"], &["'years' where the input is 'age'"]),
        (&matrix, &["--classes", "a,b"], &["--classes names 2 classes"]),
    ] {
        let args = [&[file.as_str(), "--model", "m", "--no-proof"], options].concat();
        let error = publish(&rig, &args).await.unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
    }
    let rows = rig.dir.path().join("rows.jsonl");
    std::fs::write(&rows, "{\"job\": \"student\", \"age\": 30, \"output\": [0.5]}\n").unwrap();
    let args = [&pipeline, "--model", "m", "--golden", &rows.display().to_string()];
    let error = publish(&rig, &args).await.unwrap_err().to_string();
    assert!(error.contains("1 outputs, 2 expected"), "{error}");
}
