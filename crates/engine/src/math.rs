//! The few functions that scores go through, in one fixed form: the same bits on every machine, whatever its C library
//! or processor. Plain additions and multiplications in a written order, no fused ones, no calls to the platform.
//!
//! `exp` and `logf` follow the ARM optimized routines (MIT), which glibc and musl use too, so that they agree with the
//! training libraries' results nearly always; `log1p` follows FreeBSD's msun.

mod exp;
mod log;
mod table;

pub use exp::{exp, exp2, expf};
pub use log::{log1p, logf};

/// The logistic function as LightGBM computes it: `1 / (1 + exp(-slope * x))`.
pub fn sigmoid(x: f64, slope: f64) -> f64 {
    1.0 / (1.0 + exp(-slope * x))
}

/// The logistic function as XGBoost computes it, in `f32`; it keeps the exponent under 88.7 so as not to overflow.
pub fn sigmoid_f32(x: f32) -> f32 {
    let x = if 88.7 < -x { 88.7 } else { -x };
    1.0 / (expf(x) + 1.0 + 1e-16)
}

/// Softmax in place as LightGBM computes it: the greatest is taken off, the sum runs in order.
pub fn softmax(values: &mut [f64]) {
    let Some(&first) = values.first() else { return };
    let greatest = values.iter().fold(first, |a, &b| if a < b { b } else { a });
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = exp(*value - greatest);
        sum += *value;
    }
    for value in values.iter_mut() {
        *value /= sum;
    }
}

/// Softmax in place as XGBoost computes it: `f32` values, their sum in `f64`.
pub fn softmax_f32(values: &mut [f32]) {
    let Some(&first) = values.first() else { return };
    let greatest = values.iter().fold(first, |a, &b| b.max(a));
    let mut sum = 0.0f64;
    for value in values.iter_mut() {
        *value = expf(*value - greatest);
        sum += f64::from(*value);
    }
    let sum = sum as f32;
    for value in values.iter_mut() {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_one_half_at_zero_and_saturates() {
        assert_eq!(sigmoid(0.0, 1.0), 0.5);
        assert_eq!(sigmoid(1000.0, 1.0), 1.0);
        assert_eq!(sigmoid(-1000.0, 1.0), 0.0);
        assert_eq!(sigmoid_f32(0.0), 0.5);
        assert_eq!(sigmoid_f32(100.0), 1.0);
        assert!(sigmoid_f32(-100.0) > 0.0, "bounded so as not to become zero");
        assert!(sigmoid(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn softmax_sums_to_one_and_does_not_overflow() {
        let mut values = [1000.0, 1001.0, 999.0];
        softmax(&mut values);
        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let mut values = [1000.0f32, 1001.0, 999.0];
        softmax_f32(&mut values);
        assert!((values.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        softmax(&mut []);
        softmax_f32(&mut []);
    }
}
