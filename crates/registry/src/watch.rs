//! The catalog as it changes: one conditional GET of `catalog/head.json` a poll, never a listing.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headgate_contract::catalog::{Head, ShardId};
use headgate_contract::{Digest, layout};

use crate::catalog::{CatalogError, HEAD_BYTES_MAX, parse_head, read_shard};
use crate::store::{ETag, Store, StoreError};

mod cache;
mod catalog;
mod run;

use cache::Cache;
use catalog::KnownShard;
pub use catalog::{Catalog, Changes};
pub use run::{Handle, Seen};

/// How many shards are read at once.
const AT_ONCE: usize = 16;

/// Follows one store's catalog.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    cache: Option<Cache>,
    known: Option<Arc<Catalog>>,
    /// The head's state that is known; none until this process has read it.
    etag: Option<ETag>,
    /// Shards of a head that could not be adopted yet, so that they need not come twice.
    pending: HashMap<Digest, (KnownShard, Bytes)>,
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
    /// The head is older than the one known of the same store, or another of the same generation.
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

impl Watcher {
    /// A watcher that knows nothing yet.
    pub fn new(store: Store) -> Self {
        Self { store, cache: None, known: None, etag: None, pending: HashMap::new() }
    }

    /// A watcher that keeps each catalog it adopts below `dir`, and begins with the one kept there for this store, so
    /// that a process starts without the bucket. What is kept is checked by its digests; a folder that can't be read or
    /// written is logged and changes nothing else.
    pub async fn cached(store: Store, dir: &Path) -> Self {
        let cache = Cache::new(dir, store.url());
        let known = cache.load().await.map(Arc::new);
        Self { cache: Some(cache), known, ..Self::new(store) }
    }

    /// The newest whole catalog.
    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.known.as_ref()
    }

    /// Reads the head once; a new catalog where there is one, none where it is the one known. On an error, what was
    /// known stands.
    pub async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, WatchError> {
        if let Some(cache) = &mut self.cache {
            cache.catch_up().await;
        }
        let found = match self.store.get_if_changed(layout::HEAD, self.etag.as_ref(), HEAD_BYTES_MAX).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(StoreError::NotFound { .. }) => return Err(WatchError::NoCatalog { store: self.url() }),
            Err(error) => return Err(error.into()),
        };
        let head = parse_head(&found.bytes).map_err(|why| self.garbled(format!("{}: {why}", layout::HEAD)))?;
        if self.is_known(&head)? {
            self.etag = Some(found.etag);
            return Ok(None);
        }
        let (shards, fetched) = self.read_shards(&head).await?;
        let catalog = Arc::new(Catalog { head, shards });
        self.pending.clear();
        self.known = Some(Arc::clone(&catalog));
        self.etag = Some(found.etag);
        if let Some(cache) = &mut self.cache {
            cache.save(found.bytes, &catalog, fetched).await;
        }
        Ok(Some(catalog))
    }

    /// Whether a head is the one known; an error where it is no successor of that one. A head of another store (made
    /// anew under the same URL) counts from its own beginning.
    fn is_known(&self, head: &Head) -> Result<bool, WatchError> {
        let Some(known) = self.known.as_ref().map(|catalog| &catalog.head) else { return Ok(false) };
        if known.store_id != head.store_id || head.generation > known.generation {
            return Ok(false);
        }
        match head == known {
            true => Ok(true),
            false => {
                let (known, found) = (known.generation, head.generation);
                Err(WatchError::Backwards { store: self.url(), known, found })
            }
        }
    }

    /// All shards of a head: those known, and those that have to be fetched, which also come as bytes.
    async fn read_shards(
        &mut self,
        head: &Head,
    ) -> Result<(BTreeMap<ShardId, KnownShard>, Vec<(Digest, Bytes)>), WatchError> {
        self.pending.retain(|digest, _| head.shards.values().any(|named| named == digest));
        let known = self.known.as_ref();
        let shard_known = |id: &ShardId, digest: &Digest| {
            let shard = known.and_then(|known| known.shards.get(id));
            shard.filter(|shard| shard.digest == *digest).cloned()
        };
        let absent = |(id, digest): &(&ShardId, &Digest)| {
            shard_known(id, digest).is_none() && !self.pending.contains_key(digest)
        };
        let missing: Vec<_> = head.shards.iter().filter(absent).collect();
        let store = &self.store;
        let reads = missing.into_iter().map(|(id, digest)| async move {
            let (shard, bytes) = read_shard(store, id, *digest).await?;
            Ok::<_, CatalogError>((KnownShard { digest: *digest, shard: Arc::new(shard) }, bytes))
        });
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE).boxed();
        let mut failed = None;
        while let Some(read) = reads.next().await {
            match read {
                Ok((shard, bytes)) => drop(self.pending.insert(shard.digest, (shard, bytes))),
                // The others may be good: they need not come again.
                Err(error @ CatalogError::Garbled(_)) => failed = Some(error),
                Err(error @ CatalogError::Store(_)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(reads);
        match failed {
            Some(CatalogError::Store(error)) => return Err(error.into()),
            Some(CatalogError::Garbled(why)) => return Err(self.garbled(why)),
            None => {}
        }
        let mut fetched = Vec::new();
        let mut shards = BTreeMap::new();
        for (id, digest) in &head.shards {
            let pending = self.pending.get(digest);
            fetched.extend(pending.map(|(_, bytes)| (*digest, bytes.clone())));
            let shard = pending.map(|(shard, _)| shard.clone()).or_else(|| shard_known(id, digest));
            shards.extend(shard.map(|shard| (id.clone(), shard)));
        }
        Ok((shards, fetched))
    }

    fn url(&self) -> String {
        self.store.url().to_string()
    }

    fn garbled(&self, why: String) -> WatchError {
        WatchError::Garbled { store: self.url(), why }
    }
}
