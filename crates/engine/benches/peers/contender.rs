//! What the bench asks of an engine.

use std::path::Path;

/// Why the bench can't go on, or why an engine can't take part.
pub(crate) type Failed = Box<dyn std::error::Error>;

/// An engine with a model loaded. It scores [`Rows`] in batches that it laid out before, in the form it takes, as a
/// server would have them after decoding a request: laying out is not timed.
pub(crate) trait Contender {
    /// Lays out all rows in batches of `rows` rows; a last, shorter one is left out.
    fn prepare(&mut self, rows: usize) -> Result<(), Failed>;

    /// Scores a batch. Timed. Peers give raw margins; this engine gives outputs, margins transformed.
    fn score(&mut self, batch: usize) -> Result<(), Failed>;

    /// Scores a batch and gives its raw margins.
    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed>;
}

/// The rows that all engines score.
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) features: usize,
    /// Row-major.
    pub(crate) f64: Vec<f64>,
    /// The same as `f32`.
    pub(crate) f32: Vec<f32>,
}

impl Rows {
    /// Reads rows of so many features.
    pub(crate) fn read(path: &Path, features: usize) -> Result<Self, Failed> {
        let values = read_f64(path)?;
        let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        if features == 0 || values.len() % features != 0 {
            return Err(format!("{} does not hold rows of {features} values", path.display()).into());
        }
        if narrow.iter().zip(&values).any(|(&n, &v)| f64::from(n) != v) {
            return Err(format!("{} holds values that no f32 has", path.display()).into());
        }
        Ok(Self { count: values.len() / features, features, f64: values, f32: narrow })
    }

    /// The values of a batch of `rows` rows, row-major.
    pub(crate) fn batch(&self, batch: usize, rows: usize) -> &[f64] {
        &self.f64[batch * rows * self.features..][..rows * self.features]
    }

    /// The same as `f32`.
    pub(crate) fn batch_f32(&self, batch: usize, rows: usize) -> &[f32] {
        &self.f32[batch * rows * self.features..][..rows * self.features]
    }
}

/// Little-endian `f64`s of a file.
pub(crate) fn read_f64(path: &Path) -> Result<Vec<f64>, Failed> {
    Ok(read(path)?.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect())
}

/// Little-endian `f32`s of a file, widened.
pub(crate) fn read_f32(path: &Path) -> Result<Vec<f64>, Failed> {
    Ok(read(path)?.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default()).into()).collect())
}

/// A file's bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()).into())
}
