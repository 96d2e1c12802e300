//! gzip and deflate, both ways.

use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateEncoder, GzDecoder, GzEncoder, ZlibDecoder, ZlibEncoder};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::models::score;
use crate::support::{Answer, Bucket, Server, linear, send, until};

const PATHS: [(&str, &str); 3] = [
    ("/v2/models/bank/infer", r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[30,7.5]}]}"#),
    ("/v1/models/bank:predict", r#"{"instances":[[30,7.5]]}"#),
    ("/endpoints/bank/invocations", r#"{"dataframe_split":{"columns":["age","balance"],"data":[[30,7.5]]}}"#),
];

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    read(GzEncoder::new(bytes, Compression::best()))
}

async fn call(server: &Server, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    send(server.addr, Method::POST, path, headers, body.into()).await.unwrap()
}

/// `{"instances": [[n, 1], ...]}`
fn rows(rows: usize) -> String {
    json!({"instances": (0..rows).map(|n| json!([n, 1])).collect::<Vec<_>>()}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_in_each_coding_at_each_path() {
    let (_bucket, server) = bank(&[]).await;
    let expected = score([0.5, -2.0], [30.0, 7.5]).to_string();
    for (path, body) in PATHS {
        let body = body.as_bytes();
        for (coding, packed) in [
            ("gzip", gzip(body)),
            ("GZIP", gzip(body)),
            ("deflate", read(ZlibEncoder::new(body, Compression::fast()))),
            ("deflate", read(DeflateEncoder::new(body, Compression::fast()))),
            ("identity", body.to_vec()),
        ] {
            let answer = call(&server, path, &[("content-encoding", coding)], packed).await;
            let text = String::from_utf8_lossy(&answer.body);
            assert!(answer.status == 200 && text.contains(&expected), "{path} {coding}: {text}");
            assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("", ""));
        }
    }
    // Tensors in binary: the header says the length of the JSON as it was.
    let document = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","parameters":{"binary_data_size":16}}]}"#;
    let body = [document.as_bytes(), &30f64.to_le_bytes(), &7.5f64.to_le_bytes()].concat();
    let headers = [("content-encoding", "gzip"), ("inference-header-content-length", &*document.len().to_string())];
    let answer = call(&server, PATHS[0].0, &headers, gzip(&body)).await;
    assert_eq!(answer.json()["outputs"][0]["data"], json!([score([0.5, -2.0], [30.0, 7.5])]));
    // One that is too large to be read on a server's thread.
    let answer = call(&server, PATHS[1].0, &[("content-encoding", "gzip")], gzip(rows(50_000).as_bytes())).await;
    assert_eq!(answer.header("x-headgate-rows"), "50000");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_replies_are_packed_where_the_caller_takes_that() {
    let (_bucket, server) = bank(&[]).await;
    let with = |accept: &'static str, n: usize| {
        let server = &server;
        async move { call(server, PATHS[1].0, &[("accept-encoding", accept)], rows(n)).await }
    };
    let plain = with("", 5_000).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let expected: Value = plain.json();
    for (accept, coding) in
        [("gzip", "gzip"), ("gzip, deflate, br", "gzip"), ("deflate", "deflate"), ("gzip;q=0, *", "deflate")]
    {
        let answer = with(accept, 5_000).await;
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (coding, "accept-encoding"), "{accept}");
        // How much smaller is up to the library that packs.
        assert!(answer.body.len() < plain.body.len() * 3 / 4, "{} bytes", answer.body.len());
        let body = match coding {
            "gzip" => read(GzDecoder::new(&answer.body[..])),
            _ => read(ZlibDecoder::new(&answer.body[..])),
        };
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
    for (accept, n) in [("br", 5_000), ("gzip;q=0, deflate;q=0", 5_000), ("gzip", 10)] {
        assert_eq!(with(accept, n).await.header("content-encoding"), "", "{accept} {n}");
    }
    let body = json!({
        "inputs": [{"name": "x", "shape": [4000, 2], "datatype": "FP64", "data": vec![1; 8000]}],
        "parameters": {"binary_data_output": true},
    });
    let answer = call(&server, PATHS[0].0, &[("accept-encoding", "gzip")], body.to_string()).await;
    assert_eq!(
        (answer.header("content-encoding"), answer.header("content-type")),
        ("gzip", "application/octet-stream")
    );
    let (whole, length) = (read(GzDecoder::new(&answer.body[..])), answer.header("inference-header-content-length"));
    assert_eq!(whole.len(), length.parse::<usize>().unwrap() + 32_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_that_are_no_good_are_refused() {
    let (_bucket, server) = bank(&[]).await;
    let body = rows(1_000);
    let packed = gzip(body.as_bytes());
    let with = |coding: &'static str, body: Vec<u8>| {
        let server = &server;
        async move { call(server, PATHS[1].0, &[("content-encoding", coding)], body).await }
    };
    with("br", packed.clone()).await.says(415, &["'br'", "gzip or deflate expected"]);
    with("gzip, gzip", gzip(&packed)).await.says(415, &["one coding expected"]);
    with("gzip", body.clone().into_bytes()).await.says(400, &["no gzip"]);
    with("deflate", body.into_bytes()).await.says(400, &["no deflate"]);
    with("gzip", packed[..packed.len() / 2].to_vec()).await.says(400, &["no gzip"]);
    with("gzip", vec![]).await.says(400, &[]);
    let mut flipped = packed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    with("gzip", flipped).await.says(400, &["no gzip"]);
    with("gzip", [&packed[..], b"more"].concat()).await.says(400, &["no gzip"]);
    let twice = [("content-encoding", "gzip"), ("content-encoding", "deflate")];
    call(&server, PATHS[1].0, &twice, packed).await.says(415, &["one coding expected"]);
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_bounded_and_others_are_answered_meanwhile() {
    let (_bucket, server) = bank(&[("limits.body_bytes_max", "8000000")]).await;
    let (small, large) = (gzip(&vec![b' '; 100_000]), gzip(&vec![b' '; 200 << 20]));
    assert!(large.len() < 300_000, "{} bytes", large.len());
    let bomb = |packed: &[u8]| {
        let (server, packed) = (&server, packed.to_vec());
        async move { call(server, PATHS[1].0, &[("content-encoding", "gzip")], packed).await }
    };
    let bombs = async {
        for _ in 0..3 {
            let (one, two, three) = tokio::join!(bomb(&large), bomb(&large), bomb(&large));
            for answer in [one, two, three] {
                answer.says(413, &["gzip", "larger than 8000000 bytes"]);
            }
        }
        bomb(&small).await.says(400, &["ends too early"]);
        bomb(&gzip(&large)).await.says(400, &[]);
    };
    let others = async {
        for _ in 0..50 {
            assert_eq!(server.answers("bank").await, "1");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(bombs, others);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_counts_among_all_bodies() {
    let flags = [("limits.body_bytes_max", "1000000"), ("limits.bodies_bytes_max", "1500000")];
    let (_bucket, server) = bank(&flags).await;
    let body = gzip(format!("{}{}", " ".repeat(900_000), rows(1)).as_bytes());
    let packed = || call(&server, PATHS[1].0, &[("content-encoding", "gzip")], body.clone());
    assert_eq!(packed().await.status, 200);
    // A body that is not whole yet holds most of the room. It is sent anew where a call before it still held that.
    let slow = Cell::new(None);
    until("no room", || async {
        slow.set(None);
        slow.set(Some(unfinished(&server).await));
        packed().await.status == 503 && packed().await.status == 503
    })
    .await;
    packed().await.says(503, &["1500000 bytes together"]);
    drop(slow);
    until("room", || async { packed().await.status == 200 }).await;
}

/// Sends 900,000 bytes of a body of 999,999, as far as they are taken, and gives the server a moment to read them.
async fn unfinished(server: &Server) -> TcpStream {
    let head = "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n";
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    let _refused = slow.write_all(format!("{head}{}", " ".repeat(900_000)).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    slow
}
