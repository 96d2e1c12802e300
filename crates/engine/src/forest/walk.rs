//! Walking trees. A batch takes one tree at a time, several rows side by side; a single row takes several trees side by
//! side. Either way a row's leaves are summed in the order of the trees, so that both give the same bits.

use super::{CATEGORY, FLAG_BITS, Forest, IN_SET_RIGHT, MISSING_LEFT, Node, SPLIT, in_set};
use crate::{Batch, Scratch};

/// Walks side by side: enough to hide the latency of a step.
const LANES: usize = 8;
/// From so many rows on, rows are walked side by side.
const BATCH: usize = 6;
/// Rows whose slots are filled at once.
const BLOCK: usize = 64;
/// Slot values in a block, at most: 256 KiB.
const BLOCK_VALUES: usize = 1 << 15;

/// The type that margins are summed in.
pub(super) trait Sum {
    fn add(sum: f64, leaf: f64) -> f64;
}

impl Sum for f64 {
    #[inline(always)]
    fn add(sum: f64, leaf: f64) -> f64 {
        sum + leaf
    }
}

impl Sum for f32 {
    /// Both are `f32` values.
    #[inline(always)]
    fn add(sum: f64, leaf: f64) -> f64 {
        f64::from(sum as f32 + leaf as f32)
    }
}

/// The slot values of a block of rows: row `r` of slot `s` is at `s * stride + r`.
#[derive(Clone, Copy)]
struct Block<'a> {
    values: &'a [f64],
    stride: usize,
}

impl Forest {
    /// Adds the trees' leaves to `margins`, rows of `width`.
    pub(super) fn add<S: Sum>(&self, batch: &Batch, scratch: &mut Scratch, margins: &mut [f64], width: usize) {
        if width == 0 {
            return;
        }
        let block = (BLOCK_VALUES / self.slots.len().max(1)).clamp(1, BLOCK);
        for (b, margins) in margins.chunks_mut(block * width).enumerate() {
            let rows = margins.len() / width;
            self.fill(batch, b * block, rows, &mut scratch.values);
            let block = Block { values: &scratch.values, stride: rows };
            if rows >= BATCH {
                self.add_rows::<S>(block, margins, width);
            } else {
                scratch.leaves.resize(self.roots.len(), 0);
                for (r, margins) in margins.chunks_mut(width).enumerate() {
                    self.add_row::<S>(block, r, margins, &mut scratch.leaves);
                }
            }
        }
    }

    fn fill(&self, batch: &Batch, first: usize, rows: usize, values: &mut Vec<f64>) {
        values.resize(self.slots.len() * rows, 0.0);
        for (slot, to) in self.slots.iter().zip(values.chunks_mut(rows)) {
            slot.fill(&batch.column(slot.column as usize)[first..first + rows], to);
        }
    }

    fn add_rows<S: Sum>(&self, block: Block<'_>, margins: &mut [f64], width: usize) {
        for (tree, &root) in self.roots.iter().enumerate() {
            let group = self.groups[tree] as usize;
            for first in (0..block.stride).step_by(LANES) {
                // A last group that is not full walks its last row several times.
                let rows: [usize; LANES] = std::array::from_fn(|i| (first + i).min(block.stride - 1));
                let mut at = [root; LANES];
                if self.categorical[tree] {
                    self.walk::<true>(&mut at, rows, block);
                } else {
                    self.walk::<false>(&mut at, rows, block);
                }
                for i in 0..LANES.min(block.stride - first) {
                    let margin = &mut margins[rows[i] * width + group];
                    *margin = S::add(*margin, self.leaf(at[i], block, rows[i]));
                }
            }
        }
    }

    fn add_row<S: Sum>(&self, block: Block<'_>, row: usize, margins: &mut [f64], leaves: &mut [u32]) {
        for trees in self.by_depth.chunks(LANES) {
            let last = trees[trees.len() - 1] as usize;
            let mut at = std::array::from_fn(|i| self.roots[trees.get(i).map_or(last, |&t| t as usize)]);
            // Sorted, so that the last one has categories if any has.
            if self.categorical[last] {
                self.walk::<true>(&mut at, [row; LANES], block);
            } else {
                self.walk::<false>(&mut at, [row; LANES], block);
            }
            for (&tree, at) in trees.iter().zip(at) {
                leaves[tree as usize] = at;
            }
        }
        for (&leaf, &group) in leaves.iter().zip(&self.groups) {
            let margin = &mut margins[group as usize];
            *margin = S::add(*margin, self.leaf(leaf, block, row));
        }
    }

    /// Walks each of `at` down to its leaf.
    #[inline(always)]
    fn walk<const CATEGORIES: bool>(&self, at: &mut [u32; LANES], rows: [usize; LANES], block: Block<'_>) {
        loop {
            let mut splits = 0;
            for i in 0..LANES {
                let node = self.nodes[at[i] as usize];
                splits |= node.meta;
                at[i] = self.step::<CATEGORIES>(node, block, rows[i]);
            }
            if splits & SPLIT == 0 {
                return;
            }
        }
    }

    /// The child that a row goes to; a leaf goes to itself.
    #[inline(always)]
    fn step<const CATEGORIES: bool>(&self, node: Node, block: Block<'_>, row: usize) -> u32 {
        let slot = (node.meta >> FLAG_BITS) as usize;
        // Without a slot there are only leaves, which lead to themselves whatever they see.
        let value = block.values.get(slot * block.stride + row).copied().unwrap_or(0.0);
        let missing_left = value.is_nan() & (node.meta & MISSING_LEFT != 0);
        let left = if CATEGORIES && node.meta & CATEGORY != 0 {
            let in_set = in_set(&self.sets, node.value.to_bits(), value);
            (!value.is_nan() & (in_set != (node.meta & IN_SET_RIGHT != 0))) | missing_left
        } else {
            (value <= node.value) | missing_left
        };
        node.child + (u32::from(!left) & node.meta & SPLIT)
    }

    /// What a leaf adds.
    #[inline(always)]
    fn leaf(&self, at: u32, block: Block<'_>, row: usize) -> f64 {
        let value = self.nodes[at as usize].value;
        match self.linear_of.get(at as usize).and_then(|&l| self.linear.get(l as usize)) {
            None => value,
            Some(linear) => {
                let mut sum = linear.constant;
                for &(slot, coefficient) in &linear.terms {
                    let v = block.values[slot as usize * block.stride + row];
                    if v.is_nan() {
                        return value;
                    }
                    sum += coefficient * v;
                }
                sum
            }
        }
    }
}
