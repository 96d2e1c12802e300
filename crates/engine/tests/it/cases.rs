//! Cases as `differential.py` writes them, and how they are compared.

use std::path::Path;

use headgate_engine::{Batch, Engine, Limits, MarginKind, Outputs, Scratch, Want, load};

/// Outputs may differ by so many units in the last place: C libraries differ in `exp`.
const OUTPUT_ULPS: u64 = 2;

/// Contributions may differ from LightGBM's by so much of a margin's sum of absolute contributions.
const CONTRIBUTIONS_F64: f64 = 1e-13;
/// And from XGBoost's, which are summed in `f32`.
const CONTRIBUTIONS_F32: f64 = 1e-5;

/// A model file with rows and the training library's own scores of them.
pub(crate) struct Case {
    name: String,
    engine: Box<dyn Engine>,
    batch: Batch,
    margins: Vec<f64>,
    outputs: Vec<f64>,
    contributions: Contributions,
}

/// What the training library says of its features' contributions.
enum Contributions {
    /// Nothing: it was not asked.
    Unknown,
    /// It can't, and no more can the engine.
    Refused,
    /// Rows x margins x (columns + 1), the bias last.
    Values(Vec<f64>),
}

fn f64s(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn f32s(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
}

/// All cases of a folder.
pub(crate) fn read(folder: &Path) -> Vec<Case> {
    let index = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    index.lines().map(|line| case(folder, &serde_json::from_str(line).unwrap())).collect()
}

fn case(folder: &Path, line: &serde_json::Value) -> Case {
    let name = line["name"].as_str().unwrap().to_owned();
    let file = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let number = |key: &str| line[key].as_u64().unwrap() as usize;
    let format = line["format"].as_str().unwrap().parse().unwrap();
    let engine = load(format, &file("model"), &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let rows: Vec<Vec<f64>> = f64s(&file("x")).chunks(number("columns")).map(<[f64]>::to_vec).collect();
    assert_eq!(rows.len(), number("rows"), "{name}");
    assert_eq!(engine.inputs(), number("columns"), "{name}");
    assert_eq!(engine.margin_width(), number("margins"), "{name}");
    assert_eq!(engine.output_width(), number("outputs"), "{name}");
    let widened = if engine.margin_kind() == MarginKind::F64 { f64s } else { f32s };
    let batch = Batch::from_rows(number("columns"), &rows);
    let contributions = match line.get("contributions").map(serde_json::Value::as_bool) {
        None => Contributions::Unknown,
        Some(Some(false)) => Contributions::Refused,
        Some(_) => Contributions::Values(widened(&file("contributions"))),
    };
    let (margins, outputs) = (widened(&file("margins")), widened(&file("outputs")));
    Case { engine, batch, margins, outputs, contributions, name }
}

impl Case {
    /// Scores the rows at once and one by one, and compares with the library's scores.
    pub(crate) fn check(&self) {
        let (mut scratch, mut out) = (Scratch::default(), Outputs::default());
        self.engine
            .score(&self.batch, &mut scratch, &mut out, Want { margins: true, outputs: true, contributions: false })
            .unwrap();
        self.compare("margin", &out.margins, &self.margins, 0);
        self.compare("output", &out.values, &self.outputs, OUTPUT_ULPS);
        self.check_contributions();
        let (whole, columns) = (out, self.batch.columns());
        let mut row = Batch::default();
        // From 1 row to more than a block, so that each way of walking is met.
        for rows in [1, 2, 5, 6, 7, 65] {
            let mut first = 0;
            while first < self.batch.rows() {
                let n = rows.min(self.batch.rows() - first);
                row.reset(columns, n);
                for c in 0..columns {
                    row.column_mut(c).copy_from_slice(&self.batch.column(c)[first..first + n]);
                }
                let mut out = Outputs::default();
                self.engine
                    .score(&row, &mut scratch, &mut out, Want { margins: true, outputs: true, contributions: false })
                    .unwrap();
                let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
                let at = first * self.engine.margin_width();
                assert!(same(&out.margins, &whole.margins[at..]), "{}: {rows} rows from {first}", self.name);
                let at = first * self.engine.output_width();
                assert!(same(&out.values, &whole.values[at..]), "{}: {rows} rows from {first}", self.name);
                first += n;
            }
        }
    }

    /// The library sums up in another order, and XGBoost in `f32`: differences are measured by the margin's sum of
    /// absolute contributions.
    fn check_contributions(&self) {
        let theirs = match &self.contributions {
            Contributions::Unknown => return,
            Contributions::Refused => return assert!(self.engine.no_contributions().is_some(), "{}", self.name),
            Contributions::Values(theirs) => theirs,
        };
        assert_eq!(self.engine.no_contributions(), None, "{}", self.name);
        let allowed = if self.engine.margin_kind() == MarginKind::F64 { CONTRIBUTIONS_F64 } else { CONTRIBUTIONS_F32 };
        let (columns, width) = (self.batch.columns() + 1, self.engine.margin_width());
        let ours = self.explain(0, self.batch.rows());
        assert_eq!(ours.len(), theirs.len(), "{}", self.name);
        for (i, (ours, theirs)) in ours.chunks(columns).zip(theirs.chunks(columns)).enumerate() {
            let whole: f64 = theirs.iter().map(|c| c.abs()).sum();
            for (c, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                let apart = (ours - theirs).abs() / whole.max(f64::MIN_POSITIVE);
                assert!(
                    apart <= allowed,
                    "{}: column {c} adds {ours:?} to margin {i}, the library says {theirs:?}, {apart:e} of {whole} apart",
                    self.name
                );
            }
        }
        for row in [0, 1, self.batch.rows() - 1] {
            let (alone, at) = (self.explain(row, 1), row * width * columns);
            assert_eq!(alone, ours[at..at + alone.len()], "{}: row {row} alone", self.name);
        }
    }

    /// The contributions of so many rows.
    fn explain(&self, first: usize, rows: usize) -> Vec<f64> {
        let mut batch = Batch::new(self.batch.columns(), rows);
        for c in 0..batch.columns() {
            batch.column_mut(c).copy_from_slice(&self.batch.column(c)[first..first + rows]);
        }
        let mut out = Outputs::default();
        let want = Want { contributions: true, ..Want::default() };
        let scored = self.engine.score(&batch, &mut Scratch::default(), &mut out, want);
        scored.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        out.contributions
    }

    fn compare(&self, what: &str, ours: &[f64], theirs: &[f64], allowed: u64) {
        assert_eq!(ours.len(), theirs.len(), "{}: {what}s", self.name);
        let width = theirs.len() / self.batch.rows();
        for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            let apart = match self.engine.margin_kind() {
                _ if ours.is_nan() && theirs.is_nan() => 0,
                MarginKind::F64 => ulps_f64(ours, theirs),
                MarginKind::F32 => ulps_f32(ours as f32, theirs as f32),
            };
            assert!(
                apart <= allowed,
                "{}: {what} {i} (row {}): {ours:?}, the library says {theirs:?}, {apart} ulps apart",
                self.name,
                i / width
            );
        }
    }
}

/// Distance between two floats of one sign by their bits; for different signs far, but for the two zeros.
fn ulps_f64(a: f64, b: f64) -> u64 {
    if a == b { 0 } else { a.to_bits().abs_diff(b.to_bits()) }
}

fn ulps_f32(a: f32, b: f32) -> u64 {
    if a == b { 0 } else { a.to_bits().abs_diff(b.to_bits()).into() }
}
