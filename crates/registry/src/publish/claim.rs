//! A number for a build: claimed once, and bound to the build's key.

use bytes::Bytes;
use headgate_contract::claim::{Build, Claim};
use headgate_contract::{Digest, ModelName, Version, format, layout};
use jiff::Timestamp;

use super::PublishError;
use crate::documents::{SMALL_BYTES_MAX, create_or_find, random_id};
use crate::store::Store;
use crate::versions::numbers;

/// How many numbers are tried that others take at the same time.
const NUMBERS_MAX: usize = 1000;

/// The version that a build is.
pub(super) async fn lookup(store: &Store, model: &ModelName, key: &Digest) -> Result<Option<Version>, PublishError> {
    match store.find(&layout::build(model, key), SMALL_BYTES_MAX).await? {
        Some(found) => read_build(model, key, &found.bytes).map(Some),
        None => Ok(None),
    }
}

/// The key that a build goes on with when `version`, which bore `key`, will never be served.
pub(super) fn next_key(key: &Digest, version: Version) -> Digest {
    Digest::of_parts([key.as_bytes().as_slice(), version.get().to_le_bytes().as_slice()])
}

/// A number for the build: a new one, or the one that somebody else has bound to the key meanwhile.
pub(super) async fn claim(
    store: &Store,
    model: &ModelName,
    key: &Digest,
    who: &str,
) -> Result<(Version, bool), PublishError> {
    let attempt = random_id();
    let version = claim_number(store, model, key, who, &attempt).await?;
    let build = Build { format: format::CLAIM.to_owned(), version, attempt };
    let bound = create_or_find(store, &layout::build(model, key), Bytes::from(format::write(&build))).await?;
    match bound {
        None => Ok((version, true)),
        Some(other) => Ok((read_build(model, key, &other.bytes)?, false)),
    }
}

async fn claim_number(
    store: &Store,
    model: &ModelName,
    key: &Digest,
    who: &str,
    attempt: &str,
) -> Result<Version, PublishError> {
    let mut version = numbers(store, model).await?.last().map_or(Version::FIRST, |last| last.next());
    let claim = Claim {
        format: format::CLAIM.to_owned(),
        who: who.to_owned(),
        since: Timestamp::now(),
        build_key: *key,
        attempt: attempt.to_owned(),
    };
    let claim = Bytes::from(format::write(&claim));
    for _ in 0..NUMBERS_MAX {
        if create_or_find(store, &layout::claim(model, version), claim.clone()).await?.is_none() {
            return Ok(version);
        }
        version = version.next();
    }
    Err(PublishError::Stuck { model: model.clone(), why: format!("{NUMBERS_MAX} numbers were taken by others") })
}

fn read_build(model: &ModelName, key: &Digest, bytes: &[u8]) -> Result<Version, PublishError> {
    let build: Result<Build, _> = format::read(format::CLAIM, bytes);
    let why = |error| format!("{}: {error}", layout::build(model, key));
    build.map(|build| build.version).map_err(|error| PublishError::Stuck { model: model.clone(), why: why(error) })
}
