//! Swaps, rollbacks, retirement, draining: no call fails, and each is answered by one version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::models::{name, number, score};
use crate::support::{Bucket, Server, get, linear, post, until};

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_calls_fail_none_and_mix_none() {
    let bucket = Bucket::new().await;
    let weights = |n: u64| [n as f64, 0.5];
    bucket.release(linear("bank", weights(1))).await;
    let server = Server::start(&bucket).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (addr, stop) = (server.addr, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"instances": vec![[3.0, 4.0]; 50]});
                    let answer = post(addr, "/v1/models/bank:predict", body).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let version: u64 = answer.header("x-headgate-version").parse().unwrap();
                    let expected = score(weights(version), [3.0, 4.0]);
                    assert_eq!(answer.json()["predictions"], json!(vec![expected; 50]));
                    *seen.entry(version).or_default() += 1;
                }
                seen
            })
        })
        .collect();
    for n in 2..=15 {
        bucket.release(linear("bank", weights(n))).await;
        server.until_answers("bank", n).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut versions = BTreeMap::new();
    for caller in callers {
        versions.extend(caller.await.unwrap());
    }
    assert!(versions.len() >= 10, "{versions:?}");
    // The last one and the one kept before it are resident, and nothing else.
    until("the rest is gone", || async {
        get(server.addr, "/v2/repository/index").await.json().as_array().unwrap().len() == 2
    })
    .await;
    let state = server.fleet_state("").await;
    let versions = state["models"][0]["versions"].as_array().unwrap();
    let resident: u64 = versions.iter().map(|v| v["memory_bytes"].as_u64().unwrap()).sum();
    until("the memory of the rest is free", || async {
        let page = String::from_utf8(get(server.addr, "/metrics").await.body.to_vec()).unwrap();
        page.contains(&format!("headgate_model_bytes {resident}\n"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_reads_nothing_from_the_store() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.release(linear("bank", [0.6, -2.0])).await;
    let server = Server::start(&bucket).await;
    server.until_state("bank", 1, "READY").await;
    let models = bucket.path("models");
    headgate_registry::release::rollback(&bucket.store, &name("bank"), "", "t").await.unwrap();
    std::fs::rename(&models, bucket.dir.path().join("away")).unwrap();
    server.until_answers("bank", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_left_answers_until_the_gateways_know() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.configure("bank", headgate_registry::release::Settings { keep: Some(0), ..Default::default() }).await;
    let server = Server::start(&bucket).await;
    // A gateway that polls, and does not know of the swap yet.
    let cursor = server.fleet_state("").await["cursor"].as_str().unwrap().to_owned();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    server.until_state("bank", 1, "UNLOADING").await;
    let named = || post(server.addr, "/v1/models/bank/versions/1:predict", r#"{"instances":[[1,2]]}"#);
    assert_eq!(named().await.status, 200);
    let told = server.fleet_state(&format!("since={cursor}")).await;
    assert_eq!(server.state("bank", 1).await.0, "UNLOADING");
    server.fleet_state(&format!("since={}", told["cursor"].as_str().unwrap())).await;
    until("gone", || async { named().await.status == 404 }).await;
    assert_eq!(server.state("bank", 1).await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_left_waits_for_nobody_who_is_no_gateway() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.configure("bank", headgate_registry::release::Settings { keep: Some(0), ..Default::default() }).await;
    let server = Server::start_with(&bucket, &[("retire_max_ms", "600000")]).await;
    server.ready().await;
    // An operator who looks, and does not again.
    assert_eq!(get(server.addr, "/fleet/v1/state").await.status, 200);
    bucket.release(linear("bank", [0.6, -2.0])).await;
    server.until_answers("bank", 2).await;
    until("gone", || async { server.state("bank", 1).await.0.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_left_goes_at_the_latest_after_its_time() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.configure("bank", headgate_registry::release::Settings { keep: Some(0), ..Default::default() }).await;
    let server = Server::start_with(&bucket, &[("retire_max_ms", "500")]).await;
    server.ready().await;
    server.fleet_state("").await;
    bucket.release(linear("bank", [0.6, -2.0])).await;
    server.until_state("bank", 1, "UNLOADING").await;
    until("gone", || async { server.state("bank", 1).await.0.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_is_ready_and_its_first_model_comes() {
    let bucket = Bucket::new().await;
    std::fs::create_dir_all(bucket.path("")).unwrap();
    let server = Server::start(&bucket).await;
    assert_eq!(server.fleet_state("").await["models"], json!([]));
    bucket.release(linear("bank", [0.5, -2.0])).await;
    server.until_answers("bank", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_it_says_so_serves_on_and_ends_when_nothing_is_in_flight() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let mut server = Server::start_with(&bucket, &[("drain.lame_duck_ms", "600")]).await;
    server.ready().await;
    let cursor = server.fleet_state("").await["cursor"].as_str().unwrap().to_owned();
    let path = format!("/fleet/v1/state?since={cursor}&wait=20000");
    let addr = server.addr;
    let poll = tokio::spawn(async move { get(addr, &path).await.json() });
    server.terminate();
    let report: Value = poll.await.unwrap();
    assert_eq!(report["draining"], true);
    assert_eq!(get(addr, "/v2/health/ready").await.status, 503);
    assert_eq!(get(addr, "/v2/health/live").await.status, 200);
    let answer = post(addr, "/v1/models/bank:predict", r#"{"instances":[[1,2]]}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
    // A call whose body is still on its way when it stops accepting.
    let late = tokio::spawn(async move { slow_call(addr, Duration::from_millis(900)).await });
    assert!(late.await.unwrap().starts_with("HTTP/1.1 200 "));
    server.running.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

async fn slow_call(addr: std::net::SocketAddr, pause: Duration) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let body = r#"{"instances":[[1,2]]}"#;
    let head = format!("POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{}", &body[..5]).as_bytes()).await.unwrap();
    tokio::time::sleep(pause).await;
    stream.write_all(&body.as_bytes()[5..]).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_part() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let canary = bucket.publish(linear("bank", [0.6, -2.0])).await;
    bucket.promote("bank", canary.version, Some(30)).await;
    assert_eq!(canary.version, number(2));
    let server = Server::start(&bucket).await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..300 {
        *seen.entry(server.answers("bank").await).or_default() += 1;
    }
    // 90 expected, standard deviation 8.
    assert!((50..130).contains(&seen["2"]) && seen.len() == 2, "{seen:?}");
}
