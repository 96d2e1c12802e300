//! What contributions need of a forest beyond its nodes, found once when it is loaded.

use super::points::{self, Points};
use crate::forest::lanes::{Index, Lanes};
use crate::forest::{FLAG_BITS, Forest, Node, SPLIT};

/// The most values, nodes x points, of one tree that a call holds at once: twice 32 MiB.
const VALUES_MAX: usize = 1 << 22;

/// Rounding can make a node a little heavier than the one above it.
const HEAVIER: f64 = 1.001;

const NO_COVER: &str = "the file does not say how many training rows came by the nodes of its trees";
const ODD_COVER: &str = "the file's weights of training rows are not positive, or rise on the way down a tree";
const LINEAR: &str = "its leaves are linear models";
const MANY: &str = "its features have too many different thresholds";
const WIDE: &str = "one of its trees asks over 128 different features on one path";
const LARGE: &str = "one of its trees is too large: over 4194304 in nodes x half the features asked on one path";

/// A split, its places counted within the tree, of which the n-th split's children are nodes 2 n + 1 and 2 n + 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub(super) node: u32,
    /// The lane that it compares: right where the row's rank is above the place.
    pub(super) lane: u16,
    pub(super) place: u8,
    /// The nearest node above, or itself, that a split of the same column leads to; the root, to which none leads, stands
    /// for none.
    pub(super) above: u32,
}

/// For each node the weight of the training rows that came by: in `f32` where nothing is lost by that.
#[derive(Debug)]
enum Covers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// What is known of a forest's trees.
#[derive(Debug)]
pub(in crate::forest) struct Table {
    /// All trees' splits, in the order of the nodes.
    splits: Vec<Split>,
    covers: Covers,
    /// Each tree's place in [`points::SIZES`].
    pub(super) sizes: Vec<u8>,
    /// Quadrature points by place in [`points::SIZES`].
    pub(super) points: Vec<Points>,
    /// Each margin's expectation over the training rows.
    pub(super) bias: Vec<f64>,
    /// For each margin the sum of its trees' greatest absolute leaves: what rounding is measured by.
    pub(super) scale: Vec<f64>,
    /// Nanoseconds to explain a row.
    pub(in crate::forest) cost_ns: f64,
}

impl Table {
    /// `start` is where each margin's sum begins. The error says why contributions can't be had.
    pub(in crate::forest) fn new(
        forest: &Forest,
        lanes: Option<&(Lanes, Index)>,
        start: &[f64],
    ) -> Result<Self, &'static str> {
        if !forest.linear.is_empty() {
            return Err(LINEAR);
        }
        let (lanes, index) = lanes.ok_or(MANY)?;
        check_covers(forest)?;
        let mut table = Self {
            splits: Vec::with_capacity(forest.nodes.len() / 2),
            covers: Covers::of(&forest.covers),
            sizes: Vec::with_capacity(forest.roots.len()),
            points: points::SIZES.map(Points::new).into(),
            bias: start.to_vec(),
            scale: start.iter().map(|s| s.abs()).collect(),
            cost_ns: 100.0,
        };
        let mut paths = Paths::new(forest);
        for tree in 0..forest.roots.len() {
            let range = forest.nodes_of(tree);
            let nodes = &forest.nodes[range.clone()];
            let columns = paths.walk(nodes, range.start);
            let splits = nodes.iter().zip(0..).zip(&paths.above).filter(|((node, _), _)| node.meta & SPLIT != 0);
            table.splits.extend(splits.map(|((split, node), &above)| {
                let test = lanes.test(index, split);
                Split { node, lane: test.lane as u16, place: test.rank(), above }
            }));
            let size = points::size_for(columns).ok_or(WIDE)?;
            let values = range.len().saturating_mul(points::SIZES[size]);
            if values > VALUES_MAX {
                return Err(LARGE);
            }
            // Fitted to `benches/score.rs` on a 2.9 GHz Xeon.
            table.cost_ns += 8.0 * range.len() as f64 + values as f64;
            table.sizes.push(size as u8);
            table.expect(forest, tree);
        }
        Ok(table)
    }

    pub(in crate::forest) fn memory_bytes(&self) -> usize {
        let points: usize = self.points.iter().map(|p| 3 * size_of_val(p.at.as_slice())).sum();
        let margins = size_of_val(self.bias.as_slice()) + size_of_val(self.scale.as_slice());
        size_of_val(self.splits.as_slice()) + self.covers.memory_bytes() + self.sizes.len() + points + margins
    }

    /// The weight of the training rows that came by a node of the forest.
    pub(super) fn cover(&self, node: usize) -> f64 {
        self.covers.get(node)
    }

    /// The splits of a tree.
    pub(super) fn splits(&self, forest: &Forest, tree: usize) -> &[Split] {
        let range = forest.nodes_of(tree);
        // A tree of n splits has n + 1 leaves.
        &self.splits[(range.start - tree) / 2..][..range.len() / 2]
    }

    /// Adds what a tree gives on average: its leaves, each weighed by its share of the training rows.
    fn expect(&mut self, forest: &Forest, tree: usize) {
        let range = forest.nodes_of(tree);
        let whole = forest.covers[range.start];
        let (mut mean, mut greatest) = (0.0, 0.0f64);
        for leaf in range.clone().filter(|&n| forest.nodes[n].meta & SPLIT == 0) {
            let value = forest.nodes[leaf].value;
            let share = if range.len() == 1 { 1.0 } else { forest.covers[leaf] / whole };
            mean += share * value;
            greatest = greatest.max(value.abs());
        }
        let group = forest.groups[tree] as usize;
        self.bias[group] += mean;
        self.scale[group] += greatest;
    }
}

impl Covers {
    fn of(covers: &[f64]) -> Self {
        let same = |c: &f64| f64::from(*c as f32) == *c;
        match covers.iter().all(same) {
            true => Self::F32(covers.iter().map(|c| *c as f32).collect()),
            false => Self::F64(covers.to_vec()),
        }
    }

    fn get(&self, node: usize) -> f64 {
        match self {
            Self::F32(covers) => covers[node].into(),
            Self::F64(covers) => covers[node],
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::F32(covers) => size_of_val(covers.as_slice()),
            Self::F64(covers) => size_of_val(covers.as_slice()),
        }
    }
}

/// Each split's weight is over zero, no node's is over that of its parent.
fn check_covers(forest: &Forest) -> Result<(), &'static str> {
    for (node, &cover) in forest.nodes.iter().zip(&forest.covers) {
        if node.meta & SPLIT == 0 {
            continue;
        }
        let child = node.child as usize;
        let below = [forest.covers[child], forest.covers[child + 1]];
        if cover.is_nan() || below.iter().any(|c| c.is_nan()) {
            return Err(NO_COVER);
        }
        let fits = |c: &f64| (0.0..=cover * HEAVIER).contains(c);
        if !(cover > 0.0 && cover.is_finite() && below.iter().all(fits)) {
            return Err(ODD_COVER);
        }
    }
    Ok(())
}

/// Goes down all paths of a tree. Its memory is its own, not the call's stack: a tree may be a million levels deep.
struct Paths<'a> {
    forest: &'a Forest,
    /// For each column the deepest node of the path that a split of the column leads to; 0: none.
    deepest: Vec<u32>,
    steps: Vec<Step>,
    /// For each node of the tree [`Split::above`].
    above: Vec<u32>,
}

enum Step {
    /// To a node, which a split of a column leads to.
    Down { node: u32, column: u32 },
    /// Back up, to the column's node before.
    Up { column: u32, before: u32 },
}

impl<'a> Paths<'a> {
    fn new(forest: &'a Forest) -> Self {
        let columns = forest.slots.iter().map(|s| s.column as usize + 1).max().unwrap_or(0);
        Self { forest, deepest: vec![0; columns], steps: Vec::new(), above: Vec::new() }
    }

    /// Fills `above` for one tree, and answers how many different columns a path asks at most.
    fn walk(&mut self, nodes: &[Node], root: usize) -> usize {
        let (mut columns, mut most) = (0, 0);
        self.above.clear();
        self.above.resize(nodes.len(), 0);
        self.split(nodes, root, 0);
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Down { node, column } => {
                    let before = std::mem::replace(&mut self.deepest[column as usize], node);
                    self.steps.push(Step::Up { column, before });
                    columns += usize::from(before == 0);
                    most = most.max(columns);
                    self.split(nodes, root, node);
                }
                Step::Up { column, before } => {
                    self.deepest[column as usize] = before;
                    columns -= usize::from(before == 0);
                }
            }
        }
        most
    }

    fn split(&mut self, nodes: &[Node], root: usize, at: u32) {
        let node = nodes[at as usize];
        if node.meta & SPLIT != 0 {
            let column = self.forest.slots[(node.meta >> FLAG_BITS) as usize].column;
            self.above[at as usize] = self.deepest[column as usize];
            let left = node.child - root as u32;
            self.steps.push(Step::Down { node: left + 1, column });
            self.steps.push(Step::Down { node: left, column });
        }
    }
}
