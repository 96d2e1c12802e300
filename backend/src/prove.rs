//! Golden rows: a version answers only after it has given the results that its trainer's own library gave.
//!
//! The rows go through the decoder and the engine as a request does. Margins must agree to the bit, in `f64` or, where
//! the library sums in `f32`, in `f32`; outputs within 2 units in the last place. A linear model whose publisher states a
//! tolerance (libraries differ in the order in which they sum) is held to that.

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Cell, Golden};
use headgate_contract::real::Real;
use headgate_contract::route::Protocol;
use headgate_engine::{MarginKind, Want};
use serde_json::{Map, Value};

use crate::decode::Bounds;
use crate::predict::Desk;
use crate::servable::Servable;

/// How far outputs may be from the trainer's, in units in the last place.
const ULPS: u64 = 2;

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreement {
    Bits(MarginKind),
    Ulps(MarginKind),
    Tolerance(f64),
}

/// Proves a version. The error says which row differs, what was expected and what came: the version's own fault.
pub fn prove(servable: &Servable) -> Result<(), String> {
    let Some(golden) = &servable.manifest.golden else {
        return Ok(());
    };
    let mut desk = Desk::default();
    let bounds = Bounds { rows_max: golden.rows, strict: true };
    desk.read(servable, Protocol::V1, &body(golden), bounds).map_err(|e| format!("golden rows are refused: {e}"))?;
    let want = Want { margins: true, outputs: true };
    let outputs = desk.score(servable, want).map_err(|e| format!("golden rows can't be scored: {e}"))?;
    let Some(engine) = servable.engine() else {
        return Err("the version is being unloaded".to_owned());
    };
    let tolerant = servable.manifest.engine.name.starts_with("linear") && golden.tolerance > 0.0;
    let kind = engine.margin_kind();
    let (exact, close) = match tolerant {
        true => (Agreement::Tolerance(golden.tolerance), Agreement::Tolerance(golden.tolerance)),
        false => (Agreement::Bits(kind), Agreement::Ulps(kind)),
    };
    if !golden.margins.is_empty() {
        compare("margin", &golden.margins, &outputs.margins, engine.margin_width(), exact)?;
    }
    // A golden output is as wide as the signature's first value output, which begins an engine's row.
    let width = servable.schema.outputs.iter().find(|o| o.role == Role::Value).map_or(1, |o| o.width);
    if width == engine.output_width() {
        return compare("output", &golden.outputs, &outputs.values, width, close);
    }
    let first: Vec<f64> =
        outputs.values.chunks(engine.output_width().max(1)).flat_map(|r| &r[..width]).copied().collect();
    compare("output", &golden.outputs, &first, width, close)
}

/// The golden rows as a caller would send them.
fn body(golden: &Golden) -> Vec<u8> {
    let value = |cell: &Cell| match cell {
        Cell::Missing => Value::Null,
        Cell::Bool(value) => Value::from(*value),
        Cell::Number(value) => Value::from(*value),
        Cell::Text(text) => Value::from(text.as_str()),
    };
    let row = |row: usize| -> Map<String, Value> {
        let cells = golden.inputs.iter().filter_map(|i| Some((i.name.clone(), value(i.values.get(row)?))));
        cells.collect()
    };
    let rows: Vec<_> = (0..golden.rows).map(row).collect();
    serde_json::to_vec(&serde_json::json!({ "instances": rows })).unwrap_or_default()
}

fn compare(what: &str, golden: &[Real], got: &[f64], width: usize, agreement: Agreement) -> Result<(), String> {
    if golden.len() != got.len() {
        return Err(format!("golden {what}s: {} values expected, the model gives {}", golden.len(), got.len()));
    }
    for (at, (Real(expected), got)) in golden.iter().zip(got).enumerate() {
        if !agreement.holds(*expected, *got) {
            let width = width.max(1);
            let place = if width == 1 { String::new() } else { format!("[{}]", at % width) };
            let row = at / width;
            return Err(format!(
                "golden row {row} does not reproduce: {what}{place} {expected:?} expected, got {got:?}"
            ));
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
            Agreement::Bits(MarginKind::F64) => expected.to_bits() == got.to_bits(),
            Agreement::Bits(MarginKind::F32) => (expected as f32).to_bits() == (got as f32).to_bits(),
            Agreement::Ulps(MarginKind::F64) => ordered(expected).abs_diff(ordered(got)) <= ULPS,
            Agreement::Ulps(MarginKind::F32) => {
                ordered_f32(expected as f32).abs_diff(ordered_f32(got as f32)) <= ULPS as u32
            }
            Agreement::Tolerance(tolerance) => {
                // An infinity is within no tolerance of a number, though the product says so.
                expected == got
                    || (expected.is_finite() && (expected - got).abs() <= tolerance * expected.abs().max(1.0))
            }
        }
    }
}

/// Neighbouring floats are neighbouring integers; -0 and 0 are one.
fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
}

fn ordered_f32(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_agree_to_the_bit_of_their_library() {
        let next = 0.1f64.next_up();
        assert!(Agreement::Bits(MarginKind::F64).holds(0.1, 0.1));
        assert!(!Agreement::Bits(MarginKind::F64).holds(0.1, next));
        assert!(Agreement::Bits(MarginKind::F32).holds(0.1, f64::from(0.1f32)));
        assert!(!Agreement::Bits(MarginKind::F32).holds(0.1, f64::from(0.1f32.next_up())));
        assert!(Agreement::Bits(MarginKind::F64).holds(f64::NAN, f64::NAN));
        assert!(!Agreement::Bits(MarginKind::F64).holds(1.0, f64::NAN));
    }

    #[test]
    fn outputs_agree_within_two_units_in_the_last_place() {
        let step = |value: f64, steps: u32| (0..steps).fold(value, |v, _| v.next_up());
        let close = Agreement::Ulps(MarginKind::F64);
        for value in [0.5, -0.5, 1.0 - f64::EPSILON / 2.0, -5e-324, 0.0, 1e300] {
            assert!(close.holds(value, step(value, 2)), "{value}");
            assert!(!close.holds(value, step(value, 3)), "{value}");
        }
        assert!(!close.holds(f64::INFINITY, 1.0));
        let close = Agreement::Ulps(MarginKind::F32);
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
