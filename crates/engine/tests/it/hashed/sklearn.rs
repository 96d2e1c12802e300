//! Against scikit-learn, where it is installed: bucket for bucket, margin for margin.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use headgate_engine::{Engine, Limits, linear};
use serde_json::{Map, Value};

use super::{Cell, score};
use crate::differential::python_with;

#[test]
fn scores_equal_scikit_learns() {
    let python = match python_with("sklearn, pandas") {
        Ok(python) => python,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "skipped: hashed linear models against scikit-learn: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hashed.py");
    let output =
        Command::new(python).arg(script).arg(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "hashed.py: {}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    let cases = std::fs::read_to_string(folder.path().join("cases.jsonl")).unwrap();
    assert!(cases.lines().count() > 50);
    for case in cases.lines() {
        let case: Value = serde_json::from_str(case).unwrap();
        check(folder.path(), case["name"].as_str().unwrap(), case["within"].as_f64().unwrap());
    }
}

fn check(folder: &Path, name: &str, within: f64) {
    let bytes = std::fs::read(folder.join(format!("{name}.hgl"))).unwrap();
    let engine = linear::open(Box::new(bytes), &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let lines = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let lines: Vec<Map<String, Value>> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows: Vec<Vec<Cell>> = lines.iter().map(|line| row(engine.as_ref(), line)).collect();
    let out = score(engine.as_ref(), &rows);
    for (what, ours, width) in
        [("margin", &out.margins, engine.margin_width()), ("output", &out.values, engine.output_width())]
    {
        for (at, line) in lines.iter().enumerate() {
            let theirs: Vec<f64> = serde_json::from_value(line[what].clone()).unwrap();
            assert_eq!(theirs.len(), width, "{name}");
            for (ours, theirs) in ours[at * width..].iter().zip(theirs) {
                let apart = (ours - theirs).abs();
                assert!(
                    apart <= within * theirs.abs().max(1.0),
                    "{name}, row {at}: {what} {theirs} expected, got {ours}"
                );
            }
        }
    }
}

fn row(engine: &dyn Engine, line: &Map<String, Value>) -> Vec<Cell> {
    let cell = |name: &String| match &line.get(name) {
        None => Cell::Missing,
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(number) => Cell::Number(number.as_f64().unwrap()),
    };
    engine.input_names().iter().map(cell).collect()
}
