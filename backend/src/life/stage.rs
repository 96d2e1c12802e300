//! The stages of a load, each with whose fault its failure is.

use std::future::Future;
use std::sync::Arc;

use headgate_contract::{Digest, Manifest, ModelName, Version, layout, manifest};
use headgate_registry::{Store, StoreError};
use tokio::sync::oneshot;

use super::Cause;
use crate::cache::{Cache, CacheError, Kind, digest_of};
use crate::engines::{self, Content, Files};

/// The largest `_SUCCESS`, in bytes.
const SUCCESS_BYTES_MAX: u64 = 1024;

/// Why a load did not end Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it is.
    pub cause: Cause,
    /// Why, in words.
    pub reason: String,
}

impl Failure {
    /// The version's own fault.
    pub fn own(reason: impl ToString) -> Self {
        Self { cause: Cause::Own, reason: reason.to_string() }
    }

    /// The store gave something else than was published.
    pub fn damaged(reason: impl ToString) -> Self {
        Self { cause: Cause::Damaged, reason: reason.to_string() }
    }

    /// The machine lacks what runs it.
    pub fn lacking(reason: impl ToString) -> Self {
        Self { cause: Cause::Lacking, reason: reason.to_string() }
    }

    /// A cause that can pass.
    pub fn passing(reason: impl ToString) -> Self {
        Self { cause: Cause::Passing, reason: reason.to_string() }
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::passing(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } | StoreError::Damaged { .. } | StoreError::TooLarge { .. } => {
                Self::damaged(error)
            }
            StoreError::Key { .. } => Self::own(error),
            _ => Self::passing(error),
        }
    }
}

/// Runs work that blocks or computes on a thread of its own, with a lower priority than those that serve.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let (send, receive) = oneshot::channel();
    std::thread::Builder::new()
        .name("headgate-load".to_owned())
        .spawn(move || {
            // On Linux this is the thread's own priority; where it is refused the load goes on at full speed.
            let _ = rustix::process::nice(10);
            let _ = send.send(work());
        })
        .map_err(|e| Failure::passing(format!("no thread to load on: {e}")))?;
    // The sender is lost when the work panics: a bug of ours, which must not take the server with it.
    receive.await.map_err(|_| Failure::own("loading it panicked"))
}

/// The manifest of a version: from the cache, else from the store, checked against `_SUCCESS` and against the digest
/// that the release names.
pub async fn fetch_manifest(
    store: &Store,
    cache: &Cache,
    model: &ModelName,
    version: Version,
    digest: Digest,
) -> Result<Manifest, Failure> {
    let from = cache.clone();
    let kept = off_thread(move || from.read(Kind::Manifest, &digest)).await?;
    let bytes = match kept {
        Ok(Some(bytes)) => bytes,
        // A cache that can't be read is told where it can't be written.
        Ok(None) | Err(_) => {
            let bytes = twice(|| fetch_whole(store, model, version, digest)).await?;
            let (to, copy) = (cache.clone(), bytes.clone());
            off_thread(move || to.write(Kind::Manifest, &digest, &copy)).await??;
            bytes
        }
    };
    let read = off_thread(move || Manifest::read(&bytes)).await?.map_err(|e| Failure::own(format!("manifest: {e}")))?;
    if read.model != *model || read.version != version {
        return Err(Failure::own(format!("manifest is of model '{}' version {}", read.model, read.version)));
    }
    match &read.abandoned {
        Some(why) => Err(Failure::own(format!("it was abandoned: {why}"))),
        None => Ok(read),
    }
}

/// What the store gives is read once more before a version is blamed for it.
async fn twice<T, F: Future<Output = Result<T, Failure>>>(read: impl Fn() -> F) -> Result<T, Failure> {
    match read().await {
        Err(failure) if failure.cause == Cause::Damaged => read().await,
        result => result,
    }
}

async fn fetch_whole(store: &Store, model: &ModelName, version: Version, digest: Digest) -> Result<Vec<u8>, Failure> {
    let key = layout::success(model, version);
    let success = match store.get(&key, SUCCESS_BYTES_MAX).await {
        Ok(object) => object.bytes,
        Err(e) if e.is_not_found() => return Err(Failure::damaged(format!("it has no _SUCCESS: {e}"))),
        Err(e) => return Err(e.into()),
    };
    let named = std::str::from_utf8(&success).unwrap_or_default().trim().parse::<Digest>();
    let named = named.map_err(|e| Failure::damaged(format!("_SUCCESS: {e}")))?;
    if named != digest {
        return Err(Failure::damaged(format!("_SUCCESS names manifest {named}, the release {digest}")));
    }
    let manifest = store.get(&layout::manifest(model, version), manifest::BYTES_MAX).await?.bytes;
    let came = Digest::of(&manifest);
    if came != digest {
        return Err(Failure::damaged(format!("manifest has digest {came}, its _SUCCESS says {digest}")));
    }
    Ok(manifest.to_vec())
}

/// Brings the files that are not in the cache.
pub async fn fetch_files(store: &Store, cache: &Cache, manifest: &Manifest) -> Result<(), Failure> {
    for file in &manifest.files {
        let (has, sha256) = (cache.clone(), file.sha256);
        if !off_thread(move || has.has(Kind::Blob, &sha256)).await? {
            twice(|| fetch_file(store, cache, manifest, file)).await?;
        }
    }
    Ok(())
}

async fn fetch_file(
    store: &Store,
    cache: &Cache,
    manifest: &Manifest,
    file: &manifest::FileEntry,
) -> Result<(), Failure> {
    let key = layout::file(&manifest.model, manifest.version, &file.sha256, &file.name);
    let from = cache.clone();
    let temporary = off_thread(move || from.temporary()).await??;
    let (to, sha256, size) = (cache.clone(), file.sha256, file.size);
    let mut fetched = store.fetch_to(&key, temporary.path(), size, &|_| {}).await;
    let room = to.clone();
    if matches!(fetched, Err(StoreError::Full { .. })) && off_thread(move || room.give_way(size)).await? {
        fetched = store.fetch_to(&key, temporary.path(), size, &|_| {}).await;
    }
    let name = file.name.clone();
    let checked = off_thread(move || -> Result<(), Failure> {
        fetched.map_err(|error| match error {
            // Reading does not fill a store: it is the cache that can't be written.
            StoreError::Full { why, .. } | StoreError::ReadOnly { why, .. } => {
                to.unwritten(std::io::Error::other(why)).into()
            }
            error => Failure::from(error),
        })?;
        let came = digest_of(temporary.path()).map_err(Failure::passing)?;
        if came != sha256 {
            return Err(Failure::damaged(format!("file '{name}' has digest {came}, its manifest says {sha256}")));
        }
        Ok(to.adopt(Kind::Blob, &sha256, temporary, size)?)
    });
    checked.await?
}

/// The files in the cache, each checked against its digest, in memory where the engine reads them so; one that changed on
/// disk is fetched again.
pub async fn verify_files(store: &Store, cache: &Cache, manifest: &Manifest) -> Result<Files, Failure> {
    let mut list = Vec::with_capacity(manifest.files.len());
    let in_memory = engines::reads_into_memory(&manifest.engine.name);
    for file in &manifest.files {
        let check = || {
            let (from, sha256) = (cache.clone(), file.sha256);
            off_thread(move || match in_memory {
                true => from.read(Kind::Blob, &sha256).map(|bytes| bytes.map(Content::Bytes)),
                false => from.check(Kind::Blob, &sha256).map(|path| path.map(Content::Path)),
            })
        };
        let content = match check().await?? {
            Some(content) => content,
            None => {
                twice(|| fetch_file(store, cache, manifest, file)).await?;
                let again = check().await??;
                again
                    .ok_or_else(|| Failure::passing(format!("file '{}' left the cache while it was read", file.name)))?
            }
        };
        list.push((file.name.clone(), content));
    }
    Ok(Files { list })
}

/// Memory of the budget, held as long as a version is.
#[derive(Debug)]
pub struct Memory {
    used: Arc<std::sync::atomic::AtomicU64>,
    bytes: u64,
}

impl Memory {
    /// Takes from the budget; none where it does not suffice.
    pub fn take(used: &Arc<std::sync::atomic::AtomicU64>, bytes: u64, budget: u64) -> Option<Self> {
        use std::sync::atomic::Ordering::AcqRel;
        let before = used.fetch_add(bytes, AcqRel);
        // Given back by the drop where it is too much.
        let memory = Self { used: Arc::clone(used), bytes };
        (before.saturating_add(bytes) <= budget).then_some(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, std::sync::atomic::Ordering::AcqRel);
    }
}
