//! What every store must do: one suite, run against all of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use headgate_contract::Digest;
use headgate_registry::store::{Intent, Store, StoreError};

use crate::minio::Minio;
use crate::s3double::Double;
use crate::sample::{file_store, model};

#[tokio::test]
async fn a_folder_conforms() {
    let dir = tempfile::tempdir().unwrap();
    // The folder is made by the first write.
    suite(&file_store(&dir.path().join("a/new one")).await, 40).await;
}

#[tokio::test]
async fn a_bucket_of_the_double_conforms() {
    let double = Double::start().await;
    double.page(7);
    suite(&double.store().await, 40).await;
    assert_eq!(double.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_a_real_server_conforms() {
    let Some(minio) = Minio::start().await else { return };
    // More than one page of its listing.
    suite(&minio.store("conformance").await, 1_005).await;
}

async fn suite(store: &Store, entries: usize) {
    store.probe(Intent::Publish(&model("m"))).await.unwrap();
    store.probe(Intent::Release).await.unwrap();
    one_object(store).await;
    conditions(store).await;
    limits_and_keys(store).await;
    listings(store, entries).await;
    races(store).await;
    large_objects(store).await;
}

async fn one_object(store: &Store) {
    let missing = store.get("a/b", 10).await.unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains(&format!("{}/a/b", store.url())), "{missing}");
    assert!(!store.exists("a/b").await.unwrap());
    let etag = store.create("a/b", "one").await.unwrap();
    let read = store.get("a/b", 10).await.unwrap();
    assert_eq!((&read.bytes[..], &read.etag), (&b"one"[..], &etag));
    assert!(store.exists("a/b").await.unwrap());
    // A folder is no object.
    assert!(store.get("a", 10).await.unwrap_err().is_not_found());
    assert_eq!(store.create("empty", "").await.unwrap(), store.get("empty", 0).await.unwrap().etag);
    store.delete("a/b").await.unwrap();
    store.delete("a/b").await.unwrap();
    assert!(store.get("a/b", 10).await.unwrap_err().is_not_found());
    store.create("a/b", "anew").await.unwrap();
}

async fn conditions(store: &Store) {
    let first = store.create("doc", "one").await.unwrap();
    assert!(store.create("doc", "two").await.unwrap_err().is_exists());
    assert!(store.create("doc", "one").await.unwrap_err().is_exists());
    assert_eq!(store.get_if_changed("doc", Some(&first), 10).await.unwrap(), None);
    let second = store.replace("doc", "two", &first).await.unwrap();
    assert_ne!(first, second);
    assert!(matches!(store.replace("doc", "three", &first).await, Err(StoreError::Changed { .. })));
    assert!(matches!(store.replace("none", "x", &first).await, Err(StoreError::Changed { .. })));
    let read = store.get_if_changed("doc", Some(&first), 10).await.unwrap().unwrap();
    assert_eq!((&read.bytes[..], read.etag), (&b"two"[..], second));
    assert!(store.get_if_changed("none", Some(&first), 10).await.unwrap_err().is_not_found());
}

async fn limits_and_keys(store: &Store) {
    store.create("long", vec![7; 100]).await.unwrap();
    assert!(matches!(store.get("long", 99).await, Err(StoreError::TooLarge { limit: 99, .. })));
    assert_eq!(store.get("long", 100).await.unwrap().bytes.len(), 100);
    for key in ["", "../up", "/abs", "a//b", ".lock", "a/../../b"] {
        assert!(matches!(store.get(key, 1).await, Err(StoreError::Key { .. })), "{key}");
        assert!(matches!(store.create(key, "x").await, Err(StoreError::Key { .. })), "{key}");
        assert!(matches!(store.delete(key).await, Err(StoreError::Key { .. })), "{key}");
    }
    assert!(matches!(store.list("a").await, Err(StoreError::Key { .. })));
    store.create("odd/S~c3~a3o =+&?#%20 ü", "x").await.unwrap();
    assert_eq!(store.list("odd/").await.unwrap().keys, ["odd/S~c3~a3o =+&?#%20 ü"]);
    assert_eq!(&store.get("odd/S~c3~a3o =+&?#%20 ü", 1).await.unwrap().bytes[..], b"x");
}

async fn listings(store: &Store, entries: usize) {
    assert_eq!(store.list("list/").await.unwrap(), Default::default());
    let all: Vec<String> = (0..entries).map(|i| format!("list/{i:05}")).collect();
    for keys in all.chunks(32) {
        let writes = keys.iter().map(|key| store.create(key, "x"));
        futures_util::future::try_join_all(writes).await.unwrap();
    }
    store.create("list/folder/deep/x", "x").await.unwrap();
    store.create("list/folder/y", "y").await.unwrap();
    let listing = store.list("list/").await.unwrap();
    assert_eq!((listing.keys, listing.folders), (all, vec!["list/folder/".to_owned()]));
    store.delete("list/folder/deep/x").await.unwrap();
    let listing = store.list("list/folder/").await.unwrap();
    assert_eq!((listing.keys, listing.folders.len()), (vec!["list/folder/y".to_owned()], 0));
    assert!(store.list("").await.unwrap().folders.contains(&"list/".to_owned()));
}

/// Of sixteen writers at once, one creates; and sixteen counters lose no count.
async fn races(store: &Store) {
    for round in 0..5 {
        let key = format!("race/{round}");
        let tries = (0..16).map(|i| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.create(&key, format!("writer {i}")).await })
        });
        let results = futures_util::future::join_all(tries).await;
        let won: Vec<usize> = (0..16).filter(|i| results[*i].as_ref().unwrap().is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(store.get(&key, 99).await.unwrap().bytes, format!("writer {}", won[0]));
    }
    store.create("counter", "0").await.unwrap();
    let counters = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let read = store.get("counter", 99).await.unwrap();
                let count: u64 = std::str::from_utf8(&read.bytes).unwrap().parse().unwrap();
                match store.replace("counter", format!("{}", count + 1), &read.etag).await {
                    Ok(_) => return count + 1,
                    Err(StoreError::Changed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    let counts = futures_util::future::join_all(counters).await;
    let counts: BTreeSet<u64> = counts.into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, (1..=16).collect());
}

/// In several parts and ranges, with bytes that tell a swapped part.
async fn large_objects(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (key, size) in [("large/none", 0), ("large/one", 1), ("large/parts", (33 << 20) + 12_345)] {
        let bytes: Vec<u8> = (0..size as u32).flat_map(|i| (i / 4).to_le_bytes()[..1].to_vec()).collect();
        let bytes: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ (i >> 20) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        let told = AtomicU64::new(0);
        let tell = |done| told.store(done, Ordering::Relaxed);
        let sha256 = Digest::of(&bytes);
        let changed = store.create_from_file(key, &from, &Digest::of("else"), &tell).await.unwrap_err();
        assert!(matches!(changed, StoreError::FileChanged { .. }) && !store.exists(key).await.unwrap(), "{changed}");
        store.create_from_file(key, &from, &sha256, &tell).await.unwrap();
        assert_eq!(told.swap(0, Ordering::Relaxed), size);
        assert!(store.create_from_file(key, &from, &sha256, &tell).await.unwrap_err().is_exists());
        assert_eq!(store.size(key).await.unwrap(), Some(size));
        store.fetch_to(key, &to, size, &tell).await.unwrap();
        assert_eq!(told.load(Ordering::Relaxed), size);
        assert!(std::fs::read(&to).unwrap() == bytes, "{key}");
        for wrong in [size + 1, size + (20 << 20)] {
            let error = store.fetch_to(key, &to, wrong, &tell).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{key} {wrong}: {error}");
        }
    }
    let error = store.fetch_to("large/parts", &to, 1 << 20, &|_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(store.fetch_to("large/missing", &to, 5, &|_| {}).await.unwrap_err().is_not_found());
    let unreadable = store.create_from_file("large/x", &dir.path().join("nothing"), &Digest::of(""), &|_| {}).await;
    let unreadable = unreadable.unwrap_err();
    assert!(unreadable.to_string().contains("nothing"), "{unreadable}");
}
