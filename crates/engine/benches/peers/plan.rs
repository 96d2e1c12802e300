//! What is to be measured, as `tools/bench-engine/prepare.py` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::contender::Failed;

/// Where everything lies.
#[derive(Debug, Deserialize)]
pub(crate) struct Plan {
    /// The scored rows: little-endian `f64`, row-major. Every value fits an `f32` exactly.
    pub(crate) rows: PathBuf,
    /// Columns of a row.
    pub(crate) features: usize,
    pub(crate) models: Vec<Model>,
    /// Shared libraries: `lightgbm`, `xgboost`, `treelite`, `onnxruntime`; those that are installed.
    pub(crate) libraries: BTreeMap<String, PathBuf>,
    /// What could not be installed or compiled, and why.
    pub(crate) left_out: BTreeMap<String, String>,
}

/// A model in every form that an engine takes.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    /// Trees x leaves.
    pub(crate) name: String,
    /// LightGBM's text.
    pub(crate) text: PathBuf,
    /// LightGBM's raw margins of the rows, `f64`.
    pub(crate) margins: PathBuf,
    /// An XGBoost model of the same size and its margins, where XGBoost is installed.
    pub(crate) xgboost: Option<XgBoostModel>,
    /// What lleaves compiled: a shared library.
    pub(crate) lleaves: Option<PathBuf>,
    /// What tl2cgen compiled: a shared library.
    pub(crate) tl2cgen: Option<PathBuf>,
    /// The model as one TreeEnsembleRegressor that gives margins.
    pub(crate) onnx: Option<PathBuf>,
}

/// A model that XGBoost trained.
#[derive(Debug, Deserialize)]
pub(crate) struct XgBoostModel {
    /// XGBoost's JSON.
    pub(crate) json: PathBuf,
    /// XGBoost's margins of the rows, `f32`.
    pub(crate) margins: PathBuf,
}

impl Plan {
    /// Reads a plan.
    pub(crate) fn read(path: &Path) -> Result<Self, Failed> {
        let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        serde_json::from_str(&text).map_err(|why| format!("{}: {why}", path.display()).into())
    }

    /// The model of a name.
    pub(crate) fn model(&self, name: &str) -> Result<&Model, Failed> {
        self.models.iter().find(|m| m.name == name).ok_or_else(|| format!("the plan has no model {name}").into())
    }

    /// The shared library of a name.
    pub(crate) fn library(&self, name: &str) -> Result<&Path, Failed> {
        self.libraries.get(name).map(PathBuf::as_path).ok_or_else(|| format!("{name} is not installed").into())
    }

    /// Why an engine was left out when the peers were prepared.
    pub(crate) fn reason(&self, engine: &str) -> Option<String> {
        self.left_out.get(engine).cloned()
    }
}
