//! Features as ranks of one byte.
//!
//! A split asks `value <= threshold`; with a feature's distinct thresholds sorted once, that is `rank <= place`, where
//! rank is the number of thresholds below the value and place is the threshold's. Nothing is lost: two values of one rank
//! are the same to every split. A *lane* is a byte for each row that a group of splits compares with; a feature with more
//! than 255 thresholds has several, each with 255 of them. A split that no order tells (a set of categories) has a lane of
//! its own, 0 for left and 1 for right.
//!
//! Bytes are kept with their top bit flipped, so that the signed comparison, the only one that AVX2 has, orders them.

use std::collections::HashMap;

use super::buckets::Buckets;
use super::slots::Slot;
use super::{CATEGORY, FLAG_BITS, Forest, IN_SET_RIGHT, MISSING_LEFT, Node, SPLIT, in_set};
use crate::Batch;

/// Thresholds of a lane, so that their ranks, from 0 to this, fit a byte.
const PLACES: usize = 255;
/// What flips a rank's top bit.
pub(super) const FLIP: u8 = 0x80;

/// Searches of one row that are done side by side.
const SIDE: usize = 4;

/// The bytes of one lane for so many rows.
pub(super) type Lane<const W: usize> = [u8; W];

/// What a split compares: right where the lane's byte is greater than the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) lane: u32,
    pub(super) place: i8,
}

impl Test {
    /// The place in the order of ranks, not flipped.
    pub(super) fn rank(self) -> u8 {
        self.place as u8 ^ FLIP
    }
}

/// All lanes of a forest.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    groups: Vec<Group>,
    /// Those of the first groups; the others search among keys.
    buckets: Vec<Buckets>,
    /// The [`key`]s of each group's thresholds.
    keys: Vec<u64>,
    sets: Vec<SetLane>,
    count: usize,
    /// For each lane the column that it is of.
    columns: Vec<u32>,
}

/// The lanes of one slot, or of those of its splits that send missing values the same way.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Its place before groups were sorted.
    nth: u32,
    slot: Slot,
    /// The first of its lanes.
    lane: u32,
    /// The keys of its thresholds, as [`levels`] puts them: `1 << bits` from here. Of no meaning where it has buckets.
    start: u32,
    bits: u32,
    /// How many lanes it has.
    lanes: u32,
    /// The rank of a missing value.
    missing: u32,
}

/// A lane of its own for all splits on one set of categories.
#[derive(Clone, Copy, Debug)]
struct SetLane {
    slot: Slot,
    lane: u32,
    node: Node,
}

/// Where the splits of a forest find their lanes.
#[derive(Debug)]
pub(super) struct Index {
    /// For each slot its groups: of splits that send missing values left, and right; often one and the same.
    slots: Vec<[Option<u32>; 2]>,
    sets: HashMap<(u32, u64), u32>,
    /// For each group its thresholds, sorted, and its first lane.
    sorted: Vec<Vec<f64>>,
    lanes: Vec<u32>,
}

impl Lanes {
    /// The lanes of all splits, and the way to them; none where the forest has more than [`u16::MAX`] lanes.
    pub(super) fn of(forest: &Forest) -> Option<(Self, Index)> {
        let mut asked: Vec<Vec<(f64, bool)>> = vec![Vec::new(); forest.slots.len()];
        let (mut lanes, mut sets) = (Self::default(), Vec::new());
        for node in forest.nodes.iter().filter(|n| n.meta & SPLIT != 0) {
            if is_set(node) {
                sets.push(node);
            } else {
                asked[(node.meta >> FLAG_BITS) as usize].push((node.value + 0.0, node.meta & MISSING_LEFT != 0));
            }
        }
        let mut index =
            Index { slots: vec![[None; 2]; asked.len()], sets: HashMap::new(), sorted: Vec::new(), lanes: Vec::new() };
        for (slot, asked) in asked.into_iter().enumerate().filter(|(_, asked)| !asked.is_empty()) {
            index.slots[slot] = lanes.add_slot(&mut index, forest.slots[slot], asked);
        }
        for node in sets {
            index.sets.entry(set_key(node)).or_insert_with(|| {
                let lane = lanes.count as u32;
                lanes.sets.push(SetLane { slot: forest.slots[(node.meta >> FLAG_BITS) as usize], lane, node: *node });
                lanes.count += 1;
                lane
            });
        }
        index.lanes = vec![0; lanes.groups.len()];
        lanes.finish(&mut index);
        lanes.columns = vec![0; lanes.count];
        for group in &lanes.groups {
            lanes.columns[group.lane as usize..][..group.lanes as usize].fill(group.slot.column);
        }
        for set in &lanes.sets {
            lanes.columns[set.lane as usize] = set.slot.column;
        }
        (lanes.count <= usize::from(u16::MAX)).then_some((lanes, index))
    }

    fn add_slot(&mut self, index: &mut Index, slot: Slot, mut asked: Vec<(f64, bool)>) -> [Option<u32>; 2] {
        // No NaN among them: those are sets.
        asked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let all = distinct(asked.iter().map(|a| a.0));
        let place = |value: f64| all.partition_point(|t| *t < value);
        let left = asked.iter().filter(|a| a.1).map(|a| place(a.0)).min();
        let right = asked.iter().filter(|a| !a.1).map(|a| place(a.0)).max();
        match (left, right) {
            (Some(left), Some(right)) if right >= left => {
                let side = |side: bool| distinct(asked.iter().filter(|a| a.1 == side).map(|a| a.0));
                let (lefts, rights) = (side(true), side(false));
                [Some(self.add_group(index, slot, &lefts, 0)), Some(self.add_group(index, slot, &rights, rights.len()))]
            }
            // One rank stands for missing: above all that send it right, not above those that send it left.
            (_, right) => [Some(self.add_group(index, slot, &all, right.map_or(0, |r| r + 1))); 2],
        }
    }

    fn add_group(&mut self, index: &mut Index, slot: Slot, thresholds: &[f64], missing: usize) -> u32 {
        let bits = usize::BITS - thresholds.len().leading_zeros();
        let (nth, lane, lanes) = (self.groups.len() as u32, self.count as u32, thresholds.len().div_ceil(PLACES));
        index.sorted.push(thresholds.to_vec());
        self.groups.push(Group { nth, slot, lane, start: 0, bits, lanes: lanes as u32, missing: missing as u32 });
        self.count += lanes;
        nth
    }

    /// Writes the keys, and puts groups of like size next to each other.
    fn finish(&mut self, index: &mut Index) {
        let mut found: Vec<_> = index.sorted.iter().map(|sorted| Buckets::new(sorted)).collect();
        self.groups.sort_by_key(|g| (found[g.nth as usize].is_none(), g.bits));
        self.buckets = self.groups.iter().filter_map(|g| found[g.nth as usize].take()).collect();
        self.groups.iter().for_each(|g| index.lanes[g.nth as usize] = g.lane);
        for side in self.groups[self.buckets.len()..].chunks_mut(SIDE) {
            let bits = side.iter().map(|g| g.bits).max().unwrap_or(0);
            for group in side {
                (group.start, group.bits) = (self.keys.len() as u32, bits);
                levels(&index.sorted[group.nth as usize], bits, &mut self.keys);
            }
        }
        self.keys.shrink_to_fit();
    }

    /// What a split compares.
    pub(super) fn test(&self, index: &Index, node: &Node) -> Test {
        if is_set(node) {
            return Test { lane: index.sets.get(&set_key(node)).copied().unwrap_or(0), place: byte(0) };
        }
        let slot = (node.meta >> FLAG_BITS) as usize;
        let side = usize::from(node.meta & MISSING_LEFT == 0);
        let group = index.slots[slot][side].map_or(0, |g| g as usize);
        let place = index.sorted[group].partition_point(|t| *t < node.value);
        Test { lane: index.lanes[group] + (place / PLACES) as u32, place: byte(place % PLACES) }
    }

    /// The column that a lane is of.
    pub(super) fn column(&self, lane: u16) -> usize {
        self.columns[usize::from(lane)] as usize
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.len() * size_of::<Group>()
            + self.keys.len() * size_of::<u64>()
            + self.buckets.iter().map(Buckets::memory_bytes).sum::<usize>()
            + self.sets.len() * size_of::<SetLane>()
            + self.columns.len() * size_of::<u32>()
    }

    /// Ranks a row of a batch, not flipped. `out` has [`Lanes::len`] entries or more.
    #[inline(always)]
    pub(super) fn rank_one(&self, category_sets: &[u32], batch: &Batch, row: usize, out: &mut [u8]) {
        let (bucketed, searched) = self.groups.split_at(self.buckets.len());
        for (group, buckets) in bucketed.iter().zip(&self.buckets) {
            let value = group.slot.value(batch, row);
            out[group.lane as usize] = if value.is_nan() { group.missing } else { buckets.rank(value) } as u8;
        }
        // Searches side by side, as each step waits for the one before; those of a side take as many steps.
        for side in searched.chunks(SIDE) {
            let (mut values, mut keys, mut starts) = ([0.0; SIDE], [0; SIDE], [0; SIDE]);
            for i in 0..SIDE {
                let group = &side[i.min(side.len() - 1)];
                values[i] = group.slot.value(batch, row);
                keys[i] = key(values[i]);
                starts[i] = group.start as usize;
            }
            let (mut at, bits) = ([1; SIDE], side[0].bits);
            for _ in 0..bits {
                for i in 0..SIDE {
                    // SAFETY: after n of `bits` steps `at` is below `2 << n`, and the group has `1 << bits` keys.
                    let next = unsafe { *self.keys.get_unchecked(starts[i] + at[i]) };
                    at[i] = 2 * at[i] + usize::from(next < keys[i]);
                }
            }
            for (i, group) in side.iter().enumerate() {
                let rank = if values[i].is_nan() { group.missing } else { at[i] as u32 - (1 << bits) };
                if group.lanes == 1 {
                    out[group.lane as usize] = rank as u8;
                } else {
                    for (nth, out) in out[group.lane as usize..][..group.lanes as usize].iter_mut().enumerate() {
                        *out = in_lane(rank, nth);
                    }
                }
            }
        }
        for set in &self.sets {
            out[set.lane as usize] = u8::from(goes_right(&set.node, category_sets, set.slot.value(batch, row)));
        }
    }

    /// Ranks rows: `column` gives the values of a slot, one for each row; what `out` holds beyond them is of no meaning.
    /// `out` has [`Lanes::len`] entries or more; `flip` is [`FLIP`], or 0 for ranks in the order of values.
    #[inline(always)]
    pub(super) fn rank<const W: usize>(
        &self,
        category_sets: &[u32],
        column: impl Fn(Slot, &mut [f64; W]),
        flip: u8,
        out: &mut [Lane<W>],
    ) {
        let mut values = [0.0; W];
        for (nth, group) in self.groups.iter().enumerate() {
            column(group.slot, &mut values);
            let mut ranks = match self.buckets.get(nth) {
                Some(buckets) => buckets.ranks(&values),
                None => {
                    let keys = &self.keys[group.start as usize..][..1 << group.bits];
                    search(keys, group.bits, &values.map(key))
                }
            };
            let missing = group.missing;
            for (rank, value) in ranks.iter_mut().zip(&values) {
                *rank = if value.is_nan() { missing } else { *rank };
            }
            let lanes = &mut out[group.lane as usize..][..group.lanes as usize];
            for (nth, lane) in lanes.iter_mut().enumerate() {
                for (byte, rank) in lane.iter_mut().zip(&ranks) {
                    *byte = in_lane(*rank, nth) ^ flip;
                }
            }
        }
        let mut held = None;
        for set in &self.sets {
            if held != Some(set.slot) {
                column(set.slot, &mut values);
                held = Some(set.slot);
            }
            for (byte, value) in out[set.lane as usize].iter_mut().zip(&values) {
                *byte = flip ^ u8::from(goes_right(&set.node, category_sets, *value));
            }
        }
    }
}

/// Whether no order of values tells the split's way: a set of categories, or a threshold that lets nothing go left.
fn is_set(node: &Node) -> bool {
    node.meta & CATEGORY != 0 || node.value.is_nan()
}

/// What splits on the same set have in common.
fn set_key(node: &Node) -> (u32, u64) {
    (node.meta, node.value.to_bits())
}

fn goes_right(node: &Node, sets: &[u32], value: f64) -> bool {
    if value.is_nan() {
        return node.meta & MISSING_LEFT == 0;
    }
    node.meta & CATEGORY == 0 || in_set(sets, node.value.to_bits(), value) == (node.meta & IN_SET_RIGHT != 0)
}

/// What the n-th lane of a group has of a rank.
#[inline(always)]
fn in_lane(rank: u32, nth: usize) -> u8 {
    rank.saturating_sub((nth * PLACES) as u32).min(PLACES as u32) as u8
}

/// A rank as a lane has it.
fn byte(rank: usize) -> i8 {
    (rank as u8 ^ FLIP) as i8
}

fn distinct(sorted: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut list: Vec<f64> = sorted.collect();
    list.dedup();
    list
}

/// A whole number in the order of the values; 0 and -0 have one.
#[inline(always)]
fn key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
}

/// The keys of sorted thresholds in the order of a perfect search tree's levels (Eytzinger's), from place 1, filled up with
/// what nothing is above: the path to a value's place, right as 1, is the number of thresholds below it.
fn levels(sorted: &[f64], bits: u32, out: &mut Vec<u64>) {
    out.push(u64::MAX);
    for at in 1..1usize << bits {
        let level = at.ilog2();
        // The n-th of its level has n and a half times the level's stride before it.
        let stride = 1usize << (bits - level);
        let place = (at - (1 << level)) * stride + stride / 2 - 1;
        out.push(sorted.get(place).map_or(u64::MAX, |t| key(*t)));
    }
}

/// For each value the number of thresholds below it. `keys` are those that [`levels`] wrote, `values` keys too.
#[inline(always)]
fn search<const W: usize>(keys: &[u64], bits: u32, values: &[u64; W]) -> [u32; W] {
    let mut at = [1u32; W];
    macro_rules! sized {
        ($($bits:literal),*) => {
            match bits {
                $($bits => if let Ok(keys) = <&[u64; 1 << $bits]>::try_from(keys) {
                    for _ in 0..$bits {
                        for (at, value) in at.iter_mut().zip(values) {
                            // The mask changes nothing but tells the compiler that the place is within.
                            let key = keys[*at as usize & ((1 << $bits) - 1)];
                            *at = 2 * *at + u32::from(key < *value);
                        }
                    }
                },)*
                _ => for _ in 0..bits {
                    for (at, value) in at.iter_mut().zip(values) {
                        *at = 2 * *at + u32::from(keys[*at as usize] < *value);
                    }
                },
            }
        };
    }
    sized!(1, 2, 3, 4, 5, 6, 7, 8);
    at.map(|at| at - (1 << bits))
}
