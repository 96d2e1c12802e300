//! The catalog as it changes: one conditional GET of `catalog/head.json` a poll, never a listing.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::catalog::Head;
use headgate_contract::{Digest, ModelName, Release};
use tokio::sync::watch;

use crate::store::{Store, StoreError};

/// A whole catalog, immutable: a head with all its shards.
#[derive(Debug)]
pub struct Catalog {
    head: Head,
}

/// What differs between two catalogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Models whose release is new or different.
    pub changed: Vec<ModelName>,
    /// Models without a release now.
    pub gone: Vec<ModelName>,
}

/// What a watcher knows.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The newest whole catalog; none until one was read.
    pub catalog: Option<Arc<Catalog>>,
    /// Why the last poll failed; none when it did not. [`WatchError::NoCatalog`] says that the store was read, and that
    /// nothing was ever promoted there.
    pub error: Option<Arc<WatchError>>,
    /// How many polls there were, failed ones too.
    pub polls: u64,
}

/// Why a poll brought nothing; what was known before stands.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The store can be read, and nothing was ever promoted there.
    #[error("store {store} has no catalog yet: nothing was promoted")]
    NoCatalog {
        /// The store.
        store: String,
    },
    /// The head or a shard can't be read as what it must be.
    #[error("catalog of {store}: {why}")]
    Garbled {
        /// The store.
        store: String,
        /// What is wrong.
        why: String,
    },
    /// The head is older than the one known, of the same store.
    #[error("catalog of {store} went back from generation {known} to {found}: not adopted")]
    Backwards {
        /// The store.
        store: String,
        /// The generation known.
        known: u64,
        /// The generation found.
        found: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Follows one store's catalog.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
}

/// Another part's hold on a running watcher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    seen: watch::Receiver<Seen>,
}

// === impl Catalog ===

impl Catalog {
    /// Its head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The release of a model.
    pub fn release(&self, model: &ModelName) -> Option<&Release> {
        let _ = model;
        todo!()
    }

    /// All releases, in no order.
    pub fn releases(&self) -> impl Iterator<Item = (&ModelName, &Release)> {
        std::iter::empty()
    }

    /// What differs from `older` (none: from nothing). Costs the shards that differ, whatever the number of models.
    pub fn changes_since(&self, older: Option<&Catalog>) -> Changes {
        let _ = older;
        todo!()
    }
}

// === impl Watcher ===

impl Watcher {
    /// A watcher that knows nothing yet.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// A watcher that keeps each catalog it adopts below `dir`, and begins with the one kept there for this store, so
    /// that a process starts without the bucket. What is kept is checked by its digests; a folder that can't be read or
    /// written is logged and changes nothing else.
    pub async fn cached(store: Store, dir: PathBuf) -> Self {
        let _ = dir;
        Self { store }
    }

    /// The newest whole catalog.
    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        let _ = &self.store;
        todo!()
    }

    /// Reads the head once; a new catalog where there is one, none where it is the one known. On an error, what was
    /// known stands.
    pub async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, WatchError> {
        todo!()
    }

    /// Polls every `interval` +-20 % until `shutdown`; the handle sees each catalog, and can ask for a poll at once.
    /// The first poll is at once.
    pub fn run(
        self,
        interval: Duration,
        shutdown: impl Future<Output = ()> + Send,
    ) -> (Handle, impl Future<Output = ()> + Send) {
        let _ = interval;
        let (_, seen) = watch::channel(Seen::default());
        (Handle { seen }, shutdown)
    }
}

// === impl Handle ===

impl Handle {
    /// What the watcher knows, as it changes; [`Catalog::changes_since`] tells what differs from an earlier one.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Tells that somebody has seen `generation` of the store `store_id` (none: of this one): a watcher that is behind
    /// polls at once, at most once a second so.
    pub fn heard_of(&self, store_id: Option<&str>, generation: u64) {
        let _ = (store_id, generation);
    }
}

/// The digest of a store's URL: names what is kept of it in a cache.
pub fn store_key(store: &Store) -> Digest {
    Digest::of(store.url().to_string())
}
