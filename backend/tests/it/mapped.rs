//! Hashed linear models: mapped, swapped, and gone from the cache when nothing maps them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use headgate_registry::release::Settings;
use serde_json::{Value, json};

use crate::support::models::{HASHED_FIELDS, hashed, number};
use crate::support::{Bucket, Server, get, post, until};

/// Rows of 40 texts each.
fn body(rows: usize) -> Value {
    let row = |row: usize| -> Value {
        (0..HASHED_FIELDS).map(|at| (format!("c{at}"), json!(format!("value-{}", row * 7919 + at)))).collect()
    };
    json!({"instances": (0..rows).map(row).collect::<Vec<_>>()})
}

/// The one file of a version, in a backend's cache.
fn blob(bucket: &Bucket, cache: &Path, version: u64) -> std::path::PathBuf {
    let file = std::fs::read(bucket.file_of("ctr", number(version))).unwrap();
    cache.join("blobs").join(headgate_contract::Digest::of(file).to_string())
}

/// Whether this process, which the backend is in, has mapped a file.
fn maps(path: &Path) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.contains(&path.display().to_string())
}

async fn until_serves(server: &Server, version: u64) {
    let version = version.to_string();
    let answers = || async { post(server.addr, "/v1/models/ctr:predict", body(1)).await };
    until("it serves", || async { answers().await.header("x-headgate-version") == version }).await;
}

async fn keep_none(bucket: &Bucket) {
    bucket.configure("ctr", Settings { keep: Some(0), ..Default::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_million_weights_are_mapped_and_swapped_under_calls() {
    let bucket = Bucket::new().await;
    bucket.release(hashed("ctr", 24, 1.0)).await;
    keep_none(&bucket).await;
    let cache = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let server = Server::start_at(&bucket, cache.path(), &[]).await;
    until_serves(&server, 1).await;
    eprintln!("started and served in {:.0?}", started.elapsed());
    let (first, weights) = (blob(&bucket, cache.path(), 1), (64 << 20) as f64);
    assert!(maps(&first));
    let held: f64 = server.metric("headgate_model_bytes").await.parse().unwrap();
    assert!((weights..weights + 1e5).contains(&held), "{held}");
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (addr, stop, body) = (server.addr, Arc::clone(&stop), body(20));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = post(addr, "/v1/models/ctr:predict", body.clone()).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let version: f64 = answer.header("x-headgate-version").parse().unwrap();
                    let expected = version * HASHED_FIELDS as f64;
                    assert_eq!(answer.json()["predictions"], json!(vec![expected; 20]));
                }
            })
        })
        .collect();
    bucket.release(hashed("ctr", 24, 2.0)).await;
    let started = Instant::now();
    until_serves(&server, 2).await;
    eprintln!("swapped in {:.0?}", started.elapsed());
    until("the first one is unmapped", || async { !maps(&first) }).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(maps(&blob(&bucket, cache.path(), 2)));
    let held: f64 = server.metric("headgate_model_bytes").await.parse().unwrap();
    assert!(held < weights + 1e5, "{held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_in_the_cache_while_it_is_mapped() {
    let bucket = Bucket::new().await;
    bucket.release(hashed("ctr", 16, 1.0)).await;
    let cache = tempfile::tempdir().unwrap();
    // Room for one file and a half.
    let server = Server::start_at(&bucket, cache.path(), &[("cache.bytes_max", "400000")]).await;
    until_serves(&server, 1).await;
    let first = blob(&bucket, cache.path(), 1);
    // The version before is kept, and mapped.
    bucket.release(hashed("ctr", 16, 2.0)).await;
    until_serves(&server, 2).await;
    assert!(maps(&first) && first.exists());
    keep_none(&bucket).await;
    until("the first one is unmapped", || async { !maps(&first) }).await;
    bucket.release(hashed("ctr", 16, 3.0)).await;
    until_serves(&server, 3).await;
    until("the first one has left the cache", || async { !first.exists() }).await;
    let answer = post(server.addr, "/v1/models/ctr:predict", body(1)).await;
    assert_eq!(answer.json()["predictions"], json!([3.0 * HASHED_FIELDS as f64]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_weight_or_no_text_is_refused_and_the_version_before_goes_on() {
    let bucket = Bucket::new().await;
    bucket.release(hashed("ctr", 10, 1.0)).await;
    let server = Server::start(&bucket).await;
    let (version, mut bytes) = hashed("ctr", 10, 2.0);
    let at = bytes.len() - 4 * 1000;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    bucket.release((version, bytes)).await;
    until("refused", || async { !server.state("ctr", 2).await.1.is_empty() }).await;
    let (_, reason) = server.state("ctr", 2).await;
    assert!(reason.contains("model file: bucket 24: its weight is NaN"), "{reason}");
    let (mut version, bytes) = hashed("ctr", 10, 3.0);
    version.signature.inputs[7] = headgate_contract::manifest::Input::numeric("c7");
    version.golden = None;
    bucket.release((version, bytes)).await;
    until("refused", || async { !server.state("ctr", 3).await.1.is_empty() }).await;
    let (_, reason) = server.state("ctr", 3).await;
    assert!(reason.contains("feature 'c7' is to be texts, the signature says otherwise"), "{reason}");
    let answer = post(server.addr, "/v1/models/ctr:predict", r#"{"instances": [{"c0": 5}]}"#).await;
    answer.says(400, &["'ctr'", "row 0", "'c0'", "a text expected"]);
    let answer = post(server.addr, "/v1/models/ctr:predict", r#"{"instances": [{"c0": "5", "c9": null}]}"#).await;
    assert_eq!((answer.header("x-headgate-version"), &answer.json()["predictions"]), ("1", &json!([1.0])));
    assert_eq!(get(server.addr, "/v2/health/ready").await.status, 200);
}
