//! Against the definition, and against what hostile files can hold.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use crate::engine::{Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::forest::{Builder, ForestEngine, Linear, Parts, RawNode, Rule, Test};
use crate::transform::Transform;
use crate::{Batch, Limits};

const COLUMNS: usize = 4;
const SET: [u32; 1] = [0b1010];

fn engine(columns: usize, trees: &[(u32, Vec<RawNode<'static>>)], start: &[f64]) -> ForestEngine {
    let mut builder = Builder::new(columns);
    for (group, nodes) in trees {
        builder.add(*group, nodes.len(), |n| Ok(nodes[n])).unwrap();
    }
    let parts = Parts {
        names: Vec::new(),
        categorical: vec![None; columns],
        start: start.to_vec(),
        sums: MarginKind::F64,
        average_over: None,
        transform: Transform::Identity,
        kind: OutputKind::Raw,
    };
    ForestEngine::new(builder, parts, &Limits::default()).unwrap()
}

fn explain(engine: &ForestEngine, rows: &[Vec<f64>]) -> Result<Vec<f64>, ScoreError> {
    let want = Want { contributions: true, ..Want::default() };
    let mut out = Outputs::default();
    engine.score(&Batch::from_rows(engine.inputs(), rows), &mut Scratch::default(), &mut out, want)?;
    Ok(out.contributions)
}

fn leaf(value: f64, cover: f64) -> RawNode<'static> {
    RawNode::Leaf { value, linear: None, cover }
}

fn split(column: usize, threshold: f64, left: usize, right: usize, cover: f64) -> RawNode<'static> {
    let test = Test::AtMost { threshold, rule: Rule::F64 };
    RawNode::Split { column, test, missing_left: true, left, right, cover }
}

/// A tree of so many splits, each in place of a random leaf: repeated columns, categories, leaves that no row reached.
fn random_tree() -> impl Strategy<Value = Vec<RawNode<'static>>> {
    let step = (any::<prop::sample::Index>(), 0..COLUMNS, 0..4u8, any::<bool>(), 0..4u32, -9..9i32, -9..9i32);
    prop::collection::vec(step, 0..12).prop_map(|steps| {
        let mut nodes = vec![leaf(0.5, 64.0)];
        for (which, column, threshold, missing_left, part, low, high) in steps {
            let leaves: Vec<usize> =
                (0..nodes.len()).filter(|&n| matches!(nodes[n], RawNode::Leaf { cover, .. } if cover > 0.0)).collect();
            let at = *which.get(&leaves);
            let RawNode::Leaf { cover, .. } = nodes[at] else { continue };
            let test = match column {
                3 => Test::In { set: &SET, rule: Rule::F64Category, flipped: missing_left },
                _ => Test::AtMost { threshold: f64::from(threshold), rule: Rule::F64 },
            };
            let (left, share) = (nodes.len(), f64::from(part) / 4.0);
            nodes[at] = RawNode::Split { column, test, missing_left, left, right: left + 1, cover };
            nodes.push(leaf(f64::from(low) / 4.0, cover * share));
            nodes.push(leaf(f64::from(high) / 4.0, cover * (1.0 - share)));
        }
        nodes
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (0..5u8).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(-1.0)]
}

/// What a tree is expected to give where only the columns of `known` are.
fn expected(nodes: &[RawNode<'_>], at: usize, row: &[f64], known: usize) -> f64 {
    let cover = |n: usize| match nodes[n] {
        RawNode::Leaf { cover, .. } | RawNode::Split { cover, .. } => cover,
    };
    match nodes[at] {
        RawNode::Leaf { value, .. } => value,
        RawNode::Split { column, test, missing_left, left, right, .. } => {
            let value = row[column];
            let goes_left = match test {
                _ if value.is_nan() => missing_left,
                Test::AtMost { threshold, .. } => value <= threshold,
                Test::In { set, flipped, .. } => (value >= 0.0 && set[0] >> value as u32 & 1 == 1) != flipped,
            };
            if known >> column & 1 == 1 {
                return expected(nodes, if goes_left { left } else { right }, row, known);
            }
            [left, right].iter().map(|&n| cover(n) / cover(at) * expected(nodes, n, row, known)).sum()
        }
    }
}

/// Shapley's own sum over all orders in which columns can become known.
fn shapley(nodes: &[RawNode<'_>], row: &[f64], column: usize) -> f64 {
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let others = (0..1usize << COLUMNS).filter(|set| set >> column & 1 == 0);
    let terms = others.map(|set| {
        let size = set.count_ones() as usize;
        let weight = factorial(size) * factorial(COLUMNS - size - 1) / factorial(COLUMNS);
        weight * (expected(nodes, 0, row, set | 1 << column) - expected(nodes, 0, row, set))
    });
    terms.sum()
}

proptest! {
    #[test]
    fn contributions_are_shapley_values(
        trees in prop::collection::vec(random_tree(), 1..4),
        rows in prop::collection::vec(prop::collection::vec(value(), COLUMNS), 1..4),
    ) {
        let grouped: Vec<_> = trees.iter().enumerate().map(|(t, nodes)| (t as u32 % 2, nodes.clone())).collect();
        let ours = explain(&engine(COLUMNS, &grouped, &[0.25, -3.0]), &rows).unwrap();
        for (r, row) in rows.iter().enumerate() {
            for margin in 0..2 {
                let of = || trees.iter().skip(margin).step_by(2);
                let ours = &ours[(2 * r + margin) * (COLUMNS + 1)..][..COLUMNS + 1];
                for (column, ours) in ours[..COLUMNS].iter().enumerate() {
                    let exact: f64 = of().map(|nodes| shapley(nodes, row, column)).sum();
                    prop_assert!((ours - exact).abs() < 1e-13, "column {}: {}, expected {}", column, ours, exact);
                }
                let bias = [0.25, -3.0][margin] + of().map(|nodes| expected(nodes, 0, row, 0)).sum::<f64>();
                prop_assert!((ours[COLUMNS] - bias).abs() < 1e-13);
            }
        }
    }
}

/// Each split's right child is the next one, over columns in turn.
fn chain(splits: usize, columns: usize) -> Vec<RawNode<'static>> {
    let cover = |n: usize| (2 * splits - n + 2) as f64;
    (0..2 * splits + 1)
        .map(|n| match n % 2 {
            0 if n < 2 * splits => split(n / 2 % columns, (n / 2) as f64, n + 1, n + 2, cover(n)),
            _ => leaf(n as f64, cover(n) / 2.0),
        })
        .collect()
}

#[test]
fn a_million_levels_are_no_deeper_a_call() {
    let engine = engine(2, &[(0, chain(1_000_000, 2))], &[0.0]);
    assert_eq!(engine.no_contributions(), None);
    let ours = explain(&engine, &[vec![1e9, 1e9]]).unwrap();
    assert_eq!(ours.len(), 3);
}

#[test]
fn next_to_no_cover_is_enough() {
    for tiny in [f64::MIN_POSITIVE, 5e-324] {
        let nodes = vec![
            split(0, 0.5, 1, 2, 1.0),
            leaf(3.0, 1.0),
            split(1, 0.5, 3, 4, 2.0 * tiny),
            leaf(1.0, tiny),
            leaf(2.0, tiny),
        ];
        let ours = explain(&engine(2, &[(0, nodes)], &[0.0]), &[vec![1.0, 1.0]]).unwrap();
        assert!(ours.iter().zip([-1.25, 0.25, 3.0]).all(|(a, b)| (a - b).abs() < 1e-14), "{ours:?}");
    }
}

#[test]
fn a_tree_of_one_leaf_needs_no_cover() {
    let engine = engine(1, &[(0, vec![leaf(0.75, f64::NAN)])], &[1.0]);
    assert_eq!(explain(&engine, &[vec![0.0]]).unwrap(), [0.0, 1.75]);
}

#[test]
fn up_to_128_columns_on_a_path_are_explained() {
    let many = engine(200, &[(0, chain(128, 200))], &[0.0]);
    let ours = explain(&many, &[vec![500.0; 200], vec![0.0; 200]]).unwrap();
    assert!(ours[..128].iter().all(|c| *c != 0.0) && ours[128..200].iter().all(|c| *c == 0.0));
    let refused = engine(200, &[(0, chain(129, 200))], &[0.0]);
    assert_eq!(refused.no_contributions(), Some("one of its trees asks over 128 different features on one path"));
    let refused = engine(200, &[(0, chain(200_000, 60))], &[0.0]);
    assert!(refused.no_contributions().unwrap().contains("too large"));
    assert!(matches!(explain(&refused, &[vec![0.0; 200]]), Err(ScoreError::Contributions(_))));
}

#[test]
fn odd_covers_and_linear_leaves_are_refused() {
    let refused = |nodes: Vec<RawNode<'static>>| engine(1, &[(0, nodes)], &[0.0]).no_contributions().unwrap();
    let covers = |root, left, right| vec![split(0, 0.0, 1, 2, root), leaf(1.0, left), leaf(2.0, right)];
    assert!(refused(covers(2.0, f64::NAN, 1.0)).contains("does not say"));
    assert!(refused(covers(f64::NAN, 1.0, 1.0)).contains("does not say"));
    for (root, left, right) in
        [(0.0, 0.0, 0.0), (-2.0, -1.0, -1.0), (2.0, -1.0, 3.0), (2.0, 3.0, 1.0), (f64::INFINITY, 1.0, 1.0)]
    {
        assert!(refused(covers(root, left, right)).contains("not positive, or rise"), "{root} {left} {right}");
    }
    let linear = Linear { constant: 0.0, columns: &[0], coefficients: &[1.0] };
    assert!(refused(vec![RawNode::Leaf { value: 1.0, linear: Some(linear), cover: 1.0 }]).contains("linear"));
}
