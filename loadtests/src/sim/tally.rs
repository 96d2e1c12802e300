//! What is counted.

use hdrhistogram::Histogram;
use headgate_balance::Nanos;
use serde::Serialize;

use crate::report::{Quantiles, SliceReport};

/// Slices of a timeline.
pub const SLICES: usize = 100;
/// The longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 100_000_000;

/// How a call ended, for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer in time.
    Good,
    /// Its caller has had its share.
    Share,
    /// No backend has room, as far as the gateway knows.
    NoRoom,
    /// Backends had no room.
    Overloaded,
    /// Too late.
    Late,
    /// Backends failed it.
    Failed,
}

/// Counts of one simulation.
#[derive(Debug)]
pub struct Tally {
    warm_from: Nanos,
    began: Nanos,
    slice: Nanos,
    latency: Histogram<u64>,
    slices: Vec<(Histogram<u64>, u64)>,
    ends: [u64; 6],
    /// Retries after a failure, once warm.
    pub retries: u64,
    /// Attempts beside one that was slow.
    pub hedges: u64,
    /// Attempts beside one that was given up.
    pub given_up: u64,
    /// Attempts by backend, once warm.
    pub attempts: Vec<u64>,
    /// Failures of the first backend that are borne before its share is counted, and those so far.
    borne: u64,
    failures: u64,
    /// Attempts of the first backend and of all after that.
    after: (u64, u64),
}

/// Counts as they are told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Latency of what was answered in time, from the call's arrival at the gateway.
    pub latency: Quantiles,
    /// Calls that came.
    pub calls: u64,
    /// Of a second: answered in time.
    pub goodput: f64,
    /// The same as a part of what the fleet can do.
    pub goodput_of_capacity: f64,
    /// Refused: their callers had had their share.
    pub refused_share: u64,
    /// Refused: no room, as far as the gateway knew.
    pub refused_room: u64,
    /// Refused by backends.
    pub refused_backend: u64,
    /// Too late.
    pub late: u64,
    /// Failed.
    pub failed: u64,
    /// Retries.
    pub retries: u64,
    /// Hedges.
    pub hedges: u64,
    /// Attempts beside one that took half of the time, or whose backend fell silent.
    pub given_up: u64,
    /// Ejections, of all gateways and from the start.
    pub ejections: u64,
    /// Attempts of the backend that got most, over the mean.
    pub spread: f64,
    /// The part of all attempts that the first backend got, in equal parts.
    pub first_share: f64,
    /// The same after it had failed ten calls of each gateway; none where it did not.
    pub first_share_after_failures: Option<f64>,
}

impl Tally {
    /// Of so many backends, from `began` to `ends`, counting from `warm_from` on.
    pub fn new(backends: usize, gateways: usize, began: Nanos, warm_from: Nanos, ends: Nanos) -> Self {
        Self {
            warm_from,
            began,
            slice: ((ends - began) / SLICES as u64).max(1),
            latency: histogram(3),
            slices: (0..SLICES).map(|_| (histogram(2), 0)).collect(),
            ends: [0; 6],
            retries: 0,
            hedges: 0,
            given_up: 0,
            attempts: vec![0; backends],
            borne: 10 * gateways as u64,
            failures: 0,
            after: (0, 0),
        }
    }

    /// Whether what happens now is counted.
    pub fn counts(&self, now: Nanos) -> bool {
        now >= self.warm_from
    }

    /// An attempt is sent.
    pub fn sent(&mut self, backend: u32, now: Nanos) {
        if self.counts(now) {
            self.attempts[backend as usize] += 1;
        }
        if self.failures >= self.borne {
            self.after.0 += u64::from(backend == 0);
            self.after.1 += 1;
        }
    }

    /// A backend failed an attempt.
    pub fn failed(&mut self, backend: u32) {
        self.failures += u64::from(backend == 0);
    }

    /// A call that arrived at `at` ended after so long.
    pub fn ended(&mut self, end: End, at: Nanos, took: Nanos) {
        let us = (took / 1_000).clamp(1, LONGEST_US);
        if let Some((latency, failed)) = self.slices.get_mut(((at - self.began) / self.slice) as usize) {
            match end {
                End::Good => latency.saturating_record(us),
                _ => *failed += 1,
            }
        }
        if self.counts(at) {
            self.ends[end as usize] += 1;
            if end == End::Good {
                self.latency.saturating_record(us);
            }
        }
    }

    /// Latency over time.
    pub fn timeline(&self) -> Vec<SliceReport> {
        let slice = |(latency, failed): &(Histogram<u64>, u64)| SliceReport {
            succeeded: latency.len(),
            failed: *failed,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
        };
        self.slices.iter().map(slice).collect()
    }

    /// How wide a slice is.
    pub fn slice(&self) -> Nanos {
        self.slice
    }

    /// All of it: over so many seconds, of a fleet that can do so many calls a second.
    pub fn told(&self, seconds: f64, capacity: f64, ejections: u64) -> Told {
        let count = |end: End| self.ends[end as usize];
        let goodput = count(End::Good) as f64 / seconds;
        let attempts: u64 = self.attempts.iter().sum();
        let mean = attempts as f64 / self.attempts.len().max(1) as f64;
        Told {
            latency: Quantiles::of(&self.latency),
            calls: self.ends.iter().sum(),
            goodput,
            goodput_of_capacity: goodput / capacity,
            refused_share: count(End::Share),
            refused_room: count(End::NoRoom),
            refused_backend: count(End::Overloaded),
            late: count(End::Late),
            failed: count(End::Failed),
            retries: self.retries,
            hedges: self.hedges,
            given_up: self.given_up,
            ejections,
            spread: self.attempts.iter().copied().max().unwrap_or(0) as f64 / mean.max(1.0),
            first_share: self.attempts.first().copied().unwrap_or(0) as f64 / mean.max(1.0),
            first_share_after_failures: (self.after.1 > 0)
                .then(|| self.after.0 as f64 / self.after.1 as f64 * self.attempts.len() as f64),
        }
    }
}

impl Told {
    /// Calls that were refused, by whomever.
    pub fn refused(&self) -> u64 {
        self.refused_share + self.refused_room + self.refused_backend
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, digits).unwrap_or_else(|_| unreachable!("constant bounds"))
}
