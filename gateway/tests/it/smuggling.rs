//! Messages whose end two readers may see in different places: a backend sees no request that its caller did not send,
//! and where the end is in doubt the connection closes.

mod caller;
mod h2;
mod tape;
mod vectors;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::{Gateway, config};
use caller::{Comes, judge, statuses};
use tape::Tape;
use vectors::Is;

/// What is wrong with what came to the backend since the last look: more than so many calls behind so many plain ones, or
/// anything in its head that is for one connection only, or a body that was not sent so.
fn heard(tape: &Tape, most: usize, before: usize, sent: &[u8]) -> Result<(), String> {
    let (seen, bad) = tape.take();
    if let Some(bad) = bad.first() {
        return Err(format!("the backend was sent what is no request: {bad}"));
    }
    let seen: Vec<_> = seen.into_iter().filter(|request| request.line.starts_with("POST /v2/")).skip(before).collect();
    if seen.len() > most {
        return Err(format!("the backend was sent {seen:?}"));
    }
    for request in &seen {
        let names = ["x-smuggled", "upgrade", "transfer-encoding", "http2-settings", "trailer", "te", "connection"];
        if let Some(header) = request.headers.iter().find(|header| names.contains(&header.0.as_str())) {
            return Err(format!("the backend was sent {header:?}"));
        }
        let (body, bytes) = (&request.body, request.body.len());
        if bytes > 0 && body != b"{}" && !sent.windows(bytes).any(|part| part == body) {
            return Err(format!("the backend was sent a body of {:?}", String::from_utf8_lossy(body)));
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
        let (before, most) = (usize::from(comes == Comes::Behind), usize::from(!matches!(vector.is, Is::Bad(_))));
        let outcome = match statuses(&gateway.address, &vector, comes).await {
            Ok(statuses) => judge(&vector, &statuses).and_then(|()| heard(&tape, most, before, &vector.bytes)),
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
