//! A caller that sends what it should not. The backend's tests have it too.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::vectors::{Is, START, Vector};

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    AtOnce,
    InPieces,
    /// Behind a plain one, and as like it as it can be.
    Behind,
}

/// What is asked behind each message: answered only where that message is whole.
const NEXT: &str = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Sends a message, and the next behind it; the statuses of all answers until the connection closes.
pub(crate) async fn statuses(address: &str, vector: &Vector, comes: Comes) -> Result<Vec<u16>, String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let plain = format!("{START}Content-Length: 2\r\n\r\n{{}}");
    let mut answers = Vec::new();
    if comes == Comes::Behind {
        stream.write_all(plain.as_bytes()).await.unwrap();
        while !answers.ends_with(b"}") {
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
pub(crate) fn read_statuses(mut bytes: &[u8]) -> Result<Vec<u16>, String> {
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
pub(crate) fn judge(vector: &Vector, statuses: &[u16]) -> Result<(), String> {
    let right = match (vector.is, statuses) {
        (Is::Bad(these), [status]) => these.contains(status),
        (Is::Last | Is::Unneeded | Is::BeforeOther, [_]) | (Is::BeforeOther, [_, 400]) => true,
        (Is::Whole | Is::Unneeded, [_, 200]) => true,
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("answered with {statuses:?}")) }
}
