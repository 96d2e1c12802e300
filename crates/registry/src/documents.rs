//! Small helpers that several modules share: ids, work that is too long for an async thread, writes whose author has to
//! look whether they took effect.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;

use crate::store::{Object, Store, StoreError};

/// Above this many bytes, hashing and parsing go to a thread that may block.
const HEAVY_BYTES: usize = 64 << 10;
/// How often a write is tried whose fate is not known and of which nothing is found.
const TRIES: u32 = 4;
/// The largest claim, build key, marker or request, in bytes.
pub(crate) const SMALL_BYTES_MAX: u64 = 64 << 10;

/// A random id that no other attempt has.
pub(crate) fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Works on `bytes` bytes where it keeps no other task waiting.
pub(crate) async fn heavy<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= HEAVY_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is ending, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// A pause before try number `attempt`, longer each time and never the same for two.
pub(crate) async fn pause(attempt: u32) {
    let longest_ms = 40u64 << attempt.min(5);
    let pause_ms = rand::rng().random_range(longest_ms / 2..=longest_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}

/// Writes `bytes` where there is nothing. None when they are there now, by this call or by one whose reply was lost;
/// otherwise what somebody else has written there before.
pub(crate) async fn create_or_find(store: &Store, key: &str, bytes: Bytes) -> Result<Option<Object>, StoreError> {
    let mut attempt = 0;
    loop {
        let error = match store.create(key, bytes.clone()).await {
            Ok(_) => return Ok(None),
            Err(error) if error.uncertain() => error,
            Err(error) => return Err(error),
        };
        let limit = (bytes.len() as u64).max(headgate_contract::manifest::BYTES_MAX);
        match store.find(key, limit).await {
            Ok(Some(found)) => return Ok((found.bytes != bytes).then_some(found)),
            Ok(None) if attempt < TRIES => {}
            Ok(None) => return Err(error),
            Err(again) if again.retryable() && attempt < TRIES => {}
            Err(again) => return Err(again),
        }
        attempt += 1;
        pause(attempt).await;
    }
}
