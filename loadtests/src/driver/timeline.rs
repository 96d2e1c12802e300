//! Latency over time, in slices of equal width. The number of slices is bounded: when they run out, neighbours are
//! merged and the width doubles.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::micros;

const SLICES_MAX: usize = 1200;
const WIDTH_FIRST: Duration = Duration::from_millis(100);
const LATENCY_US_MAX: u64 = 120_000_000;

/// Latency over time.
#[derive(Debug)]
pub struct Timeline {
    width: Duration,
    slices: Vec<Slice>,
}

/// The requests that were due within one slice of time.
#[derive(Debug)]
pub struct Slice {
    /// Latencies of the requests that did not fail, in microseconds, to two digits.
    pub latency: Histogram<u32>,
    /// How many failed.
    pub failed: u64,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { width: WIDTH_FIRST, slices: Vec::new() }
    }

    /// The width of a slice.
    pub fn width(&self) -> Duration {
        self.width
    }

    /// The slices, from the start of the load on.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    pub(super) fn record(&mut self, due: Duration, latency: Duration, failed: bool) {
        while due.as_nanos() / self.width.as_nanos() >= SLICES_MAX as u128 {
            self.halve();
        }
        let at = (due.as_nanos() / self.width.as_nanos()) as usize;
        while self.slices.len() <= at {
            self.slices.push(Slice::new());
        }
        let slice = &mut self.slices[at];
        if failed {
            slice.failed += 1;
        } else {
            slice.latency.saturating_record(micros(latency));
        }
    }

    /// Takes another one in that began at the same time.
    pub(super) fn merge(&mut self, mut other: Timeline) {
        while self.width < other.width {
            self.halve();
        }
        while other.width < self.width {
            other.halve();
        }
        while self.slices.len() < other.slices.len() {
            self.slices.push(Slice::new());
        }
        for (slice, more) in self.slices.iter_mut().zip(&other.slices) {
            slice.merge(more);
        }
    }

    fn halve(&mut self) {
        self.width *= 2;
        let mut merged: Vec<Slice> = Vec::with_capacity(self.slices.len().div_ceil(2));
        for (at, slice) in self.slices.drain(..).enumerate() {
            match merged.last_mut() {
                Some(last) if at % 2 == 1 => last.merge(&slice),
                _ => merged.push(slice),
            }
        }
        self.slices = merged;
    }
}

impl Slice {
    fn new() -> Self {
        let latency =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).unwrap_or_else(|_| unreachable!("constant bounds"));
        Self { latency, failed: 0 }
    }

    fn merge(&mut self, other: &Slice) {
        // Both have the same bounds: adding can't fail.
        let _ = self.latency.add(&other.latency);
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_merge_when_they_run_out_and_lose_nothing() {
        let mut timeline = Timeline::new();
        for tenth in 0..SLICES_MAX as u64 * 3 {
            timeline.record(Duration::from_millis(tenth * 100), Duration::from_micros(500), false);
            timeline.record(Duration::from_millis(tenth * 100 + 99), Duration::ZERO, true);
        }
        assert_eq!(timeline.width(), WIDTH_FIRST * 4);
        assert_eq!(timeline.slices().len(), SLICES_MAX * 3 / 4);
        assert!(timeline.slices().iter().all(|slice| slice.latency.len() == 4 && slice.failed == 4));
    }
}
