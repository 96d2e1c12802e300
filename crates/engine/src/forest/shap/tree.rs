//! One tree, one row: down and up again.

use super::points::Points;
use crate::forest::{CATEGORY, FLAG_BITS, Forest, IN_SET_RIGHT, MISSING_LEFT, Node, SPLIT};

/// A row as the splits see it: the value of slot `s` is at `s * stride`.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) values: &'a [f64],
    pub(super) stride: usize,
}

/// A tree's nodes with what is known of them; places are counted within the tree.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) forest: &'a Forest,
    pub(super) nodes: &'a [Node],
    pub(super) covers: &'a [f64],
    /// [`super::Table::above`].
    pub(super) above: &'a [u32],
    /// The root's place in the forest.
    pub(super) root: usize,
    pub(super) points: &'a Points,
}

/// Working memory, reused from tree to tree. One value, or one for each point, for each node.
#[derive(Default)]
pub(super) struct Room {
    /// The node's share of the rows of the node above it.
    share: Vec<f64>,
    /// The product of the shares along the path, over the splits of the column that leads here: `z`.
    z: Vec<f64>,
    /// `1 / (z (1 - t) + t)`.
    inverse: Vec<f64>,
    /// On the way down the product of the path's factors, on the way up the sum of the leaves below, each with its product.
    sums: Vec<f64>,
    /// The child that the row goes to.
    hot: Vec<u32>,
    /// Whether the row passes all splits of the column that leads here: `o`.
    on: Vec<bool>,
}

impl Tree<'_> {
    /// What is the same for all rows.
    pub(super) fn prepare<const Q: usize>(self, room: &mut Room) {
        let len = self.nodes.len();
        room.share.resize(len, 0.0);
        room.z.resize(len, 0.0);
        room.hot.resize(len, 0);
        room.on.resize(len, false);
        room.sums.resize(len * Q, 0.0);
        room.inverse.resize(len * Q, 0.0);
        let inverse = room.inverse.as_chunks_mut::<Q>().0;
        // The root stands for a column that no split of the path has asked yet.
        (room.z[0], inverse[0]) = (1.0, [1.0; Q]);
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(left) = self.left(node) else { continue };
            for child in [left, left + 1] {
                let share = self.covers[child] / self.covers[at];
                let z = room.z[self.above[at] as usize] * share;
                (room.share[child], room.z[child]) = (share, z);
                for (q, inverse) in inverse[child].iter_mut().enumerate() {
                    *inverse = 1.0 / (z * self.points.rest[q] + self.points.at[q]);
                }
            }
        }
    }

    /// Adds what each column adds to the row's margin, and answers the row's leaf.
    pub(super) fn explain<const Q: usize>(self, room: &mut Room, row: Row<'_>, to: &mut [f64]) -> f64 {
        self.down::<Q>(room, row);
        self.up::<Q>(room, to);
        let mut at = 0;
        while self.left(&self.nodes[at]).is_some() {
            at = room.hot[at] as usize;
        }
        self.nodes[at].value
    }

    fn down<const Q: usize>(self, room: &mut Room, row: Row<'_>) {
        let (inverse, sums) = (room.inverse.as_chunks::<Q>().0, room.sums.as_chunks_mut::<Q>().0);
        let (t, rest) = (points::<Q>(&self.points.at), points::<Q>(&self.points.rest));
        sums[0] = *points::<Q>(&self.points.weight);
        room.on[0] = true;
        for (at, node) in self.nodes.iter().enumerate() {
            let path = sums[at];
            let Some(left) = self.left(node) else {
                sums[at] = path.map(|p| p * node.value);
                continue;
            };
            let goes_right = usize::from(!self.forest.goes_left(*node, row));
            let (hot, cold) = (left + goes_right, left + 1 - goes_right);
            room.hot[at] = hot as u32;
            let above = self.above[at] as usize;
            let on = room.on[above];
            (room.on[hot], room.on[cold]) = (on, false);
            if on {
                // The column's factor so far is taken out, the one down to here put in.
                let (hot_z, cold_z, inverse) = (room.z[hot], room.z[cold], &inverse[above]);
                for q in 0..Q {
                    let others = path[q] * inverse[q];
                    sums[hot][q] = others * (hot_z * rest[q] + t[q]);
                    sums[cold][q] = others * (cold_z * rest[q]);
                }
            } else {
                for child in [hot, cold] {
                    let share = room.share[child];
                    sums[child] = path.map(|p| p * share);
                }
            }
        }
    }

    /// A split's column gains `(o - z) / (z (1 - t) + o t)` of the sums below each child, and gives back what was gained so
    /// where the path asked the column before. On a row's own way the difference of the two is
    /// `(z before - z) / (its factor and the one before)`, off it `-1 / ((1 - t) the factor before)`, and further down none.
    fn up<const Q: usize>(self, room: &mut Room, to: &mut [f64]) {
        let (inverse, sums) = (room.inverse.as_chunks::<Q>().0, room.sums.as_chunks_mut::<Q>().0);
        let off: [f64; Q] = points::<Q>(&self.points.rest).map(|rest| 1.0 / rest);
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let Some(left) = self.left(node) else { continue };
            let hot = room.hot[at] as usize;
            let cold = 2 * left + 1 - hot;
            let (below_hot, below_cold) = (sums[hot], sums[cold]);
            let above = self.above[at] as usize;
            if room.on[above] {
                let gain = room.z[above] - room.z[hot];
                let mut terms = [0.0; Q];
                for q in 0..Q {
                    let change = below_hot[q] * (gain * inverse[hot][q]) - below_cold[q] * off[q];
                    terms[q] = change * inverse[above][q];
                }
                let column = self.forest.slots[(node.meta >> FLAG_BITS) as usize].column;
                to[column as usize] += total(&terms);
            }
            for q in 0..Q {
                sums[at][q] = below_hot[q] + below_cold[q];
            }
        }
    }

    /// The left child of a split.
    fn left(self, node: &Node) -> Option<usize> {
        (node.meta & SPLIT != 0).then(|| node.child as usize - self.root)
    }
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

impl Forest {
    /// Whether a row goes left, by the rules of [`super::super::walk`].
    fn goes_left(&self, node: Node, row: Row<'_>) -> bool {
        let value = row.values[(node.meta >> FLAG_BITS) as usize * row.stride];
        if value.is_nan() {
            return node.meta & MISSING_LEFT != 0;
        }
        if node.meta & CATEGORY == 0 {
            return value <= node.value;
        }
        let place = node.value.to_bits();
        let (offset, words, category) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize, value as usize);
        let in_set =
            value >= 0.0 && category / 32 < words && self.sets[offset + category / 32] >> (category % 32) & 1 == 1;
        in_set != (node.meta & IN_SET_RIGHT != 0)
    }
}
