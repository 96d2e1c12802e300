//! What every kind of store must be able to do.

use std::{fmt, path::Path};

use async_trait::async_trait;
use bytes::Bytes;
use headgate_contract::Digest;

use super::StoreError;

/// Names one state of an object: S3's entity tag as it came, or the sha256 of a file's content.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Bytes,
    /// The state that was read.
    pub etag: ETag,
}

/// When a write may happen.
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// Only where there is no object: create-only.
    Absent,
    /// Only where the object is in this state: compare-and-swap.
    Is(&'a ETag),
}

/// A part of an object.
#[derive(Clone, Debug)]
pub struct Part {
    /// The bytes asked for, fewer where the object ends.
    pub bytes: Bytes,
    /// The size of the whole object.
    pub total: u64,
}

/// What is directly below a prefix, sorted, each with the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Folders, with a slash at the end.
    pub folders: Vec<String>,
    /// Objects.
    pub keys: Vec<String>,
}

/// One kind of store. Reads see every write that was acknowledged before; a write takes effect whole or not at all.
/// Keys have passed [`super::key::check`].
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync {
    /// Reads an object of at most `limit` bytes; none where it is still in the state `unless`.
    async fn get(&self, key: &str, limit: u64, unless: Option<&ETag>) -> Result<Option<Object>, StoreError>;
    /// Reads `len` bytes from `from` on.
    async fn get_part(&self, key: &str, from: u64, len: u64) -> Result<Part, StoreError>;
    /// The size of an object; none where there is none.
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Writes an object.
    async fn put(&self, key: &str, bytes: Bytes, when: When<'_>) -> Result<ETag, StoreError>;
    /// Writes an object from a local file, create-only, if the file is still what `sha256` says;
    /// [`StoreError::FileChanged`] otherwise. `written` is told how many bytes have gone so far.
    async fn put_file(
        &self,
        key: &str,
        path: &Path,
        sha256: &Digest,
        written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError>;
    /// Lists what is directly below `prefix`, which is empty or ends with a slash.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;
    /// Deletes an object; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
