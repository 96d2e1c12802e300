//! Kernels against the plain walk, to the bit: forests of all shapes, at every level that this processor has.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::Scratch;
use crate::forest::{Builder, RawNode, Rule, Test};

mod edges;

/// A tree before it is built: how each node tests, by picks that are reduced to what there is.
#[derive(Clone, Debug)]
struct Sketch {
    leaves: usize,
    picks: Vec<(u32, u32, bool)>,
    /// Always split the newest leaf, which makes a chain.
    chain: bool,
}

#[derive(Clone, Debug)]
struct Forested {
    trees: Vec<Sketch>,
    columns: usize,
    /// Different thresholds.
    values: u32,
    groups: u32,
    categories: bool,
}

fn sketch(leaves: impl Strategy<Value = usize>) -> impl Strategy<Value = Sketch> {
    let picks = prop::collection::vec(any::<(u32, u32, bool)>(), 64);
    (leaves, picks, any::<bool>()).prop_map(|(leaves, picks, chain)| Sketch { leaves, picks, chain })
}

fn forests() -> impl Strategy<Value = Forested> {
    let leaves = prop_oneof![6 => 1usize..9, 4 => 9usize..64, 2 => 64usize..257, 1 => 257usize..700];
    let trees = prop::collection::vec(sketch(leaves), 1..12);
    let columns = prop_oneof![4 => 1usize..5, 2 => 5usize..60, 1 => 60usize..300];
    let values = prop_oneof![1u32..5, 5u32..260, 260u32..2000];
    (trees, columns, values, 1u32..4, any::<bool>()).prop_map(|(trees, columns, values, groups, categories)| Forested {
        trees,
        columns,
        values,
        groups,
        categories,
    })
}

/// Thresholds around zero, zeros and infinities among them.
fn threshold(pick: u32, values: u32) -> f64 {
    match pick % values {
        0 => 0.0,
        1 => -0.0,
        2 => f64::INFINITY,
        3 => f64::NEG_INFINITY,
        v => (f64::from(v) - f64::from(values) / 2.0) * 0.37,
    }
}

fn build(forested: &Forested) -> Forest {
    let mut builder = Builder::new(forested.columns);
    for (t, tree) in forested.trees.iter().enumerate() {
        let mut children: Vec<Option<(usize, usize)>> = vec![None];
        let mut open = vec![0];
        for nth in 1..tree.leaves {
            let pick = tree.picks[nth % tree.picks.len()];
            let at = if tree.chain { open.len() - 1 } else { (pick.0 as usize + nth) % open.len() };
            let parent = open.swap_remove(at);
            children[parent] = Some((children.len(), children.len() + 1));
            open.extend([children.len(), children.len() + 1]);
            children.extend([None, None]);
        }
        let sets = [[0b1011_0101u32, 7], [u32::MAX, 0], [0, 0]];
        let node = |n: usize| {
            let (a, b, missing_left) = tree.picks[(n * 7 + t) % tree.picks.len()];
            let Some((left, right)) = children[n] else {
                return Ok(RawNode::Leaf { value: f64::from(a) / 1e9 - 2.0, linear: None, cover: 1.0 });
            };
            let column = (a as usize + n) % forested.columns;
            let test = match b % 16 {
                0 | 1 if forested.categories => {
                    Test::In { set: &sets[b as usize % 3], rule: Rule::F64Category, flipped: b % 2 == 0 }
                }
                2 => Test::AtMost { threshold: f64::NAN, rule: Rule::F32 },
                3 => Test::AtMost { threshold: threshold(b / 16, forested.values), rule: Rule::F64ZeroMissing },
                4 | 5 => Test::AtMost { threshold: threshold(b / 16, forested.values), rule: Rule::F32 },
                _ => Test::AtMost { threshold: threshold(b / 16, forested.values), rule: Rule::F64 },
            };
            Ok(RawNode::Split { column, test, missing_left, left, right, cover: 1.0 })
        };
        builder.add(t as u32 % forested.groups, children.len(), node).unwrap();
    }
    builder.finish()
}

/// Values on, between and beyond the thresholds, and none.
fn batch(rows: usize, forested: &Forested, seed: u32) -> Batch {
    let mut batch = Batch::new(forested.columns, rows);
    let mut state = seed | 1;
    for row in 0..rows {
        for column in 0..forested.columns {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let value = match state % 9 {
                0 => f64::NAN,
                1 => f64::from(state >> 8) / 1e6 - 8.0,
                2 => f64::from(state >> 8 & 63),
                3 => -0.0,
                _ => threshold(state >> 8, forested.values),
            };
            batch.set(row, column, value);
        }
    }
    batch
}

fn compare<S: Sum>(forested: &Forested, seed: u32) {
    let forest = build(forested);
    let width = forested.groups as usize;
    for rows in [1, 2, 5, 8, 13, 16, 17, 40, 64, 69, 96, 128, 130] {
        let batch = batch(rows, forested, seed.wrapping_add(rows as u32));
        let mut expected = vec![0.5; rows * width];
        forest.add::<S>(&batch, &mut Scratch::default(), &mut expected, width);
        for level in Level::ALL.into_iter().filter(|l| l.here()) {
            let kernel = Kernel::new(&forest, Lanes::of(&forest).unwrap(), level, usize::MAX);
            let mut margins = vec![0.5; rows * width];
            // A bench that has seen other rows.
            let mut bench = Bench::default();
            kernel.add::<S>(&forest, &batch, &mut bench, &mut vec![0.0; rows * width], width);
            kernel.add::<S>(&forest, &batch, &mut bench, &mut margins, width);
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&margins), bits(&expected), "{level}, {rows} rows");
        }
        single_rows::<S>(&forest, &batch, &expected, width);
    }
}

/// The tables of supernodes by the plain decisions, whatever the processor; and the fast decisions where it has them.
fn single_rows<S: Sum>(forest: &Forest, batch: &Batch, expected: &[f64], width: usize) {
    let (lanes, index) = Lanes::of(forest).unwrap();
    let blocks = Blocks::new(forest, &lanes, &index, true);
    let Some(supernodes) = Supernodes::new(forest, &lanes, &index, usize::MAX, |t| blocks.leaves_at(t)) else { return };
    for (row, expected) in expected.chunks(width).enumerate().take(20) {
        let mut ranks = Ranks::default();
        let ranks = ranks.of(lanes.len());
        lanes.rank_one(&forest.sets, batch, row, ranks);
        let (mut masks, flipped) = (Vec::new(), supernodes::Ranks::flipped(ranks));
        supernodes.decide(&flipped, &mut masks);
        #[cfg(target_arch = "x86_64")]
        if Level::Avx512.here() {
            let mut fast = Vec::new();
            // SAFETY: this processor has what it takes.
            unsafe { supernodes.decide_avx512(&flipped, &mut fast) };
            assert_eq!(fast, masks, "row {row}");
        }
        let mut margins = vec![0.5; width];
        supernodes.resolve(&masks, blocks.leaves(), |tree, leaf| {
            let margin = &mut margins[forest.groups[tree] as usize];
            *margin = S::add(*margin, leaf);
        });
        assert_eq!(margins, expected, "row {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_level_gives_the_bits_of_the_plain_walk(forested in forests(), seed in any::<u32>(), f32s in any::<bool>()) {
        if f32s { compare::<f32>(&forested, seed) } else { compare::<f64>(&forested, seed) }
    }
}

#[test]
fn a_forest_of_more_lanes_than_operations_tell_is_walked() {
    let mut builder = Builder::new(5000);
    for column in 0..5000 {
        let test = Test::AtMost { threshold: f64::from(column as u32 % 7), rule: Rule::F64 };
        let split = RawNode::Split { column, test, missing_left: false, left: 1, right: 2, cover: 1.0 };
        let leaf = |value| RawNode::Leaf { value, linear: None, cover: 1.0 };
        builder.add(0, 3, |n| Ok([split, leaf(1.0), leaf(2.5)][n])).unwrap();
    }
    let forest = builder.finish();
    let (lanes, index) = Lanes::of(&forest).unwrap();
    assert_eq!(lanes.len(), 5000);
    let kernel = Kernel::new(&forest, (lanes, index), Level::best(), usize::MAX);
    let batch = Batch::from_rows(5000, &vec![(0..5000).map(|c| f64::from(c % 11)).collect::<Vec<_>>(); 40]);
    let (mut expected, mut margins) = (vec![0.0; 40], vec![0.0; 40]);
    forest.add::<f64>(&batch, &mut Scratch::default(), &mut expected, 1);
    kernel.add::<f64>(&forest, &batch, &mut Bench::default(), &mut margins, 1);
    assert_eq!(margins, expected);
}
