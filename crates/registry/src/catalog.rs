//! Reading the catalog: the head, and shards checked by their digests.

use bytes::Bytes;
use headgate_contract::catalog::{Head, Shard, ShardId};
use headgate_contract::{Digest, ModelName, Version, format, layout};

use crate::documents::heavy;
use crate::store::{ETag, Store, StoreError};

/// The largest head, in bytes: 256 shards take 25 KiB.
pub(crate) const HEAD_BYTES_MAX: u64 = 1 << 20;
/// The largest shard, in bytes.
pub(crate) const SHARD_BYTES_MAX: u64 = 256 << 20;

/// Why the catalog can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// A document is not what it must be. The writer's fault, or the store's.
    #[error("{0}")]
    Garbled(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A head as it was read.
#[derive(Clone, Debug)]
pub(crate) struct ReadHead {
    pub(crate) head: Head,
    pub(crate) etag: ETag,
    pub(crate) bytes: Bytes,
}

/// Today's head; none where nothing was ever released.
pub(crate) async fn read_head(store: &Store) -> Result<Option<ReadHead>, CatalogError> {
    let Some(found) = store.find(layout::HEAD, HEAD_BYTES_MAX).await? else { return Ok(None) };
    let head = parse_head(&found.bytes).map_err(|why| CatalogError::Garbled(format!("{}: {why}", layout::HEAD)))?;
    Ok(Some(ReadHead { head, etag: found.etag, bytes: found.bytes }))
}

/// The head of an earlier generation; none where no copy was kept.
pub(crate) async fn read_old_head(store: &Store, generation: u64) -> Result<Option<Head>, CatalogError> {
    let key = layout::old_head(generation);
    let Some(found) = store.find(&key, HEAD_BYTES_MAX).await? else { return Ok(None) };
    let head = parse_head(&found.bytes).map_err(|why| CatalogError::Garbled(format!("{key}: {why}")))?;
    match head.generation == generation {
        true => Ok(Some(head)),
        false => Err(CatalogError::Garbled(format!("{key} is of generation {}", head.generation))),
    }
}

/// A shard of today's catalog, or an earlier one's.
pub(crate) async fn read_shard(store: &Store, id: &ShardId, digest: Digest) -> Result<(Shard, Bytes), CatalogError> {
    let key = layout::shard(&digest);
    let bytes = match store.get(&key, SHARD_BYTES_MAX).await {
        Ok(found) => found.bytes,
        // The head names it: its absence is no answer, but a fault.
        Err(StoreError::NotFound { at }) => return Err(CatalogError::Garbled(format!("{at} is missing"))),
        Err(error) => return Err(error.into()),
    };
    let (id, copy) = (id.clone(), bytes.clone());
    let shard = heavy(bytes.len(), move || parse_shard(&id, digest, &copy)).await;
    Ok((shard.map_err(|why| CatalogError::Garbled(format!("{key}: {why}")))?, bytes))
}

/// Whether a version's files are being deleted.
pub(crate) async fn is_dead(store: &Store, model: &ModelName, version: Version) -> Result<bool, CatalogError> {
    let Some(ReadHead { head, .. }) = read_head(store).await? else { return Ok(false) };
    let id = ShardId::of(model);
    let Some(digest) = head.shards.get(&id) else { return Ok(false) };
    let (shard, _) = read_shard(store, &id, *digest).await?;
    Ok(shard.releases.get(model).is_some_and(|release| release.dead.contains(&version)))
}

/// Reads a head's bytes. The error is in words.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Head, String> {
    let head: Head = format::read(format::HEAD, bytes).map_err(|error| error.to_string())?;
    match head.generation > 0 && !head.store_id.is_empty() {
        true => Ok(head),
        false => Err("it has no store id or generation".to_owned()),
    }
}

/// Reads a shard's bytes, which must have that digest and hold that shard's models only. The error is in words.
pub(crate) fn parse_shard(id: &ShardId, digest: Digest, bytes: &[u8]) -> Result<Shard, String> {
    let found = Digest::of(bytes);
    if found != digest {
        return Err(format!("its bytes have digest {found}"));
    }
    let shard: Shard = format::read(format::SHARD, bytes).map_err(|error| error.to_string())?;
    match shard.releases.keys().find(|model| ShardId::of(model) != *id) {
        Some(model) => Err(format!("model {model} is not of shard {id}")),
        None => Ok(shard),
    }
}
