//! What is told while training and publishing go on, and at their end.

use std::collections::BTreeMap;

use headgate_contract::{Digest, ModelName, Version};
use headgate_registry::publish::Outcome;
use serde::Serialize;

use crate::evaluate::Bin;

/// Something that happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The data was read.
    Read {
        /// How many files.
        files: usize,
        /// How many rows.
        rows: usize,
        /// How many columns.
        columns: usize,
        /// How many rows `--where` took.
        taken: usize,
    },
    /// The scopes are known.
    Scopes {
        /// How many.
        count: usize,
    },
    /// Something that the user should know.
    Note {
        /// The model it is about; none where it is about the data.
        model: Option<ModelName>,
        /// In words.
        text: String,
    },
    /// A round of training is done.
    Round {
        /// The model.
        model: ModelName,
        /// The round, from 1.
        round: usize,
        /// The most there will be.
        of: usize,
        /// The watched metric on the validation rows.
        metric: Option<(String, f64)>,
    },
    /// A file is going into the store.
    Uploading {
        /// The model.
        model: ModelName,
        /// The file.
        file: String,
        /// How much has gone, in bytes.
        done: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A model is through.
    Finished(Box<ModelReport>),
    /// The new versions are released.
    Promoted {
        /// How many models.
        models: usize,
        /// The catalog's generation.
        generation: u64,
    },
}

/// Told of each event. It may be called from several threads, and should not block.
pub type OnEvent = std::sync::Arc<dyn Fn(Event) + Send + Sync>;

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelReport {
    /// The model.
    pub model: ModelName,
    /// The scope's value, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub result: ModelResult,
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ModelResult {
    /// A version is in the store.
    Published(PublishedModel),
    /// It was not tried.
    Skipped {
        /// Why.
        why: String,
    },
    /// It was tried in vain.
    Failed {
        /// Why.
        why: String,
    },
}

/// A version in the store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishedModel {
    /// Its number.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Whether it was there already: these very inputs had been built before.
    pub existing: bool,
    /// The evaluation; empty where it was there already.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Predicted against observed, for two classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<Bin>,
    /// What was decided and left out, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How long training took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// A release that was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    /// The store's id: with the generation, what a nudge names.
    pub store_id: String,
    /// The catalog's generation.
    pub generation: u64,
    /// Whether anything changed.
    pub changed: bool,
    /// How many models it names.
    pub models: usize,
}

/// The end of `headgate train`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    /// Each model, sorted by name.
    pub models: Vec<ModelReport>,
    /// What was noticed of the data, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The release, where one was asked for and made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Why none was made although one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_released: Option<String>,
}

/// The end of `headgate publish`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishReport {
    /// The model.
    pub model: ModelReport,
    /// The release, where one was asked for and made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Why none was made although one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_released: Option<String>,
}

impl ModelReport {
    /// The version, where there is one.
    pub fn published(&self) -> Option<&PublishedModel> {
        match &self.result {
            ModelResult::Published(published) => Some(published),
            _ => None,
        }
    }
}

impl TrainReport {
    /// How many models failed.
    pub fn failed(&self) -> usize {
        self.models.iter().filter(|model| matches!(model.result, ModelResult::Failed { .. })).count()
    }

    /// Whether all went well: nothing failed, something is in the store, and a release that was asked for was made.
    pub fn is_success(&self) -> bool {
        let any = self.models.iter().any(|model| model.published().is_some());
        any && self.failed() == 0 && self.not_released.is_none()
    }
}

impl PublishReport {
    /// Whether all went well: a release that was asked for was made.
    pub fn is_success(&self) -> bool {
        self.not_released.is_none()
    }
}

impl From<headgate_registry::Published> for PublishedModel {
    fn from(published: headgate_registry::Published) -> Self {
        Self {
            version: published.version,
            digest: published.digest,
            existing: published.outcome == Outcome::AlreadyThere,
            metrics: BTreeMap::new(),
            calibration: Vec::new(),
            notes: Vec::new(),
            seconds: None,
        }
    }
}
