//! The catalog changes: each call is one swap of `catalog/head.json`, won whole or not at all.

use headgate_contract::catalog::Head;
use headgate_contract::release::{Labelled, Serve, Shadow};
use headgate_contract::{ModelName, Version};

use crate::catalog::CatalogError;
use crate::gate::{ConditionError, Refusal};
use crate::store::{Store, StoreError};
use crate::versions::{VersionError, manifest};

mod edit;
mod promote;
mod restore;
mod single;
mod swap;
mod today;

use promote::Promote;
use restore::Restore;
use single::{Act, Freeze, Single, check_label};
use swap::swap;

/// A promotion of one model.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The model.
    pub model: ModelName,
    /// The version that takes over.
    pub version: Version,
    /// The part of the traffic it gets, in percent; none, or 100, for all of it. Less makes it a canary beside the
    /// stable version; a canary's steps are one entry of the history.
    pub weight: Option<u32>,
    /// The condition on metrics that must hold: `auc >= stable - 0.005`.
    pub condition: Option<String>,
    /// Whether the gate is passed by. Never helps an unfinished or dead version, nor a frozen catalog.
    pub force: bool,
    /// The reason, for the history.
    pub why: String,
}

/// A change of the catalog that was won.
#[derive(Clone, Debug, PartialEq)]
pub struct Promoted {
    /// The store's id.
    pub store_id: String,
    /// The catalog's generation that holds the change: what a nudge names.
    pub generation: u64,
    /// Whether anything was written: false where the catalog already said so.
    pub changed: bool,
    /// What is served now, and was before, by model.
    pub changes: Vec<Change>,
}

/// What a change did to one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The model.
    pub model: ModelName,
    /// What was served.
    pub before: Vec<Serve>,
    /// What is served.
    pub after: Vec<Serve>,
}

/// Fields of a release that are no version: each none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How many earlier good versions stay resident.
    pub keep: Option<u32>,
    /// The request header whose hash picks the version; `Some(None)` takes it away.
    pub sticky: Option<Option<String>>,
    /// Whether unknown features are refused.
    pub strict: Option<bool>,
    /// The model that answers for unknown scopes; `Some(None)` takes it away.
    pub fallback: Option<Option<ModelName>>,
}

/// Why the catalog was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The version is not there, unfinished, abandoned or broken. The caller's fault.
    #[error(transparent)]
    Version(VersionError),
    /// The version's files are being deleted.
    #[error("version {version} of model {model} is dead: its files are being deleted")]
    Dead {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
    },
    /// The gate refused.
    #[error("version {version} of model {model} may not take over: {refusal}")]
    Refused {
        /// The model.
        model: ModelName,
        /// The version.
        version: Version,
        /// Every reason.
        refusal: Refusal,
    },
    /// The condition can't be read. The caller's fault.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The catalog is frozen.
    #[error("the catalog is frozen by {who} since {since}: {why}")]
    Frozen {
        /// Who froze it.
        who: String,
        /// Since when.
        since: jiff::Timestamp,
        /// The reason given.
        why: String,
    },
    /// Somebody else changed the same model in the meantime. Look again, then decide.
    #[error("model {model} was changed by {who} in the meantime: {what}")]
    Conflict {
        /// The model; `*` for the whole catalog.
        model: String,
        /// Who won.
        who: String,
        /// What the winner did.
        what: String,
    },
    /// There is nothing to go back to, or the model has no release.
    #[error("model {model}: {why}")]
    Nothing {
        /// The model.
        model: ModelName,
        /// What is missing.
        why: String,
    },
    /// An argument makes no sense. The caller's fault.
    #[error("{0}")]
    Invalid(String),
    /// It could not be done within five minutes, and gave itself up. Nothing was changed.
    #[error("given up after {seconds} s: the catalog is changing too fast, or the store is too slow")]
    Abandoned {
        /// How long it was tried, in seconds.
        seconds: u64,
    },
    /// The swap's reply was lost and the store can't be read since: the change may have been made.
    #[error("the change may or may not have been made: {source}")]
    Unknown {
        /// How the store failed.
        source: StoreError,
    },
    /// The catalog can't be read.
    #[error("the catalog is broken: {0}")]
    Broken(String),
    /// The store failed, or lacks something. Nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<VersionError> for ReleaseError {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Store(error) => Self::Store(error),
            error => Self::Version(error),
        }
    }
}

impl From<CatalogError> for ReleaseError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Store(error) => Self::Store(error),
            CatalogError::Garbled(why) => Self::Broken(why),
        }
    }
}

/// Promotes versions of one or many models in one swap: all of them or, where one is refused or was changed by somebody
/// else in the meantime, none.
pub async fn promote_all(store: &Store, promotions: Vec<Promotion>, who: &str) -> Result<Promoted, ReleaseError> {
    let mut batch = Promote::prepare(store, promotions).await?;
    swap(store, who, &mut batch).await
}

/// Promotes one version.
pub async fn promote(store: &Store, promotion: Promotion, who: &str) -> Result<Promoted, ReleaseError> {
    promote_all(store, vec![promotion], who).await
}

/// Goes back to the newest earlier serve list that was not itself taken back. Works while the catalog is frozen.
pub async fn rollback(store: &Store, model: &ModelName, why: &str, who: &str) -> Result<Promoted, ReleaseError> {
    single(store, model, Act::Rollback { why: why.to_owned() }, who).await
}

/// Lets a label name a version; none takes the label away. `stable` and `canary` are kept by promotions.
pub async fn label(
    store: &Store,
    model: &ModelName,
    label: &str,
    version: Option<Version>,
    who: &str,
) -> Result<Promoted, ReleaseError> {
    check_label(label)?;
    let version = match version {
        Some(version) => Some(whole(store, model, version).await?),
        None => None,
    };
    single(store, model, Act::Label { label: label.to_owned(), version }, who).await
}

/// Gives a version a copy of a part of the traffic, 0 to 1; 0 takes it away.
pub async fn shadow(
    store: &Store,
    model: &ModelName,
    version: Version,
    fraction: f64,
    who: &str,
) -> Result<Promoted, ReleaseError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(ReleaseError::Invalid(format!("a shadow's fraction of {fraction}: 0 to 1 expected")));
    }
    let shadow = match fraction > 0.0 {
        true => Some(Shadow { version, digest: whole(store, model, version).await?.digest, fraction }),
        false => None,
    };
    single(store, model, Act::Shadow { version, shadow }, who).await
}

/// Changes a release's settings; a model without a release gets one that serves nothing.
pub async fn configure(
    store: &Store,
    model: &ModelName,
    settings: Settings,
    who: &str,
) -> Result<Promoted, ReleaseError> {
    single(store, model, Act::Configure(settings), who).await
}

/// Stops every change but rollbacks, restores and `unfreeze`.
pub async fn freeze(store: &Store, why: &str, who: &str) -> Result<Promoted, ReleaseError> {
    swap(store, who, &mut Freeze { why: Some(why.to_owned()) }).await
}

/// Lets changes go on.
pub async fn unfreeze(store: &Store, who: &str) -> Result<Promoted, ReleaseError> {
    swap(store, who, &mut Freeze { why: None }).await
}

/// Makes the catalog of an earlier generation today's, as a new generation: today's frozen flag and dead versions are
/// kept. Refused where it names a dead version.
pub async fn restore(store: &Store, generation: u64, why: &str, who: &str) -> Result<Promoted, ReleaseError> {
    swap(store, who, &mut Restore { store: store.clone(), generation, why: why.to_owned() }).await
}

/// The newest `limit` heads, newest first, as far back as they are kept.
pub async fn log(store: &Store, limit: usize) -> Result<Vec<Head>, ReleaseError> {
    restore::log(store, limit).await
}

async fn single(store: &Store, model: &ModelName, act: Act, who: &str) -> Result<Promoted, ReleaseError> {
    swap(store, who, &mut Single { model: model.clone(), act }).await
}

/// A whole version as a release names it.
async fn whole(store: &Store, model: &ModelName, version: Version) -> Result<Labelled, ReleaseError> {
    let (_, digest) = manifest(store, model, version).await?;
    Ok(Labelled { version, digest })
}
