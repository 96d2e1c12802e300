//! What is learnt from what: the target, and the features with their categories.

pub mod feature;
pub mod overrides;
pub mod target;

pub use feature::{Coding, Feature};
pub use overrides::Overrides;
pub use target::{Target, Task};

/// Why nothing can be learnt. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A named column is not there.
    #[error("no column '{name}'{hint}")]
    NoColumn {
        /// The name that came.
        name: String,
        /// The nearest one.
        hint: String,
    },
    /// The target can't be learnt.
    #[error("target '{name}': {why}")]
    Target {
        /// The column.
        name: String,
        /// Why not.
        why: String,
    },
    /// A column can't be what it was said to be.
    #[error("column '{name}': {why}")]
    Column {
        /// The column.
        name: String,
        /// Why not.
        why: String,
    },
    /// Nothing is left to learn from.
    #[error("no feature is left: {0}")]
    NoFeature(String),
    /// Too few rows.
    #[error("{rows} rows, at least {least} expected")]
    FewRows {
        /// How many.
        rows: usize,
        /// How many it takes.
        least: usize,
    },
}
