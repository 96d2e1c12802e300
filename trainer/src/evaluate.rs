//! How good a model is on rows that it has not seen. Plain definitions, checked against known values.

pub mod binary;
pub mod multiclass;
pub mod regression;

/// Rows whose predictions fall into one range of probabilities.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Bin {
    /// The range's lower end.
    pub from: f64,
    /// Its upper end.
    pub to: f64,
    /// How many rows.
    pub rows: usize,
    /// The mean probability predicted.
    pub predicted: f64,
    /// The part of the rows that were positive.
    pub observed: f64,
}

/// The least probability that a log is taken of.
const LEAST: f64 = 1e-15;

/// -ln of a probability, bounded so that one sure and wrong prediction does not make the mean infinite.
fn surprise(probability: f64) -> f64 {
    -probability.clamp(LEAST, 1.0 - LEAST).ln()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
