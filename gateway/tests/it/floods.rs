//! Callers that send too much of one thing, or take nothing of what they asked for: their connection ends, or it costs
//! next to nothing, and nobody else notices.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::Gateway;
use crate::rawh2::{
    CONTINUATION, DATA, END, END_HEADERS, HEADERS, PING, RESET, Raw, SETTINGS, WINDOW_UPDATE, frame, literal, post,
};
use crate::until;

/// What ends a connection (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Frames, so many times, the second number that of a stream; and the codes with which the connection ends.
type Flood = (&'static str, u32, fn(u32) -> Vec<u8>, &'static [u32]);

/// Those that are an attack, or none that any client makes.
const FLOODS: [Flood; 8] = [
    (
        "CONTINUATION without end (CVE-2024-27316)",
        20_000,
        |n| match n {
            0 => frame(HEADERS, 0, 1, &post(&[])),
            _ => frame(CONTINUATION, 0, 1, &literal(&[("x-a", "b")])),
        },
        &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
    ),
    (
        "empty CONTINUATION (CVE-2024-27316)",
        20_000,
        |n| match n {
            0 => frame(HEADERS, 0, 1, &post(&[])),
            _ => frame(CONTINUATION, 0, 1, &[]),
        },
        &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
    ),
    (
        "rapid reset (CVE-2023-44487)",
        4_000,
        |n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, END_HEADERS, stream, &post(&[])), frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
        },
        &[ENHANCE_YOUR_CALM],
    ),
    (
        "made you reset, by window (CVE-2025-8671)",
        4_000,
        |n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, END_HEADERS, stream, &post(&[])), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        },
        &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
    ),
    (
        "made you reset, by length (CVE-2025-8671)",
        4_000,
        |n| {
            let stream = 2 * n + 1;
            let head = frame(HEADERS, END_HEADERS, stream, &post(&[("content-length", "1")]));
            [head, frame(DATA, END, stream, b"{}")].concat()
        },
        &[ENHANCE_YOUR_CALM],
    ),
    (
        "a window beyond all windows",
        3,
        |_| frame(WINDOW_UPDATE, 0, 0, &(u32::MAX >> 1).to_be_bytes()),
        &[FLOW_CONTROL_ERROR],
    ),
    ("resets of what never was", 10, |n| frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes()), &[PROTOCOL_ERROR]),
    ("a body of no request", 10, |n| frame(DATA, 0, 2 * n + 1, b"{}"), &[PROTOCOL_ERROR]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_its_connection() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let load = gateway.load(1, "/v2/models/m/infer");
    for (name, count, bytes, codes) in FLOODS {
        let mut raw = Raw::open(&gateway.address).await;
        let all: Vec<u8> = (0..count).flat_map(bytes).collect();
        // It may have seen enough.
        raw.send(&all).await;
        // What was said last may be lost with the bytes that nobody read.
        let code = raw.goaway().await;
        assert!(code.is_none_or(|code| codes.contains(&code)), "{name}: closed with {code:?}");
        until(name, async || gateway.state().await["backends"][0]["in_flight"].as_u64().unwrap() <= 1).await;
    }
    assert!(!load.all_good().await.is_empty());
    until("nothing is left", async || gateway.state().await["in_flight"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cheap_to_answer_is_answered_and_the_connection_goes_on() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let load = gateway.load(1, "/v2/models/m/infer");
    let floods: [(&str, Vec<u8>); 4] = [
        ("settings (CVE-2019-9515)", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("pings (CVE-2019-9512)", frame(PING, 0, 0, &[7; 8])),
        ("priorities (CVE-2019-9513)", frame(2, 0, 1, &[0, 0, 0, 3, 9])),
        ("frames of an unknown type", frame(0xbe, 0, 0, &[0; 64])),
    ];
    for (name, bytes) in floods {
        let mut raw = Raw::open(&gateway.address).await;
        for round in 0..100 {
            assert!(raw.send(&bytes.repeat(100)).await, "{name}: closed");
            let stream = 2 * round + 1;
            raw.send(&[frame(HEADERS, END_HEADERS, stream, &post(&[])), frame(DATA, END, stream, b"{}")].concat())
                .await;
            assert_eq!(raw.status(stream).await, Some(200), "{name}");
        }
    }
    // Parts of a body that hold nothing (CVE-2019-9518).
    let mut raw = Raw::open(&gateway.address).await;
    raw.send(&frame(HEADERS, END_HEADERS, 1, &post(&[]))).await;
    raw.send(&frame(DATA, 0, 1, b"").repeat(20_000)).await;
    raw.send(&frame(DATA, END, 1, b"{}")).await;
    assert!(matches!(raw.status(1).await, Some(200) | None));
    assert!(!load.all_good().await.is_empty());
    until("nothing is left", async || gateway.state().await["in_flight"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_take_nothing_are_let_go_of() {
    let backend = Backend::start("b1", Script::ready()).await;
    let bounds = "limits.request_max_ms=500\nlimits.stream_deadline_ms=500\nlimits.keep_alive_ms=500\nlimits.head_timeout_ms=500";
    let gateway = Gateway::before(&[&backend], bounds).await;
    backend.behave(Manner::Large(40_000_000));
    let mut all = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let request = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(request.as_bytes()).await.unwrap();
        all.push(stream);
    }
    // Windows of nothing (CVE-2019-9511, CVE-2019-9517).
    let mut raw = Raw::open(&gateway.address).await;
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for stream in (1..40).step_by(2) {
        raw.send(&[frame(HEADERS, END_HEADERS, stream, &post(&[])), frame(DATA, END, stream, b"{}")].concat()).await;
    }
    until("some are in flight", async || backend.calls() >= 4).await;
    until("nothing is left of them", async || {
        let state = gateway.state().await;
        state["in_flight"] == 0 && state["backends"][0]["in_flight"] == 0
    })
    .await;
    backend.behave(Manner::Well);
    assert_eq!(gateway.infer().await.status, 200);
    // One that was let go of finds its connection closed, with less than it asked for.
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(5), all[0].read(&mut buffer)).await {
        got += count;
    }
    assert!(got < 40_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_say_nothing_take_no_place_for_long() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.connections_max=50\nlimits.head_timeout_ms=1000").await;
    // Who is there already keeps its connection.
    backend.behave(Manner::Echo);
    let mut known = TcpStream::connect(&gateway.address).await.unwrap();
    let mut infer = async || {
        known.write_all(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\ngood").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"good") {
            assert!(known.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    };
    infer().await;
    let mut silent = Vec::new();
    for n in 0..80 {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let _ = stream.write_all(&b"POST /v2/models/m/infer HTTP/1.1\r\n"[..n % 30]).await;
        silent.push(stream);
    }
    for _ in 0..20 {
        infer().await;
    }
    assert!(gateway.state().await["connections"].as_u64().unwrap() <= 50);
    until("their places are free", async || gateway.state().await["connections"].as_u64().unwrap() <= 1).await;
}
