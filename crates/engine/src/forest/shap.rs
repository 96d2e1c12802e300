//! What each column adds to a margin: path-dependent TreeSHAP, exact.
//!
//! The game is that of Lundberg, Erion and Lee, "Consistent individualized feature attribution for tree ensembles" (2018,
//! algorithm 2), which LightGBM's `pred_contrib` and XGBoost's `pred_contribs` play: where a column is not known, a split
//! on it leads both ways, by the training rows that went each. To a leaf of value `v` then leads, for a set of known
//! columns, `v` times for each column of its path 1 or 0 where it is known (the row does or does not pass all its splits),
//! and `z`, the share of rows that do, where it is not.
//!
//! Their algorithm weighs sets of each size by itself. This one takes the integral that the weights come from (Owen,
//! "Multilinear extensions of games", 1972): a column's contribution to a leaf is `v` times the integral over `t` from 0
//! to 1 of `(o - z)` times the product, over the path's other columns, of `z (1 - t) + o t`, `o` being the 1 or 0. That is a
//! polynomial, so that a quadrature with enough points is exact. Leaves share their products' beginnings on the way down
//! and their sums on the way up (as in Yu et al., "Linear TreeShap", 2022): one pass each, time linear in nodes x points.
//! All factors are over zero and nothing cancels on the way down, so that rounding stays near 1e-15 of the leaves.

mod points;
mod table;
mod tree;

pub(super) use table::Table;

use super::Forest;
use super::kernel::Kernel;
use crate::Batch;
use crate::engine::{MarginKind, ScoreError};
use crate::explain::Sums;
use points::SIZES;
use tree::{Room, Tree};

/// Rows whose columns are looked at together.
const BLOCK: usize = 64;
/// Ranks of rows in a block, at most: 256 KiB.
const BLOCK_BYTES: usize = 1 << 18;

/// The ranks of a block's rows, as many a row as there are lanes, and where their contributions go.
struct Block<'a> {
    ranks: &'a [u8],
    lanes: usize,
    rows: usize,
    /// The first row.
    first: usize,
    /// Rows x margins x columns.
    contributions: &'a mut [f64],
    columns: usize,
    width: usize,
    sums: &'a mut Sums,
    room: &'a mut Room,
}

/// The rows' margins, which the contributions must account for, and how they came about.
pub(super) struct Margins<'a> {
    pub(super) values: &'a [f64],
    /// Where each margin of a row begins.
    pub(super) start: &'a [f64],
    pub(super) kind: MarginKind,
}

impl Forest {
    /// Fills `contributions`: rows x margins x (columns + 1), the bias last.
    pub(super) fn explain(
        &self,
        table: &Table,
        kernel: &Kernel,
        batch: &Batch,
        margins: &Margins<'_>,
        contributions: &mut Vec<f64>,
    ) -> Result<(), ScoreError> {
        let columns = batch.columns() + 1;
        contributions.clear();
        contributions.resize(margins.values.len() * columns, 0.0);
        for (margin, of_margin) in contributions.chunks_mut(columns).enumerate() {
            of_margin[columns - 1] = table.bias[margin % table.bias.len()];
        }
        let mut sums = Sums::new(batch.rows(), margins.start, margins.kind);
        let (mut ranks, mut room) = (Vec::new(), Room::default());
        let lanes = kernel.lanes().len();
        let most = (BLOCK_BYTES / lanes.max(1)).clamp(1, BLOCK);
        for first in (0..batch.rows()).step_by(most) {
            let rows = most.min(batch.rows() - first);
            ranks.resize(lanes * rows, 0);
            for (r, ranks) in ranks.chunks_mut(lanes.max(1)).enumerate() {
                kernel.lanes().rank_one(&self.sets, batch, first + r, ranks);
            }
            let (ranks, sums, room) = (&ranks, &mut sums, &mut room);
            let mut block =
                Block { ranks, lanes, rows, first, contributions, columns, width: margins.start.len(), sums, room };
            for tree in 0..self.roots.len() {
                self.explain_tree(table, kernel, tree, &mut block);
            }
        }
        sums.check(margins.values, contributions, columns, &table.scale)
    }

    fn explain_tree(&self, table: &Table, kernel: &Kernel, tree: usize, block: &mut Block<'_>) {
        let (root, size) = (self.nodes_of(tree).start, table.sizes[tree] as usize);
        let splits = table.splits(self, tree);
        let (lanes, leaves) = (kernel.lanes(), kernel.leaves_of(tree));
        let of = Tree { lanes, table, splits, leaves, root, points: &table.points[size] };
        let group = self.groups[tree] as usize;
        match SIZES[size] {
            2 => block.explain::<2>(of, group),
            4 => block.explain::<4>(of, group),
            8 => block.explain::<8>(of, group),
            12 => block.explain::<12>(of, group),
            16 => block.explain::<16>(of, group),
            32 => block.explain::<32>(of, group),
            _ => block.explain::<64>(of, group),
        }
    }
}

impl Block<'_> {
    fn explain<const Q: usize>(&mut self, tree: Tree<'_>, group: usize) {
        let alone = self.rows == 1;
        tree.prepare::<Q>(self.room, alone);
        for r in 0..self.rows {
            let margin = (self.first + r) * self.width + group;
            let ranks = &self.ranks[r * self.lanes..][..self.lanes];
            let to = &mut self.contributions[margin * self.columns..][..self.columns];
            let leaf = tree.explain::<Q>(self.room, alone, ranks, to);
            self.sums.add(margin, leaf);
        }
    }
}

#[cfg(test)]
mod tests;
