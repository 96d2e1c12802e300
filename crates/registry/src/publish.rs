//! A new version goes into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use headgate_contract::manifest::{
    BYTES_MAX, EngineSpec, FeatureStatistics, FileEntry, Golden, Lineage, ManifestError, Signature, check_file_name,
};
use headgate_contract::{Digest, Manifest, ModelName, Version, format};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::catalog::{self, CatalogError};
use crate::store::{Intent, Store, StoreError};
use crate::versions::{self, VersionError};

mod claim;
mod finish;

use finish::Finished;

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

/// How many closed versions of one build are passed by.
const CLOSED_MAX: usize = 64;

/// Publishes a version. A pure function of its inputs: the same build key gives the same version, and two callers at once
/// end with the same one. May be killed at any point and called again.
pub async fn publish(
    store: &Store,
    new: NewVersion,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Published, PublishError> {
    let model = new.model.clone();
    for (name, _) in &new.files {
        check_file_name(name).map_err(|source| PublishError::Manifest { model: model.clone(), source })?;
    }
    let files = hash_files(&new.files, progress).await?;
    let (mut manifest, mut key) = (draft(&new, &files), new.build_key);
    check(&manifest).map_err(|source| PublishError::Manifest { model: model.clone(), source })?;
    store.probe(Intent::Publish(&model)).await?;
    let progress = Mutex::new(progress);
    for _ in 0..CLOSED_MAX {
        let (version, own) = match claim::lookup(store, &model, &key).await? {
            Some(version) => (version, false),
            None => claim::claim(store, &model, &key, &new.who).await?,
        };
        let there = if own { There::Unfinished } else { there(store, &model, version).await? };
        let finished = match there {
            There::Whole(digest) => return Ok(Published { version, digest, outcome: Outcome::AlreadyThere }),
            There::Closed => Finished::Abandoned,
            There::Unfinished => {
                tell(&progress, Progress::Claimed { version });
                manifest.version = version;
                finish::finish(store, &manifest, &files, &progress).await?
            }
        };
        match finished {
            Finished::Whole(digest) => {
                tell(&progress, Progress::Done { version });
                let outcome = if own { Outcome::Created } else { Outcome::Finished };
                return Ok(Published { version, digest, outcome });
            }
            Finished::Abandoned => key = claim::next_key(&key, version),
        }
    }
    Err(PublishError::Stuck { model, why: format!("{CLOSED_MAX} versions of this build were closed") })
}

/// The whole version that a build is, where there is one, so that nothing need be trained again. Nothing is written.
pub async fn lookup_build(
    store: &Store,
    model: &ModelName,
    build_key: &Digest,
) -> Result<Option<Published>, PublishError> {
    let mut key = *build_key;
    for _ in 0..CLOSED_MAX {
        let version = match claim::lookup(store, model, &key).await {
            Ok(Some(version)) => version,
            // Publishing makes the folder of a store that is not there yet.
            Ok(None) | Err(PublishError::Store(StoreError::NoStore { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        match there(store, model, version).await? {
            There::Whole(digest) => return Ok(Some(Published { version, digest, outcome: Outcome::AlreadyThere })),
            There::Unfinished => return Ok(None),
            There::Closed => key = claim::next_key(&key, version),
        }
    }
    Ok(None)
}

/// What is there of a version that a build key names.
enum There {
    Whole(Digest),
    Unfinished,
    /// Abandoned or dead: it will never be served.
    Closed,
}

async fn there(store: &Store, model: &ModelName, version: Version) -> Result<There, PublishError> {
    let stuck = |why: String| PublishError::Stuck { model: model.clone(), why };
    let digest = match versions::manifest(store, model, version).await {
        Ok((_, digest)) => digest,
        Err(VersionError::Unfinished { .. } | VersionError::NotFound { .. }) => return Ok(There::Unfinished),
        Err(VersionError::Abandoned { .. }) => return Ok(There::Closed),
        Err(VersionError::Store(error)) => return Err(error.into()),
        Err(error @ VersionError::Broken { .. }) => return Err(stuck(error.to_string())),
    };
    match catalog::is_dead(store, model, version).await {
        Ok(true) => Ok(There::Closed),
        Ok(false) => Ok(There::Whole(digest)),
        Err(CatalogError::Store(error)) => Err(error.into()),
        Err(CatalogError::Garbled(why)) => Err(stuck(why)),
    }
}

/// Hashes the files; each with its entry in the manifest and its path.
async fn hash_files(
    files: &[(String, PathBuf)],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<(FileEntry, PathBuf)>, PublishError> {
    let mut hashed = Vec::with_capacity(files.len());
    for (name, path) in files {
        let fail = |source| PublishError::File { name: name.clone(), path: path.display().to_string(), source };
        let bytes = tokio::fs::metadata(path).await.map_err(fail)?.len();
        progress(Progress::Hashing { name: name.clone(), bytes });
        let owned = path.clone();
        let digest = tokio::task::spawn_blocking(move || hash_file(&owned)).await;
        let (size, sha256) = digest.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(fail)?;
        hashed.push((FileEntry { name: name.clone(), size, sha256 }, path.clone()));
    }
    Ok(hashed)
}

fn hash_file(path: &Path) -> std::io::Result<(u64, Digest)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let size = std::io::copy(&mut file, &mut hasher)?;
    Ok((size, Digest::from_bytes(hasher.finalize().into())))
}

/// The manifest to be, with a number that is replaced once one is claimed.
fn draft(new: &NewVersion, files: &[(FileEntry, PathBuf)]) -> Manifest {
    Manifest {
        format: format::MANIFEST.to_owned(),
        model: new.model.clone(),
        version: Version::FIRST,
        created: Timestamp::now(),
        build_key: new.build_key,
        abandoned: None,
        engine: new.engine.clone(),
        files: files.iter().map(|(entry, _)| entry.clone()).collect(),
        signature: new.signature.clone(),
        golden: new.golden.clone(),
        metrics: new.metrics.clone(),
        lineage: new.lineage.clone(),
        statistics: new.statistics.clone(),
        extra: BTreeMap::new(),
    }
}

/// Checks that what will be written can be read: JSON knows no NaN, and readers take no larger manifest.
fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    if let Some((name, value)) = manifest.metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(ManifestError::Invalid(format!("metric '{name}' is {value}: a finite number expected")));
    }
    let bytes = format::write(manifest);
    if bytes.len() as u64 > BYTES_MAX {
        return Err(ManifestError::Invalid(format!("a manifest of {} bytes, at most {BYTES_MAX}", bytes.len())));
    }
    Manifest::read(&bytes).map(drop)
}

fn tell(progress: &Mutex<&mut (dyn FnMut(Progress) + Send)>, what: Progress) {
    let mut progress = progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    progress(what);
}
