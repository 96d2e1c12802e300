//! What is known of one backend's load from the calls that were sent there: what is in flight, how slow it answers, what
//! failed, and what other gateways have there. All of it atomic.
//!
//! The pace is a peak-sensitive moving average, as in Finagle's and linkerd's peak-EWMA balancers: a reply slower than the
//! average replaces it at once, faster ones wear it down with time. They average the time of a reply; here it is divided by
//! what [`crate::cost`] expects of the call, so that a backend is not thought slow for the large calls that it was given.
//!
//! A failure counts as a slow reply: for [`Rules::penalty_ms`] the call counts as if it still were in flight. A backend that
//! fails fast thus gets about as many calls as one that never answers, however many the others have in flight.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::choose::Candidate;
use crate::decay::{Decaying, left};
use crate::{Millis, Nanos, nanos};

/// Replies cannot show a backend faster or slower than by this factor.
const PACE_MAX: f32 = 64.0;
/// Nor can calls that were not answered: they have other ways to count, and one that hung would else keep calls away for
/// long after.
const PACE_UNANSWERED_MAX: f32 = 8.0;

/// How long things count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// After so long a slow reply counts 1/e.
    pub decay_ms: Millis,
    /// How long a failed call counts as in flight: 1/e of it after so long.
    pub penalty_ms: Millis,
    /// How long what a backend said of its load is believed, ever less.
    pub heard_ms: Millis,
}

/// A backend's load.
#[derive(Debug, Default)]
pub struct Load {
    calls: AtomicU32,
    cost: AtomicU64,
    /// Times of replies over what was expected.
    pace: Decaying,
    /// Nanoseconds of replies, for people.
    latency: Decaying,
    failed: Decaying,
    /// Calls of others in flight there.
    others: Decaying,
}

/// A call that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// From its sending to the last byte of its reply, or to its failure.
    pub took: Nanos,
    /// What was expected, where that is known.
    pub expected: Option<Nanos>,
    /// How it ended.
    pub ended: Ended,
    /// Calls in flight there, as the reply says: this one and those of other gateways included.
    pub load: Option<u64>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Good,
    /// The backend failed it, or refused it.
    Failed,
    /// Nobody waits for it any more: it would have taken longer still.
    Left,
}

impl Default for Rules {
    fn default() -> Self {
        Self { decay_ms: 5_000, penalty_ms: 1_000, heard_ms: 1_000 }
    }
}

impl Load {
    /// A call is sent.
    pub fn begin(&self, cost: Nanos) {
        self.calls.fetch_add(1, Relaxed);
        self.cost.fetch_add(cost, Relaxed);
    }

    /// It is over, with the cost with which it began.
    pub fn end(&self, cost: Nanos) {
        self.calls.fetch_sub(1, Relaxed);
        self.cost.fetch_sub(cost, Relaxed);
    }

    /// Takes in how a call ended; before [`Self::end`] of the same call.
    pub fn observe(&self, seen: &Observed, now: Nanos, rules: &Rules) {
        if let Some(load) = seen.load {
            self.heard(load, now);
        }
        let tau = nanos(rules.decay_ms);
        let pace =
            seen.expected.map(|expected| (seen.took as f32 / expected.max(1) as f32).clamp(1.0 / PACE_MAX, PACE_MAX));
        if seen.ended == Ended::Failed {
            self.failed.add(1.0, now, nanos(rules.penalty_ms));
        }
        if seen.ended != Ended::Good {
            // How fast it failed says nothing good of it.
            let pace = pace.map(|pace| pace.min(PACE_UNANSWERED_MAX));
            if let Some(pace) = pace.filter(|&pace| pace > self.pace(now, rules)) {
                self.pace.change(now, |_| pace);
            }
            return;
        }
        self.latency.change(now, |before| averaged(seen.took as f32, before, tau));
        if let Some(pace) = pace {
            self.pace.change(now, |before| match before {
                Some((peak, _)) if pace < peak => averaged(pace, before, tau),
                _ => pace,
            });
        }
    }

    /// The backend said how many calls are in flight there, from whomever.
    pub fn heard(&self, load: u64, now: Nanos) {
        let others = load.saturating_sub(u64::from(self.calls()));
        self.others.change(now, |_| others as f32);
    }

    /// What a choice needs to know. `weight` is the backend's part of a full share, above 0 to 1.
    pub fn candidate(&self, weight: f32, now: Nanos, rules: &Rules) -> Candidate {
        let heard = nanos(rules.heard_ms);
        Candidate {
            calls: self.calls(),
            cost: self.cost(),
            failed: counted(self.failed.faded(now, nanos(rules.penalty_ms))),
            others: self.others(now, rules),
            pace: self.pace(now, rules),
            fresh: self.others.get(now).is_some_and(|(_, age)| age <= heard),
            weight,
        }
    }

    /// Calls of others in flight there, as far as was heard.
    pub fn others(&self, now: Nanos, rules: &Rules) -> f32 {
        counted(self.others.faded(now, nanos(rules.heard_ms)))
    }

    /// Calls in flight there, from whomever.
    pub fn in_flight(&self, now: Nanos, rules: &Rules) -> u64 {
        u64::from(self.calls()) + self.others(now, rules) as u64
    }

    /// How much longer than expected its replies take: 1 is as expected. Without replies it goes back there.
    pub fn pace(&self, now: Nanos, rules: &Rules) -> f32 {
        self.pace.get(now).map_or(1.0, |(pace, age)| 1.0 + (pace - 1.0) * left(age, nanos(rules.decay_ms)))
    }

    /// The moving average of its replies' times, once there was one.
    pub fn latency(&self, now: Nanos) -> Option<Nanos> {
        self.latency.get(now).map(|(latency, _)| latency as Nanos)
    }

    /// Whether it has answered any call within so long. One that is overloaded answers, late as it is; one that hangs does
    /// not, and only that is a reason to leave it out.
    pub fn has_answered_within(&self, time: Nanos, now: Nanos) -> bool {
        self.latency.get(now).is_some_and(|(_, age)| age < time)
    }

    /// Calls in flight.
    pub fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Their cost.
    pub fn cost(&self) -> Nanos {
        self.cost.load(Relaxed)
    }
}

/// What is left of less than a twentieth of a call is nothing: it would decide between idle backends for long.
fn counted(calls: f32) -> f32 {
    if calls < 0.05 { 0.0 } else { calls }
}

fn averaged(value: f32, before: Option<(f32, Nanos)>, tau: Nanos) -> f32 {
    before.map_or(value, |(mean, age)| {
        let kept = left(age, tau);
        mean * kept + value * (1.0 - kept)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SECOND;

    const MS: Nanos = 1_000_000;

    fn good(took: Nanos) -> Observed {
        Observed { took, expected: Some(MS), ended: Ended::Good, load: None }
    }

    #[test]
    fn a_peak_counts_at_once_and_wears_off() {
        let (load, rules) = (Load::default(), Rules::default());
        assert_eq!(load.pace(0, &rules), 1.0);
        load.observe(&good(MS), SECOND, &rules);
        load.observe(&good(8 * MS), SECOND, &rules);
        assert_eq!(load.pace(SECOND, &rules), 8.0);
        assert!(load.has_answered_within(SECOND, SECOND + 500 * MS) && !load.has_answered_within(SECOND, 3 * SECOND));
        load.observe(&good(MS), SECOND + 65_536, &rules);
        assert!(load.pace(SECOND + 65_536, &rules) > 7.9, "one good reply makes no good backend");
        let idle = load.pace(6 * SECOND, &rules);
        assert!((3.5..3.7).contains(&idle), "{idle}: 7/e above 1 after the time of its decay");
        for n in 0..2_000 {
            load.observe(&good(MS), SECOND + n * 10 * MS, &rules);
        }
        assert!(load.pace(21 * SECOND, &rules) < 2.0);
    }

    #[test]
    fn a_failure_stays_in_flight_for_a_while() {
        let (load, rules) = (Load::default(), Rules::default());
        load.observe(&Observed { took: 10, expected: Some(MS), ended: Ended::Failed, load: None }, SECOND, &rules);
        let seen = load.candidate(1.0, SECOND, &rules);
        assert_eq!((seen.calls, seen.failed, seen.pace), (0, 1.0, 1.0), "fast, and yet not fast");
        assert_eq!(load.candidate(1.0, 6 * SECOND, &rules).failed, 0.0);
        load.observe(
            &Observed { took: SECOND, expected: Some(MS), ended: Ended::Failed, load: None },
            6 * SECOND,
            &rules,
        );
        assert_eq!(load.candidate(1.0, 6 * SECOND, &rules).pace, PACE_UNANSWERED_MAX, "it failed late");
    }

    #[test]
    fn what_others_have_there_is_believed_for_a_while() {
        let (load, rules) = (Load::default(), Rules::default());
        load.begin(5);
        load.begin(5);
        load.heard(12, SECOND);
        let seen = load.candidate(1.0, SECOND, &rules);
        assert_eq!((seen.calls, seen.cost, seen.others, seen.fresh), (2, 10, 10.0, true));
        let later = load.candidate(1.0, 3 * SECOND, &rules);
        assert!(!later.fresh && later.others < 2.0);
        load.end(5);
        load.end(5);
        assert_eq!((load.calls(), load.cost()), (0, 0));
    }

    proptest! {
        #[test]
        fn the_pace_is_within_what_was_seen(replies in proptest::collection::vec((1u64..100 * MS, 0u64..SECOND), 1..60)) {
            let (load, rules, mut now) = (Load::default(), Rules::default(), SECOND);
            let (mut low, mut high) = (1.0f32, 1.0f32);
            for (took, wait) in replies {
                now += wait;
                load.observe(&good(took), now, &rules);
                let pace = (took as f32 / MS as f32).clamp(1.0 / PACE_MAX, PACE_MAX);
                (low, high) = (low.min(pace), high.max(pace));
                let seen = load.pace(now, &rules);
                prop_assert!(seen >= low * 0.999 && seen <= high * 1.001);
                prop_assert!(seen >= pace * 0.999, "slower than the last reply at least");
            }
        }
    }
}
