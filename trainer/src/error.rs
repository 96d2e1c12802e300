//! Why `train` and `publish` fail.

use headgate_registry::gate::ConditionError;
use headgate_registry::{PublishError as RegistryError, StoreError};

use crate::data::DataError;
use crate::filter::FilterError;
use crate::fit::FitError;
use crate::lightgbm::LightgbmError;
use crate::lightgbm::params::ParameterError;
use crate::plan::PlanError;
use crate::proof::ProofError;

/// Why nothing was trained. What a single scope fails of is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// `--where` is wrong. The caller's fault.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `--where` takes no row. The caller's fault.
    #[error("--where takes none of {rows} rows")]
    NoRows {
        /// How many there are.
        rows: usize,
    },
    /// A column is not there, or can't be what it was said to be. The caller's fault.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A parameter is wrong. The caller's fault.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// LightGBM is not here.
    #[error(transparent)]
    Lightgbm(#[from] LightgbmError),
    /// The one model could not be trained.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The version could not be published; run again, it goes on.
    #[error(transparent)]
    Publish(#[from] RegistryError),
    /// `--if` can't be read. The caller's fault.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The store can't be written to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file on this machine can't be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A thread of ours ended by itself: a fault of ours.
    #[error("internal fault: {0}")]
    Internal(String),
}

/// Why a file was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The file, or the golden rows, can't be read. The caller's fault.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is no model that is served. The publisher's fault.
    #[error("{path} is no model that can be served: {why}")]
    Model {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// The golden rows are broken. The publisher's fault.
    #[error("{path}: {why}")]
    Golden {
        /// The file.
        path: String,
        /// What is wrong, and where.
        why: String,
    },
    /// An option contradicts the model. The caller's fault.
    #[error("{0}")]
    Option(String),
    /// The golden rows do not reproduce: the version would be refused by every backend.
    #[error("not published: {0}")]
    Proof(#[from] ProofError),
    /// The store's words; run again, it goes on.
    #[error(transparent)]
    Publish(#[from] RegistryError),
    /// `--if` can't be read. The caller's fault.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The store can't be written to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file on this machine can't be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A thread of ours ended by itself: a fault of ours.
    #[error("internal fault: {0}")]
    Internal(String),
}
