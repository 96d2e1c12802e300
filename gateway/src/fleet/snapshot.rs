//! Everything that a call needs to know, immutable.
//!
//! Models lie in shards, each a map behind an `Arc`: a change copies the shards that it touches and shares the rest, so
//! that one changed model among 100,000 costs a few hundred pointers.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_balance::Millis;
use headgate_balance::life::State;
use headgate_balance::place::Member;
use headgate_contract::ModelName;

use super::{Backend, Model};

/// Shards: a power of two, about the square root of the models that we expect at most.
pub(super) const SHARDS: usize = 512;

/// The models of one shard.
pub(super) type Shard = HashMap<ModelName, Arc<Model>>;

/// The fleet at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// Counts changes of the backends' states.
    pub epoch: u64,
    /// The backends, by id.
    pub backends: Arc<[Seen]>,
    /// Whether so few backends serve that others are tried beside them.
    pub panic: bool,
    /// Whether any backend was ever heard: before, nobody can know which models there are.
    pub heard: bool,
    pub(super) shards: Arc<[Arc<Shard>]>,
}

/// A backend, and where it is in its life.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its state.
    pub state: State,
    /// In which round it is tried: [`State::round`], but for panics.
    pub round: Option<u8>,
    /// Whether it ceased to answer probes, and can be reached.
    pub hangs: bool,
    /// Whether it runs in another zone than the gateway.
    pub far: bool,
    /// Whether it is none of those that the gateway keeps connections open to.
    pub outside: bool,
    /// While it warms up: since when.
    pub warms_since: Option<Millis>,
    /// Its part in placing models, where it loads them on demand.
    pub member: Option<Member>,
}

impl Seen {
    /// Which server it is, where it is none of ours.
    pub fn server(&self) -> Option<&'static str> {
        self.backend.upstream.foreign().map(|foreign| foreign.spec.server.as_str())
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self {
            epoch: 0,
            panic: false,
            backends: Arc::new([]),
            heard: false,
            shards: (0..SHARDS).map(|_| empty.clone()).collect(),
        }
    }
}

impl Snapshot {
    /// A model, where a backend reported it.
    pub fn model(&self, name: &ModelName) -> Option<&Arc<Model>> {
        self.shards.get(shard_of(name))?.get(name)
    }

    /// All models, in no order.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// How many models there are.
    pub fn models_len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// A backend that is not gone.
    pub fn backend(&self, id: u64) -> Option<&Seen> {
        let at = self.backends.binary_search_by_key(&id, |seen| seen.backend.id).ok()?;
        self.backends.get(at)
    }

    /// Backends that get a share of new calls.
    pub fn serving(&self) -> usize {
        self.backends.iter().filter(|seen| seen.state.serves()).count()
    }
}

/// Names come from our own backends, so no one gains by making them collide.
pub(super) fn shard_of(name: &ModelName) -> usize {
    let hash = headgate_balance::hash::name(0, name.as_str());
    (hash ^ (hash >> 32)) as usize % SHARDS
}
