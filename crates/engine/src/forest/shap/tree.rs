//! One tree, one row: down and up again.

use std::array::from_fn;

use super::points::Points;
use super::table::Split;
use super::table::Table;
use crate::forest::lanes::Lanes;

/// A tree with what is known of it; places are counted within the tree.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) lanes: &'a Lanes,
    pub(super) table: &'a Table,
    pub(super) splits: &'a [Split],
    /// The leaves' values, from the last leaf on.
    pub(super) leaves: &'a [f64],
    /// The root's place in the forest.
    pub(super) root: usize,
    pub(super) points: &'a Points,
}

/// In [`Room::hot`]: it is a leaf.
const NO_CHILD: u32 = u32::MAX;

/// Working memory, reused from tree to tree. One value, or one for each point, for each node.
#[derive(Default)]
pub(super) struct Room {
    known: Vec<Known>,
    /// `1 / (z (1 - t) + t)`.
    inverse: Vec<f64>,
    /// On the way down the product of the path's factors, on the way up the sum of the leaves below, each with its product.
    sums: Vec<f64>,
    /// The child that the row goes to; of a leaf [`NO_CHILD`].
    hot: Vec<u32>,
    /// A leaf's value, 1 for a split.
    values: Vec<f64>,
    /// Whether the row passes all splits of the column that leads here: `o`.
    on: Vec<bool>,
}

/// What all rows see of a node.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The node's share of the rows of the node above it.
    share: f64,
    /// The product of the shares along the path, over the splits of the column that leads here: `z`.
    z: f64,
    /// A leaf's value, 1 for a split.
    value: f64,
}

impl Tree<'_> {
    /// What is the same for all rows; the inverses only where there are several, as a row alone needs few of them.
    pub(super) fn prepare<const Q: usize>(self, room: &mut Room, alone: bool) {
        let len = 2 * self.splits.len() + 1;
        room.known.resize(len, Known::default());
        self.values(room, len);
        room.on.resize(len, false);
        room.sums.resize(len * Q, 0.0);
        room.inverse.resize(len * Q, 0.0);
        let inverse = room.inverse.as_chunks_mut::<Q>().0;
        let (t, rest) = (points::<Q>(&self.points.at), points::<Q>(&self.points.rest));
        // The root stands for a column that no split of the path has asked yet.
        room.known[0] = Known { share: 1.0, z: 1.0, value: room.values[0] };
        inverse[0] = [1.0; Q];
        for (nth, &Split { node, above, .. }) in self.splits.iter().enumerate() {
            let before = room.known[above as usize].z;
            for child in children(nth) {
                let cover = |node: usize| self.table.cover(self.root + node);
                let share = cover(child) / cover(node as usize);
                let z = before * share;
                room.known[child] = Known { share, z, value: room.values[child] };
                if !alone {
                    inverse[child] = from_fn(|q| 1.0 / (z * rest[q] + t[q]));
                }
            }
        }
    }

    /// Adds what each column adds to the row's margin, and answers the row's leaf.
    pub(super) fn explain<const Q: usize>(self, room: &mut Room, alone: bool, ranks: &[u8], to: &mut [f64]) -> f64 {
        self.down::<Q>(room, alone, ranks);
        self.up::<Q>(room, to);
        let mut at = 0;
        while room.hot[at] != NO_CHILD {
            at = room.hot[at] as usize;
        }
        room.values[at]
    }

    fn down<const Q: usize>(self, room: &mut Room, alone: bool, ranks: &[u8]) {
        let (inverse, sums) = (room.inverse.as_chunks_mut::<Q>().0, room.sums.as_chunks_mut::<Q>().0);
        let (t, rest) = (points::<Q>(&self.points.at), points::<Q>(&self.points.rest));
        sums[0] = *points::<Q>(&self.points.weight);
        room.on[0] = true;
        for (nth, split) in self.splits.iter().enumerate() {
            let [left, right] = children(nth);
            let (at, above) = (split.node as usize, split.above as usize);
            let goes_right = usize::from(ranks[usize::from(split.lane)] > split.place);
            let (hot, cold) = (left + goes_right, right - goes_right);
            room.hot[at] = hot as u32;
            let (path, on) = (sums[at], room.on[above]);
            (room.on[hot], room.on[cold]) = (on, false);
            let (of_hot, of_cold) = (room.known[hot], room.known[cold]);
            if on {
                // The column's factor so far is taken out, the one down to here put in.
                let before = &inverse[above];
                let others: [f64; Q] = from_fn(|q| path[q] * before[q]);
                let factor: [f64; Q] = from_fn(|q| of_hot.z * rest[q] + t[q]);
                let cold_factor = of_cold.z * of_cold.value;
                sums[hot] = from_fn(|q| others[q] * factor[q] * of_hot.value);
                sums[cold] = from_fn(|q| others[q] * rest[q] * cold_factor);
                if alone {
                    inverse[hot] = factor.map(|f| 1.0 / f);
                }
            } else {
                let (hot_factor, cold_factor) = (of_hot.share * of_hot.value, of_cold.share * of_cold.value);
                sums[hot] = path.map(|p| p * hot_factor);
                sums[cold] = path.map(|p| p * cold_factor);
            }
        }
    }

    /// A split's column gains `(o - z) / (z (1 - t) + o t)` of the sums below each child, and gives back what was gained so
    /// where the path asked the column before. On a row's own way the difference of the two is
    /// `(z before - z) / (its factor and the one before)`, off it `-1 / ((1 - t) the factor before)`, and further down none.
    fn up<const Q: usize>(self, room: &mut Room, to: &mut [f64]) {
        let (inverse, sums) = (room.inverse.as_chunks::<Q>().0, room.sums.as_chunks_mut::<Q>().0);
        let off: [f64; Q] = points::<Q>(&self.points.rest).map(|rest| 1.0 / rest);
        for (nth, split) in self.splits.iter().enumerate().rev() {
            let [left, right] = children(nth);
            let (at, above) = (split.node as usize, split.above as usize);
            let hot = room.hot[at] as usize;
            let (below_hot, below_cold) = (sums[hot], sums[left + right - hot]);
            if room.on[above] {
                let gain = room.known[above].z - room.known[hot].z;
                let (own, before) = (&inverse[hot], &inverse[above]);
                let terms: [f64; Q] =
                    from_fn(|q| (below_hot[q] * (gain * own[q]) - below_cold[q] * off[q]) * before[q]);
                to[self.lanes.column(split.lane)] += total(&terms);
            }
            sums[at] = from_fn(|q| below_hot[q] + below_cold[q]);
        }
    }

    /// What each leaf gives, and 1 for a split.
    fn values(self, room: &mut Room, len: usize) {
        room.values.clear();
        room.values.resize(len, f64::NAN);
        room.hot.clear();
        room.hot.resize(len, NO_CHILD);
        for split in self.splits {
            room.values[split.node as usize] = 1.0;
            // Another child comes here with the row.
            room.hot[split.node as usize] = 0;
        }
        let nodes = room.values.iter_mut().zip(&room.hot).rev();
        let leaves = nodes.filter(|(_, hot)| **hot == NO_CHILD);
        leaves.zip(self.leaves).for_each(|((value, _), leaf)| *value = *leaf);
    }
}

/// Level by level, children come in the order of their parents.
fn children(nth: usize) -> [usize; 2] {
    [2 * nth + 1, 2 * nth + 2]
}

fn points<const Q: usize>(values: &[f64]) -> &[f64; Q] {
    &values.as_chunks::<Q>().0[0]
}

/// The sum, in four lanes.
fn total<const Q: usize>(terms: &[f64; Q]) -> f64 {
    let mut lanes = [0.0; 4];
    for (q, term) in terms.iter().enumerate() {
        lanes[q % 4] += term;
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}
