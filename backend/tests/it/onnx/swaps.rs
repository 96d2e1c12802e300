//! Swaps: no call fails, and each is answered by one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Kit, kit};
use crate::support::models::lightgbm;
use crate::support::{Bucket, Server, post};

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_calls_fail_none_and_mix_none() {
    let Some(kit) = kit("swaps") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("product", "product")).await;
    let server = kit.serve(&bucket, &[("onnx.batch_delay_us", "500")]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (addr, stop) = (server.addr, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({ "instances": [[1, 10], [2, 20]] });
                    let answer = post(addr, "/v1/models/product:predict", body).await;
                    let version: u32 = answer.header("x-headgate-version").parse().unwrap();
                    // Each even version weighs twice.
                    let w = if version.is_multiple_of(2) { 2.0 } else { 1.0 };
                    let expected = json!([[2.0 * w, 30.0 * w], [4.0 * w, 60.0 * w]]);
                    assert_eq!(answer.json()["predictions"], expected, "version {version}");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for number in 2..=9 {
        release(kit, &bucket, number).await;
        server.until_answers("product", number).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
}

async fn release(kit: &Kit, bucket: &Bucket, number: u64) {
    let file = if number.is_multiple_of(2) { "product-twice" } else { "product" };
    let (mut version, bytes) = kit.version("product", file);
    // The same file again is another version only where it is built anew.
    version.build_key = headgate_contract::Digest::of(number.to_string());
    bucket.release((version, bytes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forest_gives_way_to_a_graph_and_back() {
    let Some(kit) = kit("a forest and a graph") else { return };
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("bank", None)).await;
    let server = kit.serve(&bucket, &[]).await;
    let ask = |server: &Server| {
        let body = json!({ "instances": [{"age": 20, "balance": 1.5}] });
        let addr = server.addr;
        async move { post(addr, "/v1/models/bank:predict", body).await }
    };
    let forest = ask(&server).await.json();
    bucket.release(kit.version("bank", "people")).await;
    server.until_answers("bank", 2).await;
    assert_eq!(ask(&server).await.json()["predictions"], json!([21.5]));
    headgate_registry::release::rollback(&bucket.store, &"bank".parse().unwrap(), "", "t").await.unwrap();
    server.until_answers("bank", 1).await;
    assert_eq!(ask(&server).await.json(), forest);
}
