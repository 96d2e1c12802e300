//! One tree.

use super::doc::At;
use crate::LoadError;
use crate::engine::Categorical;
use crate::forest::{BadNode, Builder, RawNode, Rule, Test};

/// XGBoost's greatest category (`OutOfRangeCat`), the last integer before `f32` has gaps, is not one itself.
const CATEGORIES: i64 = 16_777_216;

/// A tree, the output that it adds to where its leaves have one value, the outputs there are, and its weight in a dart.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) at: At<'a>,
    pub(super) group: u32,
    pub(super) width: usize,
    pub(super) weight: Option<f32>,
}

/// A tree's arrays, one value for each node. A leaf has no left child, and its value in `conditions`.
#[derive(Debug)]
struct Arrays<'a> {
    left: &'a [i64],
    right: &'a [i64],
    feature: &'a [i64],
    conditions: Vec<f32>,
    vectors: Option<Vectors>,
    default_left: &'a [i64],
    /// Empty where the file does not say.
    covers: Vec<f32>,
    weight: Option<f32>,
    sets: Sets,
}

/// Leaves with a value for each output (`multi_output_tree`).
#[derive(Debug)]
struct Vectors {
    /// `width` values for each node, or since 3.2 for each leaf, whose number is then in the right child's place.
    values: Vec<f32>,
    by_leaf: bool,
    width: usize,
}

/// The categories that go right, for the nodes that have such splits: set `i` is `words[bounds[i]..bounds[i + 1]]`.
#[derive(Debug, Default)]
struct Sets {
    /// Rising.
    nodes: Vec<usize>,
    bounds: Vec<usize>,
    words: Vec<u32>,
    /// The greatest category of each set.
    greatest: Vec<u32>,
}

/// Adds the tree to the forest, and what its splits say of categorical columns to `categorical`.
pub(super) fn add(
    builder: &mut Builder,
    tree: &Tree<'_>,
    categorical: &mut [Option<Categorical>],
    max_bytes: usize,
) -> Result<(), LoadError> {
    let arrays = Arrays::read(tree, max_bytes)?;
    let bad = |b: BadNode| LoadError::at(format!("{}, node {}", tree.at.place, b.node), b.what);
    match &arrays.vectors {
        None => drop(builder.add(tree.group, arrays.left.len(), |n| arrays.node(n, 0)).map_err(bad)?),
        Some(vectors) => {
            // A tree for each output, of the same shape.
            let bytes = arrays.bytes().saturating_mul(vectors.width).saturating_add(builder.memory_bytes());
            LoadError::within("the model's memory in bytes", bytes, max_bytes)?;
            for output in 0..vectors.width {
                builder.add(output as u32, arrays.left.len(), |n| arrays.node(n, output)).map_err(bad)?;
            }
        }
    }
    for (&node, &code) in arrays.sets.nodes.iter().zip(&arrays.sets.greatest) {
        let column = arrays.feature.get(node).and_then(|&f| categorical.get_mut(usize::try_from(f).ok()?));
        if let Some(column) = column {
            Categorical::see(column, code);
        }
    }
    Ok(())
}

impl<'a> Arrays<'a> {
    fn read(tree: &Tree<'a>, max_bytes: usize) -> Result<Self, LoadError> {
        let at = &tree.at;
        let param = at.get("tree_param")?;
        let nodes = param.get("num_nodes")?.count()?;
        if nodes == 0 {
            return Err(at.error("no nodes"));
        }
        let sized = |key: &str, len: usize| {
            if len == nodes { Ok(()) } else { Err(at.error(format!("`{key}` has {len} values for {nodes} nodes"))) }
        };
        let ints = |key: &str| -> Result<&'a [i64], LoadError> {
            let ints = at.get(key)?.ints()?;
            sized(key, ints.len()).map(|()| ints)
        };
        let conditions = at.get("split_conditions")?.floats()?;
        sized("split_conditions", conditions.len())?;
        Ok(Self {
            left: ints("left_children")?,
            right: ints("right_children")?,
            feature: ints("split_indices")?,
            conditions,
            vectors: Vectors::read(tree, nodes)?,
            default_left: ints("default_left")?,
            // Scoring has no use for them, so that odd ones do not make a model unfit.
            covers: at
                .maybe("sum_hessian")
                .and_then(|h| h.floats().ok())
                .filter(|h| h.len() == nodes)
                .unwrap_or_default(),
            weight: tree.weight,
            sets: Sets::read(at, nodes, max_bytes)?,
        })
    }

    /// What the tree takes in the forest, about.
    fn bytes(&self) -> usize {
        24 * self.left.len() + size_of_val(self.sets.words.as_slice())
    }

    fn node(&self, n: usize, output: usize) -> Result<RawNode<'_>, BadNode> {
        let condition = self.conditions[n];
        let cover = self.covers.get(n).map_or(f64::NAN, |&cover| cover.into());
        if self.left[n] == -1 {
            let condition = match &self.vectors {
                None => condition,
                Some(vectors) => vectors.value(n, self.right[n], output)?,
            };
            let value = self.weight.map_or(condition, |w| condition * w);
            return Ok(RawNode::Leaf { value: value.into(), linear: None, cover });
        }
        let child =
            |what: &str, i: i64| usize::try_from(i).map_err(|_| BadNode { node: n, what: format!("{what} {i}") });
        let test = match self.sets.of(n) {
            // The set's categories go right; what is no category at all goes left.
            Some(set) => Test::In { set, rule: Rule::F32Category, flipped: true },
            None if condition.is_nan() => {
                return Err(BadNode { node: n, what: "threshold is not a number".into() });
            }
            // `value < condition`, of two f32s, is `value <= the f32 before condition`.
            None => Test::AtMost { threshold: before(condition), rule: Rule::F32 },
        };
        Ok(RawNode::Split {
            column: child("feature", self.feature[n])?,
            test,
            missing_left: self.default_left[n] != 0,
            left: child("left child", self.left[n])?,
            right: child("right child", self.right[n])?,
            cover,
        })
    }
}

impl Vectors {
    fn read(tree: &Tree<'_>, nodes: usize) -> Result<Option<Self>, LoadError> {
        let at = &tree.at;
        let width = at.get("tree_param")?.maybe("size_leaf_vector").map_or(Ok(0), |s| s.count())?;
        if width < 2 {
            return Ok(None);
        }
        if width != tree.width {
            return Err(at.error(format!("{width} values in a leaf for {} outputs", tree.width)));
        }
        let leaves = at.maybe("leaf_weights");
        let (list, by_leaf) = match &leaves {
            Some(leaves) => (leaves, true),
            None => (&at.get("base_weights")?, false),
        };
        let values = list.floats()?;
        if !by_leaf && nodes.checked_mul(width) != Some(values.len()) {
            return Err(list.error(format!("{} values for {width} outputs of {nodes} nodes", values.len())));
        }
        Ok(Some(Self { values, by_leaf, width }))
    }

    /// A leaf's value for an output; `right` is what its node has as its right child.
    fn value(&self, n: usize, right: i64, output: usize) -> Result<f32, BadNode> {
        let leaf = if self.by_leaf { usize::try_from(right).ok() } else { Some(n) };
        let at = leaf.and_then(|leaf| leaf.checked_mul(self.width)?.checked_add(output));
        at.and_then(|at| self.values.get(at)).copied().ok_or_else(|| BadNode {
            node: n,
            what: format!("leaf {right} of {} values, {} for each", self.values.len(), self.width),
        })
    }
}

/// The greatest `f32` below, widened; NaN, below which nothing is, for negative infinity.
fn before(condition: f32) -> f64 {
    if condition == f32::NEG_INFINITY { f64::NAN } else { condition.next_down().into() }
}

impl Sets {
    fn read(at: &At<'_>, nodes: usize, max_bytes: usize) -> Result<Self, LoadError> {
        let mut sets = Self { bounds: vec![0], ..Self::default() };
        // Not there before 1.3.
        let Some(list) = at.maybe("categories_nodes") else { return Ok(sets) };
        let with_sets = list.ints()?;
        if with_sets.is_empty() {
            return Ok(sets);
        }
        let (begins, sizes) = (at.get("categories_segments")?.ints()?, at.get("categories_sizes")?.ints()?);
        let all = at.get("categories")?.ints()?;
        if begins.len() != with_sets.len() || sizes.len() != with_sets.len() {
            let what = format!("{} sets, {} begins, {} sizes", with_sets.len(), begins.len(), sizes.len());
            return Err(list.error(what));
        }
        for ((&node, &begin), &size) in with_sets.iter().zip(begins).zip(sizes) {
            let known = usize::try_from(node).ok().filter(|&n| n < nodes && sets.nodes.last().is_none_or(|&l| l < n));
            let Some(node) = known else {
                return Err(list.error(format!("node {node} is out of range or order")));
            };
            let place = || format!("{}, node {node}", at.place);
            let range = usize::try_from(begin).ok().zip(usize::try_from(size).ok());
            let set = range.and_then(|(b, s)| all.get(b..b.checked_add(s)?)).filter(|s| !s.is_empty());
            let Some(set) = set else {
                let what = format!("categories {begin} and {size} on of {}", all.len());
                return Err(LoadError::at(place(), what));
            };
            let greatest = set.iter().copied().max().unwrap_or(0);
            if let Some(&wrong) = set.iter().find(|c| !(0..CATEGORIES).contains(*c)) {
                return Err(LoadError::at(place(), format!("category {wrong}, expected 0 to {}", CATEGORIES - 1)));
            }
            let first = sets.words.len();
            let end = first + greatest as usize / 32 + 1;
            LoadError::within("the model's memory in bytes", end.saturating_mul(4), max_bytes)?;
            sets.words.resize(end, 0);
            for &category in set {
                sets.words[first + category as usize / 32] |= 1 << (category % 32);
            }
            sets.nodes.push(node);
            sets.bounds.push(end);
            sets.greatest.push(greatest as u32);
        }
        Ok(sets)
    }

    fn of(&self, node: usize) -> Option<&[u32]> {
        let i = self.nodes.binary_search(&node).ok()?;
        Some(&self.words[self.bounds[i]..self.bounds[i + 1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_at_most_the_one_before() {
        assert_eq!(before(1.0), f64::from(0.999_999_94f32));
        assert!(before(0.0) < 0.0);
        assert!(before(-0.0) < 0.0);
        assert_eq!(before(f32::INFINITY), f64::from(f32::MAX));
        assert!(before(f32::NEG_INFINITY).is_nan());
    }
}
