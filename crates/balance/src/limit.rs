//! How many calls a backend is given at once: as many as it answers without becoming much slower.
//!
//! Additive increase, multiplicative decrease on the pace of replies (see [`crate::load`]), as Netflix's concurrency-limits
//! and Envoy's adaptive concurrency in their purpose: over a short window the mean pace is compared with
//! [`Rules::tolerance`]. Above it, or where a call was refused for want of room or came too late, the limit falls by a
//! fifth, and by a half where most were; below it, where the limit was near to being used, it grows by its square root.
//! As in TCP, only calls count that began after the limit moved last: the others tell of how it was before. Unlike with Envoy's, nothing is held
//! back to measure how fast a backend would be when idle: [`crate::cost`] has learned that.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::{Millis, Nanos, nanos};

/// Replies in the shortest window.
const REPLIES_MIN: u32 = 10;
/// What a reply counts at most, in tolerances: one that hung does not speak for all.
const OUTLIER: f64 = 4.0;
/// What is left of a limit that falls.
const FALLS_TO: f32 = 0.8;
/// And of one under which most calls are refused or late.
const FALLS_FAR_TO: f32 = 0.5;

/// How the limit moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Where it begins. 0: there is no limit.
    pub start: u32,
    /// The least: at least as many as a backend has cores.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// The mean pace that is not yet too slow.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// With a reply of this pace.
    Paced(f32),
    /// It was refused for want of room, or came too late.
    Choked,
}

#[derive(Debug, Default)]
struct Window {
    began: Nanos,
    replies: u32,
    paces: f64,
    /// The most calls at once.
    most: u32,
    choked: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { start: 128, min: 8, max: 4_096, tolerance: 8.0, window_ms: 50 }
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

    /// Whether it has room for another call.
    pub fn has_room(&self, rules: &Rules) -> bool {
        self.calls() < self.get(rules)
    }

    /// A call begins. Calls that began together may be a few more than the limit.
    pub fn begin(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// It is over.
    pub fn end(&self) {
        self.calls.fetch_sub(1, Relaxed);
    }

    /// Takes in how a call ended, that took so long; before [`Self::end`] of the same call. What comes while another thread moves the limit
    /// is let go.
    pub fn observe(&self, ended: Ended, took: Nanos, now: Nanos, rules: &Rules) {
        let Ok(mut window) = self.window.try_lock() else { return };
        if rules.start == 0 || now.saturating_sub(took) < window.began {
            return;
        }
        window.most = window.most.max(self.calls());
        match ended {
            Ended::Paced(pace) => {
                window.replies += 1;
                window.paces += f64::from(pace).min(rules.tolerance * OUTLIER);
            }
            Ended::Choked => window.choked += 1,
        }
        let lasted = now.saturating_sub(window.began) >= nanos(rules.window_ms);
        if lasted && (window.choked > 0 || window.replies >= REPLIES_MIN) {
            self.limit.store(window.limit(self.get(rules), rules), Relaxed);
            *window = Window { began: now, ..Window::default() };
        }
    }
}

impl Window {
    fn limit(&self, limit: u32, rules: &Rules) -> u32 {
        let too_slow = self.replies > 0 && self.paces / f64::from(self.replies) > rules.tolerance;
        if too_slow || self.choked > 0 {
            // A limit that was far from being used would have to fall many times to be one.
            let used = limit.min(self.most.saturating_mul(2));
            let left = if self.choked > self.replies { FALLS_FAR_TO } else { FALLS_TO };
            return ((used as f32 * left) as u32).max(rules.min);
        }
        if self.most.saturating_mul(2) < limit {
            return limit;
        }
        limit.saturating_add((limit as f32).sqrt() as u32).min(rules.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SECOND;

    /// A server of `cores` that shares them among what is in flight, and callers that want more than there is.
    fn settles(cores: f32, rules: &Rules) -> (u32, f32) {
        let (limit, mut now) = (Limit::default(), SECOND);
        let mut pace = 1.0;
        for _ in 0..20_000 {
            while limit.has_room(rules) {
                limit.begin();
            }
            pace = (limit.calls() as f32 / cores).max(1.0);
            now += SECOND / 2_000;
            limit.observe(Ended::Paced(pace), 0, now, rules);
            limit.end();
        }
        (limit.get(rules), pace)
    }

    #[test]
    fn it_settles_where_replies_are_as_slow_as_is_borne() {
        for cores in [2.0, 16.0, 100.0] {
            let rules = Rules::default();
            let (limit, pace) = settles(cores, &rules);
            let ideal = cores * rules.tolerance as f32;
            assert!((0.6..1.2).contains(&(limit as f32 / ideal)), "{cores} cores: {limit}, at pace {pace}");
        }
    }

    #[test]
    fn refusals_lower_it_and_an_unused_one_does_not_grow() {
        let (rules, mut now) = (Rules::default(), SECOND);
        let limit = Limit::default();
        let mut observe = |ended| {
            now += SECOND / 10;
            limit.observe(ended, SECOND / 100, now, &rules);
        };
        limit.begin();
        (0..100).for_each(|_| observe(Ended::Paced(1.0)));
        assert_eq!(limit.get(&rules), 128);
        (0..30).for_each(|_| observe(Ended::Choked));
        assert_eq!(limit.get(&rules), rules.min);
        assert_eq!(limit.get(&Rules { start: 0, ..rules }), u32::MAX);
    }

    proptest! {
        #[test]
        fn always_within_its_bounds(steps in proptest::collection::vec((any::<bool>(), 0.0f32..100.0, 0u64..SECOND), 1..200)) {
            let rules = Rules { start: 20, min: 4, max: 64, ..Rules::default() };
            let (limit, mut now) = (Limit::default(), 0);
            for (is_choked, pace, wait) in steps {
                now += wait;
                limit.begin();
                let ended = if is_choked { Ended::Choked } else { Ended::Paced(pace) };
                limit.observe(ended, wait / 2, now, &rules);
                prop_assert!((4..=64).contains(&limit.get(&rules)));
                prop_assert_eq!(limit.has_room(&rules), limit.calls() < limit.get(&rules));
            }
        }
    }
}
