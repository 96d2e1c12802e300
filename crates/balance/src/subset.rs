//! Which backends a gateway keeps connections open to, in a fleet too large for all of them: the same ones each time, from
//! its index or its name alone, without a word to other gateways.
//!
//! Ringsteady and Rocksteadier subsetting (P. Ward, P. Wankadia, "Reinventing Backend Subsetting at Google", ACM Queue 20:5,
//! 2022), for backends that have names and no numbers: they stand on a ring in the order of a hash of their names; a
//! gateway takes so many in a row from where the van der Corput sequence puts it. Its points halve the largest gap again
//! and again, so that any number of gateways is spread evenly, and none moves when another comes or goes. [`LOT`] gateways
//! share an order; the next ones have another, so that a gateway's backends are not all another gateway's too.
//!
//! Laws, each with a test: the size is kept; the first n gateways of a lot give each backend as many as any other, but for
//! one for each power of two in n; when a backend comes or goes, a gateway
//! gets two new ones at most, mostly none or one.

use crate::hash::{self, mix};

/// Gateways that share an order of the backends: a power of two, as those spread evenly.
pub const LOT: u32 = 16;

/// Where a gateway stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which order of the backends is its.
    lot: u64,
    /// Where in it, as a part of 2^32.
    at: u32,
}

impl Place {
    /// The gateway's that is number `index`, from 0. Evenly spread, where the numbers have no gaps.
    pub fn of_index(index: u32) -> Self {
        Self { lot: u64::from(index / LOT), at: (index % LOT).reverse_bits() }
    }

    /// That of a gateway of this name: as even as chance makes it.
    pub fn of_name(name: &str) -> Self {
        let hash = hash(u64::MAX, name);
        Self { lot: hash & 0xff, at: (hash >> 32) as u32 }
    }
}

/// The indices in `backends` of those that the gateway keeps, in no order: `size` of them, or all where there are fewer.
/// `backends` are distinct names, in any order.
pub fn subset(place: Place, backends: &[&str], size: usize) -> Vec<usize> {
    let count = backends.len();
    if size >= count {
        return (0..count).collect();
    }
    let mut ring: Vec<(u64, usize)> = backends.iter().map(|name| hash(place.lot, name)).zip(0..).collect();
    ring.sort_unstable_by(|(a, at), (b, bt)| a.cmp(b).then_with(|| backends[*at].cmp(backends[*bt])));
    let first = ((u64::from(place.at) * count as u64) >> 32) as usize;
    (0..size).filter_map(|step| ring.get((first + step) % count)).map(|(_, at)| *at).collect()
}

fn hash(lot: u64, name: &str) -> u64 {
    mix(hash::name(lot, name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.{}.{}:8500", n / 250, n % 250)).collect()
    }

    fn of(place: Place, names: &[String], size: usize) -> BTreeSet<&str> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        subset(place, &names, size).into_iter().map(|at| names[at]).collect()
    }

    /// The fewest and the most gateways that a backend has.
    fn spread(places: impl Iterator<Item = Place>, names: &[String], size: usize) -> (usize, usize) {
        let mut counts: HashMap<&str, usize> = names.iter().map(|name| (name.as_str(), 0)).collect();
        places.for_each(|place| of(place, names, size).iter().for_each(|name| *counts.get_mut(name).unwrap() += 1));
        (*counts.values().min().unwrap(), *counts.values().max().unwrap())
    }

    #[test]
    fn a_fleet_of_gateways_by_number_and_by_name() {
        let names = names(1_000);
        let (least, most) = spread((0..64).map(Place::of_index), &names, 125);
        assert!((6..=8).contains(&least) && (8..=10).contains(&most), "8 each: {least} to {most}");
        let places = (0..64).map(|n| Place::of_name(&format!("gateway-7d9f{n:04x}")));
        let (least, most) = spread(places, &names, 125);
        assert!(least >= 1 && most <= 20, "8 each on average: {least} to {most}");
    }

    #[test]
    fn when_one_goes_most_gateways_that_did_not_have_it_change_nothing() {
        let all = names(400);
        let changed = (0..64).map(Place::of_index).filter(|place| {
            let before = of(*place, &all, 50);
            !before.contains(all[7].as_str()) && of(*place, &[&all[..7], &all[8..]].concat(), 50) != before
        });
        let changed = changed.count();
        assert!(changed <= 32, "{changed} of 56");
    }

    #[test]
    fn gateways_of_different_lots_have_different_neighbours() {
        let names = names(1_000);
        let shared = |a: u32, b: u32| {
            let (a, b) = (of(Place::of_index(a), &names, 100), of(Place::of_index(b), &names, 100));
            a.intersection(&b).count()
        };
        assert_eq!(shared(0, 1), 0);
        assert!(shared(0, LOT) < 30, "as many as chance makes it");
    }

    proptest! {
        #[test]
        fn size_and_agreement(count in 0usize..300, size in 0usize..400, index: u32, name in "[a-z0-9-]{0,20}") {
            let names = names(count);
            for place in [Place::of_index(index), Place::of_name(&name)] {
                let one = of(place, &names, size);
                prop_assert_eq!(one.len(), size.min(count));
                let mut otherwise = names.clone();
                otherwise.reverse();
                prop_assert_eq!(one, of(place, &otherwise, size), "whatever the order in which they are listed");
            }
        }

        #[test]
        fn backends_are_spread_evenly(count in 1usize..200, size in 0usize..200, gateways in 1u32..=LOT, lot in 0u32..100) {
            let places = (0..gateways).map(|n| Place::of_index(lot * LOT + n));
            let (least, most) = spread(places, &names(count), size);
            prop_assert!(most - least <= gateways.count_ones() as usize, "{least} to {most}");
        }

        #[test]
        fn one_that_comes_or_goes_changes_two_at_most(
            count in 2usize..200, size in 0usize..200, goes in 0usize..200, index in 0u32..200, name in "[a-z0-9-]{1,20}",
        ) {
            let all = names(count);
            let mut left = all.clone();
            left.remove(goes % count);
            for place in [Place::of_index(index), Place::of_name(&name)] {
                let (before, after) = (of(place, &all, size), of(place, &left, size));
                prop_assert!(after.difference(&before).count() <= 2, "goes");
                prop_assert!(before.difference(&after).count() <= 2, "comes");
            }
        }
    }
}
