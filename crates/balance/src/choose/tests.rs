#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::load::{self, Ended, Load, Observed};
use crate::{SECOND, chance};

const IDLE: Candidate = Candidate { calls: 0, cost: 0, failed: 0.0, others: 0.0, pace: 1.0, fresh: true, weight: 1.0 };

fn rules(policy: Policy) -> Rules {
    Rules { policy, ..Rules::default() }
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(Policy::ALL.to_vec())
}

proptest! {
    #[test]
    fn one_that_is_open_where_there_is_one(policy in policy(), len in 0usize..40, closed in any::<u64>(), weight in 0.1f32..=1.0, seed in any::<u64>()) {
        let open = |at: usize| closed & (1 << at) == 0;
        let candidate = |at: usize| Candidate { calls: (closed >> at) as u32 % 7, weight, ..IDLE };
        let chosen = Chooser::default().choose(len, open, candidate, 1, &rules(policy), chance(seed));
        prop_assert_eq!(chosen.is_some(), (0..len).any(open));
        prop_assert!(chosen.is_none_or(open));
    }

    #[test]
    fn never_the_worst(costs in proptest::collection::vec(0u64..50, 2..40), seed in any::<u64>()) {
        let candidate = |at: usize| Candidate { calls: costs[at] as u32, cost: costs[at], ..IDLE };
        let mut sorted = costs.clone();
        sorted.sort_unstable();
        for policy in [Policy::PeakEwma, Policy::LeastInFlight] {
            let at = Chooser::default().choose(costs.len(), |_| true, candidate, 1, &rules(policy), chance(seed)).unwrap();
            prop_assert!(costs[at] <= sorted[sorted.len() - 2], "the costliest was chosen by {:?}", policy);
        }
    }

    #[test]
    fn a_warming_backend_gets_its_part(weight in 0.1f32..1.0, seed in any::<u64>()) {
        let (mut chance, weights) = (chance(seed), [weight, 1.0]);
        let candidate = |at: usize| Candidate { weight: weights[at], ..IDLE };
        let chooser = Chooser::default();
        let got = (0..4_000)
            .filter(|_| chooser.choose(2, |_| true, candidate, 1, &rules(Policy::PeakEwma), &mut chance) == Some(0))
            .count();
        prop_assert!((got as f32 / 4_000.0 - weight / 2.0).abs() < 0.05, "{} of 4000 at {}", got, weight);
    }

    #[test]
    fn the_fastest_of_the_cold_else_the_least_in_flight(
        known in proptest::collection::vec((0u32..20, 0u8..4), 3..16), above in 0u32..20, seed in any::<u64>(),
    ) {
        let chooser = Chooser { hot_above: AtomicU32::new(above), next: AtomicUsize::new(1), ..Chooser::default() };
        let candidate = |at: usize| Candidate { calls: known[at].0, pace: f32::from(1u8 << known[at].1), ..IDLE };
        let at = chooser.choose(known.len(), |_| true, candidate, 1, &rules(Policy::HotCold), chance(seed)).unwrap();
        let cold: Vec<_> = known.iter().filter(|(calls, _)| *calls <= above).collect();
        match cold.iter().map(|(_, pace)| pace).min() {
            Some(fastest) => prop_assert!(known[at].0 <= above && known[at].1 == *fastest),
            None => prop_assert_eq!(known[at].0, known.iter().map(|(calls, _)| *calls).min().unwrap()),
        }
    }
}

#[test]
fn equal_backends_get_equal_shares() {
    for policy in Policy::ALL {
        let (chooser, mut chance, mut counts) = (Chooser::default(), chance(7), [0u32; 5]);
        for _ in 0..50_000 {
            counts[chooser.choose(5, |_| true, |_| IDLE, 1, &rules(policy), &mut chance).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{policy:?} {counts:?}");
    }
}

#[test]
fn with_few_fresh_reports_it_is_the_better_of_two_and_with_none_any() {
    let mut counts = [0u32; 2];
    for (fresh, counts) in [true, false].into_iter().zip(&mut counts) {
        let (chooser, mut chance) = (Chooser::default(), chance(3));
        let candidate = |at: usize| Candidate { pace: 9.0 - 5.0 * at as f32, fresh: fresh && at == 0, ..IDLE };
        for _ in 0..1_000 {
            *counts += u32::from(
                chooser.choose(2, |_| true, candidate, 1, &rules(Policy::HotCold), &mut chance).unwrap() == 1,
            );
        }
    }
    assert_eq!(counts[0], 1_000, "the better of two");
    assert!((400..600).contains(&counts[1]), "by chance: {}", counts[1]);
}

/// Four backends, whose first one fails at once: how many calls it gets while the others have so many in flight.
fn fails_fast(policy: Policy, in_flight: u32, failures_max: u64) -> (u64, u64) {
    let (fleet, chooser, loads) = (4, Chooser::default(), load::Rules::default());
    let loads_of: Vec<Load> = (0..fleet).map(|_| Load::default()).collect();
    let (mut chance, mut now, cost) = (chance(11), SECOND, 1_000_000);
    for load in &loads_of {
        load.heard(0, now);
    }
    (0..in_flight).for_each(|_| loads_of[1..].iter().for_each(|load| load.begin(cost)));
    let (mut failures, mut calls) = (0, 0);
    while failures < failures_max && calls < 2_000 {
        calls += 1;
        now += 100_000;
        let candidate = |at: usize| loads_of[at].candidate(1.0, now, &loads);
        let at = chooser.choose(fleet, |_| true, candidate, cost, &rules(policy), &mut chance).unwrap();
        let seen = Observed {
            took: cost,
            expected: Some(cost),
            ended: if at == 0 { Ended::Failed } else { Ended::Good },
            load: None,
        };
        // The others answer each after 1 ms: as many come as go.
        loads_of[at].observe(&Observed { took: if at == 0 { 50_000 } else { cost }, ..seen }, now, &loads);
        failures += u64::from(at == 0);
    }
    (failures, calls)
}

#[test]
fn a_fast_failing_backend_gets_under_its_share_within_ten_failures() {
    for policy in [Policy::PeakEwma, Policy::HotCold] {
        for in_flight in [0, 1, 4, 8] {
            let (failures, calls) = fails_fast(policy, in_flight, u64::MAX);
            let share = calls / 4;
            assert!(failures < share / 4, "{policy:?} with {in_flight} in flight: {failures} of {calls} calls");
            let (failures, calls) = fails_fast(policy, in_flight, 10);
            let after = fails_fast(policy, in_flight, 20).1.saturating_sub(calls);
            assert!(after > 40 || failures < 10, "{policy:?} with {in_flight} in flight: its share after ten failures");
        }
    }
    let (failures, calls) = fails_fast(Policy::LeastInFlight, 4, u64::MAX);
    assert!(failures > calls / 2, "it looks idle where nothing is done about it: {failures} of {calls}");
}

#[test]
fn a_slow_backend_gets_few_calls() {
    for policy in [Policy::PeakEwma, Policy::HotCold] {
        let (chooser, mut chance, loads) = (Chooser::default(), chance(5), load::Rules::default());
        let fleet: Vec<Load> = (0..4).map(|_| Load::default()).collect();
        let (cost, mut counts, mut busy) = (1_000_000u64, [0u32; 4], Vec::<(u64, usize)>::new());
        for n in 0..20_000u64 {
            let now = SECOND + n * cost / 4;
            busy.retain(|&(until, at)| {
                let took = cost * if at == 0 { 4 } else { 1 };
                let over = until <= now;
                if over {
                    let load = Some(fleet[at].calls().into());
                    fleet[at].observe(&Observed { took, expected: Some(cost), ended: Ended::Good, load }, now, &loads);
                    fleet[at].end(cost);
                }
                !over
            });
            let candidate = |at: usize| fleet[at].candidate(1.0, now, &loads);
            let at = chooser.choose(4, |_| true, candidate, cost, &rules(policy), &mut chance).unwrap();
            counts[at] += 1;
            fleet[at].begin(cost);
            busy.push((now + cost * if at == 0 { 4 } else { 1 }, at));
        }
        assert!(counts[0] > 0 && counts[0] < 2_000, "{policy:?}: {counts:?}");
    }
}

#[test]
fn weight_grows() {
    assert_eq!([0, 50, 100, 900].map(|now| weight(Some(0), now, 100)), [WEIGHT_MIN, 0.5, 1.0, 1.0]);
    assert_eq!((weight(Some(5), 5, 0), weight(None, 5, 100)), (1.0, 1.0));
}
