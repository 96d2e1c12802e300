//! Calls in number and size: large ones on compute threads, deadlines, room, registration.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post as on_post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::models::score;
use crate::support::{Bucket, Server, linear, post, post_with, until};

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_call_gives_what_small_ones_give() {
    let (_bucket, server) = bank(&[]).await;
    let rows: Vec<[f64; 2]> = (0..50_000).map(|n| [f64::from(n) * 0.1, f64::from(n % 7)]).collect();
    let columns = |c: usize| rows.iter().map(|r| r[c]).collect::<Vec<_>>();
    let tensor =
        |name: &str, c: usize| json!({"name": name, "shape": [rows.len()], "datatype": "FP64", "data": columns(c)});
    let body = json!({"inputs": [tensor("balance", 1), tensor("age", 0)]});
    let answer = post(server.addr, "/v2/models/bank/infer", body).await;
    let expected: Vec<f64> = rows.iter().map(|r| score([0.5, -2.0], *r)).collect();
    assert_eq!(answer.json()["outputs"][0]["data"], json!(expected));
    assert_eq!(answer.header("x-headgate-rows"), "50000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_meet_its_deadline_is_refused() {
    let (_bucket, server) = bank(&[]).await;
    let body = json!({"instances": vec![[1.25, 2.5]; 100_000]}).to_string();
    let answer = post_with(server.addr, "/v1/models/bank:predict", &[("x-headgate-timeout-ms", "1")], &body).await;
    assert!([503, 504].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(post(server.addr, "/v1/models/bank:predict", &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_registers_again_and_again_and_leaves() {
    type Heard = Arc<Mutex<Vec<(String, Value)>>>;
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let hear = |State(heard): State<Heard>, headers: http::HeaderMap, Json(body): Json<Value>| async move {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let lease_ms = body["lease_ms"].clone();
        heard.lock().unwrap().push((token, body));
        Json(json!({ "lease_ms": lease_ms }))
    };
    let router = Router::new().route("/fleet/v1/register", on_post(hear)).with_state(Arc::clone(&heard));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    });
    let gateways = format!("[\"{admin}\"]");
    let flags = [
        ("register.gateways", gateways.as_str()),
        ("register.token", "secret"),
        ("register.lease_ms", "400"),
        ("instance", "b7"),
    ];
    let (_bucket, mut server) = bank(&flags).await;
    until("three announcements", || async { heard.lock().unwrap().len() >= 3 }).await;
    server.terminate();
    server.running.await.unwrap().unwrap();
    let heard = heard.lock().unwrap();
    let expected = json!({"instance": "b7", "address": server.addr.to_string(), "lease_ms": 400});
    assert_eq!(heard[0], ("Bearer secret".to_owned(), expected));
    assert_eq!(heard.last().unwrap().1["lease_ms"], 0);
}
