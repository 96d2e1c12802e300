//! Outlier ejection: a backend whose calls fail again and again, or more often than elsewhere, is left out for a growing
//! time.
//!
//! As Envoy's outlier detection: consecutive failures, a success rate below the fleet's mean by some standard deviations,
//! an ejection time that doubles, a cap on the part of the fleet that may be out. Unlike it, time alone brings nobody back:
//! a probe must succeed after the time has passed. And each backend's rate is held against the others' mean and deviation,
//! its own left out: with it, one that is bad among four can't be far enough from the mean, however bad it is.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::Millis;

/// Differences between success rates up to this many standard deviations' worth are chance.
const DEVIATION_MIN: f64 = 0.05;
/// Backends that must have had calls enough, for their rates to be compared.
const HOSTS_MIN: usize = 3;

/// When a backend is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Consecutive failures that eject; 0 never does.
    pub failures: u32,
    /// The first ejection's length; each further one doubles it.
    pub base_ms: Millis,
    /// The longest ejection, and the time of health after which earlier ejections are forgotten.
    pub max_ms: Millis,
    /// The part of the fleet that may be out at once, 0 to 1.
    pub share_max: f64,
    /// Over how long success rates are counted; 0: they are not.
    pub rate_window_ms: Millis,
    /// Calls within that time below which a rate says nothing.
    pub rate_calls_min: u32,
    /// Standard deviations below the others' mean that eject.
    pub rate_deviations: f64,
}

/// Why a backend is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many calls in a row failed.
    Failures,
    /// Its success rate is below the others'.
    SuccessRate,
}

/// How many calls of a backend succeeded and failed since this was last asked.
#[derive(Debug, Default)]
pub struct Counts {
    good: AtomicU32,
    failed: AtomicU32,
}

/// Calls of one backend in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// That succeeded.
    pub good: u32,
    /// That failed.
    pub failed: u32,
}

/// One backend's ejections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlier {
    times: u32,
    until: Option<Millis>,
    reason: Option<Reason>,
    back_at: Option<Millis>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures: 5,
            base_ms: 1_000,
            max_ms: 30_000,
            share_max: 0.5,
            rate_window_ms: 5_000,
            rate_calls_min: 20,
            rate_deviations: 1.9,
        }
    }
}

impl Reason {
    /// Its name in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Failures => "failures",
            Reason::SuccessRate => "success_rate",
        }
    }
}

impl Counts {
    /// A call is over.
    pub fn add(&self, good: bool) {
        if good { &self.good } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// What was counted; it begins anew.
    pub fn take(&self) -> Rate {
        Rate { good: self.good.swap(0, Relaxed), failed: self.failed.swap(0, Relaxed) }
    }
}

impl Rate {
    /// Calls.
    pub fn calls(self) -> u32 {
        self.good.saturating_add(self.failed)
    }

    /// The part that succeeded.
    pub fn share(self) -> f64 {
        f64::from(self.good) / f64::from(self.calls()).max(1.0)
    }
}

impl Outlier {
    /// Ejects at `now`; nothing changes for a backend that is out already.
    pub fn eject(&mut self, reason: Reason, now: Millis, rules: &Rules) {
        if self.until.is_some() {
            return;
        }
        if self.back_at.is_some_and(|at| now.saturating_sub(at) >= rules.max_ms) {
            self.times = 0;
        }
        let length = rules.base_ms.saturating_mul(1 << self.times.min(30)).min(rules.max_ms);
        self.times = self.times.saturating_add(1);
        self.until = Some(now.saturating_add(length));
        self.reason = Some(reason);
    }

    /// A probe succeeded at `now`: back, if the time has passed.
    pub fn probed(&mut self, now: Millis) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
            self.back_at = Some(now);
        }
    }

    /// Whether it is out.
    pub fn is_out(&self) -> bool {
        self.until.is_some()
    }

    /// Why it is or was out last.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// When a probe may bring it back, while it is out.
    pub fn until(&self) -> Option<Millis> {
        self.until
    }
}

/// Those whose success rate is too low, the worst first, by their place in `rates`.
pub fn too_low(rates: &[Rate], rules: &Rules) -> Vec<usize> {
    let counts = |rate: &&Rate| rate.calls() >= rules.rate_calls_min.max(1);
    let known = rates.iter().filter(counts).count();
    if known < HOSTS_MIN || rules.rate_window_ms == 0 {
        return Vec::new();
    }
    let (sum, squares) = rates.iter().filter(counts).fold((0.0, 0.0), |(sum, squares), rate| {
        let share = rate.share();
        (sum + share, squares + share * share)
    });
    let others = (known - 1) as f64;
    let is_low = |rate: &Rate| {
        let share = rate.share();
        let mean = (sum - share) / others;
        let deviation = ((squares - share * share) / others - mean * mean).max(0.0).sqrt();
        // Of few calls, some more fail by chance (the binomial distribution's deviation).
        let chance = (mean * (1.0 - mean) / f64::from(rate.calls())).max(0.0).sqrt();
        share < mean - rules.rate_deviations * deviation.max(chance).max(DEVIATION_MIN)
    };
    let mut low: Vec<usize> =
        rates.iter().enumerate().filter(|(_, rate)| counts(rate) && is_low(rate)).map(|(at, _)| at).collect();
    let share = |at: &usize| rates.get(*at).map_or(1.0, |rate| rate.share());
    low.sort_by(|a, b| share(a).total_cmp(&share(b)));
    low
}

/// Whether one more of `of` backends may be ejected when `out` are.
pub fn room(out: usize, of: usize, rules: &Rules) -> bool {
    (out + 1) as f64 <= of as f64 * rules.share_max
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_grows_and_is_forgotten_after_health() {
        let rules = Rules::default();
        let mut outlier = Outlier::default();
        let mut now = 0;
        for length in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            outlier.eject(Reason::Failures, now, &rules);
            assert_eq!(outlier.until(), Some(now + length));
            outlier.probed(now + length - 1);
            assert!(outlier.is_out(), "back before its time");
            now += length;
            outlier.probed(now);
            assert!(!outlier.is_out());
        }
        now += rules.max_ms;
        outlier.eject(Reason::Failures, now, &rules);
        assert_eq!(outlier.until(), Some(now + 1_000));
    }

    #[test]
    fn half_the_fleet_stays() {
        let rules = Rules::default();
        assert!(!room(0, 1, &rules), "the only backend was ejected");
        assert!(room(0, 2, &rules) && !room(1, 2, &rules) && !room(1, 3, &rules) && room(1, 4, &rules));
    }

    fn rates(of: &[(u32, u32)]) -> Vec<Rate> {
        of.iter().map(|&(good, failed)| Rate { good, failed }).collect()
    }

    #[test]
    fn one_that_fails_more_often_than_the_others_is_found() {
        let rules = Rules::default();
        let found = |of: &[(u32, u32)]| too_low(&rates(of), &rules);
        assert_eq!(found(&[(100, 0), (70, 30), (99, 1), (100, 0)]), [1]);
        assert_eq!(
            found(&[(50, 50), (100, 0), (10, 90), (100, 0), (100, 0), (99, 1), (100, 0)]),
            [2],
            "beside it the other looks good"
        );
        assert!(found(&[(60, 40), (55, 45), (62, 38), (50, 50)]).is_empty(), "all fail alike");
        assert!(found(&[(0, 19), (100, 0), (100, 0), (100, 0)]).is_empty(), "it had too few calls");
        assert!(found(&[(0, 100), (100, 0)]).is_empty(), "of two, who is right?");
        assert!(found(&[(19, 1), (100, 0), (100, 0), (100, 0)]).is_empty(), "one of twenty is chance");
    }

    proptest! {
        #[test]
        fn alike_is_no_outlier_and_the_best_never_is(good in 0u32..100, failed in 0u32..100, size in 0usize..12, mixed in proptest::collection::vec((0u32..100, 0u32..100), 0..12)) {
            let rules = Rules::default();
            prop_assert!(too_low(&rates(&vec![(good, failed); size]), &rules).is_empty());
            let mixed = rates(&mixed);
            let best = mixed.iter().map(|rate| rate.share()).fold(0.0, f64::max);
            let low = too_low(&mixed, &rules);
            prop_assert!(low.iter().all(|&at| mixed[at].share() < best));
            prop_assert!(low.windows(2).all(|two| mixed[two[0]].share() <= mixed[two[1]].share()));
        }

        #[test]
        fn time_alone_brings_nobody_back(waits in proptest::collection::vec(0u64..100_000, 1..20)) {
            let rules = Rules::default();
            let mut outlier = Outlier::default();
            outlier.eject(Reason::Failures, 0, &rules);
            let mut now = 0;
            for wait in waits {
                now += wait;
                outlier.eject(Reason::Failures, now, &rules);
                prop_assert!(outlier.is_out());
                prop_assert_eq!(outlier.until(), Some(1_000), "ejected again while out");
            }
        }
    }
}
