//! What every engine offers.

use crate::{Batch, Texts};

/// Which results a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Raw margins, before the objective's transform.
    pub margins: bool,
    /// Outputs, after it.
    pub outputs: bool,
    /// What each feature added to each margin.
    pub contributions: bool,
}

/// The results of a call. A part that was not asked for comes back empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// rows x [`Engine::margin_width`], row-major.
    pub margins: Vec<f64>,
    /// rows x [`Engine::output_width`], row-major.
    pub values: Vec<f64>,
    /// rows x [`Engine::margin_width`] x ([`Engine::inputs`] + 1), row-major: for each margin what each feature added to
    /// it, the bias last; they sum up to the margin.
    pub contributions: Vec<f64>,
    /// What values of text outputs name by place.
    pub texts: Texts,
}

/// Buffers that calls reuse; any engine can use any scratch.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Feature values of a block of rows, by slot.
    pub(crate) values: Vec<f64>,
    /// The leaf that each tree of a forest leads one row to.
    pub(crate) leaves: Vec<u32>,
    /// What the forests' kernels need.
    pub(crate) bench: crate::forest::Bench,
    /// Margins of a call that asks for outputs only.
    pub(crate) margins: Vec<f64>,
    /// What hashed linear models need.
    pub(crate) hashed: crate::linear::Buffers,
}

/// What an output row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A number for each target, in the target's own scale.
    Regression,
    /// The probability of the positive class, for each target.
    Binary,
    /// A probability for each of so many classes.
    Multiclass(usize),
    /// The index of one of so many classes.
    Class(usize),
    /// A score that only orders rows of one query.
    Ranking,
    /// Margins as they are: an objective that the model does not name, or that has no transform.
    Raw,
}

/// How the training library sums margins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarginKind {
    /// In `f64`.
    F64,
    /// In `f32`; margins and outputs are `f32` values, widened.
    F32,
}

/// What a model knows about a categorical column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Categorical {
    /// The greatest code that the file names for it, if it names any; a greater one is an unseen category.
    pub max_code: Option<u32>,
}

/// Why a call was not scored. The caller's fault, but for [`ScoreError::NotAdditive`]; the same call will fail again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScoreError {
    /// The batch is not of the model's shape.
    #[error("the batch has {came} columns, the model takes {expected}")]
    Columns {
        /// [`Engine::inputs`].
        expected: usize,
        /// [`Batch::columns`].
        came: usize,
    },
    /// The model can't say what its features contribute.
    #[error("contributions are not to be had: {0}")]
    Contributions(&'static str),
    /// Contributions that do not sum up to their margin are no answer. A fault of this build.
    #[error("margin {margin} of the batch is {expected}, and what was to add up to it gives {sum}")]
    NotAdditive {
        /// The margin's place in [`Outputs::margins`].
        margin: usize,
        /// What came.
        sum: f64,
        /// The margin.
        expected: f64,
    },
}

/// A loaded model. A row scored alone and in a batch has the same bits.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Number of feature columns.
    fn inputs(&self) -> usize;
    /// Names of the feature columns, in order; empty if the file carries none.
    fn input_names(&self) -> &[String];
    /// For each column, what the model knows of it as a categorical one; `None`: numeric.
    fn categorical(&self) -> &[Option<Categorical>];
    /// Whether a column is one of texts.
    fn takes_text(&self, _column: usize) -> bool {
        false
    }
    /// Why [`Want::contributions`] can't be answered; none where they can.
    fn no_contributions(&self) -> Option<&'static str> {
        Some("the model's engine does not explain")
    }
    /// An estimate of what contributions add to a row's cost, in nanoseconds.
    fn contributions_cost_ns_per_row(&self) -> f64 {
        0.0
    }
    /// Margins in a row.
    fn margin_width(&self) -> usize;
    /// Outputs in a row.
    fn output_width(&self) -> usize;
    /// What an output row means.
    fn output_kind(&self) -> OutputKind;
    /// How margins are summed.
    fn margin_kind(&self) -> MarginKind;
    /// An estimate of what a row costs alone, in nanoseconds.
    fn cost_ns_per_row(&self) -> f64;
    /// An estimate of what a batch of so many rows costs, in nanoseconds.
    fn cost_ns(&self, rows: usize) -> f64 {
        self.cost_ns_per_row() * rows as f64
    }
    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize;
    /// Scores all rows of the batch. `out` is overwritten, its allocation kept.
    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError>;
}
