//! Bodies that are no good: each a clear refusal that names the thing, and the server goes on.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_registry::release::Settings;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Bucket, Server, linear, post, post_with, until};

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

async fn v1(server: &Server, body: impl ToString) -> Answer {
    post(server.addr, "/v1/models/bank:predict", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let (_bucket, server) = bank(&[]).await;
    v1(&server, "{\"instances\": [[1, 2").await.says(400, &["ends too early at byte 20"]);
    v1(&server, "").await.says(400, &["ends too early"]);
    v1(&server, format!("{{\"instances\": {}", "[".repeat(10_000))).await.says(400, &["nesting deeper than 64"]);
    v1(&server, format!("{{\"x\": {}", "[".repeat(10_000))).await.says(400, &["nesting deeper than 64"]);
    let mut rows = vec![json!([1, 2]); 10];
    rows[7] = json!([1, "2"]);
    let wrong = v1(&server, json!({ "instances": rows })).await;
    wrong.says(400, &["'bank'", "version 1", "row 7", "'balance'", "text \"2\"", "a number expected"]);
    v1(&server, json!({"instances": [{"balance": 1}]})).await.says(400, &["row 0", "'age'", "required"]);
    assert_eq!(wrong.header("x-headgate-error"), "invalid_request");
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_feature_is_ignored_and_named_or_refused_where_strict() {
    let (bucket, server) = bank(&[]).await;
    let body = json!({"instances": [{"age": 1, "balance": 2, "new one": {"a": []}}]});
    let answer = v1(&server, &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-ignored")), (200, "new%20one"));
    bucket.configure("bank", Settings { strict: Some(true), ..Settings::default() }).await;
    until("strict", || async { v1(&server, &body).await.status == 400 }).await;
    v1(&server, &body).await.says(400, &["'new one'", "strict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_and_infinities_are_read_and_written() {
    let (_bucket, server) = bank(&[]).await;
    let body = r#"{"instances": [[NaN, 1], ["NaN", 1], [null, 1], [Infinity, 1], ["-Infinity", 1], [1, 1]]}"#;
    let answer = v1(&server, body).await.json();
    assert_eq!(answer, json!({"predictions": [null, null, null, "Infinity", "-Infinity", -0.5]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_bound_is_refused_before_it_is_read() {
    let (_bucket, server) = bank(&[("limits.body_bytes_max", "1000000"), ("limits.rows_max", "100")]).await;
    // Says that it has a gigabyte, and sends nothing.
    let head = "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n";
    let reply = raw(server.addr, head.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("larger than 1000000 bytes"), "{reply}");
    // Sends on and on in chunks, and is cut off.
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 65536, " ".repeat(65536));
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 65536;
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let rows = v1(&server, json!({"instances": vec![[1, 2]; 101]})).await;
    rows.says(413, &["'bank'", "more than 100 rows"]);
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bodies_together_are_bounded() {
    let flags = [("limits.body_bytes_max", "100000"), ("limits.bodies_bytes_max", "150000")];
    let (_bucket, server) = bank(&flags).await;
    let head = "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n";
    let body = format!("{}{{\"instances\":[[1,2]]}}", " ".repeat(80_000));
    // Whichever of the two comes second finds no room: here it has to be the whole one.
    let started = std::time::Instant::now();
    let (slow, refused) = loop {
        assert!(started.elapsed() < Duration::from_secs(30), "never refused");
        let mut slow = TcpStream::connect(server.addr).await.unwrap();
        slow.write_all(format!("{head}{}", " ".repeat(90_000)).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = v1(&server, &body).await;
        if answer.status == 503 {
            break (slow, answer);
        }
    };
    refused.says(503, &["150000 bytes together"]);
    assert_eq!(refused.header("retry-after"), "1");
    drop(slow);
    until("room", || async { v1(&server, &body).await.status == 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_is_cut_off_and_others_notice_nothing() {
    let (_bucket, server) = bank(&[("limits.idle_timeout_ms", "300"), ("limits.body_timeout_ms", "300")]).await;
    let drip = |head: &'static str| async move {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut reply)).await.unwrap().unwrap();
        reply
    };
    let (head, body, ()) = tokio::join!(
        drip("POST /v1/models/bank:predict HTTP/1.1\r\nhost"),
        drip(
            "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20\r\n\r\n{\"inst"
        ),
        async {
            for _ in 0..20 {
                assert_eq!(server.answers("bank").await, "1");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    );
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 504 ") && body.contains("did not arrive in time"), "{body}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_takes_no_reply_is_cut_off() {
    let (_bucket, server) = bank(&[("limits.idle_timeout_ms", "500")]).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let asked = "GET /v2/models/bank HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    // It asks until the server stops reading, as its replies are not read either; and then until it is cut off.
    let cut = async { while stream.write_all(asked.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), cut).await.unwrap();
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_no_good() {
    let (_bucket, server) = bank(&[]).await;
    let with = |name: &'static str, value: &'static str| {
        let addr = server.addr;
        async move { post_with(addr, "/v1/models/bank:predict", &[(name, value)], r#"{"instances":[[1,2]]}"#).await }
    };
    with("x-headgate-timeout-ms", "soon").await.says(400, &["x-headgate-timeout-ms"]);
    with("x-headgate-timeout-ms", "0").await.says(400, &["x-headgate-timeout-ms"]);
    with("content-encoding", "br").await.says(415, &["content-encoding", "'br'"]);
    with("inference-header-content-length", "x").await.says(400, &["inference-header-content-length", "'x'"]);
    with("x-headgate-chosen-version", "x").await.says(400, &["x-headgate-chosen-version"]);
    assert_eq!(with("x-request-id", "a b").await.header("x-request-id"), "a b");
    let long = "a".repeat(200);
    let answer = post_with(server.addr, "/v1/models/bank:predict", &[("x-request-id", &long)], "{}").await;
    assert_eq!(answer.header("x-request-id").len(), 32);
}

async fn raw(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}
