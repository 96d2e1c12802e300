//! From trees to programs.

use std::collections::VecDeque;

use super::{Blocks, Chain, NUMBERS, Pair, Pass, ROWS, Run, TOGETHER, UNIT};
use crate::forest::lanes::{Index, Lanes, Test};
use crate::forest::{Forest, Node, SPLIT};

/// Splits of a chain.
const LONGEST: usize = 4;

/// Trees on their way into a program.
#[derive(Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
    /// For each tree its root's piece; none for a single leaf.
    roots: Vec<Option<usize>>,
}

/// A chain on its way.
struct Piece {
    start: From,
    splits: Vec<Split>,
    /// How many pieces it waits for, and which one waits for it.
    waits: usize,
    parent: Option<usize>,
}

#[derive(Clone, Copy)]
struct Split {
    node: usize,
    other: From,
    /// Whether the other child is the left one.
    left: bool,
}

#[derive(Clone, Copy)]
enum From {
    /// A leaf, by number.
    Leaf(u16),
    Piece(usize),
}

/// Splits from a leaf up, by their place in the tree: each one, its other child and whether that is the left one.
struct Path {
    leaf: usize,
    splits: Vec<(usize, usize, bool)>,
}

/// A tree's paths, those before which they wait first; and for each node its leaf's number, or none.
fn paths(nodes: &[Node], root: usize) -> (Vec<Path>, Vec<Option<u16>>) {
    let (mut heights, mut numbers, mut leaves) = (vec![0u32; nodes.len()], vec![None; nodes.len()], 0);
    // Level by level: children come after their parents.
    for (at, node) in nodes.iter().enumerate().rev() {
        if node.meta & SPLIT == 0 {
            numbers[at] = Some(leaves);
            leaves += 1;
        } else {
            let child = node.child as usize - root;
            heights[at] = 1 + heights[child].max(heights[child + 1]);
        }
    }
    let (mut tops, mut paths) = (vec![0], Vec::new());
    while let Some(mut at) = tops.pop() {
        let mut splits = Vec::new();
        while heights[at] > 0 {
            let child = nodes[at].child as usize - root;
            let left = heights[child + 1] > heights[child];
            let other = child + usize::from(!left);
            splits.push((at, other, left));
            if heights[other] > 0 {
                tops.push(other);
            }
            at = child + usize::from(left);
        }
        splits.reverse();
        paths.push(Path { leaf: at, splits });
    }
    paths.reverse();
    (paths, numbers)
}

impl Draft {
    /// Takes in a tree.
    pub(super) fn tree(&mut self, forest: &Forest, tree: usize) {
        let range = forest.nodes_of(tree);
        let root = range.start;
        let (paths, numbers) = paths(&forest.nodes[range], root);
        // The pieces that give what splits give, of those at the top of a path.
        let mut made = vec![None; numbers.len()];
        let from = |made: &[Option<usize>], at: usize| match (numbers[at], made[at]) {
            (None, Some(piece)) => From::Piece(piece),
            (number, _) => From::Leaf(number.unwrap_or(0)),
        };
        for path in paths {
            let mut start = from(&made, path.leaf);
            for part in path.splits.chunks(LONGEST) {
                let split = |&(at, other, left): &_| Split { node: root + at, other: from(&made, other), left };
                start = From::Piece(self.piece(start, part.iter().map(split).collect()));
            }
            if let (From::Piece(piece), Some((top, ..))) = (start, path.splits.last()) {
                made[*top] = Some(piece);
            }
        }
        self.roots.push(made[0]);
    }

    fn piece(&mut self, start: From, splits: Vec<Split>) -> usize {
        let (this, mut waits) = (self.pieces.len(), 0);
        for from in splits.iter().map(|split| split.other).chain([start]) {
            if let From::Piece(below) = from {
                self.pieces[below].parent = Some(this);
                waits += 1;
            }
        }
        self.pieces.push(Piece { start, splits, waits, parent: None });
        this
    }

    /// Writes the program.
    pub(super) fn emit(
        mut self,
        blocks: &mut Blocks,
        forest: &Forest,
        lanes: &Lanes,
        index: &Index,
        first_tree: usize,
    ) {
        let mut rows = vec![0; self.pieces.len()];
        let mut free: Vec<u16> = (NUMBERS as u16..ROWS as u16).rev().collect();
        let mut ready: [VecDeque<usize>; LONGEST] = Default::default();
        for (at, piece) in self.pieces.iter().enumerate().filter(|(_, piece)| piece.waits == 0) {
            ready[piece.splits.len() - 1].push_back(at);
        }
        // As long a run as there is, again and again.
        while let Some(length) = (0..LONGEST).filter(|l| !ready[*l].is_empty()).max_by_key(|l| ready[*l].len()) {
            let mut count = 0;
            while let Some(at) = ready[length].pop_front() {
                self.write(blocks, at, &mut rows, &mut free, |split| {
                    let test = lanes.test(index, &forest.nodes[split.node]);
                    bound(test, split.left, lanes.len())
                });
                count += 1;
                let Some(parent) = self.pieces[at].parent else { continue };
                self.pieces[parent].waits -= 1;
                if self.pieces[parent].waits == 0 {
                    ready[self.pieces[parent].splits.len() - 1].push_back(parent);
                }
            }
            blocks.runs.push(Run { length: length as u16 + 1, count });
        }
        self.passes(blocks, &forest.groups, &rows, first_tree);
    }

    /// Writes a chain for a piece, whose result's row is then known.
    fn write(
        &self,
        blocks: &mut Blocks,
        at: usize,
        rows: &mut [u16],
        free: &mut Vec<u16>,
        bound: impl Fn(&Split) -> (usize, i8),
    ) {
        let mut take = |from: From| match from {
            From::Leaf(number) => place(number.into()),
            From::Piece(below) => {
                free.push(rows[below]);
                place(rows[below].into())
            }
        };
        let piece = &self.pieces[at];
        let start = take(piece.start);
        let splits: Vec<_> = piece
            .splits
            .iter()
            .map(|split| {
                let (lane, bound) = bound(split);
                (Pair::new(place(ROWS + lane), take(split.other)), bound)
            })
            .collect();
        // There are as many slots as leaves, and each result that waits has two leaves or more below it.
        let Some(out) = free.pop() else { unreachable!("a program has more results than leaves") };
        rows[at] = out;
        let ends = Pair::new(start, place(out.into()));
        match splits.len() {
            1 => blocks.ones.push(Chain::new(ends, &splits)),
            2 => blocks.twos.push(Chain::new(ends, &splits)),
            3 => blocks.threes.push(Chain::new(ends, &splits)),
            _ => blocks.fours.push(Chain::new(ends, &splits)),
        }
    }

    /// Writes which trees are added together. What is added to a margin is added in the order of the trees; margins have
    /// no order among them.
    fn passes(&self, blocks: &mut Blocks, groups: &[u32], rows: &[u16], first_tree: usize) {
        let mut trees: Vec<_> = (first_tree..first_tree + self.roots.len()).collect();
        trees.sort_by_key(|tree| groups[*tree]);
        for trees in trees.chunk_by(|a, b| groups[*a] == groups[*b]).flat_map(|trees| trees.chunks(TOGETHER)) {
            let mut pass = Pass::of(groups[trees[0]], trees[0]);
            pass.count = trees.len() as u32;
            for (nth, tree) in trees.iter().enumerate() {
                pass.trees[nth] = *tree as u32;
                // The row of a single leaf's number, 0, is row 0.
                pass.rows[nth] = self.roots[tree - first_tree].map_or(0, |root| place(rows[root].into()));
            }
            blocks.passes.push(pass);
        }
    }
}

/// The lane and the bound by which rows keep what comes from below: those whose lane is below. Where the other child is the
/// left one, that is one of the opposites: `lane > place` is `!lane < !place`.
fn bound(Test { lane, place }: Test, left: bool, lanes: usize) -> (usize, i8) {
    // No place is the greatest byte, as a lane has a rank above each.
    if left { (lanes + lane as usize, !place) } else { (lane as usize, place + 1) }
}

/// Where a row begins, in bytes, were it one of [`UNIT`].
fn place(row: usize) -> u16 {
    (row * UNIT) as u16
}

impl<const K: usize> Chain<K> {
    fn new(ends: Pair, splits: &[(Pair, i8)]) -> Self {
        Self { ends, splits: std::array::from_fn(|k| splits[k].0), bounds: std::array::from_fn(|k| splits[k].1) }
    }
}

impl Pass {
    /// For a tree that is walked.
    pub(super) fn of(group: u32, tree: usize) -> Self {
        Self { group, count: 0, trees: [tree as u32; TOGETHER], rows: [0; TOGETHER] }
    }
}
