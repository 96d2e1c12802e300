//! How many of its calls a gateway keeps in its own zone: all of them while it has room, and ever fewer as it has not.
//!
//! - What is out: as Envoy's priority levels and its locality weights have it, a zone of which a part is out keeps
//!   `min(1, 1.4 x the part that serves)` of its calls: that it lacks a little makes no call travel.
//! - What is hot: as the waterfall of Google's load balancers, a zone is filled up to a utilisation, or up to that of the
//!   other zones where they are hotter, and what is more spills. Of all calls the part `1 - full / demand` travels, with `demand` what the zone would have if it kept all. The part
//!   is followed by an integrator that is slower than what it measures, so that it settles and does not swing: gateways
//!   that see a zone cool as their calls leave it bring them back as slowly as they took them away.
//!
//! The part changes continuously with both; which calls travel is left to chance.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::Millis;

/// Envoy's overprovisioning factor.
const OVERPROVISION: f32 = 1.4;
/// The part that is kept however hot a zone is: without calls nobody would see it cool.
const KEPT_MIN: f32 = 0.02;
/// How slow replies are, over undisturbed ones, where a backend has as much to do as it can: calls in flight alone say
/// nothing of one that works on many at once.
const PACE_FULL: f32 = 2.0;
/// How much quicker than the part what is seen is averaged.
const QUICKER: f32 = 10.0;
/// Beyond it a utilisation says no more.
const UTILISATION_MAX: f32 = 8.0;

/// When calls leave their zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The utilisation up to which a zone is filled.
    pub hot: f32,
    /// The fewest backends of a zone that serve a version, below which zones don't count for its calls.
    pub backends_min: usize,
    /// How long a change takes: 1 - 1/e of it after so long. Twice what latencies decay in, or more, lest it swing.
    pub settle_ms: Millis,
}

/// What is seen of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// The mean [`utilisation`] of those of its backends that serve.
    pub utilisation: f32,
    /// The same of all other zones'.
    pub elsewhere: f32,
}

/// The part of its calls that a zone keeps as far as its heat goes; it is followed over time.
#[derive(Debug)]
pub struct Spill {
    kept: AtomicU32,
    /// What was seen, averaged.
    utilisation: AtomicU32,
    elsewhere: AtomicU32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { hot: 0.8, backends_min: 1, settle_ms: 10_000 }
    }
}

impl Default for Spill {
    fn default() -> Self {
        Self {
            kept: AtomicU32::new(1.0_f32.to_bits()),
            utilisation: AtomicU32::default(),
            elsewhere: AtomicU32::default(),
        }
    }
}

/// How much of what it can do a backend does: calls in flight over those that it works on at once, and no more than its
/// replies are slow. 1 is all that it can; beyond, calls wait.
pub fn utilisation(in_flight: f32, at_once: u32, pace: f32) -> f32 {
    let by_calls = in_flight / at_once.max(1) as f32;
    let by_pace = pace / PACE_FULL;
    if by_calls.is_nan() || by_pace.is_nan() { 0.0 } else { by_calls.min(by_pace).clamp(0.0, UTILISATION_MAX) }
}

/// The part of its calls that a zone keeps where so many of its backends serve.
pub fn kept_by_health(serving: usize, backends: usize) -> f32 {
    if serving == 0 { 0.0 } else { (OVERPROVISION * serving as f32 / backends.max(serving) as f32).min(1.0) }
}

impl Spill {
    /// Takes in what was seen of the zone, after `passed`.
    pub fn follow(&self, seen: &Seen, passed: Millis, rules: &Rules) {
        let kept = self.kept_by_heat();
        let settle_ms = rules.settle_ms.max(1) as f32;
        let step = 1.0 - (-(passed as f32) / settle_ms).exp();
        // A burst is not heat.
        let quick = 1.0 - (-(passed as f32) * QUICKER / settle_ms).exp();
        let utilisation = averaged(&self.utilisation, seen.utilisation, quick);
        let elsewhere = averaged(&self.elsewhere, seen.elsewhere, quick);
        let aim = aim(kept, utilisation, rules.hot.max(elsewhere));
        self.kept.store((kept + (aim - kept) * step).clamp(KEPT_MIN, 1.0).to_bits(), Relaxed);
    }

    /// The part that is kept as far as heat goes.
    pub fn kept_by_heat(&self) -> f32 {
        f32::from_bits(self.kept.load(Relaxed))
    }
}

fn averaged(mean: &AtomicU32, value: f32, part: f32) -> f32 {
    let before = f32::from_bits(mean.load(Relaxed));
    let after = before + (value - before) * part;
    mean.store(after.to_bits(), Relaxed);
    after
}

/// What should be kept by a zone that keeps `kept`, is utilised so, and is to be filled up to `full`.
fn aim(kept: f32, utilisation: f32, full: f32) -> f32 {
    let demand = utilisation / kept;
    if demand <= full { 1.0 } else { full / demand }
}

/// Whether a call stays in its zone, where the zone keeps this part; `chance` is uniform over all of u64.
pub fn stays(kept: f32, chance: u64) -> bool {
    ((chance >> 40) as f32) < kept * (1_u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { hot: 0.8, backends_min: 1, settle_ms: 10_000 };
    const TICK: Millis = 100;

    fn seen(utilisation: f32) -> Seen {
        Seen { utilisation, elsewhere: 0.0 }
    }

    /// A zone with `demand` of what it can do, whose heat is seen as late as latencies tell of it; the parts that it kept.
    fn run(demand: f32, ticks: usize) -> Vec<f32> {
        let (spill, mut told) = (Spill::default(), 0.0_f32);
        let lag = 1.0 - (-(TICK as f32) / 5_000.0).exp();
        let step = |_| {
            let is = (demand * spill.kept_by_heat()).min(UTILISATION_MAX);
            told += (is - told) * lag;
            spill.follow(&seen(told), TICK, &RULES);
            spill.kept_by_heat()
        };
        (0..ticks).map(step).collect()
    }

    #[test]
    fn a_zone_with_too_much_is_filled_and_does_not_swing() {
        for demand in [1.0, 1.6, 4.0] {
            let kept = run(demand, 3_000);
            let last = kept.last().copied().unwrap_or_default();
            assert!((last * demand - RULES.hot).abs() < 0.02, "{demand}: {last} is kept");
            let least = kept.iter().copied().fold(1.0, f32::min);
            assert!(least > last * 0.85, "{demand}: {least} was kept, then {last}");
            // It turns once at most, but for what is too small to see.
            let turns = kept.windows(3).filter(|w| (w[1] - w[0]) * (w[2] - w[1]) < -1e-9).count();
            assert!(turns <= 2, "{demand}: {turns} turns");
        }
    }

    #[test]
    fn a_zone_that_cools_gets_its_calls_back() {
        let spill = Spill::default();
        (0..1_000).for_each(|_| spill.follow(&seen(4.0), TICK, &RULES));
        assert!(spill.kept_by_heat() < 0.1);
        (0..1_000).for_each(|_| spill.follow(&seen(0.1), TICK, &RULES));
        assert!(spill.kept_by_heat() > 0.999);
    }

    #[test]
    fn where_all_are_as_hot_no_call_travels() {
        let spill = Spill::default();
        (0..1_000).for_each(|_| spill.follow(&Seen { elsewhere: 2.0, ..seen(1.9) }, TICK, &RULES));
        assert_eq!(spill.kept_by_heat(), 1.0);
    }

    #[test]
    fn a_backend_is_full_by_calls_and_by_their_pace() {
        assert_eq!(utilisation(8.0, 8, 2.0), 1.0);
        assert_eq!(utilisation(64.0, 8, 1.0), 0.5, "it works on more at once than it said");
        assert_eq!(utilisation(0.5, 8, 60.0), 0.0625, "slow, and nothing to do");
        assert_eq!(utilisation(f32::NAN, 0, 1.0), 0.0);
    }

    proptest! {
        #[test]
        fn nothing_spills_while_there_is_room(
            looks in proptest::collection::vec((0.0f32..0.8, 0u64..5_000), 1..50), serving in 1usize..100,
        ) {
            let spill = Spill::default();
            for (utilisation, passed) in looks {
                spill.follow(&seen(utilisation), passed, &RULES);
                prop_assert_eq!(spill.kept_by_heat(), 1.0);
            }
            prop_assert_eq!(kept_by_health(serving, serving), 1.0);
        }

        #[test]
        fn all_spills_where_none_serves_and_a_few_that_are_out_do_not_count(
            backends in 1usize..1_000,
        ) {
            prop_assert_eq!(kept_by_health(0, backends), 0.0);
            let most = (backends as f32 / OVERPROVISION).ceil() as usize;
            prop_assert_eq!(kept_by_health(most, backends), 1.0);
        }

        #[test]
        fn the_part_is_continuous_and_falls_as_heat_grows(
            kept in KEPT_MIN..1.0f32, utilisation in 0.0f32..8.0, more in 0.0f32..0.01, backends in 2usize..500,
            out in 0usize..500,
        ) {
            let (a, b) = (aim(kept, utilisation, 0.8), aim(kept, utilisation + more, 0.8));
            prop_assert!(b <= a && a - b <= more / (0.8 * kept) + 1e-5, "{a} {b}");
            let out = out.min(backends - 1);
            let (a, b) = (kept_by_health(backends - out, backends), kept_by_health(backends - out - 1, backends));
            prop_assert!(b <= a && a - b <= OVERPROVISION / backends as f32 + 1e-5);
        }

        #[test]
        fn no_step_is_larger_than_its_time(utilisation in 0.0f32..8.0, passed in 0u64..2_000, hot_before in 0usize..500) {
            let spill = Spill::default();
            (0..hot_before).for_each(|_| spill.follow(&seen(3.0), TICK, &RULES));
            let before = spill.kept_by_heat();
            spill.follow(&seen(utilisation), passed, &RULES);
            let after = spill.kept_by_heat();
            prop_assert!((after - before).abs() <= passed as f32 / RULES.settle_ms as f32 + 1e-5);
            prop_assert!((KEPT_MIN..=1.0).contains(&after));
        }

        #[test]
        fn as_many_stay_as_should(kept in 0.0f32..=1.0, seed: u64) {
            let mut chance = crate::chance(seed);
            let stayed = (0..4_000).filter(|_| stays(kept, chance())).count() as f32 / 4_000.0;
            prop_assert!((stayed - kept).abs() < 0.05, "{stayed} of {kept}");
            prop_assert!(stays(1.0, u64::MAX) && !stays(0.0, 0));
        }
    }
}
