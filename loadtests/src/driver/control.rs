//! Steering a load while it runs: phases, marks, its end; and what it says of itself meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many marks and windows are kept.
const MARKS_MAX: usize = 10_000;

/// Steers a running load. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    phase: AtomicUsize,
    stopped: AtomicBool,
    stop: Notify,
    log: Mutex<Log>,
    ended: AtomicU64,
    failed: AtomicU64,
}

/// What happened to a load from outside, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Phases: from when on, and which.
    pub windows: Vec<(Duration, usize)>,
    /// Events: when, and what.
    pub marks: Vec<(Duration, String)>,
}

/// A backend's replies changed their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the reply was whole.
    pub at: Instant,
    /// The backend.
    pub backend: String,
    /// The version from now on.
    pub version: u64,
}

impl Control {
    pub(super) fn new(started: Instant) -> Self {
        Self(Arc::new(Shared {
            started,
            phase: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            log: Mutex::new(Log { windows: vec![(Duration::ZERO, 0)], marks: Vec::new() }),
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    /// From now on, requests that come due belong to phase number `phase` of the plan.
    pub fn phase(&self, phase: usize) {
        self.0.phase.store(phase, Ordering::Relaxed);
        let mut log = self.log_mut();
        if log.windows.len() < MARKS_MAX {
            let at = self.0.started.elapsed();
            log.windows.push((at, phase));
        }
    }

    /// Notes an event, for the plot.
    pub fn mark(&self, what: impl Into<String>) {
        let mut log = self.log_mut();
        if log.marks.len() < MARKS_MAX {
            let at = self.0.started.elapsed();
            log.marks.push((at, what.into()));
        }
    }

    /// Ends the arrivals; what is in flight is waited for.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        self.0.stop.notify_waiters();
        self.0.stop.notify_one();
    }

    /// Requests that ended so far, and those of them that failed.
    pub fn progress(&self) -> (u64, u64) {
        (self.0.ended.load(Ordering::Relaxed), self.0.failed.load(Ordering::Relaxed))
    }

    pub(super) fn current_phase(&self) -> usize {
        self.0.phase.load(Ordering::Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    pub(super) async fn stopped(&self) {
        if !self.is_stopped() {
            self.0.stop.notified().await;
        }
    }

    pub(super) fn count(&self, failed: bool) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        self.0.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    pub(super) fn log(&self) -> Log {
        self.log_mut().clone()
    }

    fn log_mut(&self) -> MutexGuard<'_, Log> {
        // Every change of the log is one push: a panic elsewhere can't have left it half-way.
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// How long each of `phases` phases took in all, of a load that ended at `end`.
    pub fn lengths(&self, phases: usize, end: Duration) -> Vec<Duration> {
        let mut lengths = vec![Duration::ZERO; phases];
        for (at, (from, phase)) in self.windows.iter().enumerate() {
            let to = self.windows.get(at + 1).map_or(end, |(next, _)| *next);
            if let Some(length) = lengths.get_mut(*phase) {
                *length += to.saturating_sub(*from);
            }
        }
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_a_phase_add_up() {
        let s = Duration::from_secs;
        let log = Log { windows: vec![(s(0), 0), (s(2), 1), (s(3), 0), (s(7), 1)], marks: Vec::new() };
        assert_eq!(log.lengths(2, s(9)), [s(6), s(3)]);
    }
}
