//! One request and its reply as bytes: prepared once, sent with one system call, read with one. For servers so cheap that a
//! client library would take as much of the machine as they do.

use bytes::BytesMut;
use http::header;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Plan;
use super::connection::{Failed, words};
use super::failure::Failure;
use super::pool::{Call, Pool};
use super::tally::Answer;
use crate::wire;

/// What is read at once, in bytes.
const READ_BYTES: usize = 8 << 10;
/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Open {
    stream: TcpStream,
    bytes: BytesMut,
}

/// The requests of a plan as they go over the wire: one for each body, or the only one where there is none.
pub(super) fn requests(plan: &Plan) -> Vec<Vec<u8>> {
    let empty = [bytes::Bytes::new()];
    let bodies = if plan.bodies.is_empty() { empty.as_slice() } else { &plan.bodies };
    bodies.iter().map(|body| request(plan, body)).collect()
}

fn request(plan: &Plan, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", plan.method(), plan.target.path).into_bytes();
    let length = header::HeaderValue::from(body.len());
    let json = header::HeaderValue::from_static("application/json");
    let mut own = vec![(&header::HOST, &plan.target.host)];
    if !plan.bodies.is_empty() {
        own.push((&header::CONTENT_LENGTH, &length));
        if !plan.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
            own.push((&header::CONTENT_TYPE, &json));
        }
    }
    for (name, value) in own.into_iter().chain(plan.headers.iter().map(|(name, value)| (name, value))) {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// One request and its reply; a connection that was lost stays lost.
pub(super) async fn exchange(pool: &Pool, slot: &mut Option<Open>, call: Call) -> Result<Answer, Failed> {
    let failed = |error: std::io::Error| (Failure::of_io(&error), error.to_string());
    let open = match slot {
        Some(open) => open,
        None => slot.insert(connect(pool).await.map_err(failed)?),
    };
    let Some(request) = pool.requests.get(call.body) else { return Err((Failure::Io, "no such body".to_owned())) };
    open.stream.write_all(request).await.map_err(failed)?;
    let head = loop {
        match wire::reply(&open.bytes).map_err(|error| (Failure::Garbled, error.to_string()))? {
            Some(head) if head.span.whole() > REPLY_BYTES_MAX => {
                return Err((Failure::Garbled, format!("reply of more than {REPLY_BYTES_MAX} bytes")));
            }
            Some(head) if head.span.whole() <= open.bytes.len() => break head,
            _ => {}
        }
        open.bytes.reserve(READ_BYTES);
        if open.stream.read_buf(&mut open.bytes).await.map_err(failed)? == 0 {
            return Err((Failure::Eof, "connection closed before the reply was whole".to_owned()));
        }
    };
    let status = head.status;
    let reply = open.bytes.split_to(head.span.whole());
    if head.closes {
        *slot = None;
    }
    let (head, body) = reply.split_at(head.span.head);
    let success = (200..300).contains(&status);
    if let Some(scores) = pool.looked_at().filter(|_| success) {
        let bytes = bytes::Bytes::copy_from_slice(body);
        scores.check(&wire::headers(head), call.body, &bytes).map_err(|words| (Failure::Scores, words))?;
    }
    let words = if success { String::new() } else { words(body) };
    let retry_after = !success && wire::headers(head).contains_key(header::RETRY_AFTER);
    Ok(Answer { status, version: None, backend: None, fault: None, retry_after, words })
}

async fn connect(pool: &Pool) -> std::io::Result<Open> {
    let stream = pool.plan.connect().await?;
    stream.set_nodelay(true)?;
    Ok(Open { stream, bytes: BytesMut::with_capacity(READ_BYTES) })
}
