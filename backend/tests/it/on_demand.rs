//! Models that are loaded when they are called, and make room for others.

use std::path::Path;

use bytes::Bytes;
use headgate_contract::real::Real;
use http::Method;
use serde_json::{Value, json};

use crate::support::models::score;
use crate::support::{Answer, Bucket, Server, get, linear, post, post_with, send, until};

const ROW: &str = r#"{"instances":[[30,7.5]]}"#;
const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn server(bucket: &Bucket, flags: &[(&str, &str)]) -> Server {
    let flags: Vec<_> = flags.iter().copied().chain([("load.mode", "on_demand")]).collect();
    let server = Server::start_with(bucket, &flags).await;
    server.ready().await;
    // Ready it is at once; that it has read the catalog shows in what it reports.
    until("the catalog is read", || async { !server.fleet_state("").await["catalog"].is_null() }).await;
    server
}

async fn call(server: &Server, model: &str) -> Answer {
    post(server.addr, &format!("/v1/models/{model}:predict"), ROW).await
}

async fn metric(server: &Server, name: &str) -> f64 {
    let page = String::from_utf8(get(server.addr, "/metrics").await.body.to_vec()).unwrap();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

async fn loads(server: &Server, result: &str) -> f64 {
    metric(server, &format!("headgate_version_loads_total{{result=\"{result}\"}}")).await
}

/// Which of these models are resident.
async fn resident(server: &Server, models: &[&str]) -> Vec<bool> {
    let mut resident = Vec::new();
    for model in models {
        resident.push(server.state(model, 1).await.0 == "READY");
    }
    resident
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_loads_its_model_and_nothing_else() {
    let bucket = Bucket::new().await;
    for model in ["a", "b", "c"] {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let server = server(&bucket, &[]).await;
    let report = server.fleet_state("").await;
    assert_eq!(report["on_demand"], json!({"memory_bytes_max": 8_u64 << 30}));
    let cold = |model: &Value| model["versions"].as_array().unwrap().iter().all(|v| v["state"] == "absent");
    assert!(report["models"].as_array().unwrap().iter().all(cold), "{report}");
    let first = call(&server, "b").await;
    assert_eq!((first.status.as_u16(), first.json()), (200, json!({"predictions": [score(WEIGHTS, [30.0, 7.5])]})));
    assert!(first.header("x-headgate-waited-ms").parse::<u64>().is_ok(), "{first:?}");
    let second = call(&server, "b").await;
    assert_eq!((second.status.as_u16(), second.header("x-headgate-waited-ms")), (200, ""));
    // What changed since is told, and no more.
    let since = report["cursor"].as_str().unwrap();
    let news = server.fleet_state(&format!("since={since}")).await;
    let models = news["models"].as_array().unwrap();
    assert_eq!((models.len(), &models[0]["model"]), (1, &json!("b")));
    assert_eq!(resident(&server, &["a", "b", "c"]).await, [false, true, false]);
    call(&server, "nowhere").await.says(404, &["nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_wait_for_one_load() {
    let bucket = Bucket::new().await;
    bucket.release(linear("a", WEIGHTS)).await;
    let server = server(&bucket, &[]).await;
    let addr = server.addr;
    let calls: Vec<_> = (0..30).map(|_| tokio::spawn(post(addr, "/v1/models/a:predict", ROW))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(loads(&server, "ready").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_called_makes_room() {
    let bucket = Bucket::new().await;
    let models = ["a", "b", "c", "d"];
    for model in models {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let server = server(&bucket, &[("load.models_max", "2")]).await;
    for (model, expected) in [
        ("a", [true, false, false, false]),
        ("b", [true, true, false, false]),
        ("a", [true, true, false, false]),
        ("c", [true, false, true, false]),
        ("d", [false, false, true, true]),
        ("c", [false, false, true, true]),
        ("b", [false, true, true, false]),
    ] {
        assert_eq!(call(&server, model).await.status, 200);
        assert_eq!(resident(&server, &models).await, expected, "after {model}");
        // Uses are told apart by the millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    assert_eq!(metric(&server, "headgate_model_evictions_total").await, 3.0);
    assert_eq!(metric(&server, "headgate_models_resident").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_never_over_its_bound_and_no_call_fails_for_it() {
    let bucket = Bucket::new().await;
    let models: Vec<String> = (0..12).map(|n| format!("m{n}")).collect();
    for model in &models {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let all = Server::start(&bucket).await;
    let bytes: u64 = all.metric("headgate_model_bytes").await.parse().unwrap();
    let each = bytes / models.len() as u64;
    // Its file must fit too, which is about as large.
    let bound = 5 * each;
    let server = server(&bucket, &[("load.memory_bytes_max", &bound.to_string())]).await;
    let addr = server.addr;
    let calls: Vec<_> = (0..120)
        .map(|n| {
            let path = format!("/v1/models/m{}:predict", n * 7 % 12);
            tokio::spawn(async move { post(addr, &path, ROW).await })
        })
        .collect();
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(metric(&server, "headgate_model_bytes").await <= bound as f64);
    }
    assert!(metric(&server, "headgate_model_evictions_total").await >= 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_its_proof_is_not_loaded_again_by_each_call() {
    let bucket = Bucket::new().await;
    let bad = |weights| {
        let (mut version, bytes) = linear("a", weights);
        version.golden.as_mut().unwrap().margins[0] = Real(9.0);
        (version, bytes)
    };
    bucket.release(bad(WEIGHTS)).await;
    let server = server(&bucket, &[]).await;
    for _ in 0..5 {
        call(&server, "a").await.says(404, &["'a' version 1 is refused"]);
    }
    assert_eq!(loads(&server, "failed").await, 1.0);
    // A better one comes, and a worse one.
    bucket.release(linear("a", [0.6, -2.0])).await;
    server.until_answers("a", 2).await;
    bucket.release(bad([0.7, -2.0])).await;
    server.until_state("a", 3, "UNAVAILABLE").await;
    until("version 3 has failed", || async { loads(&server, "failed").await == 2.0 }).await;
    for _ in 0..5 {
        assert_eq!(call(&server, "a").await.header("x-headgate-version"), "2");
    }
    assert_eq!(loads(&server, "failed").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_resident_follows_its_releases() {
    let bucket = Bucket::new().await;
    for model in ["a", "b"] {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let server = server(&bucket, &[]).await;
    assert_eq!(call(&server, "a").await.header("x-headgate-version"), "1");
    for model in ["a", "b"] {
        bucket.release(linear(model, [0.6, -2.0])).await;
    }
    server.until_state("a", 2, "READY").await;
    assert_eq!(call(&server, "a").await.header("x-headgate-waited-ms"), "", "it was not there before the call");
    server.until_state("b", 2, "UNAVAILABLE").await;
    assert_eq!(call(&server, "b").await.header("x-headgate-version"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_named_comes_where_the_release_knows_it() {
    let bucket = Bucket::new().await;
    bucket.release(linear("a", WEIGHTS)).await;
    bucket.release(linear("a", [0.6, -2.0])).await;
    let server = server(&bucket, &[]).await;
    let named = async |version: u64| post(server.addr, &format!("/v1/models/a/versions/{version}:predict"), ROW).await;
    assert_eq!(named(1).await.header("x-headgate-version"), "1");
    assert_eq!(call(&server, "a").await.header("x-headgate-version"), "2");
    named(9).await.says(404, &["no version 9"]);
    // As a gateway names them.
    let of = |version: u64, digest: String| async move {
        let headers = [("x-headgate-chosen-version", version.to_string()), ("x-headgate-chosen-digest", digest)];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post_with(server.addr, "/v1/models/a:predict", &headers, ROW).await
    };
    let report = server.fleet_state("").await;
    let digest = report["models"][0]["release"]["history"][0]["serve"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(of(1, digest).await.header("x-headgate-version"), "1");
    assert_eq!(of(1, "0".repeat(64)).await.status, 421, "another version of that number");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_gateways_have_models_loaded_too() {
    let bucket = Bucket::new().await;
    for model in ["a", "b", "c", "d"] {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let server = server(&bucket, &[]).await;
    assert_eq!(get(server.addr, "/v2/models/a/ready").await.status, 200);
    assert_eq!(get(server.addr, "/v2/models/b").await.json()["inputs"][0]["name"], "age");
    let want = async |body: Value| {
        send(server.addr, Method::POST, "/fleet/v1/want", &[], Bytes::from(body.to_string())).await.unwrap()
    };
    assert_eq!(want(json!({"models": ["c", "unknown"]})).await.status, 202);
    server.until_state("c", 1, "READY").await;
    want(json!({"models": ["a b"]})).await.says(400, &["want"]);
    want(json!({"models": vec!["a"; 201]})).await.says(400, &["201", "200"]);
    assert_eq!(resident(&server, &["a", "b", "c", "d"]).await, [true, true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_from_the_cache_and_knows_what_else_there_is() {
    let bucket = Bucket::new().await;
    for model in ["a", "b"] {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    let cache = tempfile::tempdir().unwrap();
    let start = async |cache: &Path| {
        let server = Server::start_at(&bucket, cache, &[("load.mode", "on_demand")]).await;
        server.ready().await;
        server
    };
    let first = start(cache.path()).await;
    until("it answers", || async { call(&first, "a").await.status == 200 }).await;
    // As kill -9 would: nothing is said, nothing is waited for.
    first.running.abort();
    std::fs::rename(bucket.path(""), bucket.dir.path().join("away")).unwrap();
    let second = start(cache.path()).await;
    assert_eq!(resident(&second, &["a", "b"]).await, [false, false]);
    assert_eq!(call(&second, "a").await.status, 200);
    call(&second, "b").await.says(503, &["'b' version 1 could not be loaded yet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_wait_no_longer_is_told_that_it_is_being_loaded() {
    let bucket = Bucket::new().await;
    bucket.release(linear("a", WEIGHTS)).await;
    bucket.release(linear("b", WEIGHTS)).await;
    let server = server(&bucket, &[("load.models_max", "1"), ("load.concurrency", "1")]).await;
    assert_eq!(call(&server, "a").await.status, 200);
    let answer = post_with(server.addr, "/v1/models/b:predict", &[("x-headgate-timeout-ms", "1")], ROW).await;
    if answer.status != 200 {
        answer.says(503, &["'b' is being loaded"]);
        assert_eq!((answer.header("retry-after"), answer.header("x-headgate-error")), ("1", "loading"));
    }
    until("it came", || async { call(&server, "b").await.header("x-headgate-waited-ms").is_empty() }).await;
}
