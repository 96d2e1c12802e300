//! HTTP/1.1 as bytes, so far as the cheap parts of a bench need it: messages with a `content-length`, on kept connections.

use headgate_contract::header::TIMEOUT_MS;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Error, Status};

/// The most headers of a message.
const HEADERS_MAX: usize = 64;
/// The longest head, in bytes; a longer one is no message.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Where a message's parts are in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Bytes of the head, the empty line included.
    pub(crate) head: usize,
    /// Bytes of the body.
    pub(crate) body: usize,
}

impl Span {
    /// Bytes of the whole message.
    pub(crate) fn whole(self) -> usize {
        self.head.saturating_add(self.body)
    }
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'b> {
    /// Path and query.
    pub(crate) path: &'b str,
    /// How long an answer is of use, in milliseconds, where it says so.
    pub(crate) timeout_ms: Option<u64>,
    /// Where it is.
    pub(crate) span: Span,
}

/// Reads a request's head; none where it is not whole yet.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<RequestHead<'_>>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(head) = request.parse(bytes)? else { return unfinished(bytes) };
    // A request without a length has no body.
    let body = length(request.headers)?.unwrap_or(0);
    let timeout_ms = number(request.headers, TIMEOUT_MS).flatten();
    Ok(Some(RequestHead { path: request.path.unwrap_or_default(), timeout_ms, span: Span { head, body } }))
}

/// A reply's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    /// Its status.
    pub(crate) status: u16,
    /// Whether the connection ends with it.
    pub(crate) closes: bool,
    /// Where it is.
    pub(crate) span: Span,
}

/// Reads a reply's head; none where it is not whole yet. A reply without a length is refused.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<ReplyHead>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut reply = httparse::Response::new(&mut headers);
    let Status::Complete(head) = reply.parse(bytes)? else { return unfinished(bytes) };
    let body = length(reply.headers)?.ok_or(Error::HeaderValue)?;
    let says_close = |header: &httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
    };
    let closes = reply.version == Some(0) || reply.headers.iter().any(says_close);
    Ok(Some(ReplyHead { status: reply.code.unwrap_or(0), closes, span: Span { head, body } }))
}

/// All headers of a reply whose head is whole.
pub(crate) fn headers(head: &[u8]) -> HeaderMap {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut reply = httparse::Response::new(&mut headers);
    let _ = reply.parse(head);
    let read = |header: &httparse::Header<'_>| {
        Some((HeaderName::from_bytes(header.name.as_bytes()).ok()?, HeaderValue::from_bytes(header.value).ok()?))
    };
    reply.headers.iter().filter_map(read).collect()
}

fn unfinished<T>(bytes: &[u8]) -> Result<Option<T>, Error> {
    if bytes.len() > HEAD_BYTES_MAX { Err(Error::TooManyHeaders) } else { Ok(None) }
}

fn length(headers: &[httparse::Header<'_>]) -> Result<Option<usize>, Error> {
    match number(headers, "content-length") {
        None => Ok(None),
        Some(length) => length.map(Some).ok_or(Error::HeaderValue),
    }
}

/// The number in a header, where there is such a header and its value is one.
fn number<T: std::str::FromStr>(headers: &[httparse::Header<'_>], name: &str) -> Option<Option<T>> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let bytes = b"POST /x?y HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabc";
        let head = request(bytes).unwrap().unwrap();
        assert_eq!((head.path, head.span.whole()), ("/x?y", bytes.len()));
        assert_eq!(request(&bytes[..30]), Ok(None));
        let bare = request(b"GET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!((bare.span.body, bare.timeout_ms), (0, None));
        let timed = request(b"GET / HTTP/1.1\r\nX-Headgate-Timeout-Ms: 50\r\n\r\n").unwrap().unwrap();
        assert_eq!(timed.timeout_ms, Some(50));
        let bytes = b"HTTP/1.1 503 X\r\ncontent-length: 12\r\n\r\n";
        let head = reply(bytes).unwrap().unwrap();
        assert_eq!(head, ReplyHead { status: 503, closes: false, span: Span { head: 38, body: 12 } });
        assert_eq!(headers(bytes)["content-length"], "12");
        let closes = |text: &str| reply(text.as_bytes()).unwrap().unwrap().closes;
        assert!(closes("HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n"));
        assert!(closes("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        assert!(reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(reply(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(request(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
        assert!(request(b"\0\r\n").is_err());
    }
}
