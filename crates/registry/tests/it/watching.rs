//! Watching: what it costs, and what it never does.

use std::sync::Arc;
use std::time::Duration;

use headgate_contract::catalog::Head;
use headgate_contract::{format, layout};
use headgate_registry::release::{self, Promotion};
use headgate_registry::store::Store;
use headgate_registry::watch::{WatchError, Watcher};

use crate::memory::{Memory, memory_store, store_of};
use crate::s3double::{Double, Fault, Kind};
use crate::sample::{WHO, file_store, model, number, promotion, published};

async fn promoted(store: &Store, name: &str, build: &str) -> u64 {
    let (dir, m) = (tempfile::tempdir().unwrap(), model(name));
    let version = published(store, &m, build, dir.path()).await;
    release::promote(store, promotion(&m, version), WHO).await.unwrap().generation
}

#[tokio::test]
async fn a_thousand_models_cost_one_conditional_get_a_poll_and_no_listing() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    let store = double.store().await;
    // Published in memory, where it costs nothing.
    let memory = Memory::default();
    let mut batch: Vec<Promotion> = Vec::new();
    for i in 0..1_000 {
        let m = model(&format!("many/{i}"));
        batch.push(promotion(&m, published(&store_of(memory.clone()), &m, "same", dir.path()).await));
    }
    memory.objects.lock().unwrap().iter().for_each(|(key, bytes)| double.lie(key, bytes.clone()));
    release::promote_all(&store, batch, WHO).await.unwrap();
    let swap = double.counted();
    // Head, its probe, and at most one write for each of 256 shards; two documents a version.
    assert!(swap[&Kind::Put] <= 256 + 5 && swap[&Kind::Get] <= 2_000 + 5, "{swap:?}");
    let mut watcher = Watcher::new(store.clone());
    assert_eq!(watcher.poll().await.unwrap().unwrap().releases().count(), 1_000);
    assert!(double.counted()[&Kind::Get] <= 257);
    for _ in 0..10 {
        assert!(watcher.poll().await.unwrap().is_none());
    }
    assert_eq!(double.counted(), [(Kind::Get, 10)].into());
    // A change costs the head and one shard.
    promoted(&store, "many/7", "another").await;
    double.counted();
    assert!(watcher.poll().await.unwrap().is_some());
    assert_eq!(double.counted(), [(Kind::Get, 2)].into());
}

#[tokio::test]
async fn what_fails_is_empty_garbled_or_older_changes_nothing() {
    let double = Double::start().await;
    let store = double.store().await;
    let mut watcher = Watcher::new(store.clone());
    assert!(matches!(watcher.poll().await, Err(WatchError::NoCatalog { .. })));
    promoted(&store, "m", "one").await;
    let old = double.read(layout::HEAD).unwrap();
    promoted(&store, "m", "two").await;
    let good = double.read(layout::HEAD).unwrap();
    watcher.poll().await.unwrap().unwrap();
    let known = |watcher: &Watcher| watcher.catalog().unwrap().release(&model("m")).unwrap().serve[0].version;
    let mut unknown: serde_json::Value = serde_json::from_slice(&good).unwrap();
    unknown["format"] = "headgate.head/2.0".into();
    for (bytes, word) in [
        (&b""[..], "not a headgate.head"),
        (&good[..good.len() / 2], "not a headgate.head"),
        (b"<html>captive portal</html>", "not a headgate.head"),
        (&serde_json::to_vec(&unknown).unwrap(), "unknown format 'headgate.head/2.0'"),
        (&old, "went back from generation 2 to 1"),
    ] {
        double.lie(layout::HEAD, bytes.to_vec());
        for _ in 0..2 {
            let error = watcher.poll().await.unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(known(&watcher), number(2));
        }
    }
    double.forget(layout::HEAD);
    assert!(matches!(watcher.poll().await, Err(WatchError::NoCatalog { .. })));
    double.lie(layout::HEAD, good);
    assert!(watcher.poll().await.unwrap().is_none());
    double.fault(Kind::Get, "head.json", Fault::Reply(500, "InternalError"), 3);
    assert!(matches!(watcher.poll().await, Err(WatchError::Store(error)) if error.retryable()));
    double.fault(Kind::Get, "head.json", Fault::Reply(403, "AccessDenied"), 1);
    assert!(watcher.poll().await.unwrap_err().to_string().contains("access denied"));
    double.fault(Kind::Get, "head.json", Fault::SlowBody, 3);
    assert!(watcher.poll().await.is_ok(), "304 has no body to be slow with");
    assert_eq!(known(&watcher), number(2));
}

#[tokio::test]
async fn a_head_is_adopted_only_with_all_its_shards() {
    let double = Double::start().await;
    let store = double.store().await;
    promoted(&store, "m", "one").await;
    let mut watcher = Watcher::new(store.clone());
    watcher.poll().await.unwrap().unwrap();
    promoted(&store, "m", "two").await;
    promoted(&store, "n", "one").await;
    let head: Head = format::read(format::HEAD, &double.read(layout::HEAD).unwrap()).unwrap();
    let digest = head.shards.values().next().unwrap();
    let (key, good) = (layout::shard(digest), double.read(&layout::shard(digest)).unwrap());
    let old = Arc::clone(watcher.catalog().unwrap());
    double.lie(&key, "{}");
    assert!(watcher.poll().await.unwrap_err().to_string().contains("its bytes have digest"));
    double.forget(&key);
    assert!(watcher.poll().await.unwrap_err().to_string().contains("is missing"));
    assert!(Arc::ptr_eq(&old, watcher.catalog().unwrap()));
    double.lie(&key, good);
    double.counted();
    let new = watcher.poll().await.unwrap().unwrap();
    assert_eq!(new.head().generation, 3);
    // The shard that came before is not fetched again.
    assert_eq!(double.counted(), [(Kind::Get, 2)].into());
}

#[tokio::test]
async fn another_store_under_the_same_url_counts_from_its_own_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let store = file_store(&dir.path().join("s")).await;
    for build in ["one", "two", "three"] {
        promoted(&store, "m", build).await;
    }
    let mut watcher = Watcher::new(store.clone());
    watcher.poll().await.unwrap().unwrap();
    std::fs::remove_dir_all(dir.path().join("s")).unwrap();
    assert!(watcher.poll().await.is_err());
    let anew = file_store(&dir.path().join("s")).await;
    promoted(&anew, "m", "other").await;
    assert_eq!(watcher.poll().await.unwrap().unwrap().head().generation, 1);
}

#[tokio::test]
async fn a_kept_catalog_starts_a_process_without_the_bucket() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = dir.path().join("s");
    let store = file_store(&root).await;
    promoted(&store, "m", "one").await;
    let mut watcher = Watcher::cached(store.clone(), cache.path()).await;
    assert!(watcher.catalog().is_none());
    watcher.poll().await.unwrap().unwrap();
    let generation = promoted(&store, "m", "two").await;
    watcher.poll().await.unwrap().unwrap();
    std::fs::rename(&root, dir.path().join("away")).unwrap();
    let mut restarted = Watcher::cached(store.clone(), cache.path()).await;
    assert!(restarted.poll().await.is_err());
    let kept = restarted.catalog().unwrap();
    assert_eq!((kept.head().generation, kept.releases().count()), (generation, 1));
    // Back again, the same catalog is no news.
    std::fs::rename(dir.path().join("away"), &root).unwrap();
    assert!(restarted.poll().await.unwrap().is_none());
    // One flipped byte, and it is not used.
    let kept = walk(cache.path());
    let shard = kept.iter().find(|path| path.to_string_lossy().contains("shards")).unwrap();
    let mut bytes = std::fs::read(shard).unwrap();
    bytes[10] ^= 1;
    std::fs::write(shard, bytes).unwrap();
    assert_eq!(kept.len(), 2, "old shards are not kept: {kept:?}");
    assert!(Watcher::cached(store.clone(), cache.path()).await.catalog().is_none());
    // A cache that can't be written changes nothing.
    let blocked = cache.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    assert!(Watcher::cached(store, &blocked).await.poll().await.unwrap().is_some());
}

#[tokio::test]
async fn a_catalog_that_could_not_be_kept_is_kept_as_soon_as_it_can() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = file_store(&dir.path().join("s")).await;
    promoted(&store, "m", "one").await;
    let mut watcher = Watcher::cached(store.clone(), &cache.path().join("c")).await;
    watcher.poll().await.unwrap().unwrap();
    // A file where the folder should be stops root, too.
    std::fs::rename(cache.path().join("c"), cache.path().join("aside")).unwrap();
    std::fs::write(cache.path().join("c"), "").unwrap();
    let generation = promoted(&store, "m", "two").await;
    watcher.poll().await.unwrap().unwrap();
    std::fs::remove_file(cache.path().join("c")).unwrap();
    std::fs::rename(cache.path().join("aside"), cache.path().join("c")).unwrap();
    // Nothing is new, and the bucket need not even be there.
    std::fs::rename(dir.path().join("s"), dir.path().join("away")).unwrap();
    assert!(watcher.poll().await.is_err());
    let restarted = Watcher::cached(store, &cache.path().join("c")).await;
    assert_eq!(restarted.catalog().unwrap().head().generation, generation);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Polls counted from a paused clock: the loop keeps its interval, and nudges come at most once a second.
#[tokio::test(start_paused = true)]
async fn the_loop_polls_at_its_interval_and_when_it_is_told() {
    let store = memory_store();
    promoted(&store, "m", "one").await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (handle, work) = Watcher::new(store.clone()).run(Duration::from_secs(10), async { _ = stopped.await });
    let work = tokio::spawn(work);
    let mut seen = handle.seen();
    seen.wait_for(|seen| seen.polls == 1).await.unwrap();
    let known = seen.borrow().catalog.clone().unwrap();
    let began = tokio::time::Instant::now();
    seen.wait_for(|seen| seen.polls == 11).await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_secs(80)..Duration::from_secs(121)).contains(&took), "{took:?}");
    // Old news, and news of another store, wake nobody.
    let began = tokio::time::Instant::now();
    handle.heard_of(Some(&known.head().store_id), known.head().generation);
    handle.heard_of(Some("another"), 99);
    seen.wait_for(|seen| seen.polls == 12).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(8));
    let generation = promoted(&store, "m", "two").await;
    let began = tokio::time::Instant::now();
    handle.heard_of(None, generation);
    seen.wait_for(|seen| seen.catalog.as_ref().unwrap().head().generation == generation).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(10));
    // Somebody who keeps telling of a generation that is not there gets one poll a second.
    let (began, polls) = (tokio::time::Instant::now(), seen.borrow().polls);
    while began.elapsed() < Duration::from_secs(5) {
        handle.heard_of(None, generation + 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let nudged = seen.borrow().polls - polls;
    assert!((4..=6).contains(&nudged), "{nudged}");
    stop.send(()).unwrap();
    work.await.unwrap();
}
