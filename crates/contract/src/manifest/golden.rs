//! Rows whose results the trainer's own library computed: a backend serves a version only after it has reproduced them.
//!
//! What reproducing means is said here once, for who publishes and who serves: margins agree to the bit, in `f64` or, where
//! the library sums in `f32`, in `f32`; outputs within [`ULPS`] units in the last place. A linear model, a neural net or a
//! process whose publisher states a tolerance (libraries differ in the order in which they sum) is held to that.

use serde::{Deserialize, Serialize};

use super::Signature;
use crate::real::Real;

/// The most golden rows a manifest holds.
pub const ROWS_MAX: usize = 1024;
/// How far outputs may be apart, in units in the last place: C libraries differ in `exp`.
pub const ULPS: u64 = 2;
/// The same for CatBoost, whose own `exp` is an approximation that differs from processor to processor: 12 were seen.
const CATBOOST_ULPS: u64 = 16;

/// Engines that may be held to a stated tolerance, as they do not promise bits: by how their names begin.
const TOLERANT: [&str; 3] = ["linear", "onnx", "process"];

/// Whether an engine may be held to [`Golden::tolerance`]; the others are held to their own promise.
pub fn is_tolerant(engine: &str) -> bool {
    TOLERANT.iter().any(|t| engine.starts_with(t))
}

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

/// How the library that trained sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// In `f64`.
    F64,
    /// In `f32`; its results are `f32` values, widened.
    F32,
}

/// What an engine gives for golden rows.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// How the library that trained sums.
    pub precision: Precision,
    /// Raw margins, row by row, as many a row as the model has.
    pub margins: &'a [f64],
    /// Outputs, row by row; the signature's value output begins each row.
    pub outputs: &'a [f64],
}

/// Why golden rows do not reproduce. The version's own fault: a retry does not help.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unproven {
    /// There are more or fewer results than golden ones.
    #[error("golden {what}s: {expected} values expected, the model gives {came}")]
    Count {
        /// Margin or output.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many came.
        came: usize,
    },
    /// A result is another one.
    #[error("golden row {row} does not reproduce: {what} {expected:?} expected, got {got:?}")]
    Differs {
        /// The row, from 0.
        row: usize,
        /// Margin or output, and which of its row's where there are several.
        what: String,
        /// What the trainer's library gave.
        expected: f64,
        /// What came.
        got: f64,
    },
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreement {
    Bits(Precision),
    Ulps(Precision, u64),
    Tolerance(f64),
}

impl Golden {
    /// Checks that an engine's results are these rows'. `engine` is its name in the manifest. Margins are compared where
    /// there are golden ones; of outputs the first of each row, as many as there are golden ones.
    pub fn compare(&self, engine: &str, results: Results<'_>) -> Result<(), Unproven> {
        let Results { precision, margins, outputs } = results;
        let (exact, close) = match is_tolerant(engine) && self.tolerance > 0.0 {
            true => (Agreement::Tolerance(self.tolerance), Agreement::Tolerance(self.tolerance)),
            false => (Agreement::Bits(precision), Agreement::Ulps(precision, ulps_of(engine))),
        };
        let rows = self.rows.max(1);
        if !self.margins.is_empty() {
            let width = self.margins.len() / rows;
            compare("margin", &self.margins, margins.chunks(width.max(1)), width, exact)?;
        }
        let (width, stride) = (self.outputs.len() / rows, outputs.len() / rows);
        let firsts = outputs.chunks(stride.max(1)).map(|row| row.get(..width).unwrap_or(row));
        compare("output", &self.outputs, firsts, width, close)
    }

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

fn ulps_of(engine: &str) -> u64 {
    if engine.starts_with("catboost") { CATBOOST_ULPS } else { ULPS }
}

fn compare<'a>(
    what: &'static str,
    golden: &[Real],
    got: impl Iterator<Item = &'a [f64]>,
    width: usize,
    agreement: Agreement,
) -> Result<(), Unproven> {
    let got: Vec<f64> = got.flatten().copied().collect();
    if golden.len() != got.len() {
        return Err(Unproven::Count { what, expected: golden.len(), came: got.len() });
    }
    for (at, (Real(expected), got)) in golden.iter().zip(got).enumerate() {
        if !agreement.holds(*expected, got) {
            let width = width.max(1);
            let what = if width == 1 { what.to_owned() } else { format!("{what}[{}]", at % width) };
            return Err(Unproven::Differs { row: at / width, what, expected: *expected, got });
        }
    }
    Ok(())
}

impl Agreement {
    fn holds(self, expected: f64, got: f64) -> bool {
        if expected.is_nan() || got.is_nan() {
            return expected.is_nan() && got.is_nan();
        }
        match self {
            Agreement::Bits(Precision::F64) => expected.to_bits() == got.to_bits(),
            Agreement::Bits(Precision::F32) => (expected as f32).to_bits() == (got as f32).to_bits(),
            Agreement::Ulps(Precision::F64, most) => ulps(expected, got) <= most,
            Agreement::Ulps(Precision::F32, most) => ulps_f32(expected as f32, got as f32) <= most,
            Agreement::Tolerance(tolerance) => {
                // An infinity is within no tolerance of a number, though the product says so.
                expected == got
                    || (expected.is_finite() && (expected - got).abs() <= tolerance * expected.abs().max(1.0))
            }
        }
    }
}

/// How many steps from one double to its neighbour lie between two; -0 and 0 are one.
pub fn ulps(a: f64, b: f64) -> u64 {
    // As ordered integers, neighbouring floats are neighbours.
    let ordered = |value: f64| match value.to_bits() as i64 {
        bits if bits < 0 => i64::MIN.wrapping_sub(bits),
        bits => bits,
    };
    ordered(a).abs_diff(ordered(b))
}

fn ulps_f32(a: f32, b: f32) -> u64 {
    let ordered = |value: f32| match value.to_bits() as i32 {
        bits if bits < 0 => i32::MIN.wrapping_sub(bits),
        bits => bits,
    };
    u64::from(ordered(a).abs_diff(ordered(b)))
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

    fn golden(margins: &[f64], outputs: &[f64]) -> Golden {
        let reals = |values: &[f64]| values.iter().copied().map(Real).collect();
        Golden { rows: 2, inputs: vec![], margins: reals(margins), outputs: reals(outputs), tolerance: 0.0 }
    }

    #[test]
    fn what_differs_is_named() {
        let (margins, outputs) = ([1.0, 2.0, 3.0, 4.0], [0.5, 0.25]);
        let given = golden(&margins, &outputs);
        let results = Results { precision: Precision::F64, margins: &margins, outputs: &outputs };
        assert_eq!(given.compare("lightgbm", results), Ok(()));
        let other = given.compare("lightgbm", Results { margins: &[1.0, 2.0, 3.0, 5.0], ..results }).unwrap_err();
        assert_eq!(other.to_string(), "golden row 1 does not reproduce: margin[1] 4.0 expected, got 5.0");
        let fewer = given.compare("lightgbm", Results { margins: &[], ..results }).unwrap_err();
        assert_eq!(fewer.to_string(), "golden margins: 4 values expected, the model gives 0");
        let other = given.compare("lightgbm", Results { outputs: &[0.5, 0.5], ..results }).unwrap_err();
        assert_eq!(other.to_string(), "golden row 1 does not reproduce: output 0.25 expected, got 0.5");
        assert!(given.compare("lightgbm", Results { outputs: &[0.5], ..results }).is_err());
        // Only the first of a row's outputs is golden.
        assert_eq!(given.compare("lightgbm", Results { outputs: &[0.5, 9.0, 0.25, 9.0], ..results }), Ok(()));
        assert_eq!(golden(&[], &outputs).compare("lightgbm", results), Ok(()));
    }

    #[test]
    fn only_a_linear_model_is_held_to_its_stated_tolerance() {
        let stated = Golden { tolerance: 1e-6, ..golden(&[1.0, 2.0], &[1.0, 2.0]) };
        let near = [1.0, 2.0 + 1e-7];
        let results = Results { precision: Precision::F64, margins: &near, outputs: &near };
        assert_eq!(stated.compare("linear", results), Ok(()));
        assert!(stated.compare("lightgbm", results).is_err());
        assert!(Golden { tolerance: 0.0, ..stated }.compare("linear", results).is_err());
    }

    #[test]
    fn margins_agree_to_the_bit_of_their_library() {
        let next = 0.1f64.next_up();
        assert!(Agreement::Bits(Precision::F64).holds(0.1, 0.1));
        assert!(!Agreement::Bits(Precision::F64).holds(0.1, next));
        assert!(Agreement::Bits(Precision::F32).holds(0.1, f64::from(0.1f32)));
        assert!(!Agreement::Bits(Precision::F32).holds(0.1, f64::from(0.1f32.next_up())));
        assert!(Agreement::Bits(Precision::F64).holds(f64::NAN, f64::NAN));
        assert!(!Agreement::Bits(Precision::F64).holds(1.0, f64::NAN));
    }

    #[test]
    fn outputs_agree_within_two_units_in_the_last_place() {
        assert_eq!((ulps(0.1, 0.1f64.next_up().next_up()), ulps(-5e-324, 5e-324), ulps(-0.0, 0.0)), (2, 2, 0));
        let step = |value: f64, steps: u32| (0..steps).fold(value, |v, _| v.next_up());
        let close = Agreement::Ulps(Precision::F64, ULPS);
        for value in [0.5, -0.5, 1.0 - f64::EPSILON / 2.0, -5e-324, 0.0, 1e300] {
            assert!(close.holds(value, step(value, 2)), "{value}");
            assert!(!close.holds(value, step(value, 3)), "{value}");
        }
        assert!(!close.holds(f64::INFINITY, 1.0));
        let close = Agreement::Ulps(Precision::F32, ULPS);
        assert!(close.holds(0.5, f64::from(0.5f32.next_up().next_up())));
        assert!(!close.holds(0.5, f64::from(0.5f32.next_up().next_up().next_up())));
    }

    #[test]
    fn a_stated_tolerance_is_relative_above_one() {
        let within = Agreement::Tolerance(1e-6);
        assert!(within.holds(1e6, 1e6 + 0.5) && !within.holds(1e6, 1e6 + 2.0));
        assert!(within.holds(0.0, 1e-7) && !within.holds(0.0, 1e-5));
        assert!(within.holds(f64::INFINITY, f64::INFINITY) && !within.holds(f64::INFINITY, 1.0));
    }
}
