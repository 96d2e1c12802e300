//! HTTP/1.1 to the byte: what is answered without hyper and what is left to it must not be told apart.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::models::score;
use crate::support::{Bucket, Server, linear};

const PATH: &str = "/v1/models/bank:predict";
const BODY: &str = r#"{"instances":[[0.3,12.7]]}"#;

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

fn request(headers: &str, body: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}")
}

fn plain(body: &str) -> String {
    request(&format!("content-length: {}\r\n", body.len()), body)
}

/// Sends these pieces one after the other, a moment apart, and reads until the other side closes.
async fn talk(addr: SocketAddr, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece.as_ref()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut came = Vec::new();
    let read = stream.read_to_end(&mut came);
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the connection stays open").unwrap();
    String::from_utf8(came).unwrap()
}

/// The replies' heads, without what differs from call to call, and their bodies.
fn replies(text: &str) -> Vec<(Vec<String>, String)> {
    let mut rest = text;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {rest}"));
        let named = |line: &str, name: &str| line.split_once(": ").filter(|l| l.0 == name).map(|l| l.1.to_owned());
        let length = head.lines().find_map(|line| named(line, "content-length")).unwrap().parse().unwrap();
        let (body, next) = after.split_at(length);
        let differs =
            |line: &&str| ["date", "x-request-id", "x-headgate-load"].iter().any(|n| named(line, n).is_some());
        let mut lines: Vec<String> = head.lines().filter(|l| !differs(l)).map(str::to_owned).collect();
        lines[1..].sort();
        all.push((lines, body.to_owned()));
        rest = next;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_to_hyper_gets_the_same_reply() {
    let (_bucket, server) = bank(&[]).await;
    let close = "connection: close\r\n";
    let length = BODY.len();
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    // A second request, which hyper answers and closes after.
    let last = request(&format!("{close}content-length: {length}\r\n"), BODY);
    let first = talk(server.addr, [plain(BODY) + &last]).await;
    let first = replies(&first);
    let expected = json!({"predictions": [score([0.5, -2.0], [0.3, 12.7])]}).to_string();
    assert_eq!((first[0].0[0].as_str(), first[0].1.as_str()), ("HTTP/1.1 200 OK", expected.as_str()));
    let without_close = |mut reply: (Vec<String>, String)| {
        reply.0.retain(|line| line != "connection: close");
        reply
    };
    assert_eq!(without_close(first[1].clone()), first[0]);
    for other in [
        request(&format!("{close}transfer-encoding: chunked\r\n"), &chunked),
        request(&format!("{close}expect: 100-continue\r\ncontent-length: {length}\r\n"), BODY),
        last.replace(PATH, &format!("{PATH}?x=1")),
        last.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let came = talk(server.addr, [&other]).await.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let mut came = without_close(replies(&came).remove(0));
        came.0[0] = came.0[0].replace("HTTP/1.0", "HTTP/1.1");
        assert_eq!(came, first[0], "{other}");
    }
    // Errors too.
    for body in ["{", r#"{"instances":[[1]]}"#, r#"{"instances":[[1,2]],"parameters":{"contributions":1}}"#] {
        let close = request(&format!("{close}content-length: {}\r\n", body.len()), body);
        let both = replies(&talk(server.addr, [plain(body) + &close]).await);
        assert_eq!(without_close(both[1].clone()), both[0], "{body}");
        assert!(both[0].0[0].starts_with("HTTP/1.1 400"), "{both:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_all_kinds_in_one_go_are_answered_in_order() {
    let (_bucket, server) = bank(&[]).await;
    let health = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let bodies: Vec<String> =
        (0..40).map(|n| json!({"instances": vec![json!([n, 1]); 1 + n % 19]}).to_string()).collect();
    let mut all: String = bodies.iter().map(|body| plain(body)).collect();
    all += health;
    all += &plain(BODY);
    all += &health.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let whole = replies(&talk(server.addr, [&all]).await);
    assert_eq!(whole.len(), 43);
    for (n, reply) in whole[..40].iter().enumerate() {
        let expected = json!({"predictions": vec![score([0.5, -2.0], [n as f64, 1.0]); 1 + n % 19]}).to_string();
        assert_eq!(reply.1, expected, "{n}");
    }
    assert!(whole[40].1.contains("alive") && whole[41].1.contains("predictions") && whole[42].1.contains("alive"));
    // However they come in.
    let in_parts = all.as_bytes().chunks(997);
    assert_eq!(replies(&talk(server.addr, in_parts).await), whole);
    let one = plain(BODY) + &health.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let by_byte = talk(server.addr, one.as_bytes().chunks(1)).await;
    assert_eq!(replies(&by_byte)[0], whole[41]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_end_is_in_doubt_is_refused_and_the_connection_closed() {
    let (_bucket, server) = bank(&[]).await;
    let smuggled = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    for headers in [
        "content-length: 5\r\ncontent-length: 26\r\n",
        "content-length: +26\r\n",
        "content-length: 26, 26x\r\n",
        "content-length: 0x1a\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length : 26\r\n",
        "content-length: 26\r\n folded: x\r\n",
        "transfer-encoding: gzip\r\ncontent-length: 26\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "x\0y: z\r\ncontent-length: 26\r\n",
        "x: \x01\r\ncontent-length: 26\r\n",
    ] {
        let came = talk(server.addr, [request(headers, BODY) + smuggled]).await;
        assert!(came.starts_with("HTTP/1.1 400") || came.is_empty(), "{headers:?}: {came}");
        assert!(!came.contains("alive"), "{headers:?}: {came}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_waited_for_so_long_and_no_longer() {
    let (_bucket, server) = bank(&[("limits.body_timeout_ms", "300")]).await;
    let whole = plain(BODY);
    let came = talk(server.addr, [&whole[..whole.len() - 1]]).await;
    let reply = &replies(&came)[0];
    assert!(reply.0[0].starts_with("HTTP/1.1 504") && reply.1.contains("did not arrive"), "{came}");
    // One that closes before its body has come gets nothing, and no other call notices.
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(&whole.as_bytes()[..whole.len() - 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.unwrap();
    assert!(came.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_come_together_get_their_own_answers() {
    let (_bucket, server) = bank(&[]).await;
    let callers = (0..100).map(|caller| {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            for n in 0..50 {
                let row = [f64::from(caller), f64::from(n)];
                // Some are wrong, some ask for what can't be gathered.
                let (body, status) = match n % 10 {
                    7 => (json!({"instances": [row, [1]]}), "400"),
                    8 => (json!({"instances": [row], "parameters": {"contributions": true}}), "200"),
                    _ => (json!({"instances": vec![row; 1 + n as usize % 3]}), "200"),
                };
                stream.write_all(plain(&body.to_string()).as_bytes()).await.unwrap();
                let (mut came, mut bytes) = (Vec::new(), [0; 4096]);
                let text = loop {
                    let count = stream.read(&mut bytes).await.unwrap();
                    assert!(count > 0, "closed");
                    came.extend_from_slice(&bytes[..count]);
                    let text = String::from_utf8_lossy(&came);
                    if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}')) {
                        break text.into_owned();
                    }
                };
                assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
                let expected = score([0.5, -2.0], row);
                let reply: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
                if status == "200" {
                    let rows = body["instances"].as_array().unwrap().len();
                    assert_eq!(reply["predictions"], json!(vec![expected; rows]), "{body}");
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
