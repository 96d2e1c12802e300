//! A quantile of what was seen lately, in a few hundred bytes: a histogram whose counts are halved when they are many.
//!
//! As HdrHistogram's buckets (G. Tene), four to each doubling, so that a quantile is at most a fifth too large; as the
//! rotating histogram of tower's hedge layer in that the past fades.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Buckets to each doubling.
const PER_DOUBLING: u32 = 4;
/// From 2^-4 to 2^12.
const BUCKETS: usize = 64;
const LOWEST: f32 = 1.0 / 16.0;
/// The counts are halved at so many.
const FADES_AT: u32 = 2_048;
/// The quantile is taken anew after so many.
const TAKEN_EVERY: u32 = 32;

/// What part of what was seen is below, for one quantile.
#[derive(Debug)]
pub struct Quantile {
    counts: [AtomicU32; BUCKETS],
    sum: AtomicU32,
    /// The quantile's bits, and above them whether there is one yet.
    taken: AtomicU64,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU32::new(0)), sum: AtomicU32::new(0), taken: AtomicU64::new(0) }
    }
}

impl Quantile {
    /// Takes in a value; one outside 1/16 to 4,096 counts as the nearest inside. `quantile` is from 0 to 1.
    pub fn add(&self, value: f32, quantile: f32) {
        if let Some(count) = self.counts.get(bucket(value)) {
            count.fetch_add(1, Relaxed);
        }
        let sum = self.sum.fetch_add(1, Relaxed) + 1;
        if sum.is_multiple_of(TAKEN_EVERY) {
            self.take(quantile);
        }
        if sum == FADES_AT {
            self.fade();
        }
    }

    /// The quantile, once there are enough values for one: at most a fifth above the exact one.
    pub fn get(&self) -> Option<f32> {
        match self.taken.load(Relaxed) {
            0 => None,
            taken => Some(f32::from_bits(taken as u32)),
        }
    }

    fn take(&self, quantile: f32) {
        let sum: u32 = self.counts.iter().map(|count| count.load(Relaxed)).sum();
        let rank = (f64::from(sum) * f64::from(quantile.clamp(0.0, 1.0))).ceil() as u32;
        let mut below = 0;
        let reaches = |count: &AtomicU32| {
            below += count.load(Relaxed);
            below >= rank
        };
        let at = self.counts.iter().position(reaches).unwrap_or(BUCKETS - 1);
        self.taken.store(1 << 32 | u64::from(upper(at).to_bits()), Relaxed);
    }

    fn fade(&self) {
        let mut sum = 0;
        for count in &self.counts {
            let half = count.load(Relaxed) / 2;
            count.store(half, Relaxed);
            sum += half;
        }
        self.sum.store(sum, Relaxed);
    }
}

fn bucket(value: f32) -> usize {
    let doublings = (value.max(LOWEST) / LOWEST).log2();
    ((doublings * PER_DOUBLING as f32) as usize).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> f32 {
    LOWEST * ((bucket + 1) as f32 / PER_DOUBLING as f32).exp2()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_follows_what_changes() {
        let quantile = Quantile::default();
        (0..31).for_each(|_| quantile.add(1.0, 0.95));
        assert_eq!(quantile.get(), None, "too few");
        (0..1_000).for_each(|_| quantile.add(1.0, 0.95));
        let one = quantile.get().unwrap();
        (0..20_000).for_each(|_| quantile.add(10.0, 0.95));
        let ten = quantile.get().unwrap();
        assert!((1.0..1.2).contains(&one) && (10.0..12.0).contains(&ten), "{one} {ten}");
    }

    proptest! {
        #[test]
        fn near_the_exact_one(mut values in proptest::collection::vec(0.07f32..4_000.0, 64..1_500), of in 0.5f32..0.99) {
            let quantile = Quantile::default();
            values.truncate(values.len() / 32 * 32);
            values.iter().for_each(|&value| quantile.add(value, of));
            values.sort_unstable_by(f32::total_cmp);
            let rank = (values.len() as f64 * f64::from(of)).ceil() as usize;
            let exact = values[rank - 1];
            let got = quantile.get().unwrap();
            prop_assert!(got >= exact * 0.999 && got <= exact * 1.2, "{} for {}", got, exact);
        }
    }
}
