//! Which way rows are scored, and with which instructions.

use super::Forest;
use super::blocks::{self, Arena, Blocks, Leaves, arena_bytes};
use super::lanes::{FLIP, Index, Lane, Lanes};
use super::slots::Slot;
use super::steps::{ROWS, Ranks, Steps, Trees};
use super::supernodes::{self, Supernodes};
use super::walk::Sum;
use crate::Batch;
use crate::level::Level;

/// Rows of a block.
const WIDE: usize = 64;
const MEDIUM: usize = 32;
const NARROW: usize = 16;
/// From so many rows on they are walked side by side.
const FEW: usize = 7;

/// What a forest becomes to be scored fast.
#[derive(Debug)]
pub(super) struct Kernel {
    lanes: Lanes,
    steps: Steps,
    blocks: Blocks,
    supernodes: Option<Supernodes>,
    level: Level,
    /// Whether blocks of rows can be evaluated.
    told: bool,
}

/// Buffers, for any forest.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    ranks: Ranks,
    few: Vec<Lane<ROWS>>,
    masks: Vec<u64>,
    wide: Buffers<WIDE>,
    medium: Buffers<MEDIUM>,
    narrow: Buffers<NARROW>,
}

/// The buffers of blocks of `W` rows.
#[derive(Debug)]
struct Buffers<const W: usize> {
    arena: Arena<W>,
    sums: Vec<[f64; W]>,
}

impl<const W: usize> Default for Buffers<W> {
    fn default() -> Self {
        Self { arena: Arena::default(), sums: Vec::new() }
    }
}

impl Kernel {
    /// For a forest without leaves that are linear models. `room_bytes` is what it may take: what only makes it faster is
    /// left out where there is none.
    pub(super) fn new(forest: &Forest, (lanes, index): (Lanes, Index), level: Level, room_bytes: usize) -> Self {
        let level = level.min(Level::best());
        let steps = Steps::new(forest, &lanes, &index);
        // Where there are more lanes than operations can tell, all trees are walked, row by row.
        let told = lanes.len() <= blocks::LANES_MAX;
        let blocks = Blocks::new(forest, &lanes, &index, told);
        let taken = lanes.memory_bytes() + steps.memory_bytes() + blocks.memory_bytes();
        let room_bytes = room_bytes.saturating_sub(taken);
        let supernodes = (level == Level::Avx512)
            .then(|| Supernodes::new(forest, &lanes, &index, room_bytes, |tree| blocks.leaves_at(tree)))
            .flatten();
        Self { lanes, steps, blocks, supernodes, level, told }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.lanes.memory_bytes()
            + self.steps.memory_bytes()
            + self.blocks.memory_bytes()
            + self.supernodes.as_ref().map_or(0, Supernodes::memory_bytes)
    }

    /// Where ranks are found.
    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The values of a tree's leaves, from its last node on; beyond them zeros.
    pub(super) fn leaves_of(&self, tree: usize) -> &[f64] {
        self.blocks.leaves_of(tree)
    }

    /// Whether blocks of rows are evaluated together.
    pub(super) fn has_blocks(&self) -> bool {
        self.told
    }

    /// Adds the trees' leaves to `margins`, rows of `width`.
    pub(super) fn add<S: Sum>(
        &self,
        forest: &Forest,
        batch: &Batch,
        bench: &mut Bench,
        margins: &mut [f64],
        width: usize,
    ) {
        let mut first = 0;
        while first < batch.rows() {
            let left = batch.rows() - first;
            let rows = match left {
                _ if left > NARROW && self.told => left.min(WIDE),
                _ if left > ROWS && self.told => left,
                _ if left >= FEW => left.min(ROWS),
                _ => 1,
            };
            let job = Job { kernel: self, forest, batch, first, rows, width };
            job.run::<S>(bench, &mut margins[first * width..(first + rows) * width]);
            first += rows;
        }
    }
}

/// Some rows of a batch: one, or a block.
#[derive(Clone, Copy)]
struct Job<'a> {
    kernel: &'a Kernel,
    forest: &'a Forest,
    batch: &'a Batch,
    first: usize,
    rows: usize,
    width: usize,
}

impl Job<'_> {
    fn run<S: Sum>(&self, bench: &mut Bench, margins: &mut [f64]) {
        match self.kernel.level {
            // SAFETY: `Kernel::new` sees to it that the level is one that this processor has.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.run_avx512::<S>(bench, margins) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.run_avx2::<S>(bench, margins) },
            _ => self.any::<S>(bench, margins),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn run_avx2<S: Sum>(&self, bench: &mut Bench, margins: &mut [f64]) {
        self.any::<S>(bench, margins);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn run_avx512<S: Sum>(&self, bench: &mut Bench, margins: &mut [f64]) {
        match &self.kernel.supernodes {
            Some(supernodes) if self.rows == 1 => {
                let ranks = self.rank_one(&mut bench.ranks);
                bench.masks.clear();
                supernodes.decide_avx512(&supernodes::Ranks::flipped(ranks), &mut bench.masks);
                let leaves = self.kernel.blocks.leaves();
                supernodes.resolve(&bench.masks, leaves, |tree, leaf| self.add::<S>(margins, tree, leaf));
            }
            _ => self.any::<S>(bench, margins),
        }
    }

    #[inline(always)]
    fn any<S: Sum>(&self, bench: &mut Bench, margins: &mut [f64]) {
        match self.rows {
            1 => self.one::<S>(&mut bench.ranks, margins),
            rows if rows <= ROWS => self.few::<S>(&mut bench.few, margins),
            rows if rows <= NARROW => self.block::<NARROW, { arena_bytes(NARROW) }, S>(&mut bench.narrow, margins),
            rows if rows <= MEDIUM => self.block::<MEDIUM, { arena_bytes(MEDIUM) }, S>(&mut bench.medium, margins),
            _ => self.block::<WIDE, { arena_bytes(WIDE) }, S>(&mut bench.wide, margins),
        }
    }

    #[inline(always)]
    fn rank_one<'r>(&self, ranks: &'r mut Ranks) -> &'r [u8] {
        let ranks = ranks.of(self.kernel.lanes.len());
        self.kernel.lanes.rank_one(&self.forest.sets, self.batch, self.first, ranks);
        ranks
    }

    #[inline(always)]
    fn add<S: Sum>(&self, margins: &mut [f64], tree: usize, leaf: f64) {
        let margin = &mut margins[self.forest.groups[tree] as usize];
        *margin = S::add(*margin, leaf);
    }

    #[inline(always)]
    fn one<S: Sum>(&self, ranks: &mut Ranks, margins: &mut [f64]) {
        let ranks = self.rank_one(ranks);
        let (forest, blocks) = (self.forest, &self.kernel.blocks);
        let (firsts, leaves) = (blocks.firsts(), blocks.leaves());
        let trees = Trees { roots: &forest.roots, groups: &forest.groups, firsts, leaves };
        self.kernel.steps.row::<S>(&trees, ranks, margins);
    }

    #[inline(always)]
    fn block<const W: usize, const BYTES: usize, S: Sum>(&self, buffers: &mut Buffers<W>, margins: &mut [f64]) {
        let lanes = buffers.arena.lanes();
        self.kernel.lanes.rank(&self.forest.sets, self.column(), FLIP, lanes);
        let sums = &mut buffers.sums;
        sums.clear();
        sums.resize(self.width, [0.0; W]);
        for (r, row) in margins.chunks_exact(self.width).enumerate() {
            for (sum, margin) in sums.iter_mut().zip(row) {
                sum[r] = *margin;
            }
        }
        self.kernel.blocks.run::<W, BYTES>(&mut buffers.arena, |tree, lanes, leaves| {
            let sums = &mut sums[self.forest.groups[tree] as usize];
            match leaves {
                Leaves::Numbers(values, numbers) => add_numbers::<W, S>(sums, values, numbers),
                Leaves::Walk(values) => self.add_walked::<W, S>(sums, values, tree, lanes),
            }
        });
        for (r, row) in margins.chunks_exact_mut(self.width).enumerate() {
            for (sum, margin) in sums.iter().zip(row) {
                *margin = sum[r];
            }
        }
    }

    /// A few rows, walked side by side: a tree is read once for all of them.
    #[inline(always)]
    fn few<S: Sum>(&self, ranks: &mut Vec<Lane<ROWS>>, margins: &mut [f64]) {
        let lanes = self.kernel.lanes.len();
        ranks.resize(ranks.len().max(lanes).max(1 << u8::BITS), [0; ROWS]);
        self.kernel.lanes.rank(&self.forest.sets, self.column(), 0, ranks);
        let (width, rows) = (self.width, self.rows);
        for (tree, &root) in self.forest.roots.iter().enumerate() {
            let group = self.forest.groups[tree] as usize;
            let leaves = self.kernel.blocks.leaves_of(tree);
            self.kernel.steps.tree::<ROWS, 0>(root, ranks, 0, |row, leaf| {
                if row < rows {
                    let margin = &mut margins[row * width + group];
                    *margin = S::add(*margin, leaves[leaf]);
                }
            });
        }
    }

    #[inline(always)]
    fn column<const W: usize>(&self) -> impl Fn(Slot, &mut [f64; W]) {
        move |slot, to| {
            let from = &self.batch.column(slot.column as usize)[self.first..self.first + self.rows];
            slot.fill(from, &mut to[..self.rows]);
        }
    }

    #[inline(always)]
    fn add_walked<const W: usize, S: Sum>(&self, sums: &mut [f64; W], values: &[f64], tree: usize, lanes: &[Lane<W>]) {
        for first in (0..self.rows).step_by(ROWS) {
            self.kernel.steps.tree::<W, FLIP>(self.forest.roots[tree], lanes, first, |row, leaf| {
                let sum = &mut sums[first + row];
                *sum = S::add(*sum, values[leaf]);
            });
        }
    }
}

#[inline(always)]
fn add_numbers<const W: usize, S: Sum>(sums: &mut [f64; W], values: &[f64], numbers: &[u8; W]) {
    macro_rules! sized {
        ($($n:literal),*) => {
            match values.len() {
                $($n => if let Ok(values) = <&[f64; $n]>::try_from(values) {
                    for (sum, number) in sums.iter_mut().zip(numbers) {
                        // The mask changes nothing but tells the compiler that the leaf is there.
                        *sum = S::add(*sum, values[usize::from(*number) & ($n - 1)]);
                    }
                },)*
                _ => {}
            }
        };
    }
    sized!(2, 4, 8, 16, 32, 64, 128, 256);
}

#[cfg(test)]
mod tests;
