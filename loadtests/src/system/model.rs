//! A model that needs no training: a random regression forest in LightGBM's text format, with rows and the results that
//! it must give them. Versions of it differ in their leaves, so that no two answer alike.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Features, trees and leaves a tree: the size of a small production model.
const FEATURES: usize = 20;
const TREES: usize = 100;
const LEAVES: usize = 31;

/// A random forest.
#[derive(Clone, Debug)]
pub struct Forest {
    trees: Vec<Tree>,
}

/// A tree as LightGBM stores it: children from 0 up are nodes, below 0 the leaf `!child`.
#[derive(Clone, Debug)]
struct Tree {
    feature: Vec<usize>,
    threshold: Vec<f64>,
    left: Vec<i32>,
    right: Vec<i32>,
    leaf: Vec<f64>,
}

/// `count` random rows; the same seed gives the same rows.
pub fn rows(count: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = StdRng::seed_from_u64(seed);
    // Two digits after the point: short bodies, and no value on a threshold, which have three.
    (0..count).map(|_| (0..FEATURES).map(|_| f64::from(random.random_range(-1000..=1000)) / 100.0).collect()).collect()
}

/// The name of feature number `at`.
fn name(at: usize) -> String {
    format!("f{at}")
}

/// A prediction call for one row, as the v1 protocol takes it.
pub fn body(row: &[f64]) -> String {
    serde_json::json!({ "instances": [row] }).to_string()
}

impl Forest {
    /// The forest of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self { trees: (0..TREES).map(|_| Tree::new(&mut random)).collect() }
    }

    /// Its result for a row: the sum of the leaves, in the order of the trees.
    pub fn score(&self, row: &[f64]) -> f64 {
        self.trees.iter().map(|tree| tree.score(row)).sum()
    }

    /// The forest as LightGBM would save it.
    pub fn text(&self) -> String {
        let trees: Vec<String> = self.trees.iter().enumerate().map(|(at, tree)| tree.text(at)).collect();
        let sizes = join(trees.iter().map(String::len));
        let names = join((0..FEATURES).map(name));
        let infos = join((0..FEATURES).map(|_| "[-10:10]"));
        format!(
            "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={}\n\
             objective=regression\nfeature_names={names}\nfeature_infos={infos}\ntree_sizes={sizes}\n\n{}\
             end of trees\n\nfeature_importances:\n\nparameters:\n[objective: regression]\nend of parameters\n\n\
             pandas_categorical:null\n",
            FEATURES - 1,
            trees.concat()
        )
    }

    /// Rows with their results, as `headgate publish --golden` reads them: one JSON object a line.
    pub fn golden(&self, rows: &[Vec<f64>]) -> String {
        let mut lines = String::new();
        for row in rows {
            let score = self.score(row);
            let results = [("margin".to_owned(), score), ("output".to_owned(), score)];
            let cells = row.iter().enumerate().map(|(at, x)| (name(at), *x)).chain(results);
            let line: serde_json::Map<_, _> = cells.map(|(name, x)| (name, x.into())).collect();
            // Writing to a string can't fail.
            let _ = writeln!(lines, "{}", serde_json::Value::Object(line));
        }
        lines
    }
}

impl Tree {
    fn new(random: &mut StdRng) -> Self {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        // Where each leaf hangs: its node, and whether to the left. A random leaf is split until there are enough.
        let mut hangs: Vec<Option<(usize, bool)>> = vec![None];
        while hangs.len() < LEAVES {
            let (node, old, new) = (left.len(), random.random_range(0..hangs.len()), hangs.len());
            match hangs[old] {
                Some((parent, true)) => left[parent] = node as i32,
                Some((parent, false)) => right[parent] = node as i32,
                None => {}
            }
            left.push(!(old as i32));
            right.push(!(new as i32));
            hangs[old] = Some((node, true));
            hangs.push(Some((node, false)));
        }
        Self {
            feature: left.iter().map(|_| random.random_range(0..FEATURES)).collect(),
            threshold: left.iter().map(|_| f64::from(random.random_range(-8000..8000)) / 1000.0 + 0.0005).collect(),
            leaf: hangs.iter().map(|_| random.random_range(-1.0..1.0)).collect(),
            left,
            right,
        }
    }

    fn score(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        loop {
            let child = match row[self.feature[node]] <= self.threshold[node] {
                true => self.left[node],
                false => self.right[node],
            };
            match usize::try_from(child) {
                Ok(next) => node = next,
                Err(_) => return self.leaf[!child as usize],
            }
        }
    }

    fn text(&self, at: usize) -> String {
        let nodes = self.left.len();
        let (ones, leaf_ones) = (join((0..nodes).map(|_| 1)), join((0..LEAVES).map(|_| 1)));
        // 2: numeric, missing values are none, default left.
        let decisions = join((0..nodes).map(|_| 2));
        format!(
            "Tree={at}\nnum_leaves={LEAVES}\nnum_cat=0\nsplit_feature={}\nsplit_gain={ones}\nthreshold={}\n\
             decision_type={decisions}\nleft_child={}\nright_child={}\nleaf_value={}\nleaf_weight={leaf_ones}\n\
             leaf_count={leaf_ones}\ninternal_value={ones}\ninternal_weight={ones}\ninternal_count={ones}\n\
             is_linear=0\nshrinkage=1\n\n\n",
            join(&self.feature),
            join(&self.threshold),
            join(&self.left),
            join(&self.right),
            join(&self.leaf),
        )
    }
}

fn join<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_leaf_hangs_on_exactly_one_node_and_every_node_but_the_root_too() {
        for tree in Forest::new(1).trees {
            let children: BTreeSet<i32> = tree.left.iter().chain(&tree.right).copied().collect();
            let expected: BTreeSet<i32> = (1..LEAVES as i32 - 1).chain((0..LEAVES as i32).map(|leaf| !leaf)).collect();
            assert_eq!((children, tree.left.len() + tree.right.len()), (expected, 2 * (LEAVES - 1)));
        }
    }

    #[test]
    fn versions_answer_differently_and_rows_too() {
        let rows = rows(50, 3);
        let scores = |seed| rows.iter().map(|row| Forest::new(seed).score(row).to_bits()).collect::<Vec<_>>();
        let all: BTreeSet<u64> = scores(1).into_iter().chain(scores(2)).collect();
        assert_eq!((all.len(), scores(1)), (100, scores(1)));
    }

    #[test]
    fn the_text_holds_the_trees_where_it_says() {
        let text = Forest::new(5).text();
        let sizes = text.lines().find_map(|line| line.strip_prefix("tree_sizes=")).unwrap();
        let mut at = text.find("Tree=0").unwrap();
        for (tree, size) in sizes.split(' ').map(|size| size.parse::<usize>().unwrap()).enumerate() {
            assert!(text[at..].starts_with(&format!("Tree={tree}\n")), "tree {tree}");
            at += size;
        }
        assert!(text[at..].starts_with("end of trees"));
    }
}
