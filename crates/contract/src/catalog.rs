//! The catalog: one head, and shards with the releases of the models in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, ModelName, Release};

/// `catalog/head.json`: which shards are in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`crate::format::HEAD`].
    pub format: String,
    /// A random id given when the store was made; another store under the same URL has another.
    pub store_id: String,
    /// Counts swaps of the head, from 1.
    pub generation: u64,
    /// The random id of the change that made this generation, by which its author knows it was won.
    pub change_id: String,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it: user and host.
    pub who: String,
    /// What changed, in words.
    pub what: String,
    /// Set while promotions are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// The digest of each shard in use.
    pub shards: BTreeMap<ShardId, Digest>,
    /// Fields of a later minor version, kept.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Why promotions are stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Who stopped them.
    pub who: String,
    /// Since when.
    pub since: Timestamp,
    /// The reason given.
    pub why: String,
}

/// `catalog/shards/<sha256>.json`: the releases of the models in one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// [`crate::format::SHARD`].
    pub format: String,
    /// The releases, by model.
    pub releases: BTreeMap<ModelName, Release>,
    /// Fields of a later minor version, kept.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// One of 256 shards: the first byte of the sha256 of a model's name, as two hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(String);

impl ShardId {
    /// The shard in which `model` lives.
    pub fn of(model: &ModelName) -> Self {
        Self(hex::encode([Digest::of(model.as_str()).as_bytes()[0]]))
    }
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Shard {
    /// A shard with no model in it.
    pub fn empty() -> Self {
        Self { format: crate::format::SHARD.to_owned(), releases: BTreeMap::new(), extra: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_of_a_later_minor_version_are_kept() {
        let text = r#"{"format":"headgate.shard/1.9","releases":{"m":{"serve":[],"later":{"a":1}}},"also":2}"#;
        let shard: Shard = crate::format::read(crate::format::SHARD, text.as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&crate::format::write(&shard)).unwrap();
        assert_eq!(written["also"], 2);
        assert_eq!(written["releases"]["m"]["later"]["a"], 1);
        assert_eq!(written["format"], "headgate.shard/1.9");
    }
}
