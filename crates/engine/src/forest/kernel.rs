//! Which way rows are scored, and with which instructions.

use super::Forest;
use super::blocks::{self, Arena, Blocks, LEAVES_MAX, Leaves, arena_bytes};
use super::lanes::{FLIP, Index, Lane, Lanes};
use super::plan::{self, BROAD, FEW, MEDIUM, NARROW, WIDE, WIDEST};
use super::slots::Slot;
use super::steps::{ROWS, Ranks, Steps, Trees};
use super::supernodes::{self, Supernodes};
use super::walk::Sum;
use crate::Batch;
use crate::level::Level;

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
    spared: f64,
}

/// Buffers, for any forest.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    ranks: Ranks,
    few: Vec<Lane<ROWS>>,
    masks: Vec<u64>,
    narrow: Buffers<NARROW>,
    medium: Buffers<MEDIUM>,
    wide: Buffers<WIDE>,
    broad: Buffers<BROAD>,
    widest: Buffers<WIDEST>,
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
        let spared = if told { blocks.spared() } else { 0.0 };
        Self { lanes, steps, blocks, supernodes, level, told, spared }
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

    /// The values of a tree's leaves, from its last node on.
    pub(super) fn leaves_of(&self, tree: usize) -> &[f64] {
        self.blocks.leaves_of(tree)
    }

    /// How much of the walk down all trees blocks of rows are spared: the share of the trees that are evaluated whole.
    pub(super) fn spared(&self) -> f64 {
        self.spared
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
            let rows = match () {
                _ if !self.told => {
                    if left >= FEW {
                        left.min(ROWS)
                    } else {
                        1
                    }
                }
                _ if self.level == Level::Avx512 => plan::next_avx512(left),
                _ => plan::next(left),
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
            _ if !self.kernel.told => self.few::<S>(&mut bench.few, margins),
            rows if rows <= NARROW => self.block::<NARROW, { arena_bytes(NARROW) }, S>(&mut bench.narrow, margins),
            rows if rows <= MEDIUM => self.block::<MEDIUM, { arena_bytes(MEDIUM) }, S>(&mut bench.medium, margins),
            rows if rows <= WIDE => self.block::<WIDE, { arena_bytes(WIDE) }, S>(&mut bench.wide, margins),
            rows if rows <= BROAD => self.block::<BROAD, { arena_bytes(BROAD) }, S>(&mut bench.broad, margins),
            _ => self.block::<WIDEST, { arena_bytes(WIDEST) }, S>(&mut bench.widest, margins),
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
        buffers.arena.mirror(self.kernel.lanes.len());
        let sums = &mut buffers.sums;
        sums.clear();
        sums.resize(self.width, [0.0; W]);
        for (r, row) in margins.chunks_exact(self.width).enumerate() {
            for (sum, margin) in sums.iter_mut().zip(row) {
                sum[r] = *margin;
            }
        }
        self.kernel.blocks.run::<W, BYTES>(&mut buffers.arena, |lanes, leaves| match leaves {
            Leaves::Numbers(group, trees) => add_numbers::<W, S>(&mut sums[group], trees),
            Leaves::Walk(tree) => self.add_walked::<W, S>(sums, tree, lanes),
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
    fn add_walked<const W: usize, S: Sum>(&self, sums: &mut [[f64; W]], tree: usize, lanes: &[Lane<W>]) {
        let values = self.kernel.blocks.leaves_of(tree);
        let sums = &mut sums[self.forest.groups[tree] as usize];
        for first in (0..self.rows).step_by(ROWS) {
            self.kernel.steps.tree::<W, FLIP>(self.forest.roots[tree], lanes, first, |row, leaf| {
                let sum = &mut sums[first + row];
                *sum = S::add(*sum, values[leaf]);
            });
        }
    }
}

/// Adds a few trees' leaves to the rows' sums, in order.
#[inline(always)]
fn add_numbers<const W: usize, S: Sum>(sums: &mut [f64; W], trees: &[(&[f64; LEAVES_MAX], &[u8; W])]) {
    macro_rules! add {
        ($(($values:ident, $numbers:ident)),*) => {
            for i in 0..W {
                let mut sum = sums[i];
                $(sum = S::add(sum, $values[usize::from($numbers[i])]);)*
                sums[i] = sum;
            }
        };
    }
    match *trees {
        [(a, m)] => add!((a, m)),
        [(a, m), (b, n)] => add!((a, m), (b, n)),
        [(a, m), (b, n), (c, o)] => add!((a, m), (b, n), (c, o)),
        [(a, m), (b, n), (c, o), (d, p)] => add!((a, m), (b, n), (c, o), (d, p)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
