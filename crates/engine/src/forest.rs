//! Forests of binary decision trees, whoever trained them.
//!
//! A tree's nodes lie together, children side by side, 16 bytes each, in the order of their levels. A split leads left
//! where `value <= threshold`; the training library's own rules (missing values, zeros, `f32`, categories) are worked
//! into *slots*, the columns as one kind of split sees them, filled once for each row, and into the nodes, when they are
//! built.

mod aligned;
mod blocks;
#[allow(unsafe_code)]
mod buckets;
mod build;
#[allow(unsafe_code)]
mod kernel;
#[allow(unsafe_code)]
mod lanes;
mod plan;
mod shap;
mod slots;
#[allow(unsafe_code)]
mod steps;
#[allow(unsafe_code)]
mod supernodes;
mod walk;

pub(crate) use build::{BadNode, Builder, Linear, RawNode, Test};
pub(crate) use kernel::Bench;
pub(crate) use slots::Rule;

use crate::engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::transform::Transform;
use crate::{Batch, Limits, LoadError};
use kernel::Kernel;
use lanes::Lanes;
use slots::Slot;

/// A node. Its left child is `child`, its right child the one after; a leaf leads to itself.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// A leaf's value, a split's threshold, or the place of a split's categories: `offset << 32 | words`, as bits.
    value: f64,
    /// The slot in the upper 28 bits, flags in the lower 4. A leaf has none and looks, in vain, at slot 0.
    meta: u32,
    child: u32,
}

/// It is a split.
const SPLIT: u32 = 1;
/// A missing value goes left.
const MISSING_LEFT: u32 = 2;
/// The split tests membership in a set of categories.
const CATEGORY: u32 = 4;
/// Categories in the set go right, and not left.
const IN_SET_RIGHT: u32 = 8;
/// Bits of `meta` below the slot.
const FLAG_BITS: u32 = 4;

/// A leaf that is a linear model: `constant + sum(coefficient * value)`, in order; where one of the values is missing,
/// the leaf node's own value stands.
#[derive(Clone, Debug)]
struct LinearLeaf {
    constant: f64,
    /// Slot and coefficient.
    terms: Box<[(u32, f64)]>,
}

/// All trees, in the order in which they are summed.
#[derive(Debug, Default)]
struct Forest {
    nodes: Vec<Node>,
    /// For each node the weight of the training rows that came by; NaN where the file does not say.
    covers: Vec<f64>,
    /// How many nodes there are, those that are kept elsewhere too.
    len: usize,
    /// Each tree's first node.
    roots: Vec<u32>,
    /// The margin that each tree adds to.
    groups: Vec<u32>,
    /// Whether each tree has categorical splits.
    categorical: Vec<bool>,
    /// Trees of like depth and kind next to each other: the order in which one row walks them, several at once.
    by_depth: Vec<u32>,
    /// The sets of categories, 32 to a word.
    sets: Vec<u32>,
    /// What the nodes look at.
    slots: Vec<Slot>,
    /// For each node its linear leaf, or `u32::MAX`; empty where the forest has none.
    linear_of: Vec<u32>,
    linear: Vec<LinearLeaf>,
    /// Sum of the trees' mean depths.
    steps: f64,
}

/// Whether a category is in the set at `offset << 32 | words`.
fn in_set(sets: &[u32], place: u64, category: f64) -> bool {
    if category < 0.0 {
        return false;
    }
    let (offset, words, category) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize, category as usize);
    category / 32 < words && sets[offset + category / 32] >> (category % 32) & 1 == 1
}

impl Forest {
    /// The nodes of a tree.
    fn nodes_of(&self, tree: usize) -> std::ops::Range<usize> {
        self.roots[tree] as usize..self.roots.get(tree + 1).map_or(self.len, |&r| r as usize)
    }

    /// The leaves of a tree, in the order of their numbers: from its last node on.
    fn leaves_of(&self, tree: usize) -> impl Iterator<Item = usize> {
        self.nodes_of(tree).rev().filter(|&node| self.nodes[node].meta & SPLIT == 0)
    }

    fn memory_bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>()
            + self.covers.len() * size_of::<f64>()
            + self.roots.len() * (3 * size_of::<u32>() + size_of::<bool>())
            + self.sets.len() * size_of::<u32>()
            + self.slots.len() * size_of::<Slot>()
            + self.linear_of.len() * size_of::<u32>()
            + self.linear.iter().map(|l| size_of::<LinearLeaf>() + l.terms.len() * 16).sum::<usize>()
    }
}

/// What a format's reader knows besides the trees.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) names: Vec<String>,
    pub(crate) categorical: Vec<Option<Categorical>>,
    /// Where each margin's sum begins.
    pub(crate) start: Vec<f64>,
    pub(crate) sums: MarginKind,
    /// Outputs are made of the margins divided by this.
    pub(crate) average_over: Option<f64>,
    pub(crate) transform: Transform,
    pub(crate) kind: OutputKind,
}

/// A forest with all that turns its sums into outputs.
#[derive(Debug)]
pub(crate) struct ForestEngine {
    forest: Forest,
    kernel: Option<Kernel>,
    parts: Parts,
    /// Or why contributions can't be had.
    shap: Result<shap::Table, &'static str>,
    memory_bytes: usize,
}

impl ForestEngine {
    /// `parts.categorical` has one entry for each column, `parts.start` one for each margin.
    pub(crate) fn new(builder: Builder, parts: Parts, limits: &Limits) -> Result<Self, LoadError> {
        let mut forest = builder.finish();
        let lanes = Lanes::of(&forest);
        let shap = shap::Table::new(&forest, lanes.as_ref(), &parts.start);
        forest.covers = Vec::new();
        let lanes = lanes.filter(|_| forest.linear.is_empty());
        let rest = shap.as_ref().map_or(0, shap::Table::memory_bytes)
            + parts.names.iter().map(|n| size_of::<String>() + n.len()).sum::<usize>()
            + parts.categorical.len() * size_of::<Option<Categorical>>()
            + parts.start.len() * size_of::<f64>()
            + size_of::<Self>();
        let dropped = forest.nodes.len() * size_of::<Node>();
        let room_bytes = limits.max_memory_bytes.saturating_sub(rest + forest.memory_bytes() - dropped);
        let kernel = lanes.map(|lanes| Kernel::new(&forest, lanes, limits.level, room_bytes));
        if kernel.is_some() {
            // All that they say is now said in less.
            forest.nodes = Vec::new();
        }
        let memory_bytes = forest.memory_bytes() + kernel.as_ref().map_or(0, Kernel::memory_bytes) + rest;
        LoadError::within("the model's memory in bytes", memory_bytes, limits.max_memory_bytes)?;
        Ok(Self { forest, kernel, parts, shap, memory_bytes })
    }
}

impl Engine for ForestEngine {
    fn inputs(&self) -> usize {
        self.parts.categorical.len()
    }

    fn input_names(&self) -> &[String] {
        &self.parts.names
    }

    fn categorical(&self) -> &[Option<Categorical>] {
        &self.parts.categorical
    }

    fn no_contributions(&self) -> Option<&'static str> {
        self.shap.as_ref().err().copied()
    }

    fn contributions_cost_ns_per_row(&self) -> f64 {
        self.shap.as_ref().map_or(0.0, |table| table.cost_ns)
    }

    fn margin_width(&self) -> usize {
        self.parts.start.len()
    }

    fn output_width(&self) -> usize {
        self.parts.transform.width(self.margin_width())
    }

    fn output_kind(&self) -> OutputKind {
        self.parts.kind
    }

    fn margin_kind(&self) -> MarginKind {
        self.parts.sums
    }

    fn cost_ns_per_row(&self) -> f64 {
        self.cost_ns(1)
    }

    /// Fitted to `benches/score.rs` on a 3.1 GHz EPYC with AVX2, and rather too much: steps down trees, slots filled,
    /// outputs made. Blocks share the first where they are spared the walk, and the second in part. A forest that is walked
    /// as it is takes twice the time.
    fn cost_ns(&self, rows: usize) -> f64 {
        let step = if self.kernel.is_some() { 2.0 } else { 4.0 };
        let (spared, slots) = (self.kernel.as_ref().map_or(0.0, Kernel::spared), self.forest.slots.len() as f64);
        let alone = spared * plan::cost(rows) + (1.0 - spared) * rows as f64;
        let outputs = 10.0 * self.margin_width() as f64 + 20.0;
        alone * (step * self.forest.steps + 5.0 * slots) + rows as f64 * (3.0 * slots + outputs)
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError> {
        if batch.columns() != self.inputs() {
            return Err(ScoreError::Columns { expected: self.inputs(), came: batch.columns() });
        }
        out.margins.clear();
        out.values.clear();
        out.contributions.clear();
        let mut margins =
            if want.margins { std::mem::take(&mut out.margins) } else { std::mem::take(&mut scratch.margins) };
        margins.clear();
        margins.reserve(batch.rows() * self.margin_width());
        for _ in 0..batch.rows() {
            margins.extend_from_slice(&self.parts.start);
        }
        match self.parts.sums {
            MarginKind::F64 => self.add::<f64>(batch, scratch, &mut margins),
            MarginKind::F32 => self.add::<f32>(batch, scratch, &mut margins),
        }
        if want.outputs {
            self.outputs(&margins, &mut out.values);
        }
        if want.contributions {
            let table = self.shap.as_ref().map_err(|why| ScoreError::Contributions(why))?;
            let Some(kernel) = &self.kernel else { unreachable!("what can be explained has ranks") };
            let accounted = shap::Margins { values: &margins, start: &self.parts.start, kind: self.parts.sums };
            self.forest.explain(table, kernel, batch, &accounted, &mut out.contributions)?;
        }
        if want.margins {
            out.margins = margins;
        } else {
            scratch.margins = margins;
        }
        Ok(())
    }
}

impl ForestEngine {
    fn add<S: walk::Sum>(&self, batch: &Batch, scratch: &mut Scratch, margins: &mut [f64]) {
        match (&self.kernel, self.margin_width()) {
            (_, 0) => {}
            (Some(kernel), width) => kernel.add::<S>(&self.forest, batch, &mut scratch.bench, margins, width),
            (None, width) => self.forest.add::<S>(batch, scratch, margins, width),
        }
    }

    fn outputs(&self, margins: &[f64], values: &mut Vec<f64>) {
        let width = self.margin_width();
        let Some(trees) = self.parts.average_over else {
            return self.parts.transform.apply(margins, width, values);
        };
        let averages: Vec<f64> = margins.iter().map(|m| m / trees).collect();
        self.parts.transform.apply(&averages, width, values);
    }
}
