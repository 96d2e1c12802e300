//! From margins to outputs, in the order of operations of the library that trained the model.

use crate::math;

/// An objective's output transform. Those named `...F32` compute in `f32` on margins that are `f32` values, as XGBoost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transform {
    /// Margins as they are.
    Identity,
    /// `sign(m) m m`: trained on the square root of the target.
    SignedSquare,
    /// `exp(m)`.
    Exp,
    /// `1 / (1 + exp(-slope m))`, for each margin by itself.
    Sigmoid(f64),
    /// Softmax over the row.
    Softmax,
    /// `1 / (1 + exp(-m))` for each margin, divided by the row's sum.
    OneVersusRest,
    /// `ln(1 + exp(m))`.
    Softplus,
    ExpF32,
    SigmoidF32,
    SoftmaxF32,
    /// 1 above zero, else 0.
    StepF32,
    /// The first of the greatest margins.
    ArgMax,
    /// Of two margins the first as it is, `exp(2 m)` of the second.
    MeanVariance,
    /// An isolation forest's score of the sum of a row's depths: `-(2 ^ -(m / expected))`; -0.5 where `expected` is 0.
    Isolation {
        /// The sum of the depths that a row is expected to have.
        expected: f64,
    },
}

impl Transform {
    /// Outputs in a row of so many margins.
    pub(crate) fn width(self, margins: usize) -> usize {
        if self == Self::ArgMax { 1 } else { margins }
    }

    /// Appends the outputs for rows of `width` margins.
    pub(crate) fn apply(self, margins: &[f64], width: usize, out: &mut Vec<f64>) {
        match self {
            Self::Identity => out.extend_from_slice(margins),
            Self::SignedSquare => out.extend(margins.iter().map(|&m| sign(m) * m * m)),
            Self::Exp => out.extend(margins.iter().map(|&m| math::exp(m))),
            Self::Sigmoid(slope) => out.extend(margins.iter().map(|&m| math::sigmoid(m, slope))),
            Self::Softplus => out.extend(margins.iter().map(|&m| math::log1p(math::exp(m)))),
            Self::ExpF32 => out.extend(margins.iter().map(|&m| f64::from(math::expf(m as f32)))),
            Self::SigmoidF32 => out.extend(margins.iter().map(|&m| f64::from(math::sigmoid_f32(m as f32)))),
            Self::StepF32 => out.extend(margins.iter().map(|&m| if m > 0.0 { 1.0 } else { 0.0 })),
            Self::Softmax => {
                out.extend_from_slice(margins);
                out.chunks_exact_mut(width).for_each(math::softmax);
            }
            Self::OneVersusRest => {
                for margins in margins.chunks_exact(width) {
                    let start = out.len();
                    out.extend(margins.iter().map(|&m| math::sigmoid(m, 1.0)));
                    let sum = out[start..].iter().fold(0.0, |sum, value| sum + value);
                    out[start..].iter_mut().for_each(|value| *value /= sum);
                }
            }
            Self::SoftmaxF32 => {
                let mut row = vec![0.0f32; width];
                for margins in margins.chunks_exact(width) {
                    row.iter_mut().zip(margins).for_each(|(r, &m)| *r = m as f32);
                    math::softmax_f32(&mut row);
                    out.extend(row.iter().map(|&v| f64::from(v)));
                }
            }
            Self::MeanVariance => {
                for row in margins.chunks_exact(width) {
                    out.extend(row.iter().enumerate().map(|(i, &m)| if i == 1 { math::exp(2.0 * m) } else { m }));
                }
            }
            Self::Isolation { expected } => {
                let ratio = |m: f64| if expected == 0.0 { 1.0 } else { m / expected };
                out.extend(margins.iter().map(|&m| -math::exp2(-ratio(m))));
            }
            Self::ArgMax => out.extend(margins.chunks_exact(width).map(|row| arg_max(row) as f64)),
        }
    }
}

/// -1, 0 or 1; 0 for NaN, as the C++ `(x > 0) - (x < 0)`.
fn sign(m: f64) -> f64 {
    f64::from(i8::from(m > 0.0) - i8::from(m < 0.0))
}

fn arg_max(row: &[f64]) -> usize {
    let mut best = 0;
    for (i, &m) in row.iter().enumerate() {
        if m > row[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(transform: Transform, margins: &[f64], width: usize) -> Vec<f64> {
        let mut out = Vec::new();
        transform.apply(margins, width, &mut out);
        out
    }

    #[test]
    fn by_value() {
        assert_eq!(apply(Transform::Identity, &[1.5, -2.0], 1), [1.5, -2.0]);
        assert_eq!(apply(Transform::SignedSquare, &[3.0, -2.0, 0.0], 1), [9.0, -4.0, 0.0]);
        assert_eq!(apply(Transform::Exp, &[0.0], 1), [1.0]);
        assert_eq!(apply(Transform::Softplus, &[0.0], 1), [std::f64::consts::LN_2]);
        assert_eq!(apply(Transform::StepF32, &[0.0, 1e-9, -1.0], 1), [0.0, 1.0, 0.0]);
        assert_eq!(apply(Transform::SigmoidF32, &[0.0], 1), [0.5]);
        assert_eq!(apply(Transform::Sigmoid(2.0), &[0.0], 1), [0.5]);
        assert_eq!(apply(Transform::Isolation { expected: 10.0 }, &[10.0, 20.0], 1), [-0.5, -0.25]);
        assert_eq!(apply(Transform::Isolation { expected: 0.0 }, &[0.0], 1), [-0.5]);
    }

    #[test]
    fn by_row() {
        assert_eq!(apply(Transform::ArgMax, &[1.0, 3.0, 3.0, 0.0, -1.0, -2.0], 3), [1.0, 0.0]);
        assert_eq!(apply(Transform::Softmax, &[5.0, 5.0, 1.0, 1.0], 2), [0.5; 4]);
        assert_eq!(apply(Transform::OneVersusRest, &[5.0, 5.0, -1.0, -1.0], 2), [0.5; 4]);
        assert_eq!(apply(Transform::SoftmaxF32, &[5.0, 5.0, 1.0, 1.0], 2), [0.5; 4]);
        assert_eq!(apply(Transform::MeanVariance, &[5.0, 0.0, -1.0, 0.0], 2), [5.0, 1.0, -1.0, 1.0]);
        assert_eq!(Transform::ArgMax.width(3), 1);
        assert_eq!(Transform::Softmax.width(3), 3);
    }
}
