//! A load as its report shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::driver::Driven;
use crate::driver::phase::Phase;
use crate::driver::tally::Latencies;

/// A load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// How long requests arrived, in seconds.
    pub length_s: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// The most connections that there were.
    pub connections: usize,
    /// How late the driver itself was: a part of all latencies.
    pub lag: Quantiles,
    /// By phase.
    pub phases: Vec<PhaseReport>,
    /// The width of a slice of `timeline`, in seconds.
    pub slice_s: f64,
    /// Latency over time.
    pub timeline: Vec<SliceReport>,
    /// When which phase was.
    pub windows: Vec<WindowReport>,
    /// What happened when.
    pub marks: Vec<MarkReport>,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

/// A phase of a load.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// How long all its windows were together, in seconds.
    pub length_s: f64,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// By kind: requests that failed.
    pub failures: BTreeMap<String, u64>,
    /// By kind: replies that can't be attributed to exactly one version.
    pub faults: BTreeMap<String, u64>,
    /// By status: replies.
    pub statuses: BTreeMap<u16, u64>,
    /// By status: latency of the replies that are no success.
    pub refused: BTreeMap<u16, Quantiles>,
    /// How many of those say when to come again.
    pub retry_after: u64,
    /// By backend: replies.
    pub backends: BTreeMap<String, u64>,
    /// Latency of the requests that succeeded.
    pub latency: Quantiles,
    /// By version: latency of its replies.
    pub versions: BTreeMap<u64, Quantiles>,
}

/// Latencies, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: u64,
    /// 90 % are at most this.
    pub p90_us: u64,
    /// 99 % are at most this.
    pub p99_us: u64,
    /// 99.9 % are at most this.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A slice of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SliceReport {
    /// Requests that were due in it and succeeded.
    pub succeeded: u64,
    /// Requests that were due in it and failed.
    pub failed: u64,
    /// Median latency, in microseconds.
    pub p50_us: u64,
    /// 99 % are at most this.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A window of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowReport {
    /// Number of the phase.
    pub phase: usize,
    /// From when on, in seconds from the start of the load.
    pub from_s: f64,
    /// Until when.
    pub to_s: f64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkReport {
    /// When, in seconds from the start of the load.
    pub at_s: f64,
    /// What.
    pub what: String,
}

impl From<&Driven> for LoadReport {
    fn from(driven: &Driven) -> Self {
        let tally = &driven.tally;
        let end = |at: usize| driven.log.windows.get(at + 1).map_or(driven.length, |(next, _)| *next);
        let windows = driven.log.windows.iter().enumerate().map(|(at, (from, phase))| WindowReport {
            phase: *phase,
            from_s: from.as_secs_f64(),
            to_s: end(at).as_secs_f64(),
        });
        let slices = tally.timeline.slices().iter().map(|slice| SliceReport {
            succeeded: slice.latency.len(),
            failed: slice.failed,
            p50_us: slice.latency.value_at_quantile(0.5),
            p99_us: slice.latency.value_at_quantile(0.99),
            max_us: slice.latency.max(),
        });
        let mark = |(at, what): &(Duration, String)| MarkReport { at_s: at.as_secs_f64(), what: what.clone() };
        Self {
            length_s: driven.length.as_secs_f64(),
            requests: tally.ended(),
            failed: tally.failed(),
            connections: driven.connections,
            lag: Quantiles::of(&tally.lag),
            phases: tally.phases.iter().map(PhaseReport::of).collect(),
            slice_s: tally.timeline.width().as_secs_f64(),
            timeline: slices.collect(),
            windows: windows.collect(),
            marks: driven.log.marks.iter().map(mark).collect(),
            failures: tally
                .examples
                .iter()
                .map(|e| format!("at {:.3} s: {}: {}", e.due.as_secs_f64(), e.failure.as_str(), e.words))
                .collect(),
        }
    }
}

impl PhaseReport {
    fn of(phase: &Phase) -> Self {
        Self {
            name: phase.name.clone(),
            length_s: phase.length.as_secs_f64(),
            succeeded: phase.succeeded(),
            failures: phase.failures.iter().map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
            faults: phase.faults.iter().map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
            statuses: phase.statuses.clone(),
            refused: phase.refused.iter().map(|(status, latency)| (*status, Quantiles::of(latency))).collect(),
            retry_after: phase.retry_after,
            backends: phase.backends.clone(),
            latency: Quantiles::of(&phase.latency),
            versions: phase.versions.iter().map(|(version, latency)| (*version, Quantiles::of(latency))).collect(),
        }
    }
}

impl Quantiles {
    /// Of a histogram of microseconds.
    pub fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.len(),
            mean_us: latencies.mean(),
            p50_us: latencies.value_at_quantile(0.5),
            p90_us: latencies.value_at_quantile(0.9),
            p99_us: latencies.value_at_quantile(0.99),
            p999_us: latencies.value_at_quantile(0.999),
            max_us: latencies.max(),
        }
    }
}
