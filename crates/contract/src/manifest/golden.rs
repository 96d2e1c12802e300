//! Rows whose results the trainer's own library computed: a backend serves a version only after it has reproduced them.

use serde::{Deserialize, Serialize};

use super::Signature;
use crate::real::Real;

/// The most golden rows a manifest holds.
pub const ROWS_MAX: usize = 1024;

/// Golden rows, by column as callers would send them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// How many rows.
    pub rows: usize,
    /// The features' values, in the order of the rows.
    pub inputs: Vec<GoldenInput>,
    /// Raw margins, row by row, as many a row as the model has; empty where the engine has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub margins: Vec<Real>,
    /// Results, row by row, as wide as the signature's value output.
    pub outputs: Vec<Real>,
    /// How far a result may be from `outputs`, for engines that are not exact; 0 asks for the engine's own promise.
    #[serde(default)]
    pub tolerance: f64,
}

/// A feature's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenInput {
    /// The feature.
    pub name: String,
    /// One value a row.
    pub values: Vec<Cell>,
}

/// One value as a caller would send it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// No value.
    Missing,
    /// A boolean: 0 or 1 to a numeric feature.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text: a category, or a word for a number that JSON can't write (`NaN`, `Infinity`, `-Infinity`).
    Text(String),
}

impl Golden {
    /// Checks that every column fits. The error is for the publisher.
    pub fn check(&self, signature: &Signature) -> Result<(), String> {
        if self.rows == 0 || self.rows > ROWS_MAX {
            return Err(format!("{} golden rows, 1 to {ROWS_MAX} expected", self.rows));
        }
        for input in &self.inputs {
            if input.values.len() != self.rows {
                return Err(format!(
                    "golden feature '{}' has {} values for {} rows",
                    input.name,
                    input.values.len(),
                    self.rows
                ));
            }
            if !signature.inputs.iter().any(|i| i.name == input.name) {
                return Err(format!("golden feature '{}' is not in the signature", input.name));
            }
        }
        let width = signature.outputs.iter().find(|o| o.role == super::signature::Role::Value).map_or(1, |o| o.width);
        if self.outputs.len() != self.rows * width {
            return Err(format!("{} golden results for {} rows of {width}", self.outputs.len(), self.rows));
        }
        if !self.margins.len().is_multiple_of(self.rows) {
            return Err(format!("{} golden margins for {} rows", self.margins.len(), self.rows));
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return Err(format!("golden tolerance {} is no number from 0 up", self.tolerance));
        }
        Ok(())
    }
}

impl From<f64> for Cell {
    /// A number; NaN is missing, and an infinity becomes its word.
    fn from(value: f64) -> Self {
        match value {
            value if value.is_nan() => Cell::Missing,
            value if value.is_finite() => Cell::Number(value),
            value if value > 0.0 => Cell::Text("Infinity".to_owned()),
            _ => Cell::Text("-Infinity".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cells_read_back() {
        let cells =
            vec![Cell::Missing, Cell::Bool(true), Cell::Number(0.1), Cell::Text("x".into()), Cell::from(f64::INFINITY)];
        let text = serde_json::to_string(&cells).unwrap();
        assert_eq!(text, r#"[null,true,0.1,"x","Infinity"]"#);
        assert_eq!(serde_json::from_str::<Vec<Cell>>(&text).unwrap(), cells);
    }
}
