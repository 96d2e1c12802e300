//! A new version goes into the store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headgate_contract::manifest::{EngineSpec, FeatureStatistics, Golden, Lineage, ManifestError, Signature};
use headgate_contract::{Digest, ModelName, Version};

use crate::store::{Store, StoreError};

/// A version to be.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The model.
    pub model: ModelName,
    /// The hash of data, code and parameters: the same key is the same version.
    pub build_key: Digest,
    /// What runs it.
    pub engine: EngineSpec,
    /// What goes in and what comes out.
    pub signature: Signature,
    /// Rows whose results the trainer knows.
    pub golden: Option<Golden>,
    /// The evaluation.
    pub metrics: BTreeMap<String, f64>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// What the training data looked like.
    pub statistics: Vec<FeatureStatistics>,
    /// The artifacts: the name in the version (one plain path segment) and where the file is.
    pub files: Vec<(String, PathBuf)>,
    /// Who publishes: [`crate::whoami`].
    pub who: String,
}

/// A whole version in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its number.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// How it came to be whole.
    pub outcome: Outcome,
}

/// How a version came to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call made it.
    Created,
    /// It was there unfinished, and this call finished it.
    Finished,
    /// It was there whole: nothing was written.
    AlreadyThere,
}

/// How far a publish is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The files are being hashed.
    Hashing {
        /// The file.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The version has its number.
    Claimed {
        /// The number.
        version: Version,
    },
    /// A file is going up.
    Uploading {
        /// The file.
        name: String,
        /// How much has gone, in bytes.
        done: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The version is whole.
    Done {
        /// The number.
        version: Version,
    },
}

/// Why a publish failed. Nothing that is servable is left behind; the same call, run again, goes on.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// What is to be published contradicts itself. The caller's fault.
    #[error("model {model}: {source}")]
    Manifest {
        /// The model.
        model: ModelName,
        /// What is wrong.
        source: ManifestError,
    },
    /// A file can't be read. The caller's fault.
    #[error("file '{name}' at {path}: {source}")]
    File {
        /// Its name in the version.
        name: String,
        /// Where it should be.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is in the store can't be gone on from.
    #[error("model {model}: {why}")]
    Stuck {
        /// The model.
        model: ModelName,
        /// What is there.
        why: String,
    },
    /// The store failed, or lacks something.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Publishes a version. A pure function of its inputs: the same build key gives the same version, and two callers at once
/// end with the same one. May be killed at any point and called again.
pub async fn publish(
    store: &Store,
    new: NewVersion,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Published, PublishError> {
    let _ = (store, new, progress);
    todo!()
}

/// The whole version that a build is, where there is one, so that nothing need be trained again. Nothing is written.
pub async fn lookup_build(
    store: &Store,
    model: &ModelName,
    build_key: &Digest,
) -> Result<Option<Published>, PublishError> {
    let _ = (store, model, build_key);
    todo!()
}
