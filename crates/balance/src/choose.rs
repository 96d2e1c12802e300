//! Power of two choices: of two backends drawn by chance, the one with less in flight.
//!
//! M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): nearly as even as asking all, without
//! the herding that asking all brings when several gateways look at the same figures.

use crate::Millis;

/// The least part of its share that a warming backend gets, so that it warms at all.
pub const WEIGHT_MIN: f64 = 0.1;
/// What a call costs beside its bytes.
const CALL_COST: u64 = 1024;

/// What is known of a backend when one is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The cost in flight there, in [`cost`]'s units.
    pub cost: u64,
    /// Its part of a full share, above 0 to 1.
    pub weight: f64,
}

/// What a call costs while it is in flight: its bytes, and a constant for being a call.
pub fn cost(body_bytes: u64) -> u64 {
    body_bytes.saturating_add(CALL_COST)
}

/// The part of its share that a backend gets which is ready since `since`: it grows evenly over `slow_start_ms`.
pub fn weight(since: Option<Millis>, now: Millis, slow_start_ms: Millis) -> f64 {
    match since {
        Some(since) if slow_start_ms > 0 => {
            (now.saturating_sub(since) as f64 / slow_start_ms as f64).clamp(WEIGHT_MIN, 1.0)
        }
        _ => 1.0,
    }
}

/// Chooses one of the candidates `0..len` that are `open`, or none where none is. A candidate below full weight steps
/// back with the chance that it lacks.
pub fn choose(
    len: usize,
    open: impl Fn(usize) -> bool,
    candidate: impl Fn(usize) -> Candidate,
    mut chance: impl FnMut() -> u64,
) -> Option<usize> {
    let count = (0..len).filter(|&at| open(at)).count();
    let nth = |n: usize| (0..len).filter(|&at| open(at)).nth(n);
    if count < 2 {
        return nth(0);
    }
    let first = below(count, chance());
    let second = below(count - 1, chance());
    // The second is drawn from the others: the place of the first is stepped over.
    let (a, b) = (nth(first)?, nth(second + usize::from(second >= first))?);
    let (of_a, of_b) = (candidate(a), candidate(b));
    let mut steps_back = |weight: f64| weight < 1.0 && unit(chance()) >= weight;
    match (steps_back(of_a.weight), steps_back(of_b.weight)) {
        (true, false) => Some(b),
        (false, true) => Some(a),
        _ => Some(if of_b.cost < of_a.cost { b } else { a }),
    }
}

/// A number that is uniform over `0..n`, from one that is over all of u64.
fn below(n: usize, chance: u64) -> usize {
    ((u128::from(chance) * n as u128) >> 64) as usize
}

fn unit(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn chance(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    proptest! {
        #[test]
        fn one_that_is_open_and_never_the_worst(costs in proptest::collection::vec(0u64..50, 0..10), closed in any::<u16>(), seed in any::<u64>()) {
            let open = |at: usize| closed & (1 << at) == 0;
            let chosen = choose(costs.len(), open, |at| Candidate { cost: costs[at], weight: 1.0 }, chance(seed));
            let mut others: Vec<u64> = (0..costs.len()).filter(|&at| open(at)).map(|at| costs[at]).collect();
            others.sort_unstable();
            match chosen {
                None => prop_assert!(others.is_empty()),
                Some(at) => {
                    prop_assert!(open(at));
                    prop_assert!(others.len() < 2 || costs[at] <= others[others.len() - 2], "the costliest was chosen");
                }
            }
        }

        #[test]
        fn a_warming_backend_gets_its_part(weight in 0.1f64..1.0, seed in any::<u64>()) {
            let mut chance = chance(seed);
            let weights = [weight, 1.0];
            let got = (0..4_000)
                .filter(|_| choose(2, |_| true, |at| Candidate { cost: 0, weight: weights[at] }, &mut chance) == Some(0))
                .count();
            prop_assert!((got as f64 / 4_000.0 - weight / 2.0).abs() < 0.05, "{} of 4000 at {}", got, weight);
        }
    }

    #[test]
    fn equal_backends_get_equal_shares() {
        let (mut chance, mut counts) = (chance(7), [0u32; 5]);
        for _ in 0..50_000 {
            counts[choose(5, |_| true, |_| Candidate { cost: 3, weight: 1.0 }, &mut chance).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
    }

    #[test]
    fn weight_grows() {
        assert_eq!([0, 50, 100, 900].map(|now| weight(Some(0), now, 100)), [WEIGHT_MIN, 0.5, 1.0, 1.0]);
        assert_eq!((weight(Some(5), 5, 0), weight(None, 5, 100)), (1.0, 1.0));
    }
}
