//! Real backends behind a gateway.

use std::time::Duration;

use headgate_contract::header;
use serde_json::json;

use super::support::{Bucket, Server, linear, models::score};
use crate::gateway::{Gateway, config};
use crate::until;

/// Path, headers and body.
type Sent<'s> = (&'s str, &'s [(&'s str, &'s str)], &'s [u8]);

const WEIGHTS: [f64; 2] = [0.51, -2.03];

async fn before(servers: &[&Server], more: &str) -> Gateway {
    let mut config = config(&[], more);
    config.discovery.backends.extend(servers.iter().map(|server| server.addr.to_string()));
    let gateway = Gateway::start(config).await;
    gateway.until_ready(servers.len()).await;
    gateway
}

async fn until_linked(gateway: &Gateway) {
    // A backend has half as many threads for connections as there are cores, and says so.
    let threads = std::thread::available_parallelism().unwrap().get().div_ceil(2) as u64;
    until("each thread of each backend has a link", async || {
        let state = gateway.state().await;
        state["backends"].as_array().unwrap().iter().all(|backend| backend["links"] == threads.min(16))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_says_the_same_with_links_and_without() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start(&bucket).await;
    let linked = before(&[&server], "server.default_model=bank").await;
    let plain = before(&[&server], "server.default_model=bank\nfleet.link_connections=0").await;
    until_linked(&linked).await;
    let v2 = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [30, 7.5]}]}).to_string();
    let binary = v2.replace("]}]}", "]}],\"parameters\":{\"binary_data_output\":true}}").into_bytes();
    // Much comes back for little.
    let many = json!({"inputs": {"age": vec![1; 20_000]}}).to_string();
    let binary_length = binary.len().to_string();
    let binary_headers = [("inference-header-content-length", binary_length.as_str())];
    let (v1, json_type) = ("/v1/models/bank:predict", ("content-type", "application/json"));
    let csv = [("content-type", "text/csv"), ("accept", "text/csv")];
    let calls: [Sent<'_>; 12] = [
        (v1, &[json_type], br#"{"instances":[[30,7.5],[0.1,-0.2]]}"#),
        (v1, &[("accept-encoding", "gzip")], many.as_bytes()),
        (v1, &[], many.as_bytes()),
        (v1, &[], br#"{"instances":[{"age":1,"balance":2,"new":3}]}"#),
        ("/v2/models/bank/infer", &[], v2.as_bytes()),
        ("/v2/models/bank/versions/1/infer", &binary_headers, &binary),
        ("/invocations", &csv, b"30,7.5\n0.1,-0.2\n"),
        ("/endpoints/bank/invocations", &[], br#"{"dataframe_split":{"columns":["age"],"data":[[30]]}}"#),
        (v1, &[], b"{"),
        (v1, &[], br#"{"instances":[[30,7.5],["x"]]}"#),
        (v1, &[("content-encoding", "br")], b"{}"),
        ("/v1/models/bank/versions/9:predict", &[], br#"{"instances":[[30,7.5]]}"#),
    ];
    for (path, headers, body) in calls {
        let headers: Vec<_> = headers.iter().copied().chain([("x-request-id", "r-1")]).collect();
        let text = std::str::from_utf8(body).unwrap();
        let sent = async |gateway: &Gateway| {
            let mut answer = gateway.send(gateway.request("POST", path, &headers, text)).await.unwrap();
            answer.headers.remove("date");
            answer
        };
        let (over_link, by_http) = (sent(&linked).await, sent(&plain).await);
        assert_eq!(over_link.status, by_http.status, "{path} {headers:?}");
        assert_eq!(over_link.headers, by_http.headers, "{path} {headers:?}");
        assert_eq!(over_link.body, by_http.body, "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_get_their_own_answers_and_a_stop_costs_none() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let drain = [("drain.lame_duck_ms", "1000"), ("drain.deadline_ms", "30000")];
    let mut first = Server::start_with(&bucket, &drain).await;
    let second = Server::start_with(&bucket, &drain).await;
    first.ready().await;
    second.ready().await;
    let gateway = std::sync::Arc::new(before(&[&first, &second], "limits.deadline_ms=15000").await);
    until_linked(&gateway).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let callers: Vec<_> = (0..24_u32)
        .map(|caller| {
            let (gateway, stop) = (std::sync::Arc::clone(&gateway), stop.clone());
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while !stop.is_cancelled() {
                    let row = [f64::from(caller), f64::from(calls)];
                    let rows = 1 + calls as usize % 3;
                    let body = json!({"instances": vec![row; rows]}).to_string();
                    let answer = gateway.post_body("/v1/models/bank:predict", body).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let expected = json!({"predictions": vec![score(WEIGHTS, row); rows]});
                    assert_eq!(answer.json(), expected);
                    assert_eq!(answer.header(header::ROWS), rows.to_string());
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.terminate();
    tokio::time::timeout(Duration::from_secs(25), &mut first.running).await.expect("it hangs").unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    for caller in callers {
        assert!(caller.await.unwrap() > 10);
    }
}
