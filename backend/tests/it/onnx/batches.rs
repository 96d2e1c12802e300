//! Calls that share runs: each gets what it gets alone, and none fails for another.

use std::time::Duration;

use serde_json::{Value, json};

use super::kit;
use crate::support::{Bucket, post, post_with, until};

/// A run waits this long for other calls, so that there are some.
const DELAY: (&str, &str) = ("onnx.batch_delay_us", "20000");

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_share_runs_get_what_they_get_alone() {
    let Some(kit) = kit("shared runs") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("logistic", "logistic")).await;
    let alone = kit.serve(&bucket, &[]).await;
    let together = kit.serve(&bucket, &[DELAY, ("onnx.batch_rows_max", "16")]).await;
    let rows = kit.cases["logistic"]["rows"].as_array().unwrap();
    let ask = |addr, rows: &[Value]| {
        let body = json!({ "instances": rows });
        async move { post(addr, "/v1/models/logistic:predict", body).await.json() }
    };
    // Calls of one to five rows, each with texts of its own.
    let calls: Vec<_> = (0..36).map(|n| &rows[n..(n + 1 + n % 5).min(rows.len())]).collect();
    let all: Vec<_> = calls.iter().map(|rows| tokio::spawn(ask(together.addr, rows))).collect();
    for (call, answer) in calls.iter().zip(all) {
        let (expected, got) = (ask(alone.addr, call).await, answer.await.unwrap());
        super::pipelines::assert_close(&got, &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_call_fails_alone() {
    let Some(kit) = kit("bad calls") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("table", "table")).await;
    let server = kit.serve(&bucket, &[DELAY]).await;
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let place = if n % 10 == 3 { 99 } else { n % 4 };
            let body = json!({ "instances": [[place]] });
            tokio::spawn(async move { (n, post(server.addr, "/v1/models/table:predict", body).await) })
        })
        .collect();
    for call in calls {
        let (n, answer) = call.await.unwrap();
        match n % 10 {
            3 => answer.says(400, &["model 'table' version 1", "can't score these rows", "indices"]),
            _ => assert_eq!(answer.json()["predictions"], json!([f64::from(n % 4) + 0.5])),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_of_so_many_rows_takes_any_number() {
    let Some(kit) = kit("fixed rows") else { return };
    let bucket = Bucket::new().await;
    let models = ["product", "product-of-one", "product-of-four"];
    for model in models {
        bucket.release(kit.version(model, model)).await;
    }
    let server = kit.serve(&bucket, &[("onnx.batch_rows_max", "3")]).await;
    for rows in [1, 2, 4, 9] {
        let rows: Vec<[f64; 2]> = (0..rows).map(|n| [f64::from(n), f64::from(-n)]).collect();
        let expected: Vec<[f64; 2]> = rows.iter().map(|[a, b]| [a * 2.0, b * 3.0]).collect();
        for model in models {
            let answer = post(server.addr, &format!("/v1/models/{model}:predict"), json!({ "instances": rows })).await;
            super::pipelines::assert_close(&answer.json()["predictions"], &json!(expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_ends() {
    let Some(kit) = kit("runs without end") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("loop", "loop")).await;
    bucket.release(kit.version("product", "product")).await;
    // With one thread, nothing else would be scored before it ends.
    let server = kit.serve(&bucket, &[("onnx.threads", "1"), ("onnx.queue_rows_max", "1")]).await;
    let path = "/v1/models/loop:predict";
    let body = |turns: i64| json!({ "instances": [[turns]] });
    assert_eq!(post(server.addr, path, body(3)).await.json()["predictions"], json!([6.0]));
    let endless = post_with(server.addr, path, &[("x-headgate-timeout-ms", "500")], body(1 << 50));
    endless.await.says(504, &["deadline"]);
    assert_eq!(post(server.addr, path, body(4)).await.json()["predictions"], json!([8.0]));
    let product = post(server.addr, "/v1/models/product:predict", r#"{"instances":[[1,2]]}"#).await;
    assert_eq!(product.json()["predictions"], json!([[2.0, 6.0]]));
    // One that gives up: the connection is closed.
    let given_up = post_with(server.addr, path, &[("x-headgate-timeout-ms", "60000")], body(1 << 50));
    assert!(tokio::time::timeout(Duration::from_millis(300), given_up).await.is_err());
    assert_eq!(post(server.addr, path, body(5)).await.json()["predictions"], json!([10.0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_refused_at_once() {
    let Some(kit) = kit("full lines") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("loop", "loop")).await;
    let server = kit.serve(&bucket, &[("onnx.queue_rows_max", "1")]).await;
    let path = "/v1/models/loop:predict";
    let endless = tokio::spawn(async move {
        let headers = [("x-headgate-timeout-ms", "300000")];
        post_with(server.addr, path, &headers, json!({ "instances": [[1i64 << 50]] })).await
    });
    let quick = || post_with(server.addr, path, &[("x-headgate-timeout-ms", "2000")], json!({ "instances": [[1]] }));
    until("refused", || async {
        let (one, two, three) = tokio::join!(quick(), quick(), quick());
        let refused = [one, two, three].into_iter().find(|answer| answer.status == 503);
        refused.inspect(|answer| answer.says(503, &["rows"])).is_some()
    })
    .await;
    endless.abort();
}
