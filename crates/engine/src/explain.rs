//! Contributions add up, or there is no answer.

use crate::engine::{MarginKind, ScoreError};

/// How far, in parts of what was added up, a sum in `f64` may be from another of the same numbers. Measured: 4e-15.
pub(crate) const ROUNDING: f64 = 1e-12;

/// Checks that each margin's contributions, `columns` with the bias, sum up to what is expected of it. They may be as far
/// apart as `within` answers for the margin's place and the sum of the absolute contributions.
pub(crate) fn check(
    contributions: &[f64],
    columns: usize,
    expected: &[f64],
    within: impl Fn(usize, f64) -> f64,
) -> Result<(), ScoreError> {
    for (margin, (of_margin, &expected)) in contributions.chunks_exact(columns).zip(expected).enumerate() {
        let (mut sum, mut whole) = (0.0, 0.0);
        for contribution in of_margin {
            sum += contribution;
            whole += contribution.abs();
        }
        // What a missing or an infinite value gives is none.
        let number = sum.is_finite() || expected.is_finite();
        let adds_up = (sum - expected).abs() <= within(margin, whole);
        if number && !adds_up {
            return Err(ScoreError::NotAdditive { margin, sum, expected });
        }
    }
    Ok(())
}

/// What rows' leaves sum up to: as the training library sums, and in `f64`.
#[derive(Debug)]
pub(crate) struct Sums {
    kind: MarginKind,
    library: Vec<f64>,
    wide: Vec<f64>,
}

impl Sums {
    /// `start`: where each margin of a row begins.
    pub(crate) fn new(rows: usize, start: &[f64], kind: MarginKind) -> Self {
        let library = start.repeat(rows);
        Self { kind, wide: library.clone(), library }
    }

    /// The next leaf of a margin.
    pub(crate) fn add(&mut self, margin: usize, leaf: f64) {
        let library = &mut self.library[margin];
        *library = match self.kind {
            MarginKind::F64 => *library + leaf,
            MarginKind::F32 => f64::from(*library as f32 + leaf as f32),
        };
        self.wide[margin] += leaf;
    }

    /// Checks that the leaves are those of `margins`, to the bit, and that the contributions sum up to them. `scale` is,
    /// for each margin of a row, what rounding is measured by.
    pub(crate) fn check(
        &self,
        margins: &[f64],
        contributions: &[f64],
        columns: usize,
        scale: &[f64],
    ) -> Result<(), ScoreError> {
        for (margin, (&sum, &expected)) in self.library.iter().zip(margins).enumerate() {
            if sum.to_bits() != expected.to_bits() && !(sum.is_nan() && expected.is_nan()) {
                return Err(ScoreError::NotAdditive { margin, sum, expected });
            }
        }
        let within = |margin: usize, whole: f64| ROUNDING * (whole + scale[margin % scale.len()]);
        check(contributions, columns, &self.wide, within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_add_up_is_an_error() {
        let tight = |_: usize, whole: f64| ROUNDING * whole;
        assert_eq!(check(&[1.0, 2.0, 0.5, 0.5], 2, &[3.0, 1.0], tight), Ok(()));
        let apart = ScoreError::NotAdditive { margin: 1, sum: 1.0, expected: 1.001 };
        assert_eq!(check(&[1.0, 2.0, 0.5, 0.5], 2, &[3.0, 1.001], tight), Err(apart));
        assert!(check(&[f64::NAN, 2.0], 2, &[3.0], tight).is_err());
        assert_eq!(check(&[f64::NAN, 2.0], 2, &[f64::NAN], tight), Ok(()));
    }

    #[test]
    fn the_library_s_sum_is_followed_to_the_bit() {
        let mut sums = Sums::new(1, &[0.5], MarginKind::F32);
        sums.add(0, f64::from(0.1f32));
        let library = f64::from(0.5f32 + 0.1f32);
        assert_eq!(sums.check(&[library], &[f64::from(0.1f32), 0.5], 2, &[1.0]), Ok(()));
        assert!(sums.check(&[library.next_up()], &[f64::from(0.1f32), 0.5], 2, &[1.0]).is_err());
    }
}
