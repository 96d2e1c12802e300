//! A bucket that is slow, forbids, breaks off, loses replies or lacks something.

use std::time::{Duration, Instant};

use headgate_contract::catalog::Head;
use headgate_contract::{Digest, format, layout};
use headgate_registry::PublishError;
use headgate_registry::publish::Outcome;
use headgate_registry::release::{self, ReleaseError};
use headgate_registry::store::{AccessKey, Intent, Store, StoreError, StoreOptions};
use headgate_registry::watch::{WatchError, Watcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::s3double::{Double, Fault, Kind};
use crate::sample::{WHO, model, number, promotion, publish, published, version};

const DOWN: Fault = Fault::Reply(500, "InternalError");

#[tokio::test]
async fn a_failure_that_passes_is_not_seen() {
    let double = Double::start().await;
    let store = double.store().await;
    store.create("doc", vec![1; 50_000]).await.unwrap();
    for fault in [DOWN, Fault::Reply(503, "SlowDown"), Fault::LoseReply, Fault::CutBody] {
        double.fault(Kind::Get, "doc", fault, 2);
        assert_eq!(store.get("doc", 1 << 20).await.unwrap().bytes.len(), 50_000, "{fault:?}");
    }
    double.fault(Kind::Put, "other", Fault::Reply(409, "ConditionalRequestConflict"), 3);
    store.create("other", "x").await.unwrap();
    double.fault(Kind::List, "", DOWN, 2);
    assert_eq!(store.list("").await.unwrap().keys, ["doc", "other"]);
}

#[tokio::test]
async fn a_failure_that_stays_is_told_in_bounded_requests_and_time() {
    let double = Double::start().await;
    let options = StoreOptions { operation_timeout_ms: 300, ..double.options() };
    let store = double.store_with(options).await;
    store.create("doc", vec![1; 50_000]).await.unwrap();
    for (fault, word) in [
        (DOWN, "500 InternalError"),
        (Fault::LoseReply, "can't be reached"),
        (Fault::CutBody, "broke off"),
        (Fault::SlowBody, "no reply within 300 ms"),
        (Fault::Hang, "no reply within 300 ms"),
    ] {
        double.counted();
        double.fault(Kind::Get, "doc", fault, 3);
        let error = store.get("doc", 1 << 20).await.unwrap_err();
        assert!(error.to_string().contains(word) && error.retryable(), "{fault:?}: {error}");
        assert!(error.to_string().contains("s3://models/prod/doc"), "{error}");
        assert_eq!(double.counted(), [(Kind::Get, 3)].into(), "{fault:?}");
    }
    double.fault(Kind::Put, "busy", Fault::Reply(409, "ConditionalRequestConflict"), 99);
    let error = store.create("busy", "x").await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("409"), "{error}");
    assert_eq!(double.counted(), [(Kind::Put, 5)].into());
}

#[tokio::test]
async fn what_is_forbidden_or_missing_is_told_at_once() {
    let double = Double::start().await;
    let store = double.store().await;
    store.create("doc", "x").await.unwrap();
    double.counted();
    double.fault(Kind::Get, "doc", Fault::Reply(403, "AccessDenied"), 9);
    let error = store.get("doc", 9).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }) && !error.retryable(), "{error}");
    assert_eq!(double.counted(), [(Kind::Get, 1)].into());
    let wrong = AccessKey { id: "key-of-the-double".into(), secret: "guessed".into() };
    let stranger = double.store_with(StoreOptions { access_key: Some(wrong), ..double.options() }).await;
    let error = stranger.create("doc", "x").await.unwrap_err();
    assert!(error.to_string().contains("access denied: 403 SignatureDoesNotMatch"), "{error}");
    double.fault(Kind::Get, "none", Fault::Reply(404, "NoSuchBucket"), 1);
    assert_eq!(store.get("none", 1).await.unwrap_err().to_string(), "store s3://models does not exist");
    let nobody = StoreOptions { endpoint: Some("http://127.0.0.1:1".into()), ..double.options() };
    let error = double.store_with(nobody).await.get("doc", 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    let no_url = StoreOptions { endpoint: Some("127.0.0.1:9000".into()), ..double.options() };
    let error = Store::open(&"s3://models".parse().unwrap(), &no_url).await.unwrap_err();
    assert!(error.to_string().contains("http:// or https:// expected"), "{error}");
}

/// A proxy whose server is away says 404 of everything: a reader that took that for the bucket's word would blame a good
/// version for good.
#[tokio::test]
async fn a_404_that_is_not_the_buckets_is_an_outage() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", proxy.local_addr().unwrap()));
    let proxy = tokio::spawn(async move {
        while let Ok((mut caller, _)) = proxy.accept().await {
            let _ = caller.read(&mut [0; 4096]).await;
            let page = "404 page not found";
            let head = format!("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {}\r\n", page.len());
            let _ = caller.write_all(format!("{head}\r\n{page}").as_bytes()).await;
        }
    });
    let double = Double::start().await;
    let store = double.store_with(StoreOptions { endpoint, attempts: 1, ..double.options() }).await;
    let error = store.get("doc", 1).await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("404"), "{error}");
    assert!(matches!(Watcher::new(store).poll().await, Err(WatchError::Store(_))));
    proxy.abort();
}

#[tokio::test]
async fn a_full_bucket_says_so_and_an_upload_in_parts_leaves_nothing_behind() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    let store = double.store().await;
    double.fault(Kind::Put, "doc", Fault::Reply(507, "XMinioStorageFull"), 1);
    assert!(matches!(store.create("doc", "x").await, Err(StoreError::Full { .. })));
    let large = dir.path().join("large");
    let bytes = vec![3; 40 << 20];
    std::fs::write(&large, &bytes).unwrap();
    let sha256 = Digest::of(&bytes);
    double.fault(Kind::Put, "large", Fault::Reply(507, "XMinioStorageFull"), 1);
    assert!(matches!(store.create_from_file("large", &large, &sha256, &|_| {}).await, Err(StoreError::Full { .. })));
    assert_eq!((double.open_uploads(), double.read("large")), (0, None));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_read_and_not_written_to() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    double.ignore_conditions();
    let store = double.store().await;
    let m = model("m");
    let error = publish(&store, version(&m, "a", dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("store s3://models/prod lacks create-only writes"), "{error}");
    let error = release::freeze(&store, "", WHO).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Store(StoreError::Lacks { .. })), "{error}");
    let honest = Double::start().await;
    honest.fault(Kind::Put, "build=probe", Fault::Reply(501, "NotImplemented"), 1);
    let error = honest.store().await.probe(Intent::Publish(&m)).await.unwrap_err();
    assert!(matches!(error, StoreError::Lacks { .. }), "{error}");
    // One that can't be reached lacks nothing.
    let down = Double::start().await;
    let store = down.store_with(StoreOptions { attempts: 1, ..down.options() }).await;
    down.fault(Kind::Put, "probe", DOWN, 1);
    assert!(store.probe(Intent::Release).await.unwrap_err().retryable());
    store.probe(Intent::Release).await.unwrap();
    down.counted();
    store.probe(Intent::Release).await.unwrap();
    assert!(down.counted().is_empty(), "asked once");
}

#[tokio::test]
async fn lost_replies_neither_double_a_version_nor_lose_a_promotion() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    let store = double.store().await;
    let m = model("m");
    // The SDK asks again, and is told that it exists: it is its own.
    for key in ["claim.json", "build=", "files", "manifest.json", "_SUCCESS"] {
        double.fault(Kind::Put, key, Fault::LoseReply, 1);
    }
    let made = publish(&store, version(&m, "a", dir.path())).await.unwrap();
    assert_eq!((made.version, made.outcome), (number(1), Outcome::Created));
    // All tries of the SDK lost, of which the first took effect.
    double.fault(Kind::Put, "claim.json", Fault::LoseReply, 3);
    assert_eq!(publish(&store, version(&m, "b", dir.path())).await.unwrap().version, number(2));
    double.fault(Kind::Put, "head.json", Fault::LoseReply, 3);
    let won = release::promote(&store, promotion(&m, number(1)), WHO).await.unwrap();
    assert_eq!(won.generation, 1);
    double.fault(Kind::Put, "head.json", Fault::LoseReply, 1);
    assert_eq!(release::promote(&store, promotion(&m, number(2)), WHO).await.unwrap().generation, 2);
    // Where nothing can be read since, the outcome is called unknown.
    double.fault(Kind::Put, "head.json", Fault::LoseReply, 3);
    let promoting = release::promote(&store, promotion(&m, number(1)), WHO);
    let breaking = async {
        while double.read(&layout::old_head(2)).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        double.fault(Kind::Get, "head.json", Fault::Reply(403, "AccessDenied"), 99);
    };
    let (promoted, ()) = tokio::join!(promoting, breaking);
    assert!(matches!(promoted, Err(ReleaseError::Unknown { .. })), "{promoted:?}");
    let head: Head = format::read(format::HEAD, &double.read(layout::HEAD).unwrap()).unwrap();
    assert_eq!(head.generation, 3);
}

#[tokio::test]
async fn a_publish_that_failed_anywhere_can_be_run_again() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    let store = double.store_with(StoreOptions { attempts: 1, ..double.options() }).await;
    let m = model("m");
    for (build, key) in ["claim.json", "build=", "files", "manifest.json", "_SUCCESS"].iter().enumerate() {
        let build = format!("build {build}");
        store.probe(Intent::Publish(&m)).await.unwrap();
        double.fault(Kind::Put, key, Fault::Reply(403, "AccessDenied"), 1);
        let error = publish(&store, version(&m, &build, dir.path())).await.unwrap_err();
        assert!(matches!(error, PublishError::Store(StoreError::Forbidden { .. })), "{key}: {error}");
        let made = publish(&store, version(&m, &build, dir.path())).await.unwrap();
        headgate_registry::manifest(&store, &m, made.version).await.unwrap();
    }
    // Only the one that was stopped between its number and its key left a number behind.
    assert_eq!(published(&store, &m, "last", dir.path()).await, number(7));
}

#[tokio::test]
async fn no_credentials_at_all_are_told_as_such() {
    let double = Double::start().await;
    let began = Instant::now();
    let options = StoreOptions { access_key: None, ..double.options() };
    // Where this machine's own chain finds credentials, they are not the double's.
    let error = double.store_with(options).await.get("doc", 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60));
}
