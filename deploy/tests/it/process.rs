//! Python pipelines as versions: published, proven, served through the gateway, swapped.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::system::{System, eventually, http, python, skipped};

/// What `process.py` made.
struct Made<'a> {
    dir: &'a Path,
}

impl Made<'_> {
    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join(name)).unwrap()).unwrap()
    }

    fn publish(&self, system: &System, model: &str, folder: &str, signature: &str, golden: &str) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let (folder, signature, golden) = (path(folder), path(signature), path(golden));
        let arguments = ["publish", &folder, "--model", model, "--process", "python"];
        system.json(&[&arguments[..], &["--signature", &signature, "--golden", &golden, "--promote"]].concat());
    }
}

/// The numbers of a reply that are not as expected.
fn differing(came: &Value, expected: &Value) -> Vec<String> {
    let (came, expected) = (came.as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(came.len(), expected.len());
    let apart = |(a, b): &(&Value, &Value)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() > 1e-9;
    came.iter().zip(expected).filter(apart).map(|pair| format!("{pair:?}")).collect()
}

#[test]
fn pipelines_are_proven_served_and_swapped_without_a_failed_call() {
    let has = |python: &Path| {
        let check = Command::new(python).args(["-c", "import sklearn, pandas, joblib"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    let Some(python) = python().filter(|python| has(python)) else {
        skipped("Python pipelines as versions", &[("Python with scikit-learn and pandas", false)]);
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/process.py");
    let made = Command::new(&python).arg(script).arg(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = Made { dir: dir.path() };
    let python = python.display().to_string();
    let system = System::start(&["--no-sample", "--backends", "1", "--process-python", &python]);

    made.publish(&system, "pipeline", "v1", "signature.json", "golden1.jsonl");
    let answers = |version: &str| {
        let body = json!({"instances": made.read("rows.json")}).to_string();
        let reply = system.post("/v1/models/pipeline:predict", &body);
        (reply.status == 200 && reply.header("x-headgate-version") == Some(version)).then_some(reply)
    };
    let reply = eventually("version 1 answers", || answers("1"));
    let expected = made.read("expected.json");
    assert_eq!(differing(&reply.json()["predictions"], &expected["1"]), Vec::<String>::new());

    let (stop, body) = (AtomicBool::new(false), json!({"instances": made.read("rows.json")}).to_string());
    let seen = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2).map(|_| scope.spawn(|| under_load(&system, &body, &expected, &stop))).collect();
        made.publish(&system, "pipeline", "v2", "signature.json", "golden2.jsonl");
        eventually("version 2 answers", || answers("2"));
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!(seen.contains("1"), "{seen:?}");
    code_is_served(&system, &made);
    let (_, dir) = system.interrupt();
    eventually("no folder is left", || {
        fs::read_dir(dir.path().join(".headgate/cache/backend-1/run")).unwrap().next().is_none().then_some(())
    });
}

/// Calls until it is told to stop; each must be answered as one version answers. Which did.
fn under_load(system: &System, body: &str, expected: &Value, stop: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let reply = http(system.gateway, "POST", "/v1/models/pipeline:predict", body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let version = reply.header("x-headgate-version").unwrap().to_owned();
        assert_eq!(differing(&reply.json()["predictions"], &expected[&version]), Vec::<String>::new());
        seen.insert(version);
    }
    seen
}

/// A folder with `model.py`: several outputs, texts among them, and a fault of its own.
fn code_is_served(system: &System, made: &Made<'_>) {
    made.publish(system, "code", "code", "code-signature.json", "code-golden.jsonl");
    let predict =
        |instances: Value| system.post("/v1/models/code:predict", &json!({"instances": instances}).to_string());
    let reply = eventually("the code answers", || {
        let reply = predict(json!([{"age": 4, "job": "café"}, {"age": null}]));
        (reply.status == 200).then_some(reply)
    });
    let rows = json!([{"scaled": [10.0, 4.0], "said": "CAFÉ"}, {"scaled": [null, null], "said": null}]);
    assert_eq!(reply.json(), json!({"predictions": rows}));
    for (job, why) in [("boom", "RuntimeError: no boom here"), ("quit", "SystemExit: 3")] {
        let failed = predict(json!([{"age": 4, "job": job}]));
        assert_eq!((failed.status, failed.header("x-headgate-error")), (502, Some("model_failed")));
        let words = failed.json()["error"].as_str().unwrap().to_owned();
        assert!(words.contains(&format!("model 'code' version 1: its process failed: {why}")), "{words}");
    }
    let log = fs::read_to_string(system.dir.path().join(".headgate/logs/backend-1.log")).unwrap();
    for words in ["scored 2", "RuntimeError"] {
        assert!(log.contains(words), "{log}");
    }
}
