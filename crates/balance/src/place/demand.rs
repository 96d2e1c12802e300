//! How many members hold a model: as many as its work needs.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::decay::Decaying;
use crate::{Nanos, SECOND};

/// When members are added, and when taken back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// As many at least.
    pub min: u32,
    /// As many at most.
    pub max: u32,
    /// Work of a model that one member is given, in seconds a second: 0.5 keeps half of a core busy.
    pub work: f64,
    /// How far the work must fall below what one member fewer could do, 0 to 1, until it is taken back: 0.7 of that. So one
    /// whose work is near a bound does not come and go.
    pub slack: f64,
    /// Over how long work is counted: what came so long ago counts 1/e.
    pub decay: Nanos,
}

/// What a model has to do, and how many members it has for that.
#[derive(Debug, Default)]
pub struct Demand {
    work: Decaying,
    members: AtomicU32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { min: 1, max: 8, work: 0.5, slack: 0.7, decay: 10 * SECOND }
    }
}

impl Demand {
    /// A call came that takes so long, undisturbed.
    pub fn add(&self, took: Nanos, now: Nanos, rules: &Rules) {
        self.work.add(took as f32, now, rules.decay);
    }

    /// What it has to do now, in seconds a second.
    pub fn work(&self, now: Nanos, rules: &Rules) -> f64 {
        // Of an even stream, all that is left is the rate times the time of decay.
        f64::from(self.work.faded(now, rules.decay)) / rules.decay.max(1) as f64
    }

    /// How many members it is to have now.
    pub fn members(&self, now: Nanos, rules: &Rules) -> u32 {
        let before = self.members.load(Relaxed);
        let after = wanted(before, self.work(now, rules), rules);
        if after != before {
            self.members.store(after, Relaxed);
        }
        after
    }
}

/// How many members a model is to have that has `before` and so much work.
fn wanted(before: u32, work: f64, rules: &Rules) -> u32 {
    // A conversion of floats to integers ends at the integer's bounds.
    let needs = |work: f64| (work / rules.work.max(1e-9)).ceil() as u32;
    let (up, down) = (needs(work), needs(work / rules.slack.clamp(0.01, 1.0)));
    let (min, max) = (rules.min.max(1), rules.max.max(rules.min).max(1));
    before.clamp(up, down.max(up)).clamp(min, max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { min: 1, max: 8, work: 0.5, slack: 0.7, decay: 10 * SECOND };

    #[test]
    fn members_come_with_work_and_go_after_it() {
        let demand = Demand::default();
        assert_eq!(demand.members(0, &RULES), 1);
        let mut now = 0;
        // 2,000 calls a second of 0.6 ms are 1.2 seconds of work a second.
        for _ in 0..80_000 {
            now += SECOND / 2_000;
            demand.add(600_000, now, &RULES);
        }
        let work = demand.work(now, &RULES);
        assert!((1.1..1.3).contains(&work), "{work}");
        assert_eq!(demand.members(now, &RULES), 3);
        // 0.83 is left after 3.7 s: more than 0.7 x what two can do.
        assert_eq!(demand.members(now + 3_700_000_000, &RULES), 3);
        assert_eq!(demand.members(now + 6 * SECOND, &RULES), 2);
        assert_eq!(demand.members(now + 60 * SECOND, &RULES), 1);
    }

    #[test]
    fn what_wavers_about_a_bound_changes_nothing() {
        let mut members = 2;
        for work in [0.99, 1.01, 0.99, 1.05, 0.8, 1.0, 0.75] {
            members = wanted(members, work, &RULES);
            assert_eq!(members, if work == 0.99 && members == 2 { 2 } else { 3 }, "{work}");
        }
        assert_eq!(wanted(3, 0.69, &RULES), 2);
    }

    proptest! {
        #[test]
        fn within_bounds_and_enough(before in 0u32..50, work in 0.0f64..100.0, min in 0u32..5, max in 0u32..20) {
            let rules = Rules { min, max, ..RULES };
            let after = wanted(before, work, &rules);
            prop_assert!(after >= min.max(1) && after <= max.max(min).max(1));
            prop_assert!(f64::from(after) * rules.work >= work || after == max.max(min).max(1), "too few");
            prop_assert_eq!(wanted(after, work, &rules), after, "it does not come to rest");
            prop_assert!(wanted(before, work + 1.0, &rules) >= after);
        }
    }
}
