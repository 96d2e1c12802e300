//! Connections of HTTP/2: how many requests they carry, and when they end.

use std::time::Duration;

use bytes::Bytes;
use headgate_contract::header;
use headgate_gateway::server::Drained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::Gateway;
use crate::grpc::client::{Client, frame, path, pour, question, read};
use crate::until;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty frame of settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Reads until the other side closes, within ten seconds.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("it stays open");
    rest
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests_and_no_more_than_it_may() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.streams_max=20\nlimits.deadline_ms=10000").await;
    let mut client = Client::connect(&gateway).await;
    // So that it has heard how many there may be.
    assert_eq!(client.infer(&[]).await.code, 0);
    backend.behave(Manner::Late(300));
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let mut client = Client { sender: client.sender.clone(), ended: tokio::spawn(async { Ok(()) }) };
            tokio::spawn(async move { client.infer(&[]).await.code })
        })
        .collect();
    until("some are in flight", async || backend.calls() == 21).await;
    assert_eq!(gateway.state().await["in_flight"], 20);
    for call in calls {
        assert_eq!(call.await.unwrap(), 0);
    }
    assert_eq!(client.infer(&[]).await.code, 0);
    assert_eq!(gateway.state().await["connections"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_taken_back_are_taken_back_and_a_flood_of_them_ends_the_connection() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Stall);
    let gateway = Gateway::before(&[&backend], "limits.deadline_ms=60000").await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelInfer"), &[]).await;
    pour(&mut stream, frame(&prost::Message::encode_to_vec(&question("m", "", b"")), false), true).await.unwrap();
    until("it is in flight", async || backend.calls() == 1).await;
    drop((reply, stream));
    until("it is not any more", async || {
        let state = gateway.state().await;
        state["in_flight"] == 0 && state["backends"][0]["in_flight"] == 0
    })
    .await;
    backend.behave(Manner::Well);
    assert_eq!(client.infer(&[]).await.code, 0);

    // Heads and their resets, all at once: "rapid reset".
    let mut flood = [PREFACE, SETTINGS].concat();
    for stream in (1..2_000_u32).step_by(2) {
        // POST, http, / by HPACK's table, the authority missing: a head that is well formed.
        flood.extend([&[0, 0, 3, 1, 4][..], &stream.to_be_bytes(), &[0x83, 0x86, 0x84]].concat());
        flood.extend([&[0, 0, 4, 3, 0][..], &stream.to_be_bytes(), &8_u32.to_be_bytes()].concat());
    }
    let mut attacker = TcpStream::connect(&gateway.address).await.unwrap();
    let _ = attacker.write_all(&flood).await;
    let told = closed(&mut attacker).await;
    // The last frame is GOAWAY (7), ENHANCE_YOUR_CALM (11).
    let calm = told.windows(4).any(|code| code == [0, 0, 0, 11]);
    assert!(calm || told.is_empty(), "{told:?}");
    until("nothing is left of it", async || gateway.state().await["in_flight"] == 0).await;
    assert_eq!(client.infer(&[]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_idle_or_are_half_open_are_closed_in_time() {
    let backend = Backend::start("b1", Script::ready()).await;
    let bounds = "limits.keep_alive_ms=800\nlimits.head_timeout_ms=400";
    let gateway = Gateway::before(&[&backend], bounds).await;
    // One that idles is told so, and ends well.
    let mut idle = Client::connect(&gateway).await;
    assert_eq!(idle.infer(&[]).await.code, 0);
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut idle.ended).await.expect("it idles on").unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    // One that is used stays.
    let mut used = Client::connect(&gateway).await;
    for _ in 0..8 {
        assert_eq!(used.infer(&[]).await.code, 0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Those that say nothing, half a preface, a preface and no more, and that do not answer pings.
    for said in [&b""[..], &PREFACE[..10], PREFACE, &[PREFACE, SETTINGS].concat()] {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        closed(&mut stream).await;
    }
    // One whose caller is gone in the middle of a call.
    backend.behave(Manner::Stall);
    let mut gone = TcpStream::connect(&gateway.address).await.unwrap();
    let head = [&[0, 0, 3, 1, 4][..], &1_u32.to_be_bytes(), &[0x83, 0x86, 0x84]].concat();
    gone.write_all(&[PREFACE, SETTINGS, &head].concat()).await.unwrap();
    closed(&mut gone).await;
    until("all are gone", async || gateway.state().await["connections"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_may_not_keep_a_connection_for_ever() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Stall);
    let bounds = "limits.request_max_ms=300\nlimits.deadline_ms=60000\nlimits.stream_deadline_ms=300";
    let gateway = Gateway::before(&[&backend], bounds).await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelInfer"), &[]).await;
    pour(&mut stream, frame(&prost::Message::encode_to_vec(&question("m", "", b"")), false), true).await.unwrap();
    let cut = tokio::time::timeout(Duration::from_secs(10), read(reply)).await.expect("it is kept");
    assert!(cut.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.headers_max=20\nlimits.head_bytes_max=16384").await;
    let client = Client::connect(&gateway).await;
    let status = async |headers: Vec<(String, String)>| {
        let mut request = http::Request::get("http://x/v2");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let ready = client.sender.clone().ready().await;
        let (reply, _) = ready.unwrap().send_request(request.body(()).unwrap(), true).unwrap();
        reply.await.map(|reply| reply.status().as_u16())
    };
    assert_eq!(status(vec![]).await.unwrap(), 200);
    assert_eq!(status((0..30).map(|n| (format!("x-{n}"), "1".into())).collect()).await.unwrap(), 431);
    let long = status(vec![("x-long".into(), "x".repeat(40_000))]).await;
    assert!(matches!(long, Ok(431) | Err(_)), "{long:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_says_goaway_and_finishes_what_it_has() {
    let backend = Backend::start("b1", Script::ready()).await;
    let mut gateway = Gateway::before(&[&backend], "server.lame_duck_ms=600\nlimits.deadline_ms=5000").await;
    let (mut idle, mut busy) = (Client::connect(&gateway).await, Client::connect(&gateway).await);
    assert_eq!(idle.infer(&[]).await.code, 0);
    backend.behave(Manner::Late(1_200));
    let slow = tokio::spawn(async move { (busy.infer(&[]).await.code, busy.ended.await.unwrap().is_ok()) });
    until("it is in flight", async || backend.calls() == 2).await;
    gateway.stop();
    until("it goes", async || gateway.get("/v2/health/ready").await.status == 503).await;
    // A connection that comes now is served once, and told to go.
    backend.behave(Manner::Well);
    let mut late = Client::connect(&gateway).await;
    assert_eq!(late.infer(&[]).await.code, 0);
    assert!(tokio::time::timeout(Duration::from_secs(5), late.ended).await.expect("it was not told").unwrap().is_ok());
    assert_eq!(slow.await.unwrap(), (0, true));
    assert!(idle.ended.await.unwrap().is_ok());
    assert_eq!(gateway.stopped().await, Drained::Whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_pipelines_and_short_requests_are_as_before() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    let live = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let infer = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let last = "PROPFIND /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all([live, infer, live, infer, last].concat().as_bytes()).await.unwrap();
    let answers = String::from_utf8(closed(&mut stream).await).unwrap();
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "200", "404"], "{answers}");
    // As a caller that speaks HTTP/2 would begin, and as it would not, a byte at a time.
    for text in ["GET /x HTTP/1.0\r\n\r\n", "PRI /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"] {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in text.bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
        let answer = String::from_utf8(closed(&mut stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.") && answer[9..].starts_with("40"), "{text}: {answer}");
    }
    let mut client = Client::connect(&gateway).await;
    let whole = frame(&prost::Message::encode_to_vec(&question("m", "", &vec![1; 300_000])), false);
    let (first, second) =
        (client.send(&path("ModelInfer"), &[], whole).await, client.send("/x", &[], Bytes::new()).await);
    assert_eq!((first.code, second.code, first.header(header::VERSION)), (0, 12, "1"));
}
