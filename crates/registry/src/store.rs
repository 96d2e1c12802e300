//! Objects by key, in a folder or in a bucket.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::{Digest, ModelName};

pub mod bucket;
pub mod error;
mod fetch;
mod file;
pub mod key;
pub mod options;
mod probe;
mod s3;
pub mod url;

pub use bucket::{Bucket, ETag, Listing, Object, Part, When};
pub use error::StoreError;
pub use options::{AccessKey, StoreOptions};
pub use url::{StoreUrl, UrlError};

/// A store. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    url: StoreUrl,
    bucket: Box<dyn Bucket>,
    /// Whether it has shown that it can do what publishing, and releasing, need.
    probed: [AtomicBool; 2],
}

/// What a writer is about to do: it decides what the store must be able to do, and where the writer has rights.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// Publish a version of this model: create-only writes.
    Publish(&'a ModelName),
    /// Change the catalog: create-only and compare-and-swap writes.
    Release,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.url)
    }
}

impl Store {
    /// Opens a store. Nothing is read or written yet: a bucket that can't be reached is told by the first call.
    pub async fn open(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::File(root) => {
                let lock_timeout = Duration::from_millis(options.operation_timeout_ms);
                Self::over(url.clone(), file::FileBucket::new(root.clone(), lock_timeout))
            }
            StoreUrl::S3 { bucket, prefix } => {
                Self::over(url.clone(), s3::S3Bucket::open(bucket, prefix, options).await?)
            }
        })
    }

    /// A store over another kind of bucket: one that injects faults, say.
    pub fn over(url: StoreUrl, bucket: impl Bucket + 'static) -> Self {
        Self { inner: Arc::new(Inner { url, bucket: Box::new(bucket), probed: Default::default() }) }
    }

    /// Where it is.
    pub fn url(&self) -> &StoreUrl {
        &self.inner.url
    }

    fn bucket(&self) -> &dyn Bucket {
        &*self.inner.bucket
    }

    /// Reads an object of at most `limit` bytes.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Object, StoreError> {
        let why = || "nothing came, though no state was named".to_owned();
        let read = self.get_if_changed(key, None, limit).await?;
        read.ok_or_else(|| StoreError::Damaged { at: self.at(key), why: why() })
    }

    /// Reads an object of at most `limit` bytes; none where it is still in the state `etag`.
    pub async fn get_if_changed(
        &self,
        key: &str,
        etag: Option<&ETag>,
        limit: u64,
    ) -> Result<Option<Object>, StoreError> {
        key::check(key)?;
        self.bucket().get(key, limit, etag).await
    }

    /// Reads an object; none where there is none.
    pub async fn find(&self, key: &str, limit: u64) -> Result<Option<Object>, StoreError> {
        match self.get(key, limit).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Reads an object of `size` bytes into the file `path`, which is made or overwritten; large ones as several ranges
    /// at once. `on_progress` is told how many bytes have come so far. The file is not synced.
    pub async fn fetch_to(
        &self,
        key: &str,
        path: &Path,
        size: u64,
        on_progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), StoreError> {
        key::check(key)?;
        fetch::fetch_to(self.bucket(), &self.at(key), key, path, size, on_progress).await
    }

    /// The size of an object in bytes; none where there is none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        key::check(key)?;
        self.bucket().size(key).await
    }

    /// Whether there is such an object.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.size(key).await?.is_some())
    }

    /// Writes an object where there is none; [`StoreError::Exists`] where there is one.
    pub async fn create(&self, key: &str, bytes: impl Into<Bytes> + Send) -> Result<ETag, StoreError> {
        key::check(key)?;
        self.bucket().put(key, bytes.into(), When::Absent).await
    }

    /// Writes an object over the one in the state `etag`; [`StoreError::Changed`] where it is in another.
    pub async fn replace(&self, key: &str, bytes: impl Into<Bytes> + Send, etag: &ETag) -> Result<ETag, StoreError> {
        key::check(key)?;
        self.bucket().put(key, bytes.into(), When::Is(etag)).await
    }

    /// Writes an object from a local file, where there is none, if the file is still what `sha256` says. `on_progress` is
    /// told how many bytes have gone so far.
    pub async fn create_from_file(
        &self,
        key: &str,
        path: &Path,
        sha256: &Digest,
        on_progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        key::check(key)?;
        self.bucket().put_file(key, path, sha256, on_progress).await
    }

    /// Lists what is directly below `prefix`, which is empty or ends with a slash.
    pub async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        key::check_prefix(prefix)?;
        self.bucket().list(prefix).await
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::check(key)?;
        self.bucket().delete(key).await
    }

    /// Checks, once in this store's life, that it can do what a writer needs: [`StoreError::Lacks`],
    /// [`StoreError::ReadOnly`], [`StoreError::Forbidden`] say why not. Makes the folder of a `file://` store.
    /// Publishing and releasing call it themselves; call it before long work whose result is to be published.
    pub async fn probe(&self, intent: Intent<'_>) -> Result<(), StoreError> {
        let probed = match intent {
            Intent::Publish(_) => &self.inner.probed[0],
            Intent::Release => &self.inner.probed[1],
        };
        if !probed.load(Ordering::Relaxed) {
            probe::probe(self.bucket(), self.url().to_string(), intent).await?;
            probed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The object as errors name it.
    pub fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.inner.url)
    }
}
