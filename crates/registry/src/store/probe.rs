//! Whether a store can do what a writer needs: asked of the store itself, not of its name.

use bytes::Bytes;

use super::{Bucket, ETag, Intent, StoreError, When};

/// The object that is written again and again: it stays, so that a second probe costs one call less, and a writer needs
/// no right to delete.
pub(super) fn key(intent: Intent<'_>) -> String {
    match intent {
        Intent::Publish(model) => format!("models/{model}/build=probe.json"),
        Intent::Release => "catalog/probe.json".to_owned(),
    }
}

pub(super) async fn probe(bucket: &dyn Bucket, at: String, intent: Intent<'_>) -> Result<(), StoreError> {
    let key = key(intent);
    let body = || Bytes::from_static(b"{\"format\":\"headgate.probe/1.0\"}\n");
    let mut there = false;
    // The first write may find nothing; the second must find the first.
    for _ in 0..2 {
        match bucket.put(&key, body(), When::Absent).await {
            Err(StoreError::Exists { .. }) => {
                there = true;
                break;
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    if !there {
        return Err(StoreError::Lacks { at, what: "create-only writes (If-None-Match: *)" });
    }
    if let Intent::Publish(_) = intent {
        return Ok(());
    }
    let swap = StoreError::Lacks { at, what: "compare-and-swap writes (If-Match)" };
    let stale = ETag(format!("\"{}\"", "0".repeat(32)));
    match bucket.put(&key, body(), When::Is(&stale)).await {
        Err(StoreError::Changed { .. }) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(swap),
    }
    let now = bucket.get(&key, 1 << 16, None).await?;
    let Some(now) = now else { return Err(swap) };
    match bucket.put(&key, body(), When::Is(&now.etag)).await {
        // Another writer's probe came between: the condition was looked at.
        Ok(_) | Err(StoreError::Changed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
