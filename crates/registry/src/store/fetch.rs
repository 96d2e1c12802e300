//! A large object comes down as several ranges at once.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Bucket, StoreError};

/// How much comes in one range, in bytes; an object of twice as much is split.
const RANGE_BYTES: u64 = 8 << 20;
/// How many ranges come at once; each is held in memory.
const RANGES_AT_ONCE: usize = 4;

pub(super) async fn fetch_to(
    bucket: &dyn Bucket,
    at: &str,
    key: &str,
    path: &Path,
    size: u64,
    on_progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), StoreError> {
    let made = path.to_owned();
    let file = blocking(path, move || File::create(made).map(Arc::new)).await?;
    if size == 0 {
        return match bucket.size(key).await? {
            Some(0) => Ok(()),
            Some(found) => Err(damaged(at, found, 0)),
            None => Err(StoreError::NotFound { at: at.to_owned() }),
        };
    }
    let range = if size <= 2 * RANGE_BYTES { size } else { RANGE_BYTES };
    let done = AtomicU64::new(0);
    let ranges = (0..size.div_ceil(range)).map(|index| {
        let (from, len) = (index * range, range.min(size - index * range));
        let (file, done) = (Arc::clone(&file), &done);
        async move {
            let part = bucket.get_part(key, from, len).await?;
            if part.total != size || part.bytes.len() as u64 != len {
                return Err(damaged(at, part.total, size));
            }
            blocking(path, move || file.write_all_at(&part.bytes, from)).await?;
            on_progress(done.fetch_add(len, Ordering::Relaxed) + len);
            Ok(())
        }
    });
    // Boxed: the compiler can't see that a stream of borrowing futures may move between threads.
    stream::iter(ranges).buffer_unordered(RANGES_AT_ONCE).boxed().try_collect().await
}

fn damaged(at: &str, found: u64, expected: u64) -> StoreError {
    StoreError::Damaged { at: at.to_owned(), why: format!("{found} bytes, {expected} expected") }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    result.map_err(|error| super::file::on_write(path.display().to_string(), &error))
}
