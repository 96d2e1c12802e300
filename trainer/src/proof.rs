//! Whether golden rows reproduce under the engine that serves: before anything is published.

use std::collections::HashMap;

use headgate_contract::manifest::{Cell, Golden, Signature};
use headgate_contract::real::{self, Real};
use headgate_engine::{Batch, Engine, MarginKind, Outputs, Scratch, Want};

/// How far outputs may be apart, in units in the last place: C libraries differ in `exp`.
const ULPS: u64 = 2;

/// Why a model is not published. The publisher's fault, or the engine's; a retry does not help.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProofError {
    /// A golden cell is of the wrong type.
    #[error("golden row {row}, feature '{feature}': {came} came, a number expected")]
    Cell {
        /// The row, from 0.
        row: usize,
        /// The feature.
        feature: String,
        /// What came.
        came: String,
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
    #[error("golden row {row} does not reproduce: {what} {expected:?} expected, the engine gives {got:?}")]
    Differs {
        /// The row, from 0.
        row: usize,
        /// Margin or output, and which.
        what: String,
        /// What the trainer's library gave.
        expected: f64,
        /// What came.
        got: f64,
    },
}

/// Scores golden rows and compares: margins to the bit, outputs within two units in the last place.
pub fn prove(engine: &dyn Engine, signature: &Signature, golden: &Golden) -> Result<(), ProofError> {
    if engine.inputs() != signature.inputs.len() {
        let (model, expected) = (engine.inputs(), signature.inputs.len());
        return Err(ProofError::Shape { what: "features", model, expected });
    }
    let batch = batch(signature, golden)?;
    let mut out = Outputs::default();
    let want = Want { margins: true, outputs: true };
    engine.score(&batch, &mut Scratch::default(), &mut out, want).map_err(|_| ProofError::Shape {
        what: "features",
        model: engine.inputs(),
        expected: batch.columns(),
    })?;
    let kind = engine.margin_kind();
    if !golden.margins.is_empty() {
        compare("margin", &golden.margins, &out.margins, engine.margin_width(), |a, b| same_bits(kind, a, b))?;
    }
    compare("output", &golden.outputs, &out.values, engine.output_width(), |a, b| near(kind, a, b))
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
        for (row, cell) in column.values.iter().enumerate() {
            let value = match (cell, &codes) {
                (Cell::Missing, _) => f64::NAN,
                (Cell::Text(text), Some(codes)) => codes.get(text.as_str()).copied().unwrap_or(f64::NAN),
                (Cell::Bool(value), None) => f64::from(u8::from(*value)),
                (Cell::Number(value), None) => *value,
                (cell, _) => {
                    let word = if let Cell::Text(text) = cell { real::word(text) } else { None };
                    word.ok_or_else(|| ProofError::Cell {
                        row,
                        feature: input.name.clone(),
                        came: format!("{cell:?}"),
                    })?
                }
            };
            batch.set(row, at, value);
        }
    }
    Ok(batch)
}

fn compare(
    what: &'static str,
    golden: &[Real],
    got: &[f64],
    width: usize,
    agree: impl Fn(f64, f64) -> bool,
) -> Result<(), ProofError> {
    if golden.len() != got.len() {
        let what = if what == "margin" { "margins" } else { "outputs" };
        return Err(ProofError::Shape { what, model: got.len(), expected: golden.len() });
    }
    for (at, (Real(expected), got)) in golden.iter().zip(got).enumerate() {
        if !agree(*expected, *got) {
            let what = if width == 1 { what.to_owned() } else { format!("{what} {}", at % width) };
            return Err(ProofError::Differs { row: at / width, what, expected: *expected, got: *got });
        }
    }
    Ok(())
}

fn same_bits(kind: MarginKind, a: f64, b: f64) -> bool {
    match kind {
        MarginKind::F64 => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        MarginKind::F32 => (a as f32).to_bits() == (b as f32).to_bits() || (a.is_nan() && b.is_nan()),
    }
}

fn near(kind: MarginKind, a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    match kind {
        MarginKind::F64 => ulps(a, b) <= ULPS,
        MarginKind::F32 => ulps_f32(a as f32, b as f32) <= ULPS,
    }
}

/// How many doubles lie between two.
pub fn ulps(a: f64, b: f64) -> u64 {
    // As ordered integers, neighbouring floats are neighbours; -0 and 0 are one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_agree_to_the_bit_and_outputs_within_two_ulps() {
        assert_eq!(ulps(0.1, 0.1f64.next_up().next_up()), 2);
        assert_eq!(ulps(-5e-324, 5e-324), 2);
        assert!(near(MarginKind::F64, 0.1, 0.1f64.next_up().next_up()));
        assert!(!near(MarginKind::F64, 0.1, 0.1f64.next_up().next_up().next_up()));
        assert!(near(MarginKind::F32, 0.5, f64::from(0.5f32.next_up())));
        assert!(!same_bits(MarginKind::F64, 0.1, 0.1f64.next_up()));
        assert!(same_bits(MarginKind::F32, 0.1, f64::from(0.1f32)));
        assert!(near(MarginKind::F64, f64::NAN, f64::NAN) && !near(MarginKind::F64, f64::NAN, 1.0));
    }
}
