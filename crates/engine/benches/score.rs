//! Nanoseconds a row, by batch size, scored and explained, for a LightGBM text model: `cargo bench -p headgate-engine [-- MODEL]`, or without
//! one for synthetic forests of 500 trees x 63 leaves and 100 x 31 on 50 features.

use std::fmt::Write as _;
use std::time::Instant;

use headgate_engine::{Batch, Format, Limits, Outputs, Scratch, Want, load};

fn main() {
    let named = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    match named {
        Some(path) => bench(&path, &std::fs::read(&path).expect("a model file")),
        None => {
            for (trees, leaves) in [(500, 63), (100, 31)] {
                bench(&format!("{trees} x {leaves}"), synthetic(trees, leaves, 50).as_bytes());
            }
        }
    }
}

fn bench(name: &str, model: &[u8]) {
    let started = Instant::now();
    let engine = load(Format::LightgbmText, model, &Limits::default()).expect("a valid model");
    let loaded = started.elapsed();
    println!(
        "{name}: loaded in {loaded:.1?}, {} KiB, {:.0} ns a row and {:.0} to explain it by its own estimate",
        engine.memory_bytes() / 1024,
        engine.cost_ns_per_row(),
        engine.contributions_cost_ns_per_row()
    );
    let mut random = Random(88_172_645_463_325_252);
    for rows in [1, 8, 64, 1000] {
        let batches: Vec<Batch> = (0..(2048 / rows).max(4))
            .map(|_| {
                let mut batch = Batch::new(engine.inputs(), rows);
                for c in 0..engine.inputs() {
                    batch.column_mut(c).iter_mut().for_each(|v| *v = random.uniform());
                }
                batch
            })
            .collect();
        let (mut scratch, mut out) = (Scratch::default(), Outputs::default());
        let mut best_of = |rounds: usize, batches: &[Batch], want: Want| {
            // What the machine does beside us only ever adds.
            let mut best = f64::INFINITY;
            for _ in 0..rounds {
                let started = Instant::now();
                for batch in batches {
                    engine.score(batch, &mut scratch, &mut out, want).expect("a batch of the model's shape");
                }
                best = best.min(started.elapsed().as_nanos() as f64 / (batches.len() * rows) as f64);
            }
            best
        };
        let scored = best_of(7, &batches, Want { outputs: true, ..Want::default() });
        println!("  batch {rows:>4}: {scored:>8.0} ns a row");
        if engine.no_contributions().is_none() {
            let few = &batches[..batches.len().min((64 / rows).max(1))];
            let explained = best_of(5, few, Want { contributions: true, ..Want::default() });
            println!("  batch {rows:>4}: {explained:>8.0} ns a row explained");
        }
    }
}

/// A forest grown leaf by leaf at random, thresholds in 0 to 1.
fn synthetic(trees: usize, leaves: usize, features: usize) -> String {
    let mut random = Random(7);
    let names: Vec<String> = (0..features).map(|f| format!("f{f}")).collect();
    let mut text = format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx={}\nobjective=binary sigmoid:1\nfeature_names={}\n\n",
        features - 1,
        names.join(" ")
    );
    for tree in 0..trees {
        // Splitting leaf l makes node n with l as its left and a new leaf as its right child.
        let (mut left, mut right, mut parent) = (vec![], vec![], vec![None::<(usize, bool)>]);
        for node in 0..leaves - 1 {
            let leaf = (random.uniform() * parent.len() as f64) as usize;
            if let Some((above, is_left)) = parent[leaf] {
                let children = if is_left { &mut left } else { &mut right };
                children[above] = node as i64;
            }
            left.push(!(leaf as i64));
            right.push(!(parent.len() as i64));
            parent[leaf] = Some((node, true));
            parent.push(Some((node, false)));
        }
        let list = |values: &[i64]| values.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        let mut numbers =
            |n: usize, scale: f64| (0..n).map(|_| (random.uniform() * scale).to_string()).collect::<Vec<_>>().join(" ");
        let thresholds = numbers(leaves - 1, 1.0);
        let values = numbers(leaves, 0.01);
        let columns: Vec<i64> = (0..leaves - 1).map(|_| (random.uniform() * features as f64) as i64).collect();
        let (leaf_counts, internal_counts) = counts(&left, &right);
        let decisions = vec!["10"; leaves - 1].join(" ");
        let _ = write!(
            text,
            "Tree={tree}\nnum_leaves={leaves}\nnum_cat=0\nsplit_feature={}\nthreshold={thresholds}\ndecision_type={decisions}\nleft_child={}\nright_child={}\nleaf_value={values}\nleaf_count={}\ninternal_count={}\n\n",
            list(&columns),
            list(&left),
            list(&right),
            list(&leaf_counts),
            list(&internal_counts)
        );
    }
    text + "end of trees\n"
}

/// Rows of leaves and of splits, 20 to each leaf. A split's child that is a split comes after it.
fn counts(left: &[i64], right: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let mut internal = vec![0; left.len()];
    for node in (0..left.len()).rev() {
        let count = |child: i64| if child < 0 { 20 } else { internal[child as usize] };
        internal[node] = count(left[node]) + count(right[node]);
    }
    (vec![20; left.len() + 1], internal)
}

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
