//! How many calls a backend is given at once: as many as it comes to in good time.
//!
//! Additive increase, multiplicative decrease on how long calls wait there, in the purpose of Netflix's
//! concurrency-limits and Envoy's adaptive concurrency. What a call waited is its reply's time less what is expected of it
//! ([`crate::cost`]): nothing is held back to measure how fast a backend would be when idle. A wait is long by the clock,
//! as in CoDel (Nichols and Jacobson, "Controlling Queue Delay", 2012), and not by a multiple of an undisturbed reply: on
//! a busy machine 64 callers wait 30 times as long as one and are served well within any deadline, and a limit on the
//! multiple refused them. By Little's law a limit that holds the wait at a fifth of a second lets a fast backend have
//! thousands of calls, and a slow one a handful, without anyone saying which it is.
//!
//! It is a limit on all that a backend has in flight, from whichever gateway, as its replies tell: a hundred gateways that
//! may each send it one call more have a hundred too many there.
//!
//! Over a short window the mean wait is held against what is allowed. Above it the limit falls to the part of what was in
//! flight that would have waited as long as is allowed; below it, where the limit was near to being used, it grows by its
//! square root. As in TCP, only calls count that began after the limit moved last: the others tell of how it was before. A
//! machine that stood still for a moment answers all that it had late, and is not overloaded: where there was no reply for
//! half of the time that replies took, a limit that was not in use must be found too high once more.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::{Millis, Nanos, nanos};

/// Replies in a window: so many, or as many of this gateway's as were in flight.
const REPLIES: std::ops::RangeInclusive<u32> = 3..=10;
/// What a wait counts at most, in waits that are allowed, and what one counts that ended in a refusal: one that hung does
/// not speak for all.
const OUTLIER: f64 = 4.0;
/// What a limit falls to: at most, and at least.
const FALLS_TO: std::ops::RangeInclusive<f64> = 0.25..=0.9;

/// How the limit moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Where it begins. 0: there is no limit.
    pub start: u32,
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// The mean wait that is allowed.
    pub wait_ms: Millis,
    /// The same in times that the call itself takes, where that is longer: work that takes long varies more.
    pub tolerance: f64,
    /// How often the limit moves, at most.
    pub window_ms: Millis,
}

/// One backend's limit, and its calls under it.
#[derive(Debug, Default)]
pub struct Limit {
    /// 0 until it has moved from where it begins.
    limit: AtomicU32,
    calls: AtomicU32,
    window: Mutex<Window>,
}

/// How a call under the limit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a reply that was expected to take so many nanoseconds.
    Answered(Nanos),
    /// It was refused for want of room, or came too late.
    Choked,
}

#[derive(Debug, Default)]
struct Window {
    began: Nanos,
    replies: u32,
    /// Of waits, in waits that are allowed.
    waits: f64,
    /// The most calls at once: of this gateway, and of all.
    own: u32,
    most: u32,
    /// The sum of what replies took, and the longest time without one.
    took: Nanos,
    gap: Nanos,
    /// When the last one came.
    last: Nanos,
    /// The window before was one of long waits after a standstill, under a limit that was not in use.
    warned: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { start: 4_096, min: 4, max: 4_096, wait_ms: 200, tolerance: 2.0, window_ms: 50 }
    }
}

impl Limit {
    /// The limit now.
    pub fn get(&self, rules: &Rules) -> u32 {
        let within = |limit: u32| limit.clamp(rules.min.min(rules.max), rules.max);
        match (rules.start, self.limit.load(Relaxed)) {
            (0, _) => u32::MAX,
            (start, 0) => within(start),
            (_, limit) => within(limit),
        }
    }

    /// Calls under it.
    pub fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Whether it has room for another call, where calls of `others` are in flight there, too. They don't count under a
    /// limit that never moved: nobody has found the backend to have too much to do.
    pub fn has_room(&self, others: impl FnOnce() -> f32, rules: &Rules) -> bool {
        let (calls, limit) = (self.calls(), self.get(rules));
        calls < limit && (self.limit.load(Relaxed) == 0 || calls as f32 + others() < limit as f32)
    }

    /// What of it `others` leave: 1 at least.
    pub fn left_by(&self, others: impl FnOnce() -> f32, rules: &Rules) -> u32 {
        match (rules.start, self.limit.load(Relaxed)) {
            (0, _) | (_, 0) => self.get(rules),
            _ => self.get(rules).saturating_sub(others() as u32).max(1),
        }
    }

    /// Whether so much is in flight that a slow reply has waited, and tells nothing of the work: more than half of the
    /// limit, and than any backend bears. `load` is what the backend says is in flight there.
    pub fn is_crowded(&self, load: Option<u64>, rules: &Rules) -> bool {
        self.in_flight(load) > (self.get(rules) / 2).max(rules.min)
    }

    fn in_flight(&self, load: Option<u64>) -> u32 {
        self.calls().max(load.map_or(0, |load| u32::try_from(load).unwrap_or(u32::MAX)))
    }

    /// A call begins. Calls that began together may be a few more than the limit.
    pub fn begin(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// It is over.
    pub fn end(&self) {
        self.calls.fetch_sub(1, Relaxed);
    }

    /// Takes in how a call ended, that took so long, with what is in flight there of all gateways; before
    /// [`Self::end`] of the same call. What comes while another thread moves the limit is let go.
    pub fn observe(&self, ended: Ended, took: Nanos, load: u64, now: Nanos, rules: &Rules) {
        let Ok(mut window) = self.window.try_lock() else { return };
        window.gap = window.gap.max(now.saturating_sub(window.last));
        window.last = now;
        if rules.start == 0 || now.saturating_sub(took) < window.began {
            return;
        }
        window.took = window.took.saturating_add(took);
        window.own = window.own.max(self.calls());
        window.most = window.most.max(self.in_flight(Some(load)));
        window.replies += 1;
        window.waits += match ended {
            Ended::Answered(expected) => rules.wait(took, expected).min(OUTLIER),
            Ended::Choked => OUTLIER,
        };
        let lasted = now.saturating_sub(window.began) >= nanos(rules.window_ms);
        if lasted && window.replies >= window.own.clamp(*REPLIES.start(), *REPLIES.end()) {
            let (limit, warned) = window.limit(self.get(rules), rules);
            self.limit.store(limit, Relaxed);
            *window = Window { began: now, last: now, warned, ..Window::default() };
        }
    }
}

impl Rules {
    /// How long a call waited, in waits that are allowed.
    fn wait(&self, took: Nanos, expected: Nanos) -> f64 {
        let allowed = (nanos(self.wait_ms) as f64).max(self.tolerance * expected as f64);
        took.saturating_sub(expected) as f64 / allowed.max(1.0)
    }
}

impl Window {
    /// The limit after the window, and whether this was a first warning.
    fn limit(&self, limit: u32, rules: &Rules) -> (u32, bool) {
        let wait = self.waits / f64::from(self.replies.max(1));
        let in_use = self.most.saturating_mul(2) >= limit;
        if wait > 1.0 {
            let stood_still = self.gap >= self.took / u64::from(self.replies.max(1)) / 2;
            if !in_use && stood_still && !self.warned {
                return (limit, true);
            }
            let left = (1.0 / wait).clamp(*FALLS_TO.start(), *FALLS_TO.end());
            return (((f64::from(limit.min(self.most)) * left) as u32).max(rules.min), false);
        }
        let grown = limit.saturating_add((limit as f32).sqrt() as u32).min(rules.max);
        (if in_use { grown } else { limit }, false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SECOND;

    const MS: Nanos = 1_000_000;

    /// A server of `cores` for calls of `work` each, first come, first served, and callers that want more than there is:
    /// the limit and the last call's time after `calls`.
    fn settles(cores: u64, work: Nanos, calls: u32, callers: u32, rules: &Rules) -> (u32, Nanos) {
        let (limit, mut now, mut took) = (Limit::default(), SECOND, 0);
        let mut began = std::collections::VecDeque::new();
        for _ in 0..calls {
            while limit.has_room(|| 0.0, rules) && limit.calls() < callers {
                limit.begin();
                began.push_back(now);
            }
            now += work / cores;
            took = (now - began.pop_front().unwrap_or(now)).max(work);
            limit.observe(Ended::Answered(work), took, 0, now, rules);
            limit.end();
        }
        (limit.get(rules), took)
    }

    #[test]
    fn it_settles_where_calls_wait_as_long_as_is_allowed() {
        let rules = Rules::default();
        for (cores, work) in [(2, 100_000), (2, 10 * MS), (16, 10 * MS), (4, 40 * MS)] {
            let (limit, took) = settles(cores, work, 200_000, u32::MAX, &rules);
            let ideal = cores as f64 * (rules.wait_ms * MS + work) as f64 / work as f64;
            let part = f64::from(limit) / ideal.min(f64::from(rules.max));
            assert!((0.7..1.25).contains(&part), "{cores} cores, calls of {work}: {limit}, which take {took}");
        }
    }

    #[test]
    fn callers_that_are_served_in_time_are_never_limited() {
        let rules = Rules::default();
        for callers in [64, 1_000] {
            let (limit, took) = settles(2, 100_000, 100_000, callers, &rules);
            assert_eq!(limit, rules.start, "{callers} callers, each answered after {took}");
            assert!(took >= u64::from(callers) * 49_000, "many times an undisturbed one's");
        }
    }

    #[test]
    fn a_machine_that_stood_still_once_is_not_overloaded() {
        let (limit, rules, mut now) = (Limit::default(), Rules::default(), SECOND);
        for n in 0..1_000 {
            (0..64).for_each(|_| limit.begin());
            let took = if n % 20 == 19 { SECOND } else { 3 * MS };
            now += took;
            for _ in 0..64 {
                limit.observe(Ended::Answered(100_000), took, 0, now, &rules);
                limit.end();
            }
        }
        assert_eq!(limit.get(&rules), rules.start);
    }

    #[test]
    fn refusals_lower_it_and_an_unused_one_does_not_grow() {
        let (rules, mut now) = (Rules { start: 128, ..Rules::default() }, SECOND);
        let limit = Limit::default();
        let mut observe = |ended| {
            now += SECOND / 10;
            limit.observe(ended, SECOND / 100, 0, now, &rules);
        };
        limit.begin();
        (0..100).for_each(|_| observe(Ended::Answered(SECOND / 100)));
        assert_eq!(limit.get(&rules), 128);
        (0..30).for_each(|_| observe(Ended::Choked));
        assert_eq!(limit.get(&rules), rules.min);
        assert_eq!(limit.get(&Rules { start: 0, ..rules }), u32::MAX);
    }

    #[test]
    fn what_others_have_there_counts_once_it_was_too_much() {
        let (rules, mut now) = (Rules::default(), SECOND);
        let limit = Limit::default();
        limit.begin();
        assert!(limit.has_room(|| 9_999.0, &rules), "nobody says that it is too much");
        for _ in 0..6 {
            now += SECOND;
            limit.observe(Ended::Answered(MS), SECOND / 2, 100, now, &rules);
        }
        let found = limit.get(&rules);
        assert!((30..60).contains(&found), "{found}: a hundred waited 500 ms, which is 2.5 times too long");
        assert!(limit.has_room(|| 10.0, &rules) && !limit.has_room(|| found as f32, &rules));
        assert_eq!(limit.left_by(|| 10.0, &rules), found - 10);
        assert_eq!(limit.left_by(|| 1e9, &rules), 1);
        assert!(limit.is_crowded(Some(100), &rules) && !limit.is_crowded(None, &rules));
    }

    proptest! {
        #[test]
        fn always_within_its_bounds(steps in proptest::collection::vec((any::<bool>(), 0u64..10 * SECOND, 0u64..SECOND), 1..200)) {
            let rules = Rules { start: 20, min: 4, max: 64, ..Rules::default() };
            let (limit, mut now) = (Limit::default(), 0);
            for (is_choked, expected, wait) in steps {
                now += wait;
                limit.begin();
                let ended = if is_choked { Ended::Choked } else { Ended::Answered(expected) };
                limit.observe(ended, wait / 2, 0, now, &rules);
                prop_assert!((4..=64).contains(&limit.get(&rules)));
                prop_assert_eq!(limit.has_room(|| 0.0, &rules), limit.calls() < limit.get(&rules));
            }
        }
    }
}
