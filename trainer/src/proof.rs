//! Whether golden rows reproduce under the engine that serves: before anything is published.

use std::collections::HashMap;

use headgate_contract::manifest::golden::{Cell, Golden, Precision, Results, Unproven};
use headgate_contract::manifest::{Dtype, Signature};
use headgate_contract::real;
use headgate_engine::{Batch, Engine, MarginKind, Outputs, Scratch, Want};

/// Why a model is not published. The publisher's fault, or the engine's; a retry does not help.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProofError {
    /// A golden cell is of the wrong type.
    #[error("golden row {row}, feature '{feature}': {came} came, a {expected} expected")]
    Cell {
        /// The row, from 0.
        row: usize,
        /// The feature.
        feature: String,
        /// What came.
        came: String,
        /// What was expected: a number, or a text.
        expected: &'static str,
    },
    /// The model does not fit its signature.
    #[error("the model has {model} {what}, {expected} expected")]
    Shape {
        /// Of what.
        what: &'static str,
        /// How many it has.
        model: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A result is another one.
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

/// Scores golden rows and compares as a backend will: [`Golden::compare`]. `name` is the engine's in the manifest.
pub fn prove(name: &str, engine: &dyn Engine, signature: &Signature, golden: &Golden) -> Result<(), ProofError> {
    if engine.inputs() != signature.inputs.len() {
        let (model, expected) = (engine.inputs(), signature.inputs.len());
        return Err(ProofError::Shape { what: "features", model, expected });
    }
    let batch = batch(signature, golden)?;
    let mut out = Outputs::default();
    let want = Want { margins: true, outputs: true, contributions: false };
    engine.score(&batch, &mut Scratch::default(), &mut out, want).map_err(|_| ProofError::Shape {
        what: "features",
        model: engine.inputs(),
        expected: batch.columns(),
    })?;
    let precision = match engine.margin_kind() {
        MarginKind::F64 => Precision::F64,
        MarginKind::F32 => Precision::F32,
    };
    golden.compare(name, Results { precision, margins: &out.margins, outputs: &out.values })?;
    Ok(())
}

/// Golden rows as the engine takes them.
pub(crate) fn batch(signature: &Signature, golden: &Golden) -> Result<Batch, ProofError> {
    let mut batch = Batch::new(signature.inputs.len(), golden.rows);
    for (at, input) in signature.inputs.iter().enumerate() {
        let Some(column) = golden.inputs.iter().find(|column| column.name == input.name) else { continue };
        let codes: Option<HashMap<&str, f64>> = input
            .categories
            .as_ref()
            .map(|list| list.iter().enumerate().map(|(code, text)| (text.as_str(), code as f64)).collect());
        let texts = codes.is_none() && input.dtype == Dtype::Bytes;
        for (row, cell) in column.values.iter().enumerate() {
            let broken =
                |expected| ProofError::Cell { row, feature: input.name.clone(), came: format!("{cell:?}"), expected };
            let value = match (cell, &codes) {
                (Cell::Missing, _) => f64::NAN,
                (Cell::Text(text), None) if texts => batch.texts_mut().push(text) as f64,
                _ if texts => return Err(broken("text")),
                (Cell::Text(text), Some(codes)) => codes.get(text.as_str()).copied().unwrap_or(f64::NAN),
                (Cell::Bool(value), None) => f64::from(u8::from(*value)),
                (Cell::Number(value), None) => *value,
                (cell, _) => {
                    let word = if let Cell::Text(text) = cell { real::word(text) } else { None };
                    word.ok_or_else(|| broken("number"))?
                }
            };
            batch.set(row, at, value);
        }
    }
    Ok(batch)
}
