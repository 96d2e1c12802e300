//! From a publish to what a watcher sees, on every kind of store.

use headgate_contract::release::Action;
use headgate_contract::{Digest, ModelName};
use headgate_registry::publish::Outcome;
use headgate_registry::release::{self, Promotion, ReleaseError, Settings};
use headgate_registry::store::Store;
use headgate_registry::versions::{VersionError, VersionState};
use headgate_registry::watch::Watcher;
use headgate_registry::{lookup_build, manifest, models, versions};

use crate::minio::Minio;
use crate::s3double::Double;
use crate::sample::{WHO, file_store, model, number, promotion, publish, published, version};

#[tokio::test]
async fn a_folder_holds_models() {
    let dir = tempfile::tempdir().unwrap();
    suite(&file_store(&dir.path().join("store")).await).await;
}

#[tokio::test]
async fn a_bucket_of_the_double_holds_models() {
    let double = Double::start().await;
    suite(&double.store().await).await;
}

#[tokio::test]
async fn a_bucket_of_a_real_server_holds_models() {
    let Some(minio) = Minio::start().await else { return };
    suite(&minio.store("a/prefix").await).await;
}

async fn suite(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    publishing(store, dir.path()).await;
    scopes(store, dir.path()).await;
    releasing(store, dir.path()).await;
    races(store, dir.path()).await;
    gates(store, dir.path()).await;
    freezing_and_restoring(store, dir.path()).await;
}

async fn publishing(store: &Store, dir: &std::path::Path) {
    let m = model("first");
    assert_eq!(lookup_build(store, &m, &Digest::of("a")).await.unwrap(), None);
    let made = publish(store, version(&m, "a", dir)).await.unwrap();
    assert_eq!((made.version, made.outcome), (number(1), Outcome::Created));
    let again = publish(store, version(&m, "a", dir)).await.unwrap();
    assert_eq!((again.version, again.digest, again.outcome), (made.version, made.digest, Outcome::AlreadyThere));
    assert_eq!(lookup_build(store, &m, &Digest::of("a")).await.unwrap(), Some(again));
    let (read, digest) = manifest(store, &m, made.version).await.unwrap();
    assert_eq!((digest, read.version, read.files.len()), (made.digest, made.version, 1));
    let file = headgate_contract::layout::file(&m, made.version, &read.files[0].sha256, "model.txt");
    assert_eq!(&store.get(&file, 99).await.unwrap().bytes[..], b"tree of a");
    assert!(matches!(manifest(store, &m, number(9)).await, Err(VersionError::NotFound { .. })));
    // Two trainers of one build at once end with one version; others get numbers of their own.
    let builds = ["b", "b", "b", "c", "d"].map(|build| publish(store, version(&m, build, dir)));
    let all: Vec<_> = futures_util::future::join_all(builds).await.into_iter().map(Result::unwrap).collect();
    assert!(all[0].version == all[1].version && all[1].version == all[2].version, "{all:?}");
    assert!(all[0].digest == all[1].digest && all[1].digest == all[2].digest, "{all:?}");
    let complete = versions(store, &m).await.unwrap();
    let complete: Vec<_> = complete.iter().filter(|v| matches!(v.state, VersionState::Complete { .. })).collect();
    assert_eq!(complete.len(), 4);
}

async fn scopes(store: &Store, dir: &std::path::Path) {
    let base = model("scoped");
    let long = "x".repeat(100);
    let texts =
        ["admin.", "São Paulo", "self-employed", "a/b/../c", "🛫", "", "versions", ".hidden", "~", "%2F", &long];
    let mut promotions = Vec::new();
    for text in texts {
        let scope = ModelName::scoped(&base, text).unwrap();
        promotions.push(promotion(&scope, published(store, &scope, text, dir).await));
    }
    let listed = models(store).await.unwrap();
    let mut read: Vec<String> =
        listed.iter().filter(|m| m.base() == "scoped").map(|m| m.scope_text().unwrap()).collect();
    let mut expected = texts.map(str::to_owned).to_vec();
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
    assert!(!listed.contains(&base) && listed.contains(&model("first")));
    let before = release::log(store, 1).await.unwrap().first().map_or(0, |head| head.generation);
    let promoted = release::promote_all(store, promotions, WHO).await.unwrap();
    assert_eq!((promoted.generation, promoted.changes.len()), (before + 1, texts.len()));
}

async fn releasing(store: &Store, dir: &std::path::Path) {
    let m = model("flights");
    for build in ["one", "two", "three"] {
        published(store, &m, build, dir).await;
    }
    let mut watcher = Watcher::new(store.clone());
    watcher.poll().await.unwrap();
    let one = release::promote(store, promotion(&m, number(1)), WHO).await.unwrap();
    assert!(one.changed && one.changes[0].before.is_empty());
    let catalog = watcher.poll().await.unwrap().unwrap();
    assert_eq!((catalog.head().generation, &catalog.head().store_id), (one.generation, &one.store_id));
    let again = release::promote(store, promotion(&m, number(1)), WHO).await.unwrap();
    assert_eq!((again.changed, again.generation), (false, one.generation));
    let canary = Promotion { weight: Some(5), why: "try it".into(), ..promotion(&m, number(2)) };
    release::promote(store, canary, WHO).await.unwrap();
    let changed = watcher.poll().await.unwrap().unwrap();
    assert_eq!(changed.changes_since(Some(&catalog)).changed, std::slice::from_ref(&m));
    let served = |catalog: &headgate_registry::watch::Catalog| {
        let serve = &catalog.release(&m).unwrap().serve;
        serve.iter().map(|s| (s.version.get(), s.weight)).collect::<Vec<_>>()
    };
    assert_eq!(served(&changed), [(1, 95), (2, 5)]);
    release::promote(store, promotion(&m, number(2)), WHO).await.unwrap();
    release::promote(store, promotion(&m, number(3)), WHO).await.unwrap();
    release::rollback(store, &m, "it is worse", "ops@test").await.unwrap();
    let back = watcher.poll().await.unwrap().unwrap();
    assert_eq!(served(&back), [(2, 100)]);
    let history = &back.release(&m).unwrap().history;
    let marks: Vec<_> = history.iter().map(|entry| (entry.action, entry.rolled_back)).collect();
    let expected =
        [(Action::Promote, false), (Action::Promote, false), (Action::Promote, true), (Action::Rollback, false)];
    assert_eq!(marks, expected);
    release::label(store, &m, "blessed", Some(number(1)), WHO).await.unwrap();
    release::shadow(store, &m, number(3), 0.25, WHO).await.unwrap();
    let settings = Settings { strict: Some(true), sticky: Some(Some("x-user".into())), ..Settings::default() };
    release::configure(store, &m, settings, WHO).await.unwrap();
    let now = watcher.poll().await.unwrap().unwrap();
    let release = now.release(&m).unwrap();
    assert_eq!((release.labels["blessed"].version, release.shadow[0].fraction), (number(1), 0.25));
    assert_eq!((release.strict, release.sticky.as_deref()), (true, Some("x-user")));
    release::label(store, &m, "blessed", None, WHO).await.unwrap();
    release::shadow(store, &m, number(3), 0.0, WHO).await.unwrap();
    let log = release::log(store, 3).await.unwrap();
    let what: Vec<&str> = log.iter().map(|head| head.what.as_str()).collect();
    assert_eq!(what, ["take shadow 3 of flights away", "take label blessed of flights away", "configure flights"]);
    for (label, word) in [("stable", "kept by promotions"), ("a b", "no label")] {
        let error = release::label(store, &m, label, Some(number(1)), WHO).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let fallback = Settings { fallback: Some(Some(model("nobody"))), ..Settings::default() };
    assert!(matches!(release::configure(store, &m, fallback, WHO).await, Err(ReleaseError::Invalid(_))));
}

/// Of two models both promotions win; of one model one wins and the other is told who did.
async fn races(store: &Store, dir: &std::path::Path) {
    let (a, b) = (model("race-a"), model("race-b"));
    for m in [&a, &b] {
        for build in ["one", "two", "three"] {
            published(store, m, build, dir).await;
        }
    }
    let (one, other) = tokio::join!(
        release::promote(store, promotion(&a, number(1)), "one"),
        release::promote(store, promotion(&b, number(1)), "other")
    );
    assert_ne!(one.unwrap().generation, other.unwrap().generation);
    let mut told = 0;
    for _ in 0..4 {
        release::promote(store, promotion(&a, number(3)), WHO).await.unwrap();
        let (one, other) = tokio::join!(
            release::promote(store, promotion(&a, number(1)), "one"),
            release::promote(store, promotion(&a, number(2)), "other")
        );
        // Whoever comes later may also begin after the other has ended.
        for error in [one, other].into_iter().filter_map(Result::err) {
            assert!(matches!(&error, ReleaseError::Conflict { model, .. } if model == "race-a"), "{error}");
            told += 1;
        }
    }
    assert!(told > 0);
    // One changed model refuses a whole batch.
    let before = release::log(store, 1).await.unwrap().remove(0);
    let batch = vec![promotion(&a, number(2)), promotion(&b, number(9))];
    assert!(matches!(release::promote_all(store, batch, WHO).await, Err(ReleaseError::Version(_))));
    assert_eq!(release::log(store, 1).await.unwrap().remove(0), before);
}

async fn gates(store: &Store, dir: &std::path::Path) {
    let m = model("gated");
    let mut worse = version(&m, "worse", dir);
    worse.metrics.insert("auc".into(), 0.79);
    let mut other = version(&m, "other", dir);
    other.signature.inputs[0].name = "y".into();
    other.signature.inputs[0].required = true;
    published(store, &m, "good", dir).await;
    publish(store, worse).await.unwrap();
    publish(store, other).await.unwrap();
    let with = |version: u64, condition: &str| Promotion {
        condition: Some(condition.to_owned()),
        ..promotion(&m, number(version))
    };
    release::promote(store, with(1, "auc >= stable - 0.005"), WHO).await.unwrap();
    for (promotion, word) in [
        (with(2, "auc >= stable - 0.005"), "auc is 0.79, stable.auc is 0.8"),
        (with(2, "f1 > 0.5"), "no metric 'f1'"),
        (with(2, "auc >"), "condition 'auc >' at byte 5"),
        (promotion(&m, number(3)), "input 'y' is new and required"),
    ] {
        let error = release::promote(store, promotion, WHO).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    release::promote(store, with(2, "auc >= stable - 0.02"), WHO).await.unwrap();
    release::promote(store, Promotion { force: true, ..promotion(&m, number(3)) }, WHO).await.unwrap();
}

async fn freezing_and_restoring(store: &Store, dir: &std::path::Path) {
    let m = model("frozen");
    for build in ["one", "two"] {
        published(store, &m, build, dir).await;
    }
    let one = release::promote(store, promotion(&m, number(1)), WHO).await.unwrap();
    release::promote(store, promotion(&m, number(2)), WHO).await.unwrap();
    assert!(release::freeze(store, "christmas", "ops@test").await.unwrap().changed);
    assert!(!release::freeze(store, "again", "ops@test").await.unwrap().changed);
    let error = release::promote(store, promotion(&m, number(1)), WHO).await.unwrap_err();
    assert!(error.to_string().contains("frozen by ops@test") && error.to_string().contains("christmas"), "{error}");
    release::rollback(store, &m, "", WHO).await.unwrap();
    let restored = release::restore(store, one.generation + 1, "as it was", WHO).await.unwrap();
    let served: Vec<_> = restored.changes.iter().map(|c| (&c.model, c.before[0].version, c.after[0].version)).collect();
    assert_eq!(served, [(&m, number(1), number(2))]);
    let head = release::log(store, 1).await.unwrap().remove(0);
    assert!(head.frozen.is_some() && head.what == format!("restore generation {}", one.generation + 1));
    release::unfreeze(store, WHO).await.unwrap();
    release::promote(store, promotion(&m, number(1)), WHO).await.unwrap();
    for (generation, word) in [(9_999, "earlier one expected"), (0, "not kept")] {
        let error = release::restore(store, generation, "", WHO).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
