//! Where models live that no backend could hold all of: by weighted rendezvous hashing.
//!
//! D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates" (IEEE/ACM Transactions on Networking
//! 6:1, 1998): each model scores each member by a hash of both names, and lives on those with the highest scores. Whoever
//! knows the same members finds the same places, whatever it knew before and in whatever order. A member that goes
//! moves only the models that it held, one that comes takes only its own share. Weights as in C. Schindelhauer and G.
//! Schomaker, "Weighted distributed hash tables" (SPAA 2005), the logarithmic method: the highest of -weight / ln(u) is a
//! member's with a chance in proportion to its weight.
//!
//! A model's order of the members costs one logarithm a member, about 20 ns, and is found when the model is called for the
//! first time after a change of the members: never for all models at once.

mod demand;

pub use demand::{Demand, Rules};

use std::cmp::Ordering;

use crate::hash::{self, STEP, mix};

/// A member as hashing sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    key: u64,
    weight: f64,
}

impl Member {
    /// The member of a stable name. `weight` is its part of the models relative to the other members' weights; what is no
    /// number above 0 counts as 1.
    pub fn new(name: &str, weight: f64) -> Self {
        Self { key: key(name), weight: if weight > 0.0 && weight.is_finite() { weight } else { 1.0 } }
    }

    /// How much a model, by its [`key`], belongs here: it lives on the members with the highest scores.
    pub fn score(&self, model: u64) -> f64 {
        // The upper 53 bits, and half of one: above 0 and below 1, so that the logarithm is below 0.
        let u = ((mix((model ^ self.key).wrapping_add(STEP)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -self.weight / u.ln()
    }
}

/// What a name is hashed to: the same in every build.
pub fn key(name: &str) -> u64 {
    mix(hash::name(0, name).wrapping_add(STEP))
}

/// The places of `members` in the order in which a model, by its [`key`], belongs there.
pub fn order(model: u64, members: &[Member]) -> Vec<usize> {
    let mut scored: Vec<(f64, u64, usize)> =
        members.iter().enumerate().map(|(at, member)| (member.score(model), member.key, at)).collect();
    scored.sort_unstable_by(|a, b| first_of(b, a));
    scored.into_iter().map(|(_, _, at)| at).collect()
}

/// The higher score; of equal ones, so that all agree, the higher key.
fn first_of(a: &(f64, u64, usize), b: &(f64, u64, usize)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(b.2.cmp(&a.2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn members(names: &[u32]) -> Vec<Member> {
        names.iter().map(|name| Member::new(&format!("backend-{name}"), 1.0)).collect()
    }

    /// The names of members in a model's order.
    fn named(model: u64, names: &[u32]) -> Vec<u32> {
        order(model, &members(names)).into_iter().map(|at| names[at]).collect()
    }

    fn model(number: usize) -> u64 {
        key(&format!("flights/{number:05}"))
    }

    #[test]
    fn names_hash_as_they_always_did() {
        // Computed apart from this code.
        assert_eq!((key(""), key("backend-1")), (0xc381_7c01_6ba4_ff30, 0x14fe_3b3e_9719_6716));
        assert_eq!(named(key("flights/JFK"), &[1, 2, 3, 4, 5, 6, 7, 8]), [1, 5, 4, 2, 7, 6, 3, 8]);
    }

    #[test]
    fn one_of_eight_that_goes_moves_its_share_and_no_more() {
        let all = [1, 2, 3, 4, 5, 6, 7, 8];
        for gone in all {
            let left: Vec<u32> = all.into_iter().filter(|name| *name != gone).collect();
            let (mut moved, mut to) = (0, [0; 9]);
            for number in 0..10_000 {
                let (before, after) = (named(model(number), &all), named(model(number), &left));
                if before[0] != after[0] {
                    assert_eq!((before[0], before[1]), (gone, after[0]), "a model moved that was not there");
                    moved += 1;
                    to[after[0] as usize] += 1;
                }
            }
            assert!(moved <= 10_000 / 8 + 200, "{moved} models moved");
            assert!(left.iter().all(|name| (120..240).contains(&to[*name as usize])), "not spread evenly: {to:?}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let members = [Member::new("a", 1.0), Member::new("b", 2.0), Member::new("c", 5.0)];
        let mut counts = [0; 3];
        (0..20_000).for_each(|number| counts[order(model(number), &members)[0]] += 1);
        for (count, expected) in counts.into_iter().zip([2_500, 5_000, 12_500]) {
            // Six standard deviations are 420.
            assert!((expected - 420..expected + 420).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn each_member_of_many_has_about_its_share() {
        let names: Vec<u32> = (0..50).collect();
        let members = members(&names);
        let mut counts = [0_i32; 50];
        (0..50_000).for_each(|number| counts[order(model(number), &members)[0]] += 1);
        // 1,000 each, standard deviation 31.
        assert!(counts.iter().all(|count| (840..1_160).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn all_agree_whatever_order_they_know_members_in(number in any::<u64>(), mut names in proptest::collection::btree_set(0u32..500, 1..40).prop_map(|set| set.into_iter().collect::<Vec<_>>()), turn in 0usize..40) {
            let sorted = named(number, &names);
            let at = turn % names.len();
            names.rotate_left(at);
            prop_assert_eq!(&named(number, &names), &sorted);
            names.reverse();
            prop_assert_eq!(&named(number, &names), &sorted);
        }

        #[test]
        fn who_goes_or_comes_changes_nothing_in_the_order_of_the_others(number in any::<u64>(), names in proptest::collection::btree_set(0u32..500, 2..40), which in any::<proptest::sample::Index>()) {
            let names: Vec<u32> = names.into_iter().collect();
            let gone = names[which.index(names.len())];
            let left: Vec<u32> = names.iter().copied().filter(|name| *name != gone).collect();
            let before: Vec<u32> = named(number, &names).into_iter().filter(|name| *name != gone).collect();
            prop_assert_eq!(before, named(number, &left));
        }

        #[test]
        fn more_weight_never_takes_a_model_away(number in any::<u64>(), weight in 0.1f64..10.0, more in 1.0f64..10.0) {
            let rank = |weight: f64| {
                let members = [Member::new("a", 1.0), Member::new("b", 3.0), Member::new("c", weight)];
                order(number, &members).iter().position(|at| *at == 2)
            };
            prop_assert!(rank(weight * more) <= rank(weight));
            prop_assert!(Member::new("a", f64::NAN).score(number).is_finite());
        }
    }
}
