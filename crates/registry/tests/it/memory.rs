//! A store in memory, each of whose calls passes a gate, where a scheduler holds it and says what becomes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use headgate_contract::Digest;
use headgate_registry::store::{Bucket, ETag, Listing, Object, Part, Store, StoreError, When};
use tokio::sync::oneshot;

/// What becomes of a store call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// It takes effect, and the reply is lost.
    LoseReply,
    /// It does not take effect, and the reply is lost.
    LoseCall,
    /// The actor dies before it.
    Kill,
    /// The actor dies after it took effect.
    KillAfter,
}

pub(crate) type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Where a call waits for its verdict.
pub(crate) type Gate = Arc<Mutex<Option<oneshot::Sender<Verdict>>>>;

/// A store in memory; `gate` holds each call of an actor until the scheduler lets it through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) objects: Objects,
    pub(crate) gate: Option<Gate>,
}

impl Memory {
    async fn call<T>(&self, at: &str, effect: impl FnOnce(&Objects) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let verdict = match &self.gate {
            Some(gate) => {
                let (open, opened) = oneshot::channel();
                *gate.lock().unwrap() = Some(open);
                opened.await.unwrap()
            }
            None => Verdict::Go,
        };
        let lost = || StoreError::Unreachable { at: at.to_owned(), why: "planned".to_owned() };
        match verdict {
            Verdict::Go => effect(&self.objects),
            Verdict::LoseReply => {
                _ = effect(&self.objects);
                Err(lost())
            }
            Verdict::LoseCall => Err(lost()),
            Verdict::Kill => std::future::pending().await,
            Verdict::KillAfter => {
                _ = effect(&self.objects);
                std::future::pending().await
            }
        }
    }

    fn write(objects: &Objects, key: &str, bytes: Bytes, when: When<'_>) -> Result<ETag, StoreError> {
        let (mut objects, at) = (objects.lock().unwrap(), key.to_owned());
        let there = objects.get(key).map(|bytes| Digest::of(bytes).to_string());
        let etag = ETag(Digest::of(&bytes).to_string());
        match (when, there) {
            (When::Absent, Some(_)) => return Err(StoreError::Exists { at }),
            (When::Is(expected), there) if there.as_ref() != Some(&expected.0) => {
                return Err(StoreError::Changed { at });
            }
            _ => {}
        }
        objects.insert(key.to_owned(), bytes);
        Ok(etag)
    }
}

#[async_trait]
impl Bucket for Memory {
    async fn get(&self, key: &str, _limit: u64, unless: Option<&ETag>) -> Result<Option<Object>, StoreError> {
        let missing = || StoreError::NotFound { at: key.to_owned() };
        let bytes = self.call(key, |objects| objects.lock().unwrap().get(key).cloned().ok_or_else(missing)).await?;
        let etag = ETag(Digest::of(&bytes).to_string());
        Ok((unless != Some(&etag)).then_some(Object { bytes, etag }))
    }

    async fn get_part(&self, key: &str, _from: u64, _len: u64) -> Result<Part, StoreError> {
        Err(StoreError::NotFound { at: key.to_owned() })
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.call(key, |objects| Ok(objects.lock().unwrap().get(key).map(|bytes| bytes.len() as u64))).await
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When<'_>) -> Result<ETag, StoreError> {
        self.call(key, |objects| Self::write(objects, key, bytes, when)).await
    }

    async fn put_file(
        &self,
        key: &str,
        path: &Path,
        _sha256: &Digest,
        _written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        let bytes = Bytes::from(std::fs::read(path).unwrap());
        self.call(key, |objects| Self::write(objects, key, bytes, When::Absent)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.call(prefix, |objects| {
            let mut listing = Listing::default();
            for key in objects.lock().unwrap().keys().filter(|key| key.starts_with(prefix)) {
                match key[prefix.len()..].split_once('/') {
                    Some((folder, _)) => listing.folders.push(format!("{prefix}{folder}/")),
                    None => listing.keys.push(key.clone()),
                }
            }
            listing.folders.dedup();
            Ok(listing)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call(key, |objects| {
            objects.lock().unwrap().remove(key);
            Ok(())
        })
        .await
    }
}

pub(crate) fn store_of(memory: Memory) -> Store {
    Store::over("file:///memory".parse().unwrap(), memory)
}

/// A store in memory without faults.
pub(crate) fn memory_store() -> Store {
    store_of(Memory::default())
}
