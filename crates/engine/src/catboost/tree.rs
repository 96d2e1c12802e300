//! Trees into the forest: a tree for each dimension of the leaves.

use super::doc::{Node, Oblivious};
use super::features::{Features, Question};
use crate::LoadError;
use crate::forest::{BadNode, Builder, RawNode};

/// What a node takes in the forest, about.
const NODE_BYTES: usize = 24;

/// The weight of a leaf. One to which no training row came has next to none, and not none: the nodes above leaves of no
/// weight must have shares too.
fn cover(weight: f64) -> f64 {
    if weight == 0.0 { f64::MIN_POSITIVE } else { weight }
}

/// Adds trees to a forest, within a limit of memory.
#[derive(Debug)]
pub(super) struct Adder<'a> {
    builder: Builder,
    features: &'a Features,
    width: usize,
    max_bytes: usize,
}

impl<'a> Adder<'a> {
    pub(super) fn new(builder: Builder, features: &'a Features, width: usize, max_bytes: usize) -> Self {
        Self { builder, features, width, max_bytes }
    }

    pub(super) fn done(self) -> Builder {
        self.builder
    }

    /// Adds a tree of one leaf to each margin, where it is not zero.
    pub(super) fn constants(&mut self, values: &[f64]) -> Result<(), LoadError> {
        for (group, &value) in (0..).zip(values) {
            if value != 0.0 {
                let leaf = |_| Ok(RawNode::Leaf { value, linear: None, cover: f64::NAN });
                self.builder.add(group, 1, leaf).map_err(|b| LoadError::at("scale_and_bias", b.what))?;
            }
        }
        Ok(())
    }

    pub(super) fn oblivious(&mut self, trees: &[Oblivious]) -> Result<(), LoadError> {
        for (i, tree) in trees.iter().enumerate() {
            let tree = Expanded::new(tree, i, self.features, self.width)?;
            self.has_room(tree.bytes())?;
            for dimension in 0..self.width {
                self.builder
                    .add(dimension as u32, tree.len(), |n| Ok(tree.node(n, dimension)))
                    .map_err(|b| tree.bad(i, &b))?;
            }
        }
        Ok(())
    }

    pub(super) fn nested(&mut self, trees: &[Node]) -> Result<(), LoadError> {
        for (i, root) in trees.iter().enumerate() {
            let tree = Flat::new(root, i, self.features, self.width)?;
            self.has_room(tree.bytes())?;
            for dimension in 0..self.width {
                self.builder
                    .add(dimension as u32, tree.nodes.len(), |n| Ok(tree.node(n, dimension)))
                    .map_err(|b| LoadError::at(tree.place(i, b.node), b.what))?;
            }
        }
        Ok(())
    }

    /// Whether the tree of one dimension fits in, as often as there are dimensions.
    fn has_room(&self, bytes: usize) -> Result<(), LoadError> {
        let bytes = bytes.saturating_mul(self.width).saturating_add(self.builder.memory_bytes());
        LoadError::within("the model's memory in bytes", bytes, self.max_bytes)
    }
}

/// A symmetric tree, its nodes numbered level by level: node `n` has the children `2 n + 1` and `2 n + 2`. The last split
/// is the root's, so that the leaves are in the file's order.
#[derive(Debug)]
struct Expanded<'a> {
    questions: Vec<Question>,
    values: &'a [f64],
    width: usize,
    /// Of all nodes.
    covers: Vec<f64>,
}

impl<'a> Expanded<'a> {
    fn new(tree: &'a Oblivious, i: usize, features: &Features, width: usize) -> Result<Self, LoadError> {
        let bad = |what: String| LoadError::at(format!("tree {i}"), what);
        let depth = tree.splits.len();
        // Checked against the values that are there before anything is made of that size.
        let leaves = u32::try_from(depth).ok().and_then(|depth| 1usize.checked_shl(depth));
        let leaves = leaves.filter(|leaves| leaves.checked_mul(width) == Some(tree.leaf_values.len()));
        let leaves = leaves.ok_or_else(|| {
            let came = tree.leaf_values.len();
            bad(format!(
                "`leaf_values` has {came} values, expected {width} for each of the leaves under {depth} splits"
            ))
        })?;
        if !tree.leaf_weights.is_empty() && tree.leaf_weights.len() != leaves {
            return Err(bad(format!("`leaf_weights` has {} values for {leaves} leaves", tree.leaf_weights.len())));
        }
        let question = |(k, split)| features.question(split, || format!("tree {i}, split {k}"));
        let questions = tree.splits.iter().enumerate().map(question).collect::<Result<_, _>>()?;
        let mut covers = vec![f64::NAN; 2 * leaves - 1];
        if !tree.leaf_weights.is_empty() {
            covers[leaves - 1..].iter_mut().zip(&tree.leaf_weights).for_each(|(to, &weight)| *to = cover(weight));
            for n in (0..leaves - 1).rev() {
                covers[n] = covers[2 * n + 1] + covers[2 * n + 2];
            }
        }
        Ok(Self { questions, values: &tree.leaf_values, width, covers })
    }

    fn len(&self) -> usize {
        self.covers.len()
    }

    /// The first leaf.
    fn splits(&self) -> usize {
        self.covers.len() / 2
    }

    fn question_of(&self, n: usize) -> usize {
        self.questions.len() - 1 - (n + 1).ilog2() as usize
    }

    fn bytes(&self) -> usize {
        let sets = self.questions.iter().rev().enumerate().map(|(level, q)| q.bytes().saturating_mul(1 << level));
        sets.fold(self.len().saturating_mul(NODE_BYTES), usize::saturating_add)
    }

    fn node(&self, n: usize, dimension: usize) -> RawNode<'_> {
        let cover = self.covers[n];
        if n >= self.splits() {
            let value = self.values[(n - self.splits()) * self.width + dimension];
            return RawNode::Leaf { value, linear: None, cover };
        }
        let question = &self.questions[self.question_of(n)];
        RawNode::Split {
            column: question.column,
            test: question.test(),
            missing_left: question.missing_left,
            left: 2 * n + 1,
            right: 2 * n + 2,
            cover,
        }
    }

    fn bad(&self, i: usize, bad: &BadNode) -> LoadError {
        let place = match bad.node.checked_sub(self.splits()) {
            Some(leaf) => format!("tree {i}, leaf {leaf}"),
            None => format!("tree {i}, split {}", self.question_of(bad.node)),
        };
        LoadError::at(place, &*bad.what)
    }
}

/// A tree of any shape, its nodes in the order of a walk that goes left first.
#[derive(Debug)]
struct Flat<'a> {
    nodes: Vec<FlatNode<'a>>,
}

#[derive(Debug)]
struct FlatNode<'a> {
    /// A split's question and children.
    split: Option<(Question, usize, usize)>,
    /// A leaf's values.
    values: &'a [f64],
    cover: f64,
    /// The parent, and whether it is its right child.
    up: Option<(usize, bool)>,
}

impl<'a> Flat<'a> {
    fn new(root: &'a Node, i: usize, features: &Features, width: usize) -> Result<Self, LoadError> {
        let mut tree: Flat<'a> = Self { nodes: Vec::new() };
        let mut open: Vec<(&'a Node, Option<(usize, bool)>)> = vec![(root, None)];
        while let Some((node, up)) = open.pop() {
            let at = tree.nodes.len();
            if let Some((parent, right)) = up
                && let Some((_, left_child, right_child)) = &mut tree.nodes[parent].split
            {
                *(if right { right_child } else { left_child }) = at;
            }
            let cover = node.weight.map_or(f64::NAN, cover);
            tree.nodes.push(FlatNode { split: None, values: &[], cover, up });
            match node {
                Node { value: Some(values), .. } => tree.nodes[at].values = values.as_slice(),
                Node { split: Some(split), left: Some(left), right: Some(right), .. } => {
                    let question = features.question(split, || tree.place(i, at))?;
                    tree.nodes[at].split = Some((question, 0, 0));
                    open.push((&**right, Some((at, true))));
                    open.push((&**left, Some((at, false))));
                }
                _ => {
                    let what = "neither a `value` nor a `split` with `left` and `right`";
                    return Err(LoadError::at(tree.place(i, at), what));
                }
            }
            let (leaf, came) = (tree.nodes[at].split.is_none(), tree.nodes[at].values.len());
            if leaf && came != width {
                return Err(LoadError::at(tree.place(i, at), format!("{came} values in a leaf, expected {width}")));
            }
        }
        // Children come after their parents.
        for at in (0..tree.nodes.len()).rev() {
            if let Some((_, left, right)) = tree.nodes[at].split {
                tree.nodes[at].cover = tree.nodes[left].cover + tree.nodes[right].cover;
            }
        }
        Ok(tree)
    }

    fn bytes(&self) -> usize {
        let of = |n: &FlatNode<'_>| NODE_BYTES + n.split.as_ref().map_or(0, |s| s.0.bytes());
        self.nodes.iter().map(of).fold(0, usize::saturating_add)
    }

    fn node(&self, n: usize, dimension: usize) -> RawNode<'_> {
        let FlatNode { split, values, cover, .. } = &self.nodes[n];
        match split {
            None => RawNode::Leaf { value: values[dimension], linear: None, cover: *cover },
            Some((question, left, right)) => RawNode::Split {
                column: question.column,
                test: question.test(),
                missing_left: question.missing_left,
                left: *left,
                right: *right,
                cover: *cover,
            },
        }
    }

    /// `tree 3, root.left.right`.
    fn place(&self, i: usize, mut at: usize) -> String {
        let mut turns = Vec::new();
        while let Some((parent, right)) = self.nodes.get(at).and_then(|n| n.up) {
            turns.push(if right { ".right" } else { ".left" });
            at = parent;
        }
        let path: String = turns.into_iter().rev().collect();
        format!("tree {i}, root{path}")
    }
}
