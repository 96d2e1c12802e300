//! What callers do that costs them their connection: counted by its kind, and told in the log once in a while, with how often
//! it came since. Thus an attack is seen, and does not fill the disk.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::metrics;

/// How often one kind is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why a caller's connection was closed, or not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// There are as many connections as may be.
    TooMany,
    /// A request's head did not come in time.
    SlowHead,
    /// A request, or a connection that was told to end, lasted longer than any may.
    Overlong,
    /// What came is no HTTP, or a flood of it.
    Protocol,
}

/// Counts them.
#[derive(Debug)]
pub(super) struct Offences {
    began: Instant,
    kinds: [Told; 4],
}

/// Of one kind: when it was last told, in milliseconds and 1 more, 0 where it never was; how many came since.
#[derive(Debug, Default)]
struct Told {
    at_ms: AtomicU64,
    since: AtomicU64,
}

impl Offence {
    fn as_str(self) -> &'static str {
        match self {
            Offence::TooMany => "too_many",
            Offence::SlowHead => "slow_head",
            Offence::Overlong => "overlong",
            Offence::Protocol => "protocol",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Offence::TooMany => "there are as many connections as may be",
            Offence::SlowHead => "a request's head did not come in time",
            Offence::Overlong => "it lasted longer than any may",
            Offence::Protocol => "it sent no HTTP, or too much of one thing",
        }
    }
}

impl Default for Offences {
    fn default() -> Self {
        Self { began: Instant::now(), kinds: Default::default() }
    }
}

impl Offences {
    /// A caller's connection ends by its own fault.
    pub(super) fn closed(&self, caller: &str, offence: Offence, detail: impl Display) {
        metrics::offence(offence.as_str());
        if let Some(more) = self.tells(offence, self.began.elapsed()) {
            let (kind, what) = (offence.as_str(), offence.words());
            tracing::warn!(caller, kind, %detail, more, "caller's connection closed: {what}");
        }
    }

    /// Whether this one is told, and how many were not since the last that was.
    fn tells(&self, offence: Offence, at: Duration) -> Option<u64> {
        let told = &self.kinds[offence as usize];
        let now_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last_ms = told.at_ms.load(Relaxed);
        let is_due = last_ms == 0 || now_ms.saturating_sub(last_ms) >= TELL_EVERY.as_millis() as u64;
        // Of those that come at once, one.
        if is_due && told.at_ms.compare_exchange(last_ms, now_ms, Relaxed, Relaxed).is_ok() {
            return Some(told.since.swap(0, Relaxed));
        }
        told.since.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_at_once_and_then_once_in_a_while() {
        let offences = Offences::default();
        let tells = |offence, s| offences.tells(offence, Duration::from_secs(s));
        assert_eq!([0, 1, 9].map(|s| tells(Offence::SlowHead, s)), [Some(0), None, None]);
        assert_eq!(tells(Offence::Protocol, 9), Some(0));
        assert_eq!([10, 11, 19, 30].map(|s| tells(Offence::SlowHead, s)), [Some(2), None, None, Some(2)]);
    }
}
