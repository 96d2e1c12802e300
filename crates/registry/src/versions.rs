//! What versions and models a store holds.

use std::collections::BTreeMap;

use headgate_contract::manifest::EngineSpec;
use headgate_contract::{Digest, Manifest, ModelName, Version};
use jiff::Timestamp;

use crate::store::{Store, StoreError};

/// A version as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionInfo {
    /// Its number.
    pub version: Version,
    /// What has become of it.
    pub state: VersionState,
}

/// What has become of a version.
#[derive(Clone, Debug, PartialEq)]
pub enum VersionState {
    /// It is whole, and may be released.
    Complete {
        /// Its manifest's digest.
        digest: Digest,
        /// When it was made.
        created: Timestamp,
        /// Its build key.
        build_key: Digest,
        /// What runs it.
        engine: EngineSpec,
        /// Its evaluation.
        metrics: BTreeMap<String, f64>,
        /// The size of its files together, in bytes.
        bytes: u64,
    },
    /// It is being uploaded, or its publisher was stopped: the same publish, run again, finishes it.
    Unfinished {
        /// Who claimed it; none where the claim can't be read.
        who: Option<String>,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It was closed unfinished: it is never served.
    Abandoned {
        /// Why.
        why: String,
    },
    /// It has a `_SUCCESS`, but its manifest can't be read or has another digest.
    Broken {
        /// What is wrong.
        why: String,
    },
}

/// Why a version can't be told. [`VersionError::NotFound`] and [`VersionError::Unfinished`] are the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// There is no such version.
    #[error("model {model} has no version {version} in {store}")]
    NotFound {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
        /// The store.
        store: String,
    },
    /// It has no `_SUCCESS`.
    #[error("version {version} of model {model} is unfinished: it has no _SUCCESS")]
    Unfinished {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
    },
    /// It was closed unfinished.
    #[error("version {version} of model {model} was abandoned: {why}")]
    Abandoned {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
        /// Why.
        why: String,
    },
    /// Its documents contradict each other, or can't be read. The publisher's fault, or the store's.
    #[error("version {version} of model {model} is broken: {why}")]
    Broken {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
        /// What is wrong.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All models of the store that have a version, finished or not, sorted.
pub async fn models(store: &Store) -> Result<Vec<ModelName>, StoreError> {
    let _ = store;
    todo!()
}

/// All versions of a model, oldest first.
pub async fn versions(store: &Store, model: &ModelName) -> Result<Vec<VersionInfo>, StoreError> {
    let _ = (store, model);
    todo!()
}

/// The manifest of a whole version and its digest, checked against `_SUCCESS`.
pub async fn manifest(store: &Store, model: &ModelName, version: Version) -> Result<(Manifest, Digest), VersionError> {
    let _ = (store, model, version);
    todo!()
}
