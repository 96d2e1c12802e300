//! One tree of the text format.

use std::str::FromStr;

use super::text::{Block, shown};
use crate::LoadError;
use crate::forest::{BadNode, Builder, Linear, RawNode, Rule, Test};

/// Bits of `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;

/// A tree's arrays, as the file has them. Children below zero are leaves: `-1` is leaf 0.
#[derive(Debug)]
struct Arrays {
    leaf_value: Vec<f64>,
    left: Vec<i32>,
    right: Vec<i32>,
    feature: Vec<u32>,
    threshold: Vec<f64>,
    decision: Vec<u8>,
    /// Set `i` of the categorical splits is `cat_words[cat_bounds[i]..cat_bounds[i + 1]]`.
    cat_bounds: Vec<usize>,
    cat_words: Vec<u32>,
    linear: Option<LinearArrays>,
    /// Rows of the training data in each split, then in each leaf; empty where the file does not say.
    counts: Vec<i32>,
}

/// The linear models of a linear tree's leaves: leaf `i` has the terms `bounds[i]..bounds[i + 1]`.
#[derive(Debug)]
struct LinearArrays {
    constant: Vec<f64>,
    bounds: Vec<usize>,
    columns: Vec<usize>,
    coefficients: Vec<f64>,
}

/// Adds tree `i` to the forest.
pub(super) fn add(builder: &mut Builder, i: usize, group: u32, block: &Block<'_>) -> Result<(), LoadError> {
    let tree = Arrays::read(block).map_err(|what| LoadError::at(format!("tree {i}"), what))?;
    let (splits, nodes) = (tree.left.len(), tree.left.len() + tree.leaf_value.len());
    let bad = |b: BadNode| {
        let place = if b.node < splits {
            format!("tree {i}, node {}", b.node)
        } else {
            format!("tree {i}, leaf {}", b.node - splits)
        };
        LoadError::at(place, b.what)
    };
    let reached = builder.add(group, nodes, |n| tree.node(n)).map_err(bad)?;
    if reached != nodes {
        return Err(LoadError::at(format!("tree {i}"), format!("{} nodes are not reached", nodes - reached)));
    }
    Ok(())
}

impl Arrays {
    fn read(block: &Block<'_>) -> Result<Self, String> {
        let leaves: usize = one(block, "num_leaves")?;
        let cats: usize = one(block, "num_cat")?;
        if leaves == 0 {
            return Err("`num_leaves=0`".into());
        }
        let splits = leaves - 1;
        let leaf_value = list(block, "leaf_value", leaves)?;
        let is_linear = block.get("is_linear").is_some_and(|v| v.trim() != "0");
        let linear = if is_linear { Some(LinearArrays::read(block, leaves)?) } else { None };
        let cats = if splits == 0 { 0 } else { cats };
        let cat_bounds = if cats == 0 { vec![0] } else { list(block, "cat_boundaries", cats.saturating_add(1))? };
        if cat_bounds.first() != Some(&0) || !cat_bounds.is_sorted() {
            return Err("`cat_boundaries` do not rise from 0".into());
        }
        let words = cat_bounds.last().copied().unwrap_or(0);
        Ok(Self {
            leaf_value,
            left: list(block, "left_child", splits)?,
            right: list(block, "right_child", splits)?,
            feature: list(block, "split_feature", splits)?,
            threshold: list(block, "threshold", splits)?,
            decision: if block.get("decision_type").is_some() {
                list(block, "decision_type", splits)?
            } else {
                vec![0; splits]
            },
            cat_words: if words == 0 { Vec::new() } else { list(block, "cat_threshold", words)? },
            cat_bounds,
            linear,
            counts: counts(block, splits).unwrap_or_default(),
        })
    }

    /// LightGBM explains by counts of rows, not by their weights.
    fn cover(&self, n: usize) -> f64 {
        self.counts.get(n).map_or(f64::NAN, |&count| count.into())
    }

    /// Node `n`: the splits come first, then the leaves.
    fn node(&self, n: usize) -> Result<RawNode<'_>, BadNode> {
        let splits = self.left.len();
        if n >= splits {
            let leaf = n - splits;
            let linear = self.linear.as_ref().map(|l| l.leaf(leaf));
            return Ok(RawNode::Leaf { value: self.leaf_value[leaf], linear, cover: self.cover(n) });
        }
        let child = |c: i32| if c >= 0 { c as usize } else { (!c as usize).saturating_add(splits) };
        // A child that is a split must be one: `child` puts the leaves right after them.
        for c in [self.left[n], self.right[n]] {
            if c >= 0 && c as usize >= splits {
                return Err(BadNode { node: n, what: format!("child {c} of {splits} splits") });
            }
        }
        let (test, missing_left) = self.test(n).map_err(|what| BadNode { node: n, what })?;
        let (left, right) = (child(self.left[n]), child(self.right[n]));
        Ok(RawNode::Split { column: self.feature[n] as usize, test, missing_left, left, right, cover: self.cover(n) })
    }

    fn test(&self, n: usize) -> Result<(Test<'_>, bool), String> {
        let (decision, threshold) = (self.decision[n], self.threshold[n]);
        if decision & CATEGORICAL != 0 {
            // The threshold is the number of the set. NaN goes right whatever the missing type.
            let sets = self.cat_bounds.len() - 1;
            if !(threshold >= 0.0 && threshold < sets as f64) {
                return Err(format!("category set {threshold} of {sets}"));
            }
            let set = threshold as usize;
            let set = &self.cat_words[self.cat_bounds[set]..self.cat_bounds[set + 1]];
            return Ok((Test::In { set, rule: Rule::F64Category, flipped: false }, false));
        }
        // Infinity is a threshold that LightGBM writes: it parts what is there from what is missing.
        if threshold.is_nan() {
            return Err("threshold is not a number".into());
        }
        let default_left = decision & DEFAULT_LEFT != 0;
        match decision >> 2 {
            // None: NaN counts as zero.
            0 => Ok((Test::AtMost { threshold, rule: Rule::F64 }, 0.0 <= threshold)),
            // Zero: zero and NaN are missing.
            1 => Ok((Test::AtMost { threshold, rule: Rule::F64ZeroMissing }, default_left)),
            // NaN is missing.
            2 => Ok((Test::AtMost { threshold, rule: Rule::F64 }, default_left)),
            _ => Err(format!("decision type {decision}, expected 0 to 11")),
        }
    }
}

impl LinearArrays {
    fn read(block: &Block<'_>, leaves: usize) -> Result<Self, String> {
        let counts: Vec<usize> = list(block, "num_features", leaves)?;
        let mut bounds = vec![0usize];
        for count in counts {
            bounds.push(bounds[bounds.len() - 1].saturating_add(count));
        }
        let terms = bounds[leaves];
        let (columns, coefficients) = if terms == 0 {
            (Vec::new(), Vec::new())
        } else {
            (list(block, "leaf_features", terms)?, list(block, "leaf_coeff", terms)?)
        };
        Ok(Self { constant: list(block, "leaf_const", leaves)?, bounds, columns, coefficients })
    }

    fn leaf(&self, leaf: usize) -> Linear<'_> {
        let terms = self.bounds[leaf]..self.bounds[leaf + 1];
        Linear {
            constant: self.constant[leaf],
            columns: &self.columns[terms.clone()],
            coefficients: &self.coefficients[terms],
        }
    }
}

/// Rows in the splits, then in the leaves. Scoring has no use for them, so that odd ones do not make a model unfit.
fn counts(block: &Block<'_>, splits: usize) -> Result<Vec<i32>, String> {
    let mut counts = list(block, "internal_count", splits)?;
    counts.extend(list::<i32>(block, "leaf_count", splits + 1)?);
    Ok(counts)
}

fn field<'a>(block: &Block<'a>, key: &str) -> Result<&'a str, String> {
    block.get(key).ok_or_else(|| format!("no `{key}`"))
}

fn one<T: FromStr>(block: &Block<'_>, key: &str) -> Result<T, String> {
    let value = field(block, key)?;
    value.trim().parse().map_err(|_| format!("`{key}={}` is not a count", shown(value)))
}

/// A list of exactly `expected` numbers.
fn list<T: FromStr>(block: &Block<'_>, key: &str, expected: usize) -> Result<Vec<T>, String> {
    if expected == 0 {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    for token in field(block, key)?.split_ascii_whitespace() {
        let value = token.parse();
        values.push(value.map_err(|_| format!("`{key}` has `{}` at place {}", shown(token), values.len()))?);
    }
    if values.len() != expected {
        return Err(format!("`{key}` has {} values, expected {expected}", values.len()));
    }
    Ok(values)
}
