//! A store in memory, each of whose calls passes a gate, where a scheduler holds it and says what becomes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use headgate_contract::{Digest, layout};
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
    /// The reply is lost, and a write takes effect only so many calls later.
    Late(u8),
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
    /// Writes that are still on their way, of all actors.
    pub(crate) late: Arc<Mutex<Vec<Late>>>,
    pub(crate) gate: Option<Gate>,
    /// The head, where there was one, as this actor read it first, once it has.
    pub(crate) first_head: Arc<Mutex<Option<Option<Bytes>>>>,
}

/// A write that is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    calls: u8,
    key: String,
    bytes: Bytes,
    only: Option<ETag>,
}

impl Memory {
    /// This store as one more actor sees it.
    pub(crate) fn for_actor(&self, gate: &Gate) -> Self {
        Self { gate: Some(Arc::clone(gate)), first_head: Arc::default(), ..self.clone() }
    }

    /// Lets a call pass: writes on their way come nearer, or all of them arrive.
    pub(crate) fn passes(&self, all: bool) {
        let mut late = self.late.lock().unwrap();
        late.iter_mut().for_each(|write| write.calls = if all { 0 } else { write.calls.saturating_sub(1) });
        for write in late.extract_if(.., |write| write.calls == 0) {
            let when = write.only.as_ref().map_or(When::Absent, When::Is);
            // It may come too late: nobody hears.
            _ = Self::write(&self.objects, &write.key, write.bytes, when);
        }
    }

    async fn verdict(&self) -> Verdict {
        let Some(gate) = &self.gate else { return Verdict::Go };
        let (open, opened) = oneshot::channel();
        *gate.lock().unwrap() = Some(open);
        opened.await.unwrap()
    }

    async fn call<T>(&self, at: &str, effect: impl FnOnce(&Objects) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let verdict = self.verdict().await;
        self.conclude(verdict, at, effect).await
    }

    async fn conclude<T>(
        &self,
        verdict: Verdict,
        at: &str,
        effect: impl FnOnce(&Objects) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lost = || StoreError::Unreachable { at: at.to_owned(), why: "planned".to_owned() };
        match verdict {
            Verdict::Go => effect(&self.objects),
            Verdict::LoseReply => {
                _ = effect(&self.objects);
                Err(lost())
            }
            Verdict::LoseCall | Verdict::Late(_) => Err(lost()),
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
        let read = |objects: &Objects| {
            let found = objects.lock().unwrap().get(key).cloned();
            if key == layout::HEAD {
                self.first_head.lock().unwrap().get_or_insert_with(|| found.clone());
            }
            found.ok_or_else(missing)
        };
        let bytes = self.call(key, read).await?;
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
        let verdict = self.verdict().await;
        if let Verdict::Late(calls) = verdict {
            let only = if let When::Is(etag) = when { Some(etag.clone()) } else { None };
            self.late.lock().unwrap().push(Late { calls, key: key.to_owned(), bytes: bytes.clone(), only });
        }
        self.conclude(verdict, key, |objects| Self::write(objects, key, bytes, when)).await
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
