//! The catalog as a process keeps it on its own disk, so that it starts without the bucket.
//!
//! Below the given folder, one folder for each store: `<key>/head.json` and `<key>/shards/<sha256>.json`, byte for byte as
//! they were in the store, so that the same digests check them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use headgate_contract::Digest;

use super::catalog::{Catalog, KnownShard};
use crate::catalog::{parse_head, parse_shard};
use crate::store::StoreUrl;

/// Where a store's catalog is kept.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    /// Shards that should be there and could not be written yet.
    unsaved: BTreeMap<Digest, Bytes>,
    /// The head that should be there and could not be written yet, with the shards that it names.
    unsaved_head: Option<(Bytes, BTreeSet<Digest>)>,
    /// Whether it was told that nothing can be written.
    told: bool,
}

impl Cache {
    pub(super) fn new(dir: &Path, store: &StoreUrl) -> Self {
        Self {
            dir: dir.join(Digest::of(store.to_string()).to_string()),
            unsaved: BTreeMap::new(),
            unsaved_head: None,
            told: false,
        }
    }

    /// The catalog that is kept, where a whole one is.
    pub(super) async fn load(&self) -> Option<Catalog> {
        let dir = self.dir.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&dir)).await;
        match loaded.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(catalog) => catalog,
            Err(why) => {
                tracing::warn!(dir = %self.dir.display(), why, "the kept catalog can't be used");
                None
            }
        }
    }

    /// Keeps a catalog; `fetched` are the shards that were not in the one before.
    pub(super) async fn save(&mut self, head: Bytes, catalog: &Catalog, fetched: Vec<(Digest, Bytes)>) {
        let named: BTreeSet<Digest> = catalog.shards.values().map(|known| known.digest).collect();
        self.unsaved.extend(fetched);
        self.unsaved.retain(|digest, _| named.contains(digest));
        self.unsaved_head = Some((head, named));
        self.catch_up().await;
    }

    /// Writes what could not be written before, a full disk may have room by now: without it a process that starts while
    /// the bucket is away would go back to the catalog before.
    pub(super) async fn catch_up(&mut self) {
        let Some((head, named)) = self.unsaved_head.clone() else { return };
        let (dir, unsaved) = (self.dir.clone(), self.unsaved.clone());
        let saved = tokio::task::spawn_blocking(move || save(&dir, &head, &unsaved, &named)).await;
        match saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                self.unsaved.clear();
                self.unsaved_head = None;
                if std::mem::take(&mut self.told) {
                    tracing::info!(dir = %self.dir.display(), "the catalog is kept again");
                }
            }
            Err(error) if !self.told => {
                self.told = true;
                tracing::warn!(dir = %self.dir.display(), %error, "the catalog can't be kept: the bucket is needed to start");
            }
            Err(_) => {}
        }
    }
}

fn load(dir: &Path) -> Result<Option<Catalog>, String> {
    let head = match fs::read(dir.join("head.json")) {
        Ok(bytes) => parse_head(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut shards = BTreeMap::new();
    for (id, digest) in &head.shards {
        let bytes = fs::read(shard(dir, digest)).map_err(|error| format!("shard {digest}: {error}"))?;
        let shard = parse_shard(id, *digest, &bytes).map_err(|why| format!("shard {digest}: {why}"))?;
        shards.insert(id.clone(), KnownShard { digest: *digest, shard: Arc::new(shard) });
    }
    Ok(Some(Catalog { head, shards }))
}

/// Shards first, so that a head that is there is whole; then what no head names goes.
fn save(dir: &Path, head: &[u8], unsaved: &BTreeMap<Digest, Bytes>, named: &BTreeSet<Digest>) -> io::Result<()> {
    fs::create_dir_all(dir.join("shards"))?;
    for (digest, bytes) in unsaved {
        write(dir, &shard(dir, digest), bytes)?;
    }
    write(dir, &dir.join("head.json"), head)?;
    for entry in fs::read_dir(dir.join("shards"))? {
        let path = entry?.path();
        let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Digest>().ok());
        if digest.is_none_or(|digest| !named.contains(&digest)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".w-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn shard(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("shards").join(format!("{digest}.json"))
}
