//! A reply as it goes out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use headgate_contract::header as ours;
use headgate_contract::http1::{line, rest, status_line};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge::answer::Linked;
use crate::upstream::{Body, Streaming};

/// Bodies up to this go out in one piece with their heads.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Writes a reply that came over a link; answers whether the connection goes on.
pub(super) async fn linked(linked: &Linked, id: &[u8], closes: bool, stream: &mut TcpStream) -> io::Result<bool> {
    let body = &linked.answer.body;
    let head = |out: &mut Vec<u8>| {
        status_line(linked.answer.status, out);
        linked.each(|name, value| line(name, value, out));
        line(ours::REQUEST_ID, id, out);
        if closes {
            line(CONNECTION.as_str(), b"close", out);
        }
        rest(Some(body.len() as u64), SystemTime::now(), out);
    };
    at_once(head, body, stream).await?;
    ended(closes, stream).await
}

/// Writes a reply; answers whether the connection goes on.
pub(super) async fn whole(response: Response<Body>, stream: &mut TcpStream) -> io::Result<bool> {
    let closes = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
    let (head, body) = response.into_parts();
    match body {
        Body::Whole(body) => {
            let body = body.unwrap_or_default();
            let length = Some(body.len() as u64);
            at_once(|out| put_head(head.status, &head.headers, length, out), &body, stream).await?;
        }
        Body::Streaming(body) => {
            let length = body.size_hint().exact();
            at_once(|out| put_head(head.status, &head.headers, length, out), &[], stream).await?;
            if !streamed(body, length.is_none(), stream).await? {
                return ended(true, stream).await;
            }
        }
    }
    ended(closes, stream).await
}

async fn ended(closes: bool, stream: &mut TcpStream) -> io::Result<bool> {
    if closes {
        stream.shutdown().await?;
    }
    Ok(!closes)
}

fn put_head(status: StatusCode, headers: &HeaderMap, length: Option<u64>, out: &mut Vec<u8>) {
    status_line(status, out);
    for (name, value) in headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH && **name != DATE) {
        line(name.as_str(), value.as_bytes(), out);
    }
    if length.is_none() {
        line(TRANSFER_ENCODING.as_str(), b"chunked", out);
    }
    rest(length, SystemTime::now(), out);
}

/// Writes a head and what is here of its body, in one piece where that is small: by a buffer of the thread's, of which a
/// connection keeps only what can't be written at once.
async fn at_once(head: impl FnOnce(&mut Vec<u8>), body: &[u8], stream: &mut TcpStream) -> io::Result<()> {
    thread_local! {
        static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let fits = body.len() <= PIECE_BYTES_MAX;
    let mut head = Some(head);
    let left = poll_fn(|context| {
        OUT.with_borrow_mut(|out| {
            out.clear();
            if let Some(head) = head.take() {
                head(out);
            }
            if fits {
                out.extend_from_slice(body);
            }
            Poll::Ready(match Pin::new(&mut *stream).poll_write(context, out) {
                Poll::Ready(written) => written.map(|count| out.split_off(count)),
                Poll::Pending => Ok(std::mem::take(out)),
            })
        })
    });
    let left = left.await?;
    if !left.is_empty() {
        stream.write_all(&left).await?;
    }
    if !fits {
        stream.write_all(body).await?;
    }
    Ok(())
}

/// Writes a body as it comes; answers whether it came to its end.
async fn streamed(mut body: Streaming, chunked: bool, stream: &mut TcpStream) -> io::Result<bool> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(false) };
        let Ok(data) = frame.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if chunked {
            stream.write_all(format!("{:x}\r\n", data.len()).as_bytes()).await?;
        }
        stream.write_all(&data).await?;
        if chunked {
            stream.write_all(b"\r\n").await?;
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(true)
}
