//! Objects by key, in a folder or in a bucket.

use std::{fmt, path::Path, sync::Arc};

use bytes::Bytes;

pub mod bucket;
pub mod error;
mod file;
pub mod key;
pub mod options;
pub mod url;

pub use bucket::{Bucket, ETag, Listing, Object, Part, When};
pub use error::StoreError;
pub use options::StoreOptions;
pub use url::{StoreUrl, UrlError};

/// A store. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    url: StoreUrl,
    bucket: Box<dyn Bucket>,
}

/// What a writer is about to do: it decides what the store must be able to do, and where the writer has rights.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// Publish a version of this model: create-only writes.
    Publish(&'a headgate_contract::ModelName),
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
        let _ = (url, options);
        todo!()
    }

    /// A store over another kind of bucket: one that injects faults, say.
    pub fn over(url: StoreUrl, bucket: impl Bucket + 'static) -> Self {
        Self { inner: Arc::new(Inner { url, bucket: Box::new(bucket) }) }
    }

    /// Where it is.
    pub fn url(&self) -> &StoreUrl {
        &self.inner.url
    }

    /// Reads an object of at most `limit` bytes.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Object, StoreError> {
        let _ = (key, limit, &self.inner.bucket);
        todo!()
    }

    /// Reads an object of at most `limit` bytes; none where it is still in the state `etag`.
    pub async fn get_if_changed(
        &self,
        key: &str,
        etag: Option<&ETag>,
        limit: u64,
    ) -> Result<Option<Object>, StoreError> {
        let _ = (key, etag, limit);
        todo!()
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
        let _ = (key, path, size, on_progress);
        todo!()
    }

    /// Whether there is such an object.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let _ = key;
        todo!()
    }

    /// Writes an object where there is none; [`StoreError::Exists`] where there is one.
    pub async fn create(&self, key: &str, bytes: impl Into<Bytes> + Send) -> Result<ETag, StoreError> {
        let _ = (key, bytes.into());
        todo!()
    }

    /// Writes an object over the one in the state `etag`; [`StoreError::Changed`] where it is in another.
    pub async fn replace(&self, key: &str, bytes: impl Into<Bytes> + Send, etag: &ETag) -> Result<ETag, StoreError> {
        let _ = (key, bytes.into(), etag);
        todo!()
    }

    /// Writes an object from a local file, where there is none. `on_progress` is told how many bytes have gone so far.
    pub async fn create_from_file(
        &self,
        key: &str,
        path: &Path,
        on_progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        let _ = (key, path, on_progress);
        todo!()
    }

    /// Lists what is directly below `prefix`, which is empty or ends with a slash.
    pub async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let _ = prefix;
        todo!()
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let _ = key;
        todo!()
    }

    /// Checks, once in this store's life, that it can do what a writer needs: [`StoreError::Lacks`],
    /// [`StoreError::ReadOnly`], [`StoreError::Forbidden`] say why not. Makes the folder of a `file://` store.
    /// Publishing and releasing call it themselves; call it before long work whose result is to be published.
    pub async fn probe(&self, intent: Intent<'_>) -> Result<(), StoreError> {
        let _ = intent;
        todo!()
    }
}
