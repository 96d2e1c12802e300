//! Dozens of small models, trained and scored by the Python libraries where they are installed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases;

/// The interpreter named by `HEADGATE_PYTHON`, else the workspace's virtual environment.
fn python() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("HEADGATE_PYTHON") {
        return Ok(named.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if workspace.exists() { Ok(workspace) } else { Err("no HEADGATE_PYTHON, and no .venv in the workspace".into()) }
}

pub(crate) fn python_with(libraries: &str) -> Result<PathBuf, String> {
    let python = python()?;
    let import = Command::new(&python).args(["-c", &format!("import {libraries}")]).output();
    match import {
        Err(e) => Err(format!("{}: {e}", python.display())),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", python.display(), said.lines().last().unwrap_or("import failed")))
        }
        Ok(_) => Ok(python),
    }
}

#[test]
fn scores_equal_the_libraries_own() {
    let python = match python_with("lightgbm, xgboost, pandas, sklearn") {
        Ok(python) => python,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "skipped: differential test against LightGBM and XGBoost: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/differential.py");
    let mut command = Command::new(python);
    command.arg(script).arg(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(only) = std::env::var_os("HEADGATE_CASES") {
        command.arg(only);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "differential.py: {said}");
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    let cases = cases::read(folder.path());
    assert!(!cases.is_empty());
    cases.iter().for_each(cases::Case::check);
}
