//! Trees as files have them become the forest's nodes. This is where their shape is proven: each node reached once,
//! children in range, so that no walk can leave the tree or go round.

use std::collections::HashMap;

use super::{CATEGORY, FLAG_BITS, Forest, IN_SET_RIGHT, LinearLeaf, MISSING_LEFT, Node, Rule, SPLIT, Slot};

/// A node as a file has it, in any order. `cover` is the weight of the training rows that came by, NaN where the file does
/// not say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RawNode<'a> {
    Leaf { value: f64, linear: Option<Linear<'a>>, cover: f64 },
    Split { column: usize, test: Test<'a>, missing_left: bool, left: usize, right: usize, cover: f64 },
}

/// What a split asks of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test<'a> {
    /// Left where `value <= threshold`, under the rule. A NaN threshold lets nothing go left.
    AtMost { threshold: f64, rule: Rule },
    /// Left where the category is one of the set; where `flipped`, right. Bit `c % 32` of word `c / 32` is category `c`.
    In { set: &'a [u32], rule: Rule, flipped: bool },
}

/// A leaf's linear model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear<'a> {
    pub(crate) constant: f64,
    pub(crate) columns: &'a [usize],
    /// As many as `columns`.
    pub(crate) coefficients: &'a [f64],
}

/// What is wrong with a tree, and at which of its nodes.
#[derive(Debug, PartialEq)]
pub(crate) struct BadNode {
    pub(crate) node: usize,
    pub(crate) what: String,
}

/// Nodes of a forest, at most: as many that `u32` tells the places of all that kernels make of them, which is no more than
/// two leaves for each.
const NODES_MAX: u32 = 1 << 30;

/// Collects trees.
#[derive(Debug)]
pub(crate) struct Builder {
    forest: Forest,
    slots: HashMap<Slot, u32>,
    columns: usize,
    /// For each tree: categorical, depth.
    shapes: Vec<(bool, u32)>,
    /// Reused by [`Builder::add`].
    reached: Vec<bool>,
    queue: Vec<(u32, u32)>,
}

impl Builder {
    /// For trees over so many columns.
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            forest: Forest::default(),
            slots: HashMap::new(),
            columns,
            shapes: Vec::new(),
            reached: Vec::new(),
            queue: Vec::new(),
        }
    }

    /// What the forest takes so far, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.forest.memory_bytes()
    }

    /// Adds a tree of `len` nodes, the first of which is its root, to the sum of margin `group`. Answers how many of its
    /// nodes can be reached.
    pub(crate) fn add<'a>(
        &mut self,
        group: u32,
        len: usize,
        node: impl Fn(usize) -> Result<RawNode<'a>, BadNode>,
    ) -> Result<usize, BadNode> {
        let root = self.index(self.forest.nodes.len(), 0)?;
        self.reached.clear();
        self.reached.resize(len, false);
        self.queue.clear();
        self.reach(0, 0, 0)?;
        self.push_empty();
        let (mut next, mut depth, mut leaves, mut leaf_depths) = (0, 0, 0u64, 0u64);
        let sets = self.forest.sets.len();
        // Level by level: the queue's order is the nodes' order.
        while let Some(&(raw, level)) = self.queue.get(next) {
            let at = root as usize + next;
            next += 1;
            depth = depth.max(level);
            match node(raw as usize)? {
                RawNode::Leaf { value, linear, cover } => {
                    self.forest.covers[at] = cover;
                    leaves += 1;
                    leaf_depths += u64::from(level);
                    self.leaf(at, raw as usize, value, linear)?;
                }
                RawNode::Split { column, test, missing_left, left, right, cover } => {
                    self.forest.covers[at] = cover;
                    let child = self.index(self.forest.nodes.len(), raw as usize)?;
                    self.reach(left, level + 1, raw as usize)?;
                    self.reach(right, level + 1, raw as usize)?;
                    self.push_empty();
                    self.push_empty();
                    let (value, meta) = self.test(raw as usize, column, test)?;
                    let missing = if missing_left { MISSING_LEFT } else { 0 };
                    self.forest.nodes[at] = Node { value, meta: meta | missing | SPLIT, child };
                }
            }
        }
        self.forest.steps += leaf_depths as f64 / leaves.max(1) as f64;
        self.forest.roots.push(root);
        self.forest.groups.push(group);
        self.shapes.push((self.forest.sets.len() > sets, depth));
        Ok(next)
    }

    /// The forest, ready to walk.
    pub(super) fn finish(mut self) -> Forest {
        let shapes = &self.shapes;
        let mut by_depth: Vec<u32> = (0..shapes.len() as u32).collect();
        by_depth.sort_by_key(|&t| shapes[t as usize]);
        self.forest.by_depth = by_depth;
        self.forest.categorical = shapes.iter().map(|s| s.0).collect();
        self.forest.len = self.forest.nodes.len();
        self.forest.nodes.shrink_to_fit();
        self.forest.covers.shrink_to_fit();
        self.forest.sets.shrink_to_fit();
        self.forest
    }

    fn reach(&mut self, raw: usize, level: u32, from: usize) -> Result<(), BadNode> {
        match self.reached.get_mut(raw) {
            None => Err(BadNode { node: from, what: format!("child {raw} of {} nodes", self.reached.len()) }),
            Some(true) => Err(BadNode { node: from, what: format!("child {raw} has another parent already") }),
            Some(reached) => {
                *reached = true;
                self.queue.push((raw as u32, level));
                Ok(())
            }
        }
    }

    fn push_empty(&mut self) {
        self.forest.nodes.push(Node { value: 0.0, meta: 0, child: 0 });
        self.forest.covers.push(f64::NAN);
        if !self.forest.linear_of.is_empty() {
            self.forest.linear_of.push(u32::MAX);
        }
    }

    fn index(&self, n: usize, node: usize) -> Result<u32, BadNode> {
        // Two children may follow.
        match u32::try_from(n) {
            Ok(n) if n < NODES_MAX - 2 => Ok(n),
            _ => Err(BadNode { node, what: format!("the forest has over {} nodes", NODES_MAX - 2) }),
        }
    }

    fn leaf(&mut self, at: usize, raw: usize, value: f64, linear: Option<Linear<'_>>) -> Result<(), BadNode> {
        if !value.is_finite() {
            return Err(BadNode { node: raw, what: format!("leaf value {value} is not finite") });
        }
        self.forest.nodes[at] = Node { value, meta: 0, child: at as u32 };
        if let Some(linear) = linear {
            let mut terms = Vec::with_capacity(linear.columns.len());
            for (&column, &coefficient) in linear.columns.iter().zip(linear.coefficients) {
                terms.push((self.slot(raw, column, Rule::F64)?, coefficient));
            }
            self.forest.linear_of.resize(self.forest.nodes.len(), u32::MAX);
            self.forest.linear_of[at] = self.forest.linear.len() as u32;
            self.forest.linear.push(LinearLeaf { constant: linear.constant, terms: terms.into() });
        }
        Ok(())
    }

    /// A test's value and its part of `meta`.
    fn test(&mut self, raw: usize, column: usize, test: Test<'_>) -> Result<(f64, u32), BadNode> {
        match test {
            Test::AtMost { threshold, rule } => Ok((threshold, self.slot(raw, column, rule)? << FLAG_BITS)),
            Test::In { set, rule, flipped } => {
                let slot = self.slot(raw, column, rule)?;
                let offset = u32::try_from(self.forest.sets.len())
                    .map_err(|_| BadNode { node: raw, what: "the forest's category sets are too large".into() })?;
                // An empty set takes a word too, so that the tree counts as categorical.
                let words = if set.is_empty() { &[0][..] } else { set };
                self.forest.sets.extend_from_slice(words);
                let bits = u64::from(offset) << 32 | (words.len() as u64 & 0xffff_ffff);
                let flipped = if flipped { IN_SET_RIGHT } else { 0 };
                Ok((f64::from_bits(bits), slot << FLAG_BITS | CATEGORY | flipped))
            }
        }
    }

    fn slot(&mut self, raw: usize, column: usize, rule: Rule) -> Result<u32, BadNode> {
        if column >= self.columns {
            return Err(BadNode { node: raw, what: format!("feature {column} of {}", self.columns) });
        }
        let bad = |_| BadNode { node: raw, what: format!("feature {column} is over {}", u32::MAX) };
        let slot = Slot { column: u32::try_from(column).map_err(bad)?, rule };
        if let Some(&at) = self.slots.get(&slot) {
            return Ok(at);
        }
        let at = self.forest.slots.len() as u32;
        if at >= 1 << (32 - FLAG_BITS) {
            return Err(BadNode { node: raw, what: "the forest looks at too many features".into() });
        }
        self.forest.slots.push(slot);
        self.slots.insert(slot, at);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: f64) -> RawNode<'static> {
        RawNode::Leaf { value, linear: None, cover: 1.0 }
    }

    fn split(column: usize, left: usize, right: usize) -> RawNode<'static> {
        let test = Test::AtMost { threshold: 0.0, rule: Rule::F64 };
        RawNode::Split { column, test, missing_left: false, left, right, cover: 1.0 }
    }

    fn add(nodes: &[RawNode<'static>]) -> Result<usize, BadNode> {
        Builder::new(2).add(0, nodes.len(), |i| Ok(nodes[i]))
    }

    fn refused(nodes: &[RawNode<'static>], node: usize, what: &str) {
        assert_eq!(add(nodes), Err(BadNode { node, what: what.into() }));
    }

    #[test]
    fn a_tree_is_a_tree() {
        assert_eq!(add(&[leaf(1.0)]), Ok(1));
        assert_eq!(add(&[split(1, 2, 1), leaf(1.0), leaf(2.0), leaf(3.0)]), Ok(3), "one is not reached");
        refused(&[split(0, 0, 1), leaf(1.0)], 0, "child 0 has another parent already");
        refused(&[split(0, 1, 1), leaf(1.0)], 0, "child 1 has another parent already");
        refused(&[split(0, 1, 3), leaf(1.0), leaf(1.0)], 0, "child 3 of 3 nodes");
        refused(&[split(2, 1, 2), leaf(1.0), leaf(1.0)], 0, "feature 2 of 2");
        refused(&[split(0, 1, 2), split(0, 0, 2), leaf(1.0)], 1, "child 0 has another parent already");
        refused(&[split(0, 1, 2), leaf(f64::NAN), leaf(1.0)], 1, "leaf value NaN is not finite");
        refused(&[], 0, "child 0 of 0 nodes");
    }

    #[test]
    fn a_chain_of_a_million_is_no_deeper_a_call() {
        let n = 1_000_000;
        let built = Builder::new(1)
            .add(0, 2 * n + 1, |i| Ok(if i % 2 == 1 || i == 2 * n { leaf(1.0) } else { split(0, i + 1, i + 2) }));
        assert_eq!(built, Ok(2 * n + 1));
    }
}
