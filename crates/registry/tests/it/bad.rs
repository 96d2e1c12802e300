//! Bad input: each is refused in words that name it, and what was there before stays.

use bytes::Bytes;
use headgate_contract::manifest::Manifest;
use headgate_contract::{Digest, format, layout};
use headgate_registry::release::{self, ReleaseError};
use headgate_registry::request::request_release;
use headgate_registry::store::{Store, StoreError};
use headgate_registry::versions::VersionState;
use headgate_registry::{PublishError, lookup_build, manifest, versions};

use crate::memory::{Memory, memory_store, store_of};
use crate::sample::{WHO, model, number, promotion, publish, published, version};

/// A whole version 1 of `m`, then `spoil`; what a promotion and a reader say.
async fn spoiled(spoil: impl AsyncFnOnce(&Memory, Manifest)) -> (String, String) {
    let (memory, dir) = (Memory::default(), tempfile::tempdir().unwrap());
    let (store, m) = (store_of(memory.clone()), model("m"));
    published(&store, &m, "a", dir.path()).await;
    let (read, _) = manifest(&store, &m, number(1)).await.unwrap();
    spoil(&memory, read).await;
    let promoted = release::promote(&store, promotion(&m, number(1)), WHO).await.unwrap_err();
    assert!(release::log(&store, 1).await.unwrap().is_empty());
    (promoted.to_string(), manifest(&store, &m, number(1)).await.unwrap_err().to_string())
}

fn put(memory: &Memory, key: String, bytes: impl Into<Bytes>) {
    memory.objects.lock().unwrap().insert(key, bytes.into());
}

/// The manifest with its `_SUCCESS`, as a publisher without scruples would write them.
fn put_manifest(memory: &Memory, text: String) {
    put(memory, layout::success(&model("m"), number(1)), Digest::of(&text).to_string());
    put(memory, layout::manifest(&model("m"), number(1)), text);
}

#[tokio::test]
async fn a_version_that_is_not_whole_is_never_released() {
    let m = model("m");
    let success = layout::success(&m, number(1));
    let text = |manifest: &Manifest| String::from_utf8(format::write(manifest)).unwrap();
    let without = spoiled(async |memory, _| drop(memory.objects.lock().unwrap().remove(&success))).await;
    assert_eq!(without.0, "version 1 of model m is unfinished: it has no _SUCCESS");
    let garbled = spoiled(async |memory, _| put(memory, success.clone(), "yes")).await;
    assert!(garbled.1.contains("its _SUCCESS holds no digest"), "{garbled:?}");
    let flipped = spoiled(async |memory, manifest| {
        put(memory, layout::manifest(&m, number(1)), text(&manifest).replace("0.8", "0.9"));
    })
    .await;
    assert!(flipped.0.contains("_SUCCESS says"), "{flipped:?}");
    let path =
        spoiled(async |memory, manifest| put_manifest(memory, text(&manifest).replace("model.txt", "../x"))).await;
    assert!(path.0.contains("file name '../x' is refused"), "{path:?}");
    let major = spoiled(async |memory, manifest| {
        put_manifest(memory, text(&manifest).replace("headgate.manifest/1.0", "headgate.manifest/7.0"));
    })
    .await;
    assert!(major.0.contains("unknown format 'headgate.manifest/7.0'"), "{major:?}");
    let other = spoiled(async |memory, manifest| {
        put_manifest(memory, text(&Manifest { model: model("other"), ..manifest }));
    })
    .await;
    assert!(other.0.contains("is of version 1 of other"), "{other:?}");
    let closed = spoiled(async |memory, manifest| {
        put_manifest(memory, text(&Manifest { abandoned: Some("too old".into()), ..manifest }));
    })
    .await;
    assert_eq!(closed.0, "version 1 of model m was abandoned: too old");
    let gone =
        spoiled(async |memory, _| drop(memory.objects.lock().unwrap().remove(&layout::manifest(&m, number(1))))).await;
    assert!(gone.0.contains("no manifest.json"), "{gone:?}");
}

#[tokio::test]
async fn what_contradicts_itself_is_not_published() {
    let (store, dir, m) = (memory_store(), tempfile::tempdir().unwrap(), model("m"));
    let good = || version(&m, "a", dir.path());
    let said = async |new| publish(&store, new).await.unwrap_err().to_string();
    let mut bad = good();
    bad.files[0].0 = "../x".into();
    assert!(said(bad).await.contains("file name '../x' is refused"));
    let mut bad = good();
    bad.files[0].1 = dir.path().join("nothing");
    assert!(said(bad).await.contains("file 'model.txt' at"));
    let mut bad = good();
    bad.metrics.insert("auc".into(), f64::NAN);
    assert!(said(bad).await.contains("metric 'auc' is NaN"));
    let mut bad = good();
    bad.signature.inputs.clear();
    assert!(said(bad).await.contains("signature has 0 inputs"));
    let mut bad = good();
    bad.files.push(bad.files[0].clone());
    assert!(said(bad).await.contains("listed twice"));
    assert_eq!(versions(&store, &m).await.unwrap(), []);
}

#[tokio::test]
async fn promotions_that_make_no_sense_change_nothing() {
    let (store, dir, m) = (memory_store(), tempfile::tempdir().unwrap(), model("m"));
    published(&store, &m, "a", dir.path()).await;
    let missing = release::promote(&store, promotion(&m, number(9)), WHO).await.unwrap_err();
    assert_eq!(missing.to_string(), "model m has no version 9 in file:///memory");
    let one = || promotion(&m, number(1));
    for (batch, word) in [
        (vec![], "0 promotions"),
        (vec![one(), one()], "model m is in the batch twice"),
        (vec![release::Promotion { weight: Some(0), ..one() }], "a weight of 0 percent"),
        (vec![release::Promotion { weight: Some(5), ..one() }], "no other version is served"),
    ] {
        let error = release::promote_all(&store, batch, WHO).await.unwrap_err();
        assert!(matches!(error, ReleaseError::Invalid(_)) && error.to_string().contains(word), "{error}");
    }
    let nothing = release::rollback(&store, &m, "", WHO).await.unwrap_err();
    assert_eq!(nothing.to_string(), "model m: it has no release: nothing was promoted");
    assert!(release::log(&store, 9).await.unwrap().is_empty());
    release::promote(&store, one(), WHO).await.unwrap();
    let nothing = release::rollback(&store, &m, "", WHO).await.unwrap_err();
    assert_eq!(nothing.to_string(), "model m: there is no earlier version to go back to");
}

#[tokio::test]
async fn a_build_whose_version_was_closed_goes_on_as_another() {
    let (memory, dir, m) = (Memory::default(), tempfile::tempdir().unwrap(), model("m"));
    let store = store_of(memory.clone());
    published(&store, &m, "a", dir.path()).await;
    let (read, _) = manifest(&store, &m, number(1)).await.unwrap();
    // Abandoned: closed before it was whole.
    let closed = Manifest { abandoned: Some("a week without a sign".into()), ..read };
    memory.objects.lock().unwrap().remove(&layout::success(&m, number(1)));
    put(&memory, layout::manifest(&m, number(1)), format::write(&closed));
    assert!(
        matches!(&versions(&store, &m).await.unwrap()[0].state, VersionState::Abandoned { why } if why.contains("week"))
    );
    assert_eq!(lookup_build(&store, &m, &Digest::of("a")).await.unwrap(), None);
    let second = publish(&store, version(&m, "a", dir.path())).await.unwrap();
    assert_eq!(second.version, number(2));
    assert_eq!(lookup_build(&store, &m, &Digest::of("a")).await.unwrap().unwrap().version, number(2));
    // Dead: its files are being deleted.
    release::promote(&store, promotion(&m, number(2)), WHO).await.unwrap();
    mark_dead(&memory, 2);
    let error = release::promote(&store, promotion(&m, number(2)), WHO).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Dead { .. }), "{error}");
    assert_eq!(publish(&store, version(&m, "a", dir.path())).await.unwrap().version, number(3));
}

/// As garbage collection will: a new shard, and a head that names it.
fn mark_dead(memory: &Memory, dead: u64) {
    let mut objects = memory.objects.lock().unwrap();
    let mut head: headgate_contract::catalog::Head = format::read(format::HEAD, &objects[layout::HEAD]).unwrap();
    let digest = head.shards.values_mut().next().unwrap();
    let mut shard: headgate_contract::catalog::Shard =
        format::read(format::SHARD, &objects[&layout::shard(digest)]).unwrap();
    shard.releases.get_mut(&model("m")).unwrap().dead.push(number(dead));
    let bytes = format::write(&shard);
    *digest = Digest::of(&bytes);
    objects.insert(layout::shard(digest), bytes.into());
    objects.insert(layout::HEAD.to_owned(), format::write(&head).into());
}

#[tokio::test]
async fn a_catalog_that_lost_its_head_is_not_begun_anew() {
    let (memory, dir, m) = (Memory::default(), tempfile::tempdir().unwrap(), model("m"));
    let store = store_of(memory.clone());
    for build in ["a", "b"] {
        let version = published(&store, &m, build, dir.path()).await;
        release::promote(&store, promotion(&m, version), WHO).await.unwrap();
    }
    memory.objects.lock().unwrap().remove(layout::HEAD);
    let error = release::promote(&store, promotion(&m, number(1)), WHO).await.unwrap_err();
    assert!(error.to_string().contains("head.json is missing, but catalog/heads/"), "{error}");
    put(&memory, layout::HEAD.to_owned(), "{}");
    let error = release::promote(&store, promotion(&m, number(1)), WHO).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Broken(_)), "{error}");
}

#[tokio::test]
async fn a_build_key_that_is_garbled_is_told_and_not_overwritten() {
    let (memory, dir, m) = (Memory::default(), tempfile::tempdir().unwrap(), model("m"));
    let store: Store = store_of(memory.clone());
    put(&memory, layout::build(&m, &Digest::of("a")), "{}");
    let error = publish(&store, version(&m, "a", dir.path())).await.unwrap_err();
    assert!(matches!(error, PublishError::Stuck { .. }), "{error}");
}

#[tokio::test]
async fn a_request_for_a_release_is_left_once() {
    let store = memory_store();
    for who in ["first@test", "second@test"] {
        request_release(&store, &model("m"), number(1), Some("auc > stable".into()), who).await.unwrap();
    }
    let left = store.get(&layout::request(&model("m"), number(1)), 9_999).await.unwrap();
    let left: headgate_contract::claim::ReleaseRequest = format::read(format::REQUEST, &left.bytes).unwrap();
    assert_eq!((left.who.as_str(), left.condition.as_deref()), ("first@test", Some("auc > stable")));
    assert!(matches!(store.get("requests/m/version=2.json", 9).await, Err(StoreError::NotFound { .. })));
}
