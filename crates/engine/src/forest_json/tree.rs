//! One tree.

use super::doc::{Compare, File, Tree};
use crate::LoadError;
use crate::engine::Categorical;
use crate::forest::{BadNode, Builder, RawNode, Rule, Test};

/// Codes of categories end before this.
const CODES: u64 = 1 << 31;
/// What a node takes in the forest, about.
const NODE_BYTES: usize = 24;

/// A tree whose arrays are of one length.
#[derive(Debug)]
struct Checked<'a> {
    tree: &'a Tree,
    compare: Compare,
    /// Values in a leaf.
    width: usize,
    sets: Sets,
}

/// The sets of the categorical splits: set `i` is `words[bounds[i]..bounds[i + 1]]`.
#[derive(Debug, Default)]
struct Sets {
    /// Rising.
    nodes: Vec<usize>,
    left: Vec<bool>,
    bounds: Vec<usize>,
    words: Vec<u32>,
    greatest: Vec<Option<u32>>,
}

/// Adds tree `i` to the forest, and what its splits say of categorical columns to `categorical`.
pub(super) fn add(
    builder: &mut Builder,
    i: usize,
    tree: &Tree,
    file: &File,
    categorical: &mut [Option<Categorical>],
    max_bytes: usize,
) -> Result<(), LoadError> {
    let margins = file.start.len();
    let (first, width) = match tree.margin {
        None => (0, margins),
        Some(margin) if margin < margins => (margin, 1),
        Some(margin) => return Err(LoadError::at(format!("tree {i}"), format!("margin {margin} of {margins}"))),
    };
    let checked = Checked::new(i, tree, file.compare, width, max_bytes)?;
    let nodes = tree.feature.len();
    let bytes = checked.sets.words.len().saturating_mul(4).saturating_add(nodes.saturating_mul(NODE_BYTES));
    let bytes = bytes.saturating_mul(width).saturating_add(builder.memory_bytes());
    LoadError::within("the model's memory in bytes", bytes, max_bytes)?;
    for dimension in 0..width {
        let group = (first + dimension) as u32;
        let reached = builder
            .add(group, nodes, |n| checked.node(n, dimension))
            .map_err(|b| LoadError::at(format!("tree {i}, node {}", b.node), b.what))?;
        if reached != nodes {
            return Err(LoadError::at(format!("tree {i}"), format!("{} nodes are not reached", nodes - reached)));
        }
    }
    for (&node, &greatest) in checked.sets.nodes.iter().zip(&checked.sets.greatest) {
        let column = tree.feature.get(node).and_then(|&f| categorical.get_mut(usize::try_from(f).ok()?));
        if let (Some(column), Some(code)) = (column, greatest) {
            Categorical::see(column, code);
        }
    }
    Ok(())
}

impl<'a> Checked<'a> {
    fn new(i: usize, tree: &'a Tree, compare: Compare, width: usize, max_bytes: usize) -> Result<Self, LoadError> {
        let nodes = tree.feature.len();
        let sized = |key: &str, len: usize, may_be_empty: bool| {
            if len == nodes || (may_be_empty && len == 0) {
                return Ok(());
            }
            Err(LoadError::at(format!("tree {i}"), format!("`{key}` has {len} values for {nodes} nodes")))
        };
        sized("threshold", tree.threshold.len(), false)?;
        sized("left", tree.left.len(), false)?;
        sized("right", tree.right.len(), false)?;
        sized("missing_left", tree.missing_left.len(), true)?;
        sized("weight", tree.weight.len(), true)?;
        Ok(Self { tree, compare, width, sets: Sets::read(i, tree, max_bytes)? })
    }

    fn node(&self, n: usize, dimension: usize) -> Result<RawNode<'_>, BadNode> {
        let (tree, bad) = (self.tree, |what: String| BadNode { node: n, what });
        let cover = tree.weight.get(n).copied().unwrap_or(f64::NAN);
        let Ok(column) = usize::try_from(tree.feature[n]) else {
            let values =
                tree.left[n].checked_mul(self.width).and_then(|at| tree.leaf.get(at..at.checked_add(self.width)?));
            let value = values.and_then(|values| values.get(dimension)).copied();
            let value = value.ok_or_else(|| {
                let (leaf, came) = (tree.left[n], tree.leaf.len());
                bad(format!("leaf {leaf} of {came} values, {} for each", self.width))
            })?;
            return Ok(RawNode::Leaf { value, linear: None, cover });
        };
        let (test, missing_left) = match (self.sets.of(n), tree.threshold[n]) {
            // What is missing or in no set is with those outside.
            (Some((set, left)), _) => (Test::In { set, rule: Rule::F64Category, flipped: !left }, !left),
            (None, threshold) => {
                let threshold = threshold.unwrap_or(f64::INFINITY);
                let test = match self.compare {
                    Compare::F64 => Test::AtMost { threshold, rule: Rule::Exact },
                    Compare::F32 => Test::AtMost { threshold: at_most(threshold), rule: Rule::F32 },
                };
                (test, tree.missing_left.get(n).is_some_and(|&m| m != 0))
            }
        };
        Ok(RawNode::Split { column, test, missing_left, left: tree.left[n], right: tree.right[n], cover })
    }
}

/// The greatest `f32` that is not above: an `f32` is at most the one where it is at most the other.
fn at_most(threshold: f64) -> f64 {
    let near = threshold as f32;
    if f64::from(near) > threshold { near.next_down().into() } else { near.into() }
}

impl Sets {
    fn read(i: usize, tree: &Tree, max_bytes: usize) -> Result<Self, LoadError> {
        let mut sets = Self { bounds: vec![0], ..Self::default() };
        for set in &tree.sets {
            let place = || format!("tree {i}, node {}", set.node);
            if set.node >= tree.feature.len() || sets.nodes.last().is_some_and(|&last| last >= set.node) {
                return Err(LoadError::at(place(), "its set of categories is out of range or order"));
            }
            if let Some(code) = set.codes.iter().find(|&&c| c >= CODES) {
                return Err(LoadError::at(place(), format!("category {code}, expected 0 to {}", CODES - 1)));
            }
            let greatest = set.codes.iter().copied().max().map(|code| code as u32);
            let first = sets.words.len();
            let end = first + greatest.map_or(0, |code| code as usize / 32 + 1);
            LoadError::within("the model's memory in bytes", end.saturating_mul(4), max_bytes)?;
            sets.words.resize(end, 0);
            for &code in &set.codes {
                sets.words[first + code as usize / 32] |= 1 << (code % 32);
            }
            sets.nodes.push(set.node);
            sets.left.push(set.left);
            sets.bounds.push(end);
            sets.greatest.push(greatest);
        }
        Ok(sets)
    }

    fn of(&self, node: usize) -> Option<(&[u32], bool)> {
        let i = self.nodes.binary_search(&node).ok()?;
        Some((&self.words[self.bounds[i]..self.bounds[i + 1]], self.left[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_between_two_f32s_is_the_lower_one() {
        for (threshold, expected) in [
            (1.0, 1.0),
            (0.1, f64::from(0.1f32.next_down())),
            (0.3, f64::from(0.3f32.next_down())),
            (0.7, f64::from(0.7f32)),
            (-0.1, f64::from(-0.1f32)),
            (1e300, f64::from(f32::MAX)),
            (-1e300, f64::NEG_INFINITY),
            (1e-60, 0.0),
            (-1e-60, f64::from((-0.0f32).next_down())),
            (f64::INFINITY, f64::INFINITY),
        ] {
            assert_eq!(at_most(threshold), expected, "{threshold}");
        }
    }
}
