//! What a call to a model costs: the time it takes where nothing is in its way, learned from replies.
//!
//! A gateway sees bytes and does not parse them. Of each model and door it learns how many rows a byte holds (replies say
//! how many rows they scored) and, by weighted least squares over the last minute, a base and a time per row. Replies that
//! took longer than expected count a tenth, so that it is a low expectile of the times and not their mean (Newey and
//! Powell, "Asymmetric Least Squares Estimation and Testing", 1987): queueing is not taken for work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Nanos, SECOND};

/// What a call is thought to take before any was seen.
const BASE_UNKNOWN: f64 = 100_000.0;
/// And each of its rows.
const ROW_UNKNOWN: f64 = 1_000.0;
/// Rows in a byte before any reply has told.
const ROWS_PER_BYTE_UNKNOWN: f64 = 1.0 / 256.0;
/// Replies after which an expectation is one.
const KNOWN_FROM: f64 = 4.0;
/// After so long a reply counts 1/e.
const MEMORY: Nanos = 60 * SECOND;
/// What a reply counts that took longer than expected.
const SLOWER: f64 = 0.1;
/// How many times longer than expected a reply takes at most, as far as it is learned from: a queue that lasts minutes
/// becomes what is expected only step by step.
const SLOWER_MAX: u64 = 2;

/// A model's costs by one door.
#[derive(Debug)]
pub struct Cost {
    base: AtomicF64,
    per_row: AtomicF64,
    rows_per_byte: AtomicF64,
    known: AtomicU64,
    sums: Mutex<Sums>,
}

/// What a call is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Nanoseconds, at least 1. What counts as its cost in flight.
    pub took: Nanos,
    /// Whether that was learned, so that a reply can be held against it.
    pub known: bool,
}

/// A reply, for [`Cost::learn`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Bytes of the call's body.
    pub bytes: u64,
    /// Rows that were scored, where the reply says so.
    pub rows: Option<u64>,
    /// From the sending of the call to the last byte of its reply.
    pub took: Nanos,
    /// Whether too much else was in flight at its backend: where it took longer than expected, that is why. In an
    /// overload that lasts, whatever little is learned from such replies adds up until waiting counts as work.
    pub crowded: bool,
}

/// Sums of least squares: weights, and weighted rows and times.
#[derive(Debug, Default)]
struct Sums {
    at: Nanos,
    count: f64,
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    bytes: f64,
    rows: f64,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            base: AtomicF64::new(BASE_UNKNOWN),
            per_row: AtomicF64::new(ROW_UNKNOWN),
            rows_per_byte: AtomicF64::new(ROWS_PER_BYTE_UNKNOWN),
            known: AtomicU64::new(0),
            sums: Mutex::default(),
        }
    }
}

impl Cost {
    /// What a call with so many bytes is expected to take.
    pub fn expect(&self, bytes: u64) -> Expected {
        self.of_rows(bytes as f64 * self.rows_per_byte.get())
    }

    /// The same where the rows are known: what a reply is held against.
    pub fn expect_rows(&self, bytes: u64, rows: Option<u64>) -> Expected {
        rows.map_or_else(|| self.expect(bytes), |rows| self.of_rows(rows as f64))
    }

    fn of_rows(&self, rows: f64) -> Expected {
        let took = self.base.get() + self.per_row.get() * rows;
        Expected { took: (took as Nanos).max(1), known: self.known.load(Relaxed) != 0 }
    }

    /// Takes a good reply in. One that comes while another thread takes in another is let go: they are many.
    pub fn learn(&self, sample: &Sample, now: Nanos) {
        let Ok(mut sums) = self.sums.try_lock() else { return };
        let rows = sample.rows.map_or(sample.bytes as f64 * self.rows_per_byte.get(), |rows| rows as f64);
        let expected = self.of_rows(rows);
        let slower = expected.known && sample.took > expected.took;
        if slower && sample.crowded {
            return;
        }
        let weight = if slower { SLOWER } else { 1.0 };
        sums.fade(now);
        let took = if slower { sample.took.min(expected.took.saturating_mul(SLOWER_MAX)) } else { sample.took };
        sums.add(weight, rows, took as f64);
        if let Some(rows) = sample.rows.filter(|_| sample.bytes > 0) {
            sums.bytes += sample.bytes as f64;
            sums.rows += rows as f64;
            self.rows_per_byte.set(sums.rows / sums.bytes);
        }
        let (base, per_row) = sums.line();
        self.base.set(base);
        self.per_row.set(per_row);
        if sums.count >= KNOWN_FROM {
            self.known.store(1, Relaxed);
        }
    }
}

impl Sums {
    fn fade(&mut self, now: Nanos) {
        let passed = now.saturating_sub(self.at);
        // A hundredth of a second is nothing, and exp is not free.
        if passed < MEMORY / 6_000 {
            return;
        }
        self.at = now;
        let left = (-(passed as f64) / MEMORY as f64).exp();
        // A model that idles is not forgotten: the last replies keep the weight of a few.
        let left = left.max((KNOWN_FROM / self.weight.max(f64::MIN_POSITIVE)).min(1.0));
        for sum in [&mut self.weight, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= left;
        }
        self.bytes *= left;
        self.rows *= left;
    }

    fn add(&mut self, weight: f64, x: f64, y: f64) {
        self.count += 1.0;
        self.weight += weight;
        self.x += weight * x;
        self.y += weight * y;
        self.xx += weight * x * x;
        self.xy += weight * x * y;
    }

    /// Base and slope of the line through what came, neither below 0.
    fn line(&self) -> (f64, f64) {
        let spread = self.weight * self.xx - self.x * self.x;
        let mean = self.y / self.weight;
        // Calls of one size say nothing about what a row costs.
        if spread <= 1e-6 * self.weight * self.xx {
            return (mean, 0.0);
        }
        let slope = (self.weight * self.xy - self.x * self.y) / spread;
        let base = (self.y - slope * self.x) / self.weight;
        match (base < 0.0, slope < 0.0) {
            (_, true) => (mean, 0.0),
            (true, false) => (0.0, self.xy / self.xx),
            _ => (base, slope),
        }
    }
}

#[derive(Debug)]
struct AtomicF64(AtomicU64);

impl AtomicF64 {
    fn new(value: f64) -> Self {
        Self(AtomicU64::new(value.to_bits()))
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(bytes: u64, rows: u64, took: Nanos) -> Sample {
        Sample { bytes, rows: Some(rows), took, crowded: false }
    }

    fn near(value: Nanos, wanted: Nanos) -> bool {
        value.abs_diff(wanted) <= wanted / 50 + 2
    }

    #[test]
    fn rows_are_told_by_bytes_and_the_door() {
        let cost = Cost::default();
        assert!(!cost.expect(540).known);
        for n in 0..200 {
            let rows = [1, 10, 1_000][n % 3];
            cost.learn(&sample(540 * rows, rows, 80_000 + 900 * rows), n as u64 * SECOND / 100);
        }
        for rows in [1, 10, 500, 5_000] {
            let expected = cost.expect(540 * rows);
            assert!(expected.known && near(expected.took, 80_000 + 900 * rows), "{rows}: {expected:?}");
        }
    }

    #[test]
    fn queueing_is_not_taken_for_work() {
        let cost = Cost::default();
        for n in 0..1_000u64 {
            let waited = if n % 2 == 0 { 0 } else { 400_000 };
            cost.learn(&sample(540, 1, 100_000 + waited), n * SECOND / 1_000);
        }
        let took = cost.expect(540).took;
        assert!((100_000..150_000).contains(&took), "{took}: the mean is 300,000");
    }

    #[test]
    fn a_queue_that_lasts_is_not_taken_for_work_either() {
        let cost = Cost::default();
        (0..20).for_each(|n| cost.learn(&sample(540, 1, 100_000), n));
        for n in 0..1_000u64 {
            cost.learn(&Sample { crowded: true, ..sample(540, 1, 2_500_000) }, n * SECOND / 100);
        }
        assert!(cost.expect(540).took < 200_000, "{:?}", cost.expect(540));
    }

    #[test]
    fn large_calls_are_learned_after_small_ones() {
        let cost = Cost::default();
        (0..100).for_each(|n| cost.learn(&sample(540, 1, 100_000), n));
        (0..100).for_each(|n| cost.learn(&sample(540_000, 1_000, 10_000_000), n));
        let took = cost.expect(540_000).took;
        assert!((5_000_000..10_000_000).contains(&took), "{took}: a hundred times a small one's");
    }

    #[test]
    fn a_model_that_grew_slower_is_learned_anew() {
        let cost = Cost::default();
        (0..1_000).for_each(|n| cost.learn(&sample(540, 1, 100_000), n * SECOND / 100));
        (0..60_000).for_each(|n| cost.learn(&sample(540, 1, 1_000_000), (10 + n / 100) * SECOND));
        assert!(near(cost.expect(540).took, 1_000_000), "{:?}", cost.expect(540));
    }

    #[test]
    fn after_an_idle_day_it_still_knows() {
        let cost = Cost::default();
        (0..100).for_each(|n| cost.learn(&sample(540, 1, 100_000), n));
        cost.learn(&sample(540, 1, 900_000), 86_400 * SECOND);
        assert!((100_000..250_000).contains(&cost.expect(540).took), "{:?}", cost.expect(540));
    }

    proptest! {
        #[test]
        fn always_a_time(samples in proptest::collection::vec((any::<u32>(), proptest::option::of(any::<u32>()), any::<u32>(), any::<u32>()), 1..60), ask in any::<u64>()) {
            let (cost, mut now) = (Cost::default(), 0u64);
            for (bytes, rows, took, wait) in samples {
                now += u64::from(wait);
                let sample = Sample { bytes: bytes.into(), rows: rows.map(Into::into), took: took.into(), crowded: wait % 2 == 0 };
                cost.learn(&sample, now);
                let (small, large) = (cost.expect(0), cost.expect(ask));
                prop_assert!(small.took >= 1 && large.took >= small.took);
                prop_assert!(cost.base.get().is_finite() && cost.per_row.get().is_finite());
            }
        }
    }
}
