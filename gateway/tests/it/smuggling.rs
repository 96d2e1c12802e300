//! Messages whose end two readers may see in different places: a backend sees no request that its caller did not send,
//! and where the end is in doubt the connection closes.

mod tape;
pub(crate) mod vectors;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::{Gateway, config};
use tape::Tape;
use vectors::{Is, START, Vector};

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    AtOnce,
    InPieces,
    /// Behind a plain one, and as like it as it can be.
    Behind,
}

/// What is asked behind each message: answered only where that message is whole.
const NEXT: &str = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Sends a message, and the next behind it; the statuses of all answers until the connection closes.
async fn statuses(address: &str, vector: &Vector, comes: Comes) -> Result<Vec<u16>, String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let plain = format!("{START}Content-Length: 2\r\n\r\n{{}}");
    let mut answers = Vec::new();
    if comes == Comes::Behind {
        stream.write_all(plain.as_bytes()).await.unwrap();
        while !answers.ends_with(b"{}") {
            assert!(stream.read_buf(&mut answers).await.unwrap() > 0, "a plain request was not answered");
        }
        answers.clear();
    }
    let bytes = [&vector.bytes[..], NEXT.as_bytes()].concat();
    for piece in bytes.chunks(if comes == Comes::InPieces { 3 } else { bytes.len() }) {
        // It may have seen enough.
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answers));
    read.await.map_err(|_| format!("the connection stays open after {:?}", String::from_utf8_lossy(&answers)))?.ok();
    read_statuses(&answers)
}

/// The statuses of the answers in these bytes, the interim ones aside.
fn read_statuses(mut bytes: &[u8]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let wrong = || format!("no answer: {:?}", String::from_utf8_lossy(bytes));
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(wrong)?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status: u16 = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        bytes = &bytes[end + 4..];
        // The answer to HEAD has no body.
        let body = length.unwrap_or(0).min(if bytes.starts_with(b"HTTP/1.1 ") { 0 } else { bytes.len() });
        bytes = &bytes[body..];
        if status >= 200 {
            statuses.push(status);
        }
    }
    Ok(statuses)
}

/// What is wrong with an outcome, if anything is.
fn judge(vector: &Vector, statuses: &[u16]) -> Result<(), String> {
    let right = match (vector.is, statuses) {
        (Is::Bad(these), [status]) => these.contains(status),
        (Is::Last, [_]) => true,
        (Is::Whole, [_, 200]) => true,
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("answered with {statuses:?}")) }
}

/// What is wrong with what came to the backend.
fn heard(vector: &Vector, tape: &Tape, before: usize) -> Result<(), String> {
    let (seen, bad) = tape.take();
    let seen: Vec<_> = seen.into_iter().filter(|request| request.line.starts_with("POST /v2/")).skip(before).collect();
    if let Some(bad) = bad.first() {
        return Err(format!("the backend was sent what is no request: {bad}"));
    }
    let most = usize::from(!matches!(vector.is, Is::Bad(_)));
    if seen.len() > most {
        return Err(format!("the backend was sent {seen:?}"));
    }
    for request in &seen {
        let names = ["x-smuggled", "upgrade", "transfer-encoding", "http2-settings", "trailer", "te"];
        if let Some(header) = request.headers.iter().find(|header| names.contains(&header.0.as_str())) {
            return Err(format!("the backend was sent {header:?}"));
        }
        let was_sent = vector.bytes.windows(request.body.len().max(1)).any(|part| part == request.body);
        if !request.body.is_empty() && request.body != b"{}" && !was_sent {
            return Err(format!("the backend was sent a body of {:?}", String::from_utf8_lossy(&request.body)));
        }
    }
    Ok(())
}

/// A caller that does nothing wrong; it must not notice anything.
async fn well_behaved(address: String, stop: CancellationToken) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut calls = 0;
    while !stop.is_cancelled() {
        let request = "POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\ngood";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"good") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        calls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    calls
}

async fn before_tape() -> (Backend, Tape, Gateway) {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Echo);
    let tape = Tape::before(&backend).await;
    let bounds = "limits.body_timeout_ms=400\nlimits.head_timeout_ms=600\nlimits.keep_alive_ms=1500";
    let mut config = config(&[], bounds);
    config.discovery.backends.push(tape.address.clone());
    let gateway = Gateway::start(config).await;
    gateway.until_ready(1).await;
    (backend, tape, gateway)
}

async fn all_of_them(comes: Comes) {
    let (_backend, tape, gateway) = before_tape().await;
    let stop = CancellationToken::new();
    let beside = tokio::spawn(well_behaved(gateway.address.clone(), stop.clone()));
    let mut wrong = Vec::new();
    for vector in vectors::all() {
        let before = usize::from(comes == Comes::Behind);
        let outcome = match statuses(&gateway.address, &vector, comes).await {
            Ok(statuses) => judge(&vector, &statuses).and_then(|()| heard(&vector, &tape, before)),
            Err(why) => Err(why),
        };
        if let Err(why) = outcome {
            tape.take();
            wrong.push(format!("{} ({}), which is {:?}: {why}", vector.name, vector.source, vector.is));
        }
    }
    stop.cancel();
    assert!(beside.await.unwrap() > 10);
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(gateway.state().await["in_flight"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once() {
    all_of_them(Comes::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_pieces() {
    all_of_them(Comes::InPieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_plain_one() {
    all_of_them(Comes::Behind).await;
}
