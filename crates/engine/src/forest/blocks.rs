//! Trees evaluated whole, for many rows at once, without a walk.
//!
//! A tree is a straight program: each split compares the bytes of its lane with its bound and takes, byte by byte, the
//! left or the right child's leaf numbers. What the root takes are the rows' leaf numbers. A tree's splits are taken apart
//! into paths: a split goes on with what its higher child gives, which is still in registers, and takes the other child's
//! leaf numbers, a row of one number for a leaf, from memory; only the end of a path is stored. Paths are cut into chains
//! of a few splits. A few small trees make one program, in which chains of one length follow each other, so that a
//! processor foresees where to go on and a chain seldom waits for the one before it.

mod draft;

use super::Forest;
use super::aligned::Aligned;
use super::lanes::{Index, Lane, Lanes};
use draft::Draft;

/// Leaves of a tree that is evaluated whole: a leaf's number is a byte. Also the leaves of the trees of one program.
pub(super) const LEAVES_MAX: usize = 256;
/// Rows of one number each, for the leaves.
const NUMBERS: usize = LEAVES_MAX;
/// Trees whose leaves are added to the sums in one pass.
const TOGETHER: usize = 4;
/// Numbers and slots. As many results wait as there are pairs of leaves, at most. The lanes' rows follow.
const ROWS: usize = 512;
/// The width of rows for which operations say where they begin, in bytes; others are a multiple.
const UNIT: usize = 16;
/// Lanes whose rows, and their opposites' rows, begin within what two bytes can say.
pub(super) const LANES_MAX: usize = ((1 << 16) / UNIT - ROWS) / 2;

/// Bytes of an arena of rows of `width`, so that what two bytes can say is within.
pub(super) const fn arena_bytes(width: usize) -> usize {
    u16::MAX as usize * (width / UNIT) + width
}

/// Splits on a path up a tree, evaluated one after another: rows whose lane is below a split's bound keep what comes from
/// below, the others take what its other child gives.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Chain<const K: usize> {
    /// What comes from below, and where the result goes.
    ends: Pair,
    /// The splits' lanes, and what their other children give.
    splits: [Pair; K],
    bounds: [i8; K],
}

/// Where two rows begin, in bytes, were they rows of [`UNIT`]. One number, as it is loads that take the time.
#[derive(Clone, Copy, Debug)]
struct Pair(u32);

impl Pair {
    fn new(first: u16, second: u16) -> Self {
        Self(u32::from(first) | u32::from(second) << 16)
    }

    #[inline(always)]
    fn first(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    fn second(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// A program for some trees that follow each other.
#[derive(Clone, Copy, Debug)]
struct Program {
    /// Where its runs and its passes end; they begin where those of the program before end.
    runs_end: u32,
    passes_end: u32,
}

/// Chains of one length that are evaluated one after another.
#[derive(Clone, Copy, Debug)]
struct Run {
    length: u16,
    count: u16,
}

/// Trees of a program that add to the same margin, in order.
#[derive(Clone, Copy, Debug)]
struct Pass {
    group: u32,
    /// How many there are. None: its first tree is too large to be evaluated here.
    count: u32,
    trees: [u32; TOGETHER],
    /// Where the rows of their leaf numbers begin, in bytes, were rows of [`UNIT`].
    rows: [u16; TOGETHER],
}

/// The programs of all trees.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    programs: Vec<Program>,
    runs: Vec<Run>,
    ones: Vec<Chain<1>>,
    twos: Vec<Chain<2>>,
    threes: Vec<Chain<3>>,
    fours: Vec<Chain<4>>,
    passes: Vec<Pass>,
    /// All trees' leaves, numbered from a tree's last node on, then so many zeros that there are [`LEAVES_MAX`] from any
    /// tree's first one on. And where each tree's begin and end.
    leaves: Vec<f64>,
    firsts: Vec<u32>,
}

/// Rows of `W` bytes: leaf numbers, constants and results on their way, then the lanes, then their opposites, in which
/// the order of bytes is turned round.
#[derive(Debug, Default)]
pub(super) struct Arena<const W: usize> {
    bytes: Aligned,
    made: bool,
}

/// What trees give for `W` rows.
pub(super) enum Leaves<'a, const W: usize> {
    /// To be added to this margin, tree by tree: the values of leaves, and which of them each row gets.
    Numbers(usize, &'a [(&'a [f64; LEAVES_MAX], &'a [u8; W])]),
    /// This tree was not evaluated: it is to be walked.
    Walk(usize),
}

impl<const W: usize> Arena<W> {
    fn bytes(&mut self) -> &mut [u8] {
        let bytes = self.bytes.bytes(arena_bytes(W));
        if !self.made {
            for (number, row) in bytes.chunks_exact_mut(W).take(NUMBERS).enumerate() {
                row.fill(number as u8);
            }
            self.made = true;
        }
        bytes
    }

    /// The rows of the lanes.
    pub(super) fn lanes(&mut self) -> &mut [Lane<W>] {
        self.bytes()[ROWS * W..].as_chunks_mut().0
    }

    /// Writes the opposites of the lanes, of which there are `count`, after them.
    pub(super) fn mirror(&mut self, count: usize) {
        let (lanes, opposites) = self.lanes().split_at_mut(count);
        for (lane, opposite) in lanes.iter().zip(opposites) {
            *opposite = lane.map(|byte| !byte);
        }
    }
}

impl Blocks {
    /// Where `told` is false no tree is evaluated whole: the values of leaves are all there is.
    pub(super) fn new(forest: &Forest, lanes: &Lanes, index: &Index, told: bool) -> Self {
        let mut blocks = Self::default();
        let leaves_of = |tree: usize| if told { forest.nodes_of(tree).len().div_ceil(2) } else { usize::MAX };
        let mut tree = 0;
        while tree < forest.roots.len() {
            let (mut program, first) = (Draft::default(), tree);
            let mut leaves = leaves_of(tree);
            if leaves > LEAVES_MAX {
                blocks.add_leaves(forest, tree);
                blocks.passes.push(Pass::of(0, tree));
                tree += 1;
            }
            while leaves <= LEAVES_MAX {
                program.tree(forest, tree);
                blocks.add_leaves(forest, tree);
                tree += 1;
                leaves += if tree < forest.roots.len() { leaves_of(tree) } else { LEAVES_MAX };
            }
            program.emit(&mut blocks, forest, lanes, index, first);
            let (runs_end, passes_end) = (blocks.runs.len() as u32, blocks.passes.len() as u32);
            blocks.programs.push(Program { runs_end, passes_end });
        }
        blocks.runs.shrink_to_fit();
        blocks.ones.shrink_to_fit();
        blocks.twos.shrink_to_fit();
        blocks.threes.shrink_to_fit();
        blocks.fours.shrink_to_fit();
        blocks.firsts.push(blocks.leaves.len() as u32);
        blocks.leaves.resize(blocks.leaves.len() + LEAVES_MAX, 0.0);
        blocks.leaves.shrink_to_fit();
        blocks.passes.shrink_to_fit();
        blocks
    }

    fn add_leaves(&mut self, forest: &Forest, tree: usize) {
        self.firsts.push(self.leaves.len() as u32);
        self.leaves.extend(forest.leaves_of(tree).map(|leaf| forest.nodes[leaf].value));
    }

    /// Where the values of a tree's leaves begin.
    pub(super) fn leaves_at(&self, tree: usize) -> u32 {
        self.firsts[tree]
    }

    /// For each tree where the values of its leaves begin, and where the last one's end.
    pub(super) fn firsts(&self) -> &[u32] {
        &self.firsts
    }

    /// The values of a tree's leaves by number.
    pub(super) fn leaves_of(&self, tree: usize) -> &[f64] {
        &self.leaves[self.firsts[tree] as usize..self.firsts[tree + 1] as usize]
    }

    /// The share of the trees that are evaluated whole, each counted by its depth, were it balanced.
    pub(super) fn spared(&self) -> f64 {
        let depths =
            self.firsts.windows(2).map(|ends| ends[1] - ends[0]).map(|leaves| (leaves, f64::from(leaves).log2()));
        let (mut whole, mut all) = (0.0, 0.0);
        for (leaves, depth) in depths {
            all += depth;
            whole += if leaves as usize <= LEAVES_MAX { depth } else { 0.0 };
        }
        if all > 0.0 { whole / all } else { 1.0 }
    }

    /// The values of all trees' leaves.
    pub(super) fn leaves(&self) -> &[f64] {
        &self.leaves
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.runs.as_slice())
            + size_of_val(self.ones.as_slice())
            + size_of_val(self.twos.as_slice())
            + size_of_val(self.threes.as_slice())
            + size_of_val(self.fours.as_slice())
            + self.leaves.len() * size_of::<f64>()
            + self.programs.len() * size_of::<Program>()
            + size_of_val(self.passes.as_slice())
            + size_of_val(self.firsts.as_slice())
    }

    /// Evaluates the trees and calls `add` with their leaves, each margin's in order. The arena's lanes are filled
    /// and mirrored; `BYTES` is [`arena_bytes`] of `W`.
    #[inline(always)]
    pub(super) fn run<const W: usize, const BYTES: usize>(
        &self,
        arena: &mut Arena<W>,
        mut add: impl FnMut(&[Lane<W>], Leaves<'_, W>),
    ) {
        const { assert!(BYTES == arena_bytes(W)) }
        let Ok(bytes) = <&mut [u8; BYTES]>::try_from(arena.bytes()) else { return };
        let (mut run, mut pass) = (0, 0);
        let (mut ones, mut twos) = (self.ones.as_slice(), self.twos.as_slice());
        let (mut threes, mut fours) = (self.threes.as_slice(), self.fours.as_slice());
        for program in &self.programs {
            let runs = &self.runs[run..program.runs_end as usize];
            run = program.runs_end as usize;
            for run in runs {
                let count = usize::from(run.count);
                match run.length {
                    1 => evaluate::<1, W, BYTES>(bytes, &mut ones, count),
                    2 => evaluate::<2, W, BYTES>(bytes, &mut twos, count),
                    3 => evaluate::<3, W, BYTES>(bytes, &mut threes, count),
                    _ => evaluate::<4, W, BYTES>(bytes, &mut fours, count),
                }
            }
            let passes = &self.passes[pass..program.passes_end as usize];
            pass = program.passes_end as usize;
            let lanes = bytes[ROWS * W..].as_chunks().0;
            for pass in passes {
                let trees: [_; TOGETHER] = std::array::from_fn(|n| {
                    let values = self.leaves[self.firsts[pass.trees[n] as usize] as usize..].first_chunk();
                    (values.unwrap_or(&[0.0; LEAVES_MAX]), row::<W, BYTES>(bytes, pass.rows[n]))
                });
                add(
                    lanes,
                    match pass.count as usize {
                        0 => Leaves::Walk(pass.trees[0] as usize),
                        count => Leaves::Numbers(pass.group as usize, &trees[..count.min(TOGETHER)]),
                    },
                );
            }
        }
    }
}

/// Evaluates the first `count` chains and takes them off the list.
#[inline(always)]
fn evaluate<const K: usize, const W: usize, const BYTES: usize>(
    bytes: &mut [u8; BYTES],
    chains: &mut &[Chain<K>],
    count: usize,
) {
    let Some((these, rest)) = chains.split_at_checked(count) else { return };
    *chains = rest;
    for chain in these {
        let start = row::<W, BYTES>(bytes, chain.ends.first());
        // The last one again where there are fewer.
        let split = |k: usize| {
            let (pair, bound) = (chain.splits[k.min(K - 1)], chain.bounds[k.min(K - 1)]);
            (row::<W, BYTES>(bytes, pair.first()), row::<W, BYTES>(bytes, pair.second()), bound)
        };
        let (a, b, c, d) = (split(0), split(1), split(2), split(3));
        let mut out = [0; W];
        // All of a byte's splits in one expression, without a loop: only then the compiler keeps it in a register.
        for i in 0..W {
            let mut byte = choose(start[i], a.1[i], a.0[i], a.2);
            if K > 1 {
                byte = choose(byte, b.1[i], b.0[i], b.2);
            }
            if K > 2 {
                byte = choose(byte, c.1[i], c.0[i], c.2);
            }
            if K > 3 {
                byte = choose(byte, d.1[i], d.0[i], d.2);
            }
            out[i] = byte;
        }
        let to = usize::from(chain.ends.second()) * (W / UNIT);
        bytes[to..to + W].copy_from_slice(&out);
    }
}

/// What a row has after a split.
#[inline(always)]
fn choose(kept: u8, other: u8, lane: u8, bound: i8) -> u8 {
    // By arithmetic, as the compiler makes a choice between two loads of what is written as a choice.
    let mask = (i8::from(bound > lane as i8)).wrapping_neg() as u8;
    other ^ ((other ^ kept) & mask)
}

/// The row at a place of an operation, which is within the arena, as the compiler sees.
#[inline(always)]
fn row<const W: usize, const BYTES: usize>(bytes: &[u8; BYTES], place: u16) -> &[u8; W] {
    let at = usize::from(place) * (W / UNIT);
    match bytes[at..at + W].first_chunk() {
        Some(row) => row,
        None => unreachable!("{W} bytes were taken"),
    }
}
