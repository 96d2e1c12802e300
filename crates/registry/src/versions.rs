//! What versions and models a store holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::claim::Claim;
use headgate_contract::manifest::{BYTES_MAX, EngineSpec, ManifestError};
use headgate_contract::{Digest, Manifest, ModelName, Version, format, layout};
use jiff::Timestamp;

use crate::documents::{SMALL_BYTES_MAX, heavy};
use crate::store::{Listing, Store, StoreError};

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

/// How many versions are looked at at once.
const AT_ONCE: usize = 16;

/// All models of the store that have a version, finished or not, sorted.
pub async fn models(store: &Store) -> Result<Vec<ModelName>, StoreError> {
    let bases = store.list(layout::MODELS).await?.folders;
    let lists = bases.into_iter().map(|folder| async move {
        let listing = store.list(&folder).await?;
        let mut found = Vec::new();
        if has_versions(&listing) {
            found.extend(model_of(&folder));
        }
        found.extend(listing.folders.iter().filter_map(|folder| model_of(folder)));
        Ok(found)
    });
    let lists: Vec<Vec<ModelName>> = stream::iter(lists).buffered(AT_ONCE).boxed().try_collect().await?;
    let mut models: Vec<ModelName> = lists.into_iter().flatten().collect();
    models.sort();
    Ok(models)
}

/// All versions of a model, oldest first.
pub async fn versions(store: &Store, model: &ModelName) -> Result<Vec<VersionInfo>, StoreError> {
    let numbers = numbers(store, model).await?;
    let infos = numbers
        .into_iter()
        .map(|version| async move { Ok(VersionInfo { version, state: state(store, model, version).await? }) });
    stream::iter(infos).buffered(AT_ONCE).boxed().try_collect().await
}

/// The numbers that were claimed, in order.
pub(crate) async fn numbers(store: &Store, model: &ModelName) -> Result<Vec<Version>, StoreError> {
    let listing = store.list(&format!("{}{model}/", layout::MODELS)).await?;
    let mut numbers: Vec<Version> = listing.folders.iter().filter_map(|f| layout::parse_version_dir(f)).collect();
    numbers.sort();
    Ok(numbers)
}

/// The manifest of a whole version and its digest, checked against `_SUCCESS`.
pub async fn manifest(store: &Store, model: &ModelName, version: Version) -> Result<(Manifest, Digest), VersionError> {
    let broken = |why: String| VersionError::Broken { model: model.clone(), version, why };
    let Some(success) = store.find(&layout::success(model, version), SMALL_BYTES_MAX).await? else {
        return Err(without_success(store, model, version).await?);
    };
    let expected = std::str::from_utf8(&success.bytes).ok().and_then(|text| text.trim().parse::<Digest>().ok());
    let expected = expected.ok_or_else(|| broken("its _SUCCESS holds no digest".to_owned()))?;
    let Some(found) = store.find(&layout::manifest(model, version), BYTES_MAX).await? else {
        return Err(broken("it has a _SUCCESS and no manifest.json".to_owned()));
    };
    let (digest, manifest) = read(found.bytes).await;
    if digest != expected {
        return Err(broken(format!("manifest.json has digest {digest}, _SUCCESS says {expected}")));
    }
    let manifest = manifest.map_err(|error| broken(format!("manifest.json: {error}")))?;
    if manifest.model != *model || manifest.version != version {
        return Err(broken(format!("manifest.json is of version {} of {}", manifest.version, manifest.model)));
    }
    match manifest.abandoned {
        Some(why) => Err(VersionError::Abandoned { model: model.clone(), version, why }),
        None => Ok((manifest, digest)),
    }
}

/// A manifest's digest, and what it says.
pub(crate) async fn read(bytes: Bytes) -> (Digest, Result<Manifest, ManifestError>) {
    heavy(bytes.len(), move || (Digest::of(&bytes), Manifest::read(&bytes))).await
}

/// What a version without `_SUCCESS` is.
async fn without_success(store: &Store, model: &ModelName, version: Version) -> Result<VersionError, StoreError> {
    let model = model.clone();
    if let Some(found) = store.find(&layout::manifest(&model, version), BYTES_MAX).await? {
        return Ok(match read(found.bytes).await.1 {
            Ok(Manifest { abandoned: Some(why), .. }) => VersionError::Abandoned { model, version, why },
            _ => VersionError::Unfinished { model, version },
        });
    }
    Ok(match store.exists(&layout::claim(&model, version)).await? {
        true => VersionError::Unfinished { model, version },
        false => VersionError::NotFound { model, version, store: store.url().to_string() },
    })
}

async fn state(store: &Store, model: &ModelName, version: Version) -> Result<VersionState, StoreError> {
    Ok(match manifest(store, model, version).await {
        Ok((manifest, digest)) => VersionState::Complete {
            digest,
            created: manifest.created,
            build_key: manifest.build_key,
            engine: manifest.engine,
            metrics: manifest.metrics,
            bytes: manifest.files.iter().map(|file| file.size).sum(),
        },
        Err(VersionError::Abandoned { why, .. }) => VersionState::Abandoned { why },
        Err(VersionError::Broken { why, .. }) => VersionState::Broken { why },
        Err(VersionError::Unfinished { .. } | VersionError::NotFound { .. }) => {
            let claim = store.find(&layout::claim(model, version), SMALL_BYTES_MAX).await?;
            let claim = claim.and_then(|claim| format::read::<Claim>(format::CLAIM, &claim.bytes).ok());
            let (who, since) = claim.map(|claim| (claim.who, claim.since)).unzip();
            VersionState::Unfinished { who, since }
        }
        Err(VersionError::Store(error)) => return Err(error),
    })
}

fn has_versions(listing: &Listing) -> bool {
    listing.folders.iter().any(|folder| layout::parse_version_dir(folder).is_some())
}

/// The model of a folder `models/<model>/`; none for `version=<n>/`.
fn model_of(folder: &str) -> Option<ModelName> {
    folder.strip_prefix(layout::MODELS)?.strip_suffix('/')?.parse().ok()
}
