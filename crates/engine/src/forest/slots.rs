//! Columns as splits see them.

use crate::Batch;

/// LightGBM's `kZeroThreshold`, which it keeps in `f32`: nearer to zero is zero.
const ZERO: f64 = 1e-35f32 as f64;

/// How a library looks at a value before it compares it. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// scikit-learn's histogram gradient boosting: as it is.
    Exact,
    /// LightGBM: what is nearly zero is zero.
    F64,
    /// LightGBM, a feature whose zeros are missing: what is nearly zero is missing.
    F64ZeroMissing,
    /// LightGBM: the integer part as category; -1 where it is none.
    F64Category,
    /// XGBoost, CatBoost, scikit-learn's trees: rounded to `f32`.
    F32,
    /// XGBoost: rounded to `f32`, the integer part as category; -1 where it is none.
    F32Category,
}

impl Rule {
    #[inline(always)]
    fn apply(self, v: f64) -> f64 {
        match self {
            Self::F64 if v.abs() <= ZERO => 0.0,
            Self::F64ZeroMissing if v.abs() <= ZERO => f64::NAN,
            Self::Exact | Self::F64 | Self::F64ZeroMissing => v,
            Self::F64Category if v > -1.0 && v < 2_147_483_648.0 => v.trunc(),
            Self::F32 => f64::from(v as f32),
            // The bound is the first integer after which `f32` has gaps.
            Self::F32Category if v as f32 >= 0.0 && (v as f32) < 16_777_216.0 => f64::from((v as f32).trunc()),
            Self::F64Category | Self::F32Category if v.is_nan() => v,
            Self::F64Category | Self::F32Category => -1.0,
        }
    }
}

/// A column under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) column: u32,
    pub(super) rule: Rule,
}

impl Slot {
    /// The value in one row.
    #[inline(always)]
    pub(super) fn value(self, batch: &Batch, row: usize) -> f64 {
        self.rule.apply(batch.value(row, self.column as usize))
    }

    /// Fills `to` from the column's values in the same rows.
    pub(super) fn fill(self, from: &[f64], to: &mut [f64]) {
        // One loop for each rule, so that each becomes vector instructions where it can.
        macro_rules! fill {
            ($rule:expr) => {
                to.iter_mut().zip(from).for_each(|(to, &v)| *to = $rule.apply(v))
            };
        }
        match self.rule {
            Rule::Exact => to.copy_from_slice(from),
            Rule::F64 => fill!(Rule::F64),
            Rule::F64ZeroMissing => fill!(Rule::F64ZeroMissing),
            Rule::F64Category => fill!(Rule::F64Category),
            Rule::F32 => fill!(Rule::F32),
            Rule::F32Category => fill!(Rule::F32Category),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_zero_is_zero_or_missing() {
        for tiny in [0.0, -0.0, 1e-36, -1e-36, ZERO, -ZERO] {
            assert_eq!(Rule::F64.apply(tiny), 0.0);
            assert!(Rule::F64ZeroMissing.apply(tiny).is_nan());
        }
        assert_eq!(Rule::Exact.apply(1e-36), 1e-36);
        assert_eq!(Rule::F64.apply(1.1e-35), 1.1e-35);
        assert_eq!(Rule::F64ZeroMissing.apply(-1.1e-35), -1.1e-35);
        assert!(Rule::F64.apply(f64::NAN).is_nan());
    }

    #[test]
    fn categories_are_integer_parts_within_the_library_s_bounds() {
        assert_eq!(Rule::F64Category.apply(3.9), 3.0);
        assert_eq!(Rule::F64Category.apply(-0.5), 0.0, "a C cast rounds towards zero");
        assert_eq!(Rule::F32Category.apply(-0.5), -1.0, "XGBoost looks at the sign first");
        assert_eq!(Rule::F32Category.apply(-0.0), 0.0);
        for none in [-1.0, -7.0, 2_147_483_648.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Rule::F64Category.apply(none), -1.0);
            assert_eq!(Rule::F32Category.apply(none), -1.0);
        }
        assert_eq!(Rule::F32Category.apply(16_777_216.0), -1.0);
        assert_eq!(Rule::F32Category.apply(16_777_215.0), 16_777_215.0);
        assert!(Rule::F64Category.apply(f64::NAN).is_nan());
        assert!(Rule::F32Category.apply(f64::NAN).is_nan());
    }

    #[test]
    fn f32_rounds_once() {
        assert_eq!(Rule::F32.apply(0.1), f64::from(0.1f32));
        assert_eq!(Rule::F32.apply(1e300), f64::INFINITY);
    }
}
