//! Outlier ejection: a backend whose calls fail again and again is left out for a growing time.
//!
//! As Envoy's outlier detection: consecutive failures, an ejection time that doubles, a cap on the part of the fleet
//! that may be out. Unlike it, time alone brings nobody back: a probe must succeed after the time has passed.

use crate::Millis;

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
}

/// One backend's ejections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlier {
    times: u32,
    until: Option<Millis>,
    back_at: Option<Millis>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { failures: 5, base_ms: 1_000, max_ms: 30_000, share_max: 0.5 }
    }
}

impl Outlier {
    /// Ejects at `now`; nothing changes for a backend that is out already.
    pub fn eject(&mut self, now: Millis, rules: &Rules) {
        if self.until.is_some() {
            return;
        }
        if self.back_at.is_some_and(|at| now.saturating_sub(at) >= rules.max_ms) {
            self.times = 0;
        }
        let length = rules.base_ms.saturating_mul(1 << self.times.min(30)).min(rules.max_ms);
        self.times = self.times.saturating_add(1);
        self.until = Some(now.saturating_add(length));
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

    /// When a probe may bring it back, while it is out.
    pub fn until(&self) -> Option<Millis> {
        self.until
    }
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
            outlier.eject(now, &rules);
            assert_eq!(outlier.until(), Some(now + length));
            outlier.probed(now + length - 1);
            assert!(outlier.is_out(), "back before its time");
            now += length;
            outlier.probed(now);
            assert!(!outlier.is_out());
        }
        now += rules.max_ms;
        outlier.eject(now, &rules);
        assert_eq!(outlier.until(), Some(now + 1_000));
    }

    #[test]
    fn half_the_fleet_stays() {
        let rules = Rules::default();
        assert!(!room(0, 1, &rules), "the only backend was ejected");
        assert!(room(0, 2, &rules) && !room(1, 2, &rules) && !room(1, 3, &rules) && room(1, 4, &rules));
    }

    proptest! {
        #[test]
        fn time_alone_brings_nobody_back(waits in proptest::collection::vec(0u64..100_000, 1..20)) {
            let rules = Rules::default();
            let mut outlier = Outlier::default();
            outlier.eject(0, &rules);
            let mut now = 0;
            for wait in waits {
                now += wait;
                outlier.eject(now, &rules);
                prop_assert!(outlier.is_out());
                prop_assert_eq!(outlier.until(), Some(1_000), "ejected again while out");
            }
        }
    }
}
