//! Trees evaluated whole, for many rows at once, without a walk.
//!
//! A tree is a straight program: each split compares the bytes of its lane with its place and takes, byte by byte, the
//! left or the right child's leaf numbers. Its children are leaves (a row of one number) or results of earlier operations,
//! kept in slots. What the root takes are the rows' leaf numbers. A few small trees make one program, sorted by the
//! splits' heights, so that an operation seldom waits for the one before it.

use super::aligned::Aligned;
use super::lanes::{Index, Lane, Lanes, Test};
use super::{Forest, SPLIT};

/// Leaves of a tree that is evaluated whole: a leaf's number is a byte. Also the leaves of the trees of one program.
pub(super) const LEAVES_MAX: usize = 256;
/// Rows of one number each, for the leaves.
const NUMBERS: usize = LEAVES_MAX;
/// Numbers and slots. As many results wait as there are pairs of leaves, at most. The lanes' rows follow.
const ROWS: usize = 512;
/// The width of rows for which operations say where they begin, in bytes; others are a multiple.
const UNIT: usize = 16;
/// Lanes whose rows begin within what two bytes can say.
pub(super) const LANES_MAX: usize = (1 << 16) / UNIT - ROWS;

/// Bytes of an arena of rows of `width`, so that what two bytes can say is within.
pub(super) const fn arena_bytes(width: usize) -> usize {
    u16::MAX as usize * (width / UNIT) + width
}

/// A split: `out = if lane > place { right } else { left }`, by byte.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Op {
    /// Where these rows begin, in bytes, were rows of [`UNIT`].
    lane: u16,
    left: u16,
    right: u16,
    /// The slot.
    out: u8,
    place: i8,
}

/// A program for some trees that follow each other.
#[derive(Clone, Copy, Debug)]
struct Program {
    /// Where its operations and its trees end; they begin where those of the program before end.
    ops_end: u32,
    trees_end: u32,
}

/// Where a tree's result is.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Where the row of its leaf numbers begins, in bytes, were rows of [`UNIT`].
    row: u16,
    leaf_bits: u8,
    /// Whether it is evaluated here; otherwise it is too large.
    whole: bool,
}

/// The programs of all trees.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    programs: Vec<Program>,
    ops: Vec<Op>,
    /// For each tree.
    outcomes: Vec<Outcome>,
    /// All trees' leaves, numbered from a tree's last node on, and where each tree's begin: `1 << leaf_bits` of them.
    leaves: Vec<f64>,
    firsts: Vec<u32>,
}

/// Rows of `W` bytes: leaf numbers, constants and results on their way, then the lanes.
#[derive(Debug, Default)]
pub(super) struct Arena<const W: usize> {
    bytes: Aligned,
    made: bool,
}

/// What a tree gives for `W` rows.
pub(super) enum Leaves<'a, const W: usize> {
    /// The values of these leaves (a power of two of them), by number.
    Numbers(&'a [f64], &'a [u8; W]),
    /// It was not evaluated: it is to be walked. Its leaves' values by number.
    Walk(&'a [f64]),
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
                blocks.add_leaves(forest, tree, false);
                tree += 1;
            }
            while leaves <= LEAVES_MAX {
                program.tree(forest, tree);
                blocks.add_leaves(forest, tree, true);
                tree += 1;
                leaves += if tree < forest.roots.len() { leaves_of(tree) } else { LEAVES_MAX };
            }
            program.emit(&mut blocks, forest, lanes, index, first);
            blocks.programs.push(Program { ops_end: blocks.ops.len() as u32, trees_end: tree as u32 });
        }
        blocks.ops.shrink_to_fit();
        blocks.leaves.shrink_to_fit();
        blocks
    }

    fn add_leaves(&mut self, forest: &Forest, tree: usize, whole: bool) {
        let first = self.leaves.len();
        self.leaves.extend(forest.leaves_of(tree).map(|leaf| forest.nodes[leaf].value));
        let leaf_bits = (self.leaves.len() - first).next_power_of_two().trailing_zeros().max(1);
        self.leaves.resize(first + (1 << leaf_bits), 0.0);
        // The row of a single leaf's number, 0, is row 0; that of others is known once the program is made.
        self.firsts.push(first as u32);
        self.outcomes.push(Outcome { row: 0, leaf_bits: leaf_bits as u8, whole });
    }

    /// Where the values of a tree's leaves begin.
    pub(super) fn leaves_at(&self, tree: usize) -> u32 {
        self.firsts[tree]
    }

    /// For each tree where the values of its leaves begin.
    pub(super) fn firsts(&self) -> &[u32] {
        &self.firsts
    }

    /// The values of a tree's leaves by number; beyond them zeros.
    pub(super) fn leaves_of(&self, tree: usize) -> &[f64] {
        &self.leaves[self.firsts[tree] as usize..][..1 << self.outcomes[tree].leaf_bits]
    }

    /// The values of all trees' leaves.
    pub(super) fn leaves(&self) -> &[f64] {
        &self.leaves
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ops.len() * size_of::<Op>()
            + self.leaves.len() * size_of::<f64>()
            + self.programs.len() * size_of::<Program>()
            + self.outcomes.len() * (size_of::<Outcome>() + size_of::<u32>())
    }

    /// Evaluates the trees and calls `add` with each one's number and leaves, in order. The arena's lanes are filled;
    /// `BYTES` is [`arena_bytes`] of `W`.
    #[inline(always)]
    pub(super) fn run<const W: usize, const BYTES: usize>(
        &self,
        arena: &mut Arena<W>,
        mut add: impl FnMut(usize, &[Lane<W>], Leaves<'_, W>),
    ) {
        const { assert!(BYTES == arena_bytes(W)) }
        let Ok(bytes) = <&mut [u8; BYTES]>::try_from(arena.bytes()) else { return };
        let (mut start, mut tree) = (0, 0);
        for program in &self.programs {
            let end = program.ops_end as usize;
            for op in &self.ops[start..end] {
                let (lane, left, right) = (
                    row::<W, BYTES>(bytes, op.lane),
                    row::<W, BYTES>(bytes, op.left),
                    row::<W, BYTES>(bytes, op.right),
                );
                let mut out = [0; W];
                for i in 0..W {
                    // By arithmetic, as the compiler makes a choice between two loads of what is written as a choice.
                    let mask = (i8::from(lane[i] as i8 > op.place)).wrapping_neg() as u8;
                    out[i] = left[i] ^ ((left[i] ^ right[i]) & mask);
                }
                let to = (NUMBERS + usize::from(op.out)) * W;
                bytes[to..to + W].copy_from_slice(&out);
            }
            start = end;
            let outcomes = &self.outcomes[tree..program.trees_end as usize];
            let lanes = bytes[ROWS * W..].as_chunks().0;
            for outcome in outcomes {
                let values = &self.leaves[self.firsts[tree] as usize..][..1 << outcome.leaf_bits];
                let leaves = match outcome.whole {
                    true => Leaves::Numbers(values, row::<W, BYTES>(bytes, outcome.row)),
                    false => Leaves::Walk(values),
                };
                add(tree, lanes, leaves);
                tree += 1;
            }
        }
    }
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

/// Trees on their way into a program.
#[derive(Default)]
struct Draft {
    /// Height, node, and where its children's results are: a row, or a place in this list.
    splits: Vec<Split>,
    /// For each tree its root's split; none for a single leaf.
    roots: Vec<Option<usize>>,
}

struct Split {
    height: u32,
    node: usize,
    children: [From; 2],
}

#[derive(Clone, Copy)]
enum From {
    Leaf(u16),
    Split(usize),
}

impl Draft {
    /// Takes in a tree's splits, bottom up.
    fn tree(&mut self, forest: &Forest, tree: usize) {
        let range = forest.nodes_of(tree);
        let (root, nodes) = (range.start, &forest.nodes[range]);
        let mut leaves = 0;
        // Level by level: children come after their parents.
        let mut made: Vec<(u32, From)> = vec![(0, From::Leaf(0)); nodes.len()];
        for (at, node) in nodes.iter().enumerate().rev() {
            made[at] = if node.meta & SPLIT == 0 {
                leaves += 1;
                (0, From::Leaf(leaves - 1))
            } else {
                let child = node.child as usize - root;
                let height = 1 + made[child].0.max(made[child + 1].0);
                let children = [made[child].1, made[child + 1].1];
                self.splits.push(Split { height, node: root + at, children });
                (height, From::Split(self.splits.len() - 1))
            };
        }
        self.roots.push(if let From::Split(at) = made[0].1 { Some(at) } else { None });
    }

    /// Writes the program.
    fn emit(self, blocks: &mut Blocks, forest: &Forest, lanes: &Lanes, index: &Index, first_tree: usize) {
        let mut order: Vec<usize> = (0..self.splits.len()).collect();
        order.sort_by_key(|&at| self.splits[at].height);
        let mut rows = vec![0; self.splits.len()];
        let mut free: Vec<u16> = (NUMBERS as u16..ROWS as u16).rev().collect();
        for at in order {
            let split = &self.splits[at];
            let row = |from: From| match from {
                From::Leaf(number) => number,
                From::Split(at) => rows[at],
            };
            let (left, right) = (row(split.children[0]), row(split.children[1]));
            free.extend([left, right].into_iter().filter(|r| usize::from(*r) >= NUMBERS));
            // There are as many slots as leaves, and fewer results than these wait.
            let Some(out) = free.pop() else { unreachable!("a program has more results than leaves") };
            rows[at] = out;
            let Test { lane, place } = lanes.test(index, &forest.nodes[split.node]);
            let unit = |row: usize| (row * UNIT) as u16;
            blocks.ops.push(Op {
                lane: unit(ROWS + lane as usize),
                left: unit(left.into()),
                right: unit(right.into()),
                out: (usize::from(out) - NUMBERS) as u8,
                place,
            });
        }
        for (nth, root) in self.roots.iter().enumerate() {
            if let Some(root) = root {
                blocks.outcomes[first_tree + nth].row = rows[*root] * UNIT as u16;
            }
        }
    }
}
