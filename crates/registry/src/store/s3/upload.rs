//! A local file goes up: small ones in one piece, large ones in parts, several at once, and one create-only completion.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::Digest;
use sha2::{Digest as _, Sha256};

use super::fault::Said;
use super::{Bucket, ETag, S3Bucket, StoreError, When};

/// The largest file that goes up in one piece, in bytes; it is held in memory.
const WHOLE_BYTES_MAX: u64 = 32 << 20;
/// The smallest part, in bytes; S3 takes 10,000 of at least 5 MiB.
const PART_BYTES_MIN: u64 = 16 << 20;
/// The most parts of an upload.
const PARTS_MAX: u64 = 10_000;
/// How many parts go up at once; each is held in memory.
const PARTS_AT_ONCE: usize = 4;

pub(super) async fn upload(
    to: &S3Bucket,
    key: &str,
    path: &Path,
    sha256: &Digest,
    written: &(dyn Fn(u64) + Send + Sync),
) -> Result<ETag, StoreError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), Arc::new(file))));
    let (size, file) = opened.map_err(|error| unreadable(path, &error))?;
    let source = Source { path, file, hasher: Arc::new(Mutex::new(Sha256::new())) };
    if size <= WHOLE_BYTES_MAX {
        let bytes = source.read(0, size).await?;
        source.check(sha256)?;
        let etag = to.put(key, bytes, When::Absent).await?;
        written(size);
        return Ok(etag);
    }
    let begun = to.client.create_multipart_upload().bucket(&to.bucket).key(to.full(key)).send().await;
    let begun = begun.map_err(|error| Said::by(&error).on_write(to.at(key), to.timeout, When::Absent))?;
    let Some(id) = begun.upload_id() else {
        return Err(StoreError::Refused { at: to.at(key), why: "the server gave no upload id".to_owned() });
    };
    let upload = Upload { to, key, id, source, sha256, size, written };
    match upload.send().await {
        Ok(etag) => Ok(etag),
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// An upload in parts.
struct Upload<'a> {
    to: &'a S3Bucket,
    key: &'a str,
    id: &'a str,
    source: Source<'a>,
    sha256: &'a Digest,
    size: u64,
    written: &'a (dyn Fn(u64) + Send + Sync),
}

impl Upload<'_> {
    async fn send(&self) -> Result<ETag, StoreError> {
        let part_bytes = PART_BYTES_MIN.max(self.size.div_ceil(PARTS_MAX));
        let done = AtomicU64::new(0);
        let parts = (0..self.size.div_ceil(part_bytes)).map(|index| (index as i32 + 1, index * part_bytes));
        // Read one after the other, as the digest wants it; sent several at once.
        let read = stream::iter(parts).then(|(number, from)| async move {
            (number, self.source.read(from, part_bytes.min(self.size - from)).await)
        });
        let sent = read.map(|(number, bytes)| self.part(number, bytes, &done)).buffered(PARTS_AT_ONCE);
        // Boxed: the compiler can't see that a stream of borrowing futures may move between threads.
        let parts: Vec<CompletedPart> = sent.boxed().try_collect().await?;
        self.source.check(self.sha256)?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.to.client.complete_multipart_upload().bucket(&self.to.bucket).key(self.to.full(self.key));
        let request = request.upload_id(self.id).if_none_match("*").multipart_upload(parts);
        let config = self.to.patient(self.size >> 4);
        match request.customize().config_override(config).send().await {
            Ok(output) => self.to.etag(self.key, output.e_tag()),
            Err(error) => Err(Said::by(&error).on_write(self.to.at(self.key), self.to.timeout, When::Absent)),
        }
    }

    async fn part(
        &self,
        number: i32,
        bytes: Result<Bytes, StoreError>,
        done: &AtomicU64,
    ) -> Result<CompletedPart, StoreError> {
        let bytes = bytes?;
        let len = bytes.len() as u64;
        let request = self.to.client.upload_part().bucket(&self.to.bucket).key(self.to.full(self.key));
        let request = request.upload_id(self.id).part_number(number).body(ByteStream::from(bytes));
        match request.customize().config_override(self.to.patient(len)).send().await {
            Ok(output) => {
                (self.written)(done.fetch_add(len, Ordering::Relaxed) + len);
                Ok(CompletedPart::builder().part_number(number).set_e_tag(output.e_tag().map(str::to_owned)).build())
            }
            Err(error) => Err(Said::by(&error).on_write(self.to.at(self.key), self.to.time_for(len), When::Absent)),
        }
    }

    /// Gives the parts' room back. A failure leaves them to the bucket's own lifecycle rule.
    async fn abort(&self) {
        let request = self.to.client.abort_multipart_upload().bucket(&self.to.bucket).key(self.to.full(self.key));
        if let Err(error) = request.upload_id(self.id).send().await {
            let why = Said::by(&error);
            tracing::warn!(object = self.to.at(self.key), ?why, "parts of a failed upload stay behind");
        }
    }
}

/// The local file, hashed while it is read.
struct Source<'a> {
    path: &'a Path,
    file: Arc<File>,
    hasher: Arc<Mutex<Sha256>>,
}

impl Source<'_> {
    /// The next part: parts are read in their order.
    async fn read(&self, from: u64, len: u64) -> Result<Bytes, StoreError> {
        let (file, hasher) = (Arc::clone(&self.file), Arc::clone(&self.hasher));
        let part = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, from)?;
            hasher.lock().unwrap_or_else(PoisonError::into_inner).update(&bytes);
            Ok(Bytes::from(bytes))
        });
        let part = part.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        part.map_err(|error| unreadable(self.path, &error))
    }

    /// Whether all that was read is what was to be sent.
    fn check(&self, sha256: &Digest) -> Result<(), StoreError> {
        let read = self.hasher.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize();
        match Digest::from_bytes(read.into()) == *sha256 {
            true => Ok(()),
            false => Err(StoreError::FileChanged { path: self.path.display().to_string() }),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Refused { at: path.display().to_string(), why: error.to_string() }
}
