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

/// Runs a script, which trains and scores, and scores the same; skipped where a library is not installed.
fn against(libraries: &str, script: &str) {
    let python = match python_with(&format!("lightgbm, xgboost, pandas, {libraries}")) {
        Ok(python) => python,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "skipped: differential test against {libraries}: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
    let mut command = Command::new(python);
    command.arg(path).arg(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(only) = std::env::var_os("HEADGATE_CASES") {
        command.arg(only);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    let cases = cases::read(folder.path());
    assert!(!cases.is_empty());
    cases.iter().for_each(cases::Case::check);
}

#[test]
fn scores_equal_lightgbm_s_and_xgboost_s_own() {
    against("sklearn", "differential.py");
}

#[test]
fn scores_equal_catboost_s_own() {
    against("catboost", "differential_catboost.py");
}

#[test]
fn scores_equal_scikit_learn_s_own() {
    against("sklearn", "differential_sklearn.py");
}
