//! A reply as it goes out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use headgate_contract::http1::{line, rest, status_line};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::{Body, Streaming};

/// Bodies up to this go out in one piece with their heads.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Writes a reply; answers whether the connection goes on.
pub(super) async fn write(response: Response<Body>, stream: &mut TcpStream) -> io::Result<bool> {
    let closes = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
    let (head, body) = response.into_parts();
    let goes_on = match body {
        Body::Whole(body) => {
            let body = body.unwrap_or_default();
            let length = Some(body.len() as u64);
            let piece = if body.len() <= PIECE_BYTES_MAX { &body[..] } else { &[] };
            let left = poll_fn(|context| {
                with_head(head.status, &head.headers, length, piece, |bytes| {
                    // What goes at once needs no buffer.
                    match Pin::new(&mut *stream).poll_write(context, bytes) {
                        Poll::Ready(Ok(count)) => Poll::Ready(Ok(bytes[count..].to_vec())),
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Pending => Poll::Ready(Ok(bytes.to_vec())),
                    }
                })
            })
            .await?;
            if !left.is_empty() {
                stream.write_all(&left).await?;
            }
            if piece.len() < body.len() {
                stream.write_all(&body).await?;
            }
            true
        }
        Body::Streaming(body) => {
            let length = body.size_hint().exact();
            let start = with_head(head.status, &head.headers, length, &[], |bytes| bytes.to_vec());
            stream.write_all(&start).await?;
            streamed(body, length.is_none(), stream).await?
        }
    };
    if closes || !goes_on {
        stream.shutdown().await?;
    }
    Ok(goes_on && !closes)
}

/// A reply's head and what goes along with it, in a buffer of the thread's.
fn with_head<T>(
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    piece: &[u8],
    then: impl FnOnce(&[u8]) -> T,
) -> T {
    thread_local! {
        static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    OUT.with_borrow_mut(|out| {
        out.clear();
        status_line(status, out);
        for (name, value) in headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
            line(name.as_str(), value.as_bytes(), out);
        }
        if length.is_none() {
            line(TRANSFER_ENCODING.as_str(), b"chunked", out);
        }
        rest(length, SystemTime::now(), out);
        out.extend_from_slice(piece);
        then(out)
    })
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
