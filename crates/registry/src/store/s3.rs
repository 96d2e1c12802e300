//! A bucket of an S3-compatible server as a store: create-only by `If-None-Match: *`, compare-and-swap by `If-Match`.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use headgate_contract::Digest;
use rand::Rng as _;

use super::bucket::{Bucket, ETag, Listing, Object, Part, When};
use super::error::StoreError;
use super::options::StoreOptions;

mod client;
mod fault;
mod upload;

use fault::Said;

/// The most entries of one listing.
const ENTRIES_MAX: usize = 1_000_000;
/// How often a write is repeated that S3 refused because another one was under way (409).
const CONFLICT_TRIES: u32 = 5;

/// A bucket as a store.
#[derive(Clone, Debug)]
pub(super) struct S3Bucket {
    client: Client,
    bucket: String,
    /// Before every key, with a slash at its end where it is not empty.
    prefix: String,
    timeout: Duration,
    attempts: u32,
}

impl S3Bucket {
    pub(super) async fn open(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self {
            client: client::connect(bucket, options).await?,
            bucket: bucket.to_owned(),
            prefix,
            timeout: Duration::from_millis(options.operation_timeout_ms.max(1)),
            attempts: options.attempts.max(1),
        })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The object as errors name it.
    fn at(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.bucket, self.prefix)
    }

    /// How long one attempt may take that moves `bytes`.
    fn time_for(&self, bytes: u64) -> Duration {
        self.timeout.saturating_mul(1 + (bytes >> 20).min(1 << 20) as u32)
    }

    /// The client's configuration for one call that sends `bytes`.
    fn patient(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(self.time_for(bytes)).build();
        aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
    }

    /// Sends a read and takes its body, again where the body breaks off: the SDK repeats only what fails before that.
    /// None where the object is unchanged.
    async fn read(
        &self,
        key: &str,
        limit: u64,
        request: impl Fn() -> GetObjectFluentBuilder,
    ) -> Result<Option<(GetObjectOutput, Bytes)>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut output = match request().send().await {
                Ok(output) => output,
                Err(error) => match Said::by(&error) {
                    Said::NotModified => return Ok(None),
                    said => return Err(said.on_read(self.at(key), self.timeout)),
                },
            };
            let body = std::mem::replace(&mut output.body, ByteStream::from_static(b""));
            match self.collect(key, limit, output.content_length(), body).await {
                Ok(bytes) => return Ok(Some((output, bytes))),
                Err(error) if error.retryable() && attempt < self.attempts => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// A body of at most `limit` bytes, whole.
    async fn collect(
        &self,
        key: &str,
        limit: u64,
        length: Option<i64>,
        mut body: ByteStream,
    ) -> Result<Bytes, StoreError> {
        let too_large = || StoreError::TooLarge { at: self.at(key), limit };
        let length = length.and_then(|length| u64::try_from(length).ok());
        if length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let time = self.time_for(length.unwrap_or(limit));
        let all = async {
            let mut bytes = BytesMut::with_capacity(length.unwrap_or(0) as usize);
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| self.broken_off(key, &error.to_string()))?;
                if (bytes.len() + chunk.len()) as u64 > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            match length {
                Some(length) if length != bytes.len() as u64 => {
                    Err(self.broken_off(key, &format!("{} of {length} bytes came", bytes.len())))
                }
                _ => Ok(bytes.freeze()),
            }
        };
        let late = StoreError::Timeout { at: self.at(key), timeout_ms: time.as_millis() as u64 };
        tokio::time::timeout(time, all).await.unwrap_or(Err(late))
    }

    fn broken_off(&self, key: &str, why: &str) -> StoreError {
        StoreError::Unreachable { at: self.at(key), why: format!("the reply broke off: {why}") }
    }

    fn etag(&self, key: &str, etag: Option<&str>) -> Result<ETag, StoreError> {
        let why = "the reply has no entity tag".to_owned();
        etag.map(|etag| ETag(etag.to_owned())).ok_or_else(|| StoreError::Refused { at: self.at(key), why })
    }

    fn put_request(
        &self,
        key: &str,
        when: When<'_>,
    ) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
        let request = self.client.put_object().bucket(&self.bucket).key(self.full(key));
        match when {
            When::Absent => request.if_none_match("*"),
            When::Is(etag) => request.if_match(&etag.0),
        }
    }
}

#[async_trait]
impl Bucket for S3Bucket {
    async fn get(&self, key: &str, limit: u64, unless: Option<&ETag>) -> Result<Option<Object>, StoreError> {
        let request = || {
            let request = self.client.get_object().bucket(&self.bucket).key(self.full(key));
            request.set_if_none_match(unless.map(|etag| etag.0.clone()))
        };
        let Some((output, bytes)) = self.read(key, limit, request).await? else { return Ok(None) };
        let etag = self.etag(key, output.e_tag())?;
        // A server that knows no If-None-Match sends the object anew.
        Ok((unless != Some(&etag)).then_some(Object { bytes, etag }))
    }

    async fn get_part(&self, key: &str, from: u64, len: u64) -> Result<Part, StoreError> {
        let range = format!("bytes={from}-{}", from.saturating_add(len).saturating_sub(1));
        let request = || self.client.get_object().bucket(&self.bucket).key(self.full(key)).range(&range);
        let Some((output, bytes)) = self.read(key, len, request).await? else {
            return Err(self.broken_off(key, "304 to an unconditional request"));
        };
        let total = output.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
        match total {
            Some(total) => Ok(Part { bytes, total }),
            // No Content-Range: the whole object came.
            None if from == 0 => Ok(Part { total: bytes.len() as u64, bytes }),
            None => Err(StoreError::Refused { at: self.at(key), why: "the server knows no ranges".to_owned() }),
        }
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(self.full(key)).send().await {
            Ok(output) => Ok(Some(output.content_length().unwrap_or(0).max(0) as u64)),
            Err(error) => match Said::by(&error) {
                Said::Missing => Ok(None),
                said => Err(said.on_read(self.at(key), self.timeout)),
            },
        }
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When<'_>) -> Result<ETag, StoreError> {
        let size = bytes.len() as u64;
        let mut attempt = 1;
        loop {
            let request = self.put_request(key, when).body(ByteStream::from(bytes.clone()));
            match request.customize().config_override(self.patient(size)).send().await {
                Ok(output) => return self.etag(key, output.e_tag()),
                Err(error) => match Said::by(&error) {
                    Said::Conflict(_) if attempt < CONFLICT_TRIES => attempt += 1,
                    said => return Err(said.on_write(self.at(key), self.time_for(size), when)),
                },
            }
            let pause_ms = rand::rng().random_range(20..100) * u64::from(attempt);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    async fn put_file(
        &self,
        key: &str,
        path: &Path,
        sha256: &Digest,
        written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        upload::upload(self, key, path, sha256, written).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let full = self.full(prefix);
        let below = |full: &str| full.strip_prefix(&self.prefix).map(str::to_owned);
        let (mut listing, mut next) = (Listing::default(), None);
        loop {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&full).delimiter("/");
            let page = match request.set_continuation_token(next).send().await {
                Ok(page) => page,
                Err(error) => return Err(Said::by(&error).on_read(self.at(prefix), self.timeout)),
            };
            listing.folders.extend(page.common_prefixes().iter().filter_map(|folder| below(folder.prefix()?)));
            // Some tools make an empty object to stand for the folder itself.
            let keys = page.contents().iter().filter_map(|object| below(object.key()?));
            listing.keys.extend(keys.filter(|key| !key.ends_with('/')));
            if listing.folders.len() + listing.keys.len() > ENTRIES_MAX {
                let why = format!("more than {ENTRIES_MAX} entries");
                return Err(StoreError::Refused { at: self.at(prefix), why });
            }
            next = page.next_continuation_token().map(str::to_owned);
            if next.is_none() || page.is_truncated() != Some(true) {
                break;
            }
        }
        listing.folders.sort();
        listing.keys.sort();
        Ok(listing)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.client.delete_object().bucket(&self.bucket).key(self.full(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match Said::by(&error) {
                Said::Missing => Ok(()),
                said => Err(said.on_read(self.at(key), self.timeout)),
            },
        }
    }
}
