//! What was measured: latencies and counts by phase, version and backend, and over time.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::expect::Fault;
use super::failure::Failure;
use super::phase::Phase;
use super::timeline::Timeline;

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;
/// How many failures are kept with their words.
pub(super) const EXAMPLES_MAX: usize = 20;
/// How many calls are kept one by one.
const CALLS_MAX: usize = 2_000_000;

/// A histogram of latencies in microseconds, to three digits.
pub type Latencies = Histogram<u64>;

/// How one request ended.
#[derive(Debug)]
pub struct Ended {
    /// When it was due, from the start of the load.
    pub due: Duration,
    /// From when it was due to the last byte of its reply, or to its failure.
    pub latency: Duration,
    /// Which phase it was due in.
    pub phase: usize,
    /// Its reply, or how it failed.
    pub result: Result<Answer, (Failure, String)>,
}

/// A reply.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The version that answered, where the reply says.
    pub version: Option<u64>,
    /// The backend that answered, where the reply says.
    pub backend: Option<String>,
    /// Why it can't be attributed, where that was asked.
    pub fault: Option<Fault>,
    /// Whether it says when to come again.
    pub retry_after: bool,
    /// The first of its bytes, where the status is not 2xx.
    pub words: String,
}

/// Everything that was measured of one load.
#[derive(Debug)]
pub struct Tally {
    /// By phase, in the plan's order.
    pub phases: Vec<Phase>,
    /// Over time.
    pub timeline: Timeline,
    /// How late the driver itself sent what was due, waits in line not included, in microseconds.
    pub lag: Latencies,
    /// The first failures.
    pub examples: Vec<Example>,
    /// Where the plan wants them kept: each call that did not fail, when it was due and how long it took.
    pub calls: Vec<(Duration, Duration)>,
    keep: bool,
}

/// One failure in words.
#[derive(Clone, Debug)]
pub struct Example {
    /// When it was due, from the start of the load.
    pub due: Duration,
    /// Its kind.
    pub failure: Failure,
    /// What was seen.
    pub words: String,
}

/// An empty histogram.
pub fn latencies() -> Latencies {
    // The bounds are constants within the type's limits; `new` with digits alone can't fail for 3.
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// A duration as a histogram takes it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

impl Tally {
    /// Nothing measured yet.
    pub fn new(phases: &[String], keep: bool) -> Self {
        Self {
            phases: phases.iter().map(|name| Phase::new(name)).collect(),
            timeline: Timeline::new(),
            lag: latencies(),
            examples: Vec::new(),
            calls: Vec::new(),
            keep,
        }
    }

    /// Counts how one request ended, and says whether it failed.
    pub fn record(&mut self, ended: Ended) -> bool {
        let Some(phase) = self.phases.get_mut(ended.phase) else { return false };
        let failure = phase.record(&ended);
        self.timeline.record(ended.due, ended.latency, failure.is_some());
        let failed = failure.is_some();
        if self.keep && !failed && self.calls.len() < CALLS_MAX {
            self.calls.push((ended.due, ended.latency));
        }
        if let Some(failure) = failure.filter(|_| self.examples.len() < EXAMPLES_MAX) {
            let words = match ended.result {
                Err((_, words)) => words,
                Ok(answer) => match answer.fault {
                    Some(fault) => format!("{fault:?}: version {:?} of {:?}", answer.version, answer.backend),
                    None => format!("{}: {}", answer.status, answer.words),
                },
            };
            self.examples.push(Example { due: ended.due, failure, words });
        }
        failed
    }

    /// Requests that ended, failed ones included.
    pub fn ended(&self) -> u64 {
        self.phases.iter().map(|phase| phase.succeeded() + phase.failed()).sum()
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.phases.iter().map(Phase::failed).sum()
    }

    /// A phase by its name.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::driver::phase::KINDS_MAX;

    fn ended(phase: usize, latency_us: u64, result: Result<Answer, (Failure, String)>) -> Ended {
        Ended { due: Duration::ZERO, latency: Duration::from_micros(latency_us), phase, result }
    }

    fn answer(status: u16, version: u64, fault: Option<Fault>) -> Result<Answer, (Failure, String)> {
        Ok(Answer {
            status,
            version: Some(version),
            backend: Some("b1".into()),
            fault,
            retry_after: status == 503,
            words: "busy".into(),
        })
    }

    #[test]
    fn phases_are_measured_apart() {
        let mut tally = Tally::new(&["steady".into(), "swapping".into()], false);
        for at in 1..=100 {
            tally.record(ended(0, at * 10, answer(200, 1, None)));
            tally.record(ended(1, at * 20, answer(200, 1 + at % 2, None)));
        }
        assert_eq!(tally.phase("steady").unwrap().quantile_us(0.99), 990);
        assert_eq!(tally.phase("swapping").unwrap().quantile_us(0.5), 1000);
        let versions = &tally.phase("swapping").unwrap().versions;
        assert_eq!((versions[&1].len(), versions[&2].len()), (50, 50));
        assert_eq!((tally.ended(), tally.failed()), (200, 0));
    }

    #[test]
    fn failures_leave_the_latencies_alone_and_are_named() {
        let mut tally = Tally::new(&["all".into()], false);
        tally.record(ended(0, 100, answer(200, 1, None)));
        tally.record(ended(0, 9_000_000, Err((Failure::Timeout, "no reply".into()))));
        tally.record(ended(0, 5, answer(503, 1, None)));
        tally.record(ended(0, 5, answer(200, 2, Some(Fault::WrongBody))));
        let phase = &tally.phases[0];
        assert_eq!((phase.succeeded(), phase.failed(), phase.latency.max()), (1, 3, 100));
        assert_eq!(phase.failures, [(Failure::Timeout, 1), (Failure::Status, 1), (Failure::Attribution, 1)].into());
        assert_eq!(phase.statuses, [(200, 2), (503, 1)].into());
        assert_eq!((phase.refused[&503].len(), phase.refused[&503].max(), phase.retry_after), (1, 5, 1));
        assert_eq!(phase.faults, [(Fault::WrongBody, 1)].into());
        assert_eq!(phase.backends["b1"], 3);
        assert_eq!(tally.examples[1].words, "503: busy");
    }

    #[test]
    fn what_is_told_apart_is_bounded() {
        let mut tally = Tally::new(&["all".into()], false);
        for version in 0..10 * KINDS_MAX as u64 {
            tally.record(ended(0, 1, answer(500, version, None)));
            tally.record(ended(0, 1, answer(200, version, None)));
        }
        assert_eq!((tally.phases[0].versions.len(), tally.examples.len()), (KINDS_MAX, EXAMPLES_MAX));
        assert_eq!(tally.ended(), 20 * KINDS_MAX as u64);
    }
}
