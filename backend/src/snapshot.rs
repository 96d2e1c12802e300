//! What is served at one moment: immutable, swapped whole.
//!
//! Models lie in shards that snapshots share, so that a change costs the shards that it touches and not the number of
//! models.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use headgate_contract::fleet::VersionState;
use headgate_contract::release::{Release, Serve};
use headgate_contract::{Digest, ModelName, Version};

use crate::servable::Servable;

const SHARDS: usize = 256;
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

type Shard = HashMap<ModelName, Arc<Model>>;

/// All models at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    shards: Vec<Arc<Shard>>,
}

/// A model at one moment.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: ModelName,
    /// Its release.
    pub release: Arc<Release>,
    /// The list that calls are spread over; empty while nothing can answer.
    pub serving: Vec<Serve>,
    /// The versions that can answer, those that retire too.
    pub held: Vec<Arc<Servable>>,
    /// All versions that are known here.
    pub states: Vec<Known>,
}

/// A version that is known here.
#[derive(Clone, Debug)]
pub struct Known {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Where it is.
    pub state: VersionState,
    /// Why it failed.
    pub reason: String,
    /// Whether it will be tried again.
    pub retried: bool,
    /// Whether it comes, or would if it were asked for.
    pub comes: bool,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS] }
    }
}

impl Snapshot {
    /// The model of that name.
    pub fn get(&self, name: &ModelName) -> Option<&Arc<Model>> {
        self.shards[shard(name)].get(name)
    }

    /// This snapshot with some models replaced, added or (none) taken out.
    pub fn with(&self, changes: impl IntoIterator<Item = (ModelName, Option<Arc<Model>>)>) -> Self {
        let mut next = self.clone();
        for (name, model) in changes {
            // Shared with this snapshot at first, and copied then; the second change of a shard finds it its own.
            let shard = Arc::make_mut(&mut next.shards[shard(&name)]);
            match model {
                Some(model) => shard.insert(name, model),
                None => shard.remove(&name),
            };
        }
        next
    }

    /// All models, in no order.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}

impl Model {
    /// The version that can answer and has this number.
    pub fn held(&self, version: Version) -> Option<&Arc<Servable>> {
        self.held.iter().find(|s| s.schema.version == version)
    }

    /// The version that can answer and has this digest.
    pub fn held_digest(&self, digest: &Digest) -> Option<&Arc<Servable>> {
        self.held.iter().find(|s| s.schema.digest == *digest)
    }
}

fn shard(name: &ModelName) -> usize {
    HASHER.hash_one(name) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model(name: &ModelName) -> Arc<Model> {
        let release = Arc::new(Release::new());
        Arc::new(Model { name: name.clone(), release, serving: vec![], held: vec![], states: vec![] })
    }

    #[test]
    fn a_change_copies_its_shard_only() {
        let names: Vec<ModelName> = (0..2000).map(|n| format!("m{n}").parse().unwrap()).collect();
        let first = Snapshot::default().with(names.iter().map(|n| (n.clone(), Some(model(n)))));
        assert_eq!(first.models().count(), 2000);
        let second = first.with([(names[7].clone(), None)]);
        assert!(first.get(&names[7]).is_some() && second.get(&names[7]).is_none());
        let shared = first.shards.iter().zip(&second.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 1);
    }
}
