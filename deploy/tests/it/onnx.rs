//! A scikit-learn pipeline as its exporter writes it: published, proven, released, served through the gateway.

#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};

use super::system::{System, eventually, onnxruntime, skipped};

/// A file beside the trainer's tests, which publish it too.
fn fixture(name: &str) -> String {
    format!("{}/../trainer/tests/it/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_pipeline_in_onnx_is_proven_and_served() {
    if skipped("a pipeline in ONNX", &[("ONNX Runtime's library", onnxruntime().is_some())]) {
        return;
    }
    let system = System::start(&["--no-sample", "--backends", "1"]);
    let (file, golden) = (fixture("pipeline.onnx"), fixture("pipeline.jsonl"));
    system.json(&["publish", &file, "--model", "pipeline", "--golden", &golden, "--promote"]);
    let verified = system.json(&["verify", "pipeline", "1"]);
    assert_eq!(verified["golden_rows"], 12);
    let rows = std::fs::read_to_string(golden).unwrap();
    let mut rows: Vec<Map<String, Value>> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<Value> = rows.iter_mut().map(|row| row.remove("output").unwrap()).collect();
    let body = json!({ "instances": rows }).to_string();
    let reply = eventually("it answers", || {
        let reply = system.post("/v1/models/pipeline:predict", &body);
        (reply.status == 200).then_some(reply)
    });
    let predictions = reply.json()["predictions"].as_array().unwrap().clone();
    assert_eq!(predictions.len(), expected.len());
    for (got, expected) in predictions.iter().zip(&expected) {
        let chance = |of: &Value| of[1].as_f64().unwrap();
        let (got_chance, expected) = (chance(&got["output_probability"]), chance(expected));
        assert!((got_chance - expected).abs() < 1e-5, "{got} {expected}");
        assert_eq!(got["output_label"], if expected > 0.5 { "yes" } else { "no" });
    }
}
