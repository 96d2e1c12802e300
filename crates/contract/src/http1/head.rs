//! The head of a request, where it is one that nearly all predictions have.

use std::ops::Range;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap};
use http::{HeaderName, HeaderValue};

use crate::host::is_host;

/// Bodies beyond this are no small ones.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Headers of a plain request, at most.
pub const HEADERS_MAX: usize = 32;
/// A head that is longer is no plain one.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Digits of a length that is read.
const LENGTH_DIGITS_MAX: usize = 7;

/// What the bytes of a connection begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A head of so many bytes and a body of so many; the head was written down.
    Request {
        /// Of the head, the empty line included.
        head_bytes: usize,
        /// Of the body, as the head says.
        body_bytes: usize,
    },
    /// A part of a head.
    Part,
    /// Anything else, bad or just seldom: hyper knows.
    Other,
}

/// The head of a connection's last request. The next one's is mostly the same but for the body's length: then nothing of
/// it is read again.
#[derive(Debug, Default)]
pub struct Head {
    /// The request's target: a path without a query.
    pub path: String,
    /// All but those that say how message and connection are to be handled.
    pub headers: HeaderMap,
    /// As it came, and where the length's digits are in it.
    bytes: Vec<u8>,
    length: Range<usize>,
}

impl Head {
    /// Reads a head: `POST`, HTTP/1.1, a plain path, one plain length of the body, one host, and no header that tells how
    /// the message or the connection is to be handled in any other way. Says also whether it is the last one again.
    pub fn read(&mut self, bytes: &[u8]) -> (Seen, bool) {
        match self.again(bytes) {
            Some(seen) => (seen, true),
            None => (self.read_anew(bytes), false),
        }
    }

    fn again(&self, bytes: &[u8]) -> Option<Seen> {
        let (before, after) = (&self.bytes[..self.length.start], &self.bytes[self.length.end..]);
        let rest = bytes.strip_prefix(before).filter(|_| !before.is_empty())?;
        let digits = rest.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        let body_bytes = length(&rest[..digits])?;
        rest[digits..]
            .starts_with(after)
            .then(|| Seen::Request { head_bytes: before.len() + digits + after.len(), body_bytes })
    }

    fn read_anew(&mut self, bytes: &[u8]) -> Seen {
        let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut slots);
        let head_bytes = match request.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) if head_bytes <= HEAD_BYTES_MAX => head_bytes,
            Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX && b"POST /".starts_with(first(bytes)) => {
                return Seen::Part;
            }
            _ => return Seen::Other,
        };
        let target = request.path.filter(|path| path.starts_with('/') && path.bytes().all(is_plain));
        let (Some("POST"), Some(1), Some(target)) = (request.method, request.version, target) else {
            return Seen::Other;
        };
        self.headers.clear();
        self.bytes.clear();
        self.length = 0..0;
        let Some(found) = headers(request.headers, &mut self.headers) else { return Seen::Other };
        let Some(body_bytes) = length(found) else { return Seen::Other };
        self.path.clear();
        self.path.push_str(target);
        // Where it lies in the head that it is a part of.
        let at = found.as_ptr() as usize - bytes.as_ptr() as usize;
        self.length = at..at + found.len();
        self.bytes.extend_from_slice(&bytes[..head_bytes]);
        Seen::Request { head_bytes, body_bytes }
    }
}

/// Takes in the headers that pass; gives the length of the body. None where one is not plain.
fn headers<'b>(came: &[httparse::Header<'b>], into: &mut HeaderMap) -> Option<&'b [u8]> {
    let (mut length, mut hosts) = (None, 0);
    for header in came {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        match &name {
            &CONTENT_LENGTH if length.is_none() => length = Some(header.value),
            &CONNECTION if header.value.eq_ignore_ascii_case(b"keep-alive") => {}
            name if tells_more(name) => return None,
            &HOST if hosts > 0 || !is_host(header.value) => return None,
            _ => {
                hosts += usize::from(name == HOST);
                into.append(name, HeaderValue::from_bytes(header.value).ok()?);
            }
        }
    }
    length.filter(|_| hosts == 1)
}

/// Bytes that a request of POST begins with, as far as they came.
fn first(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(b"POST /".len())]
}

/// What paths of predictions are made of; a question mark, or what has to be encoded, is not among it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'~' | b'-' | b':' | b'%')
}

/// Headers that have a say in where a message ends or what becomes of its connection; a second length too.
fn tells_more(name: &HeaderName) -> bool {
    use http::header::{EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
    [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING, EXPECT, UPGRADE, TE, TRAILER].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// A length in plain digits, of a body that is no large one.
fn length(value: &[u8]) -> Option<usize> {
    let digits = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let length = digits.then(|| value.iter().fold(0, |length, digit| 10 * length + usize::from(digit - b'0')));
    length.filter(|length| *length <= BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-A: b\r\n\r\n";

    fn seen(bytes: &[u8]) -> Seen {
        Head::default().read(bytes).0
    }

    #[test]
    fn a_plain_head_is_read_whole_or_waited_for() {
        let mut head = Head::default();
        let bytes = [PLAIN.as_bytes(), b"{}"].concat();
        let expected = Seen::Request { head_bytes: PLAIN.len(), body_bytes: 12 };
        assert_eq!(head.read(&bytes), (expected, false));
        let read = |head: &Head| {
            let headers = head.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()));
            (head.path.clone(), headers.collect::<Vec<_>>())
        };
        let expected = ("/v1/models/m:predict".to_owned(), vec!["host: x".to_owned(), "x-a: b".to_owned()]);
        assert_eq!(read(&head), expected);
        // Again, with another length.
        let next = PLAIN.replace("12", "4321");
        let longer = Seen::Request { head_bytes: next.len(), body_bytes: 4321 };
        assert_eq!(head.read(next.as_bytes()), (longer, true));
        assert_eq!(read(&head), expected);
        for end in 0..next.len() {
            assert_eq!(head.read(&next.as_bytes()[..end]), (Seen::Part, false), "{end}");
        }
        let other = PLAIN.replace("X-A: b", "X-A: c");
        assert!(matches!(head.read(other.as_bytes()), (Seen::Request { .. }, false)));
        assert_eq!(read(&head).1[1], "x-a: c");
        for bad in ["00000012", "", "+1", "65537", "1 2", "1, 1"] {
            let bad = other.replace("12", bad);
            assert!(matches!(head.read(bad.as_bytes()), (Seen::Other, false)), "{bad}");
            assert!(matches!(head.read(other.as_bytes()).0, Seen::Request { body_bytes: 12, .. }));
        }
        for end in 0..PLAIN.len() {
            assert_eq!(seen(&PLAIN.as_bytes()[..end]), Seen::Part, "{end}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_hyper() {
        let with = |header: &str| PLAIN.replace("X-A: b", header);
        for other in [
            PLAIN.replace("POST", "GET"),
            PLAIN.replace("HTTP/1.1", "HTTP/1.0"),
            PLAIN.replace("/v1", "http://x/v1"),
            PLAIN.replace(":predict", ":predict?a=b"),
            PLAIN.replace("Content-Length: 12\r\n", ""),
            PLAIN.replace("12", "65537"),
            PLAIN.replace("12", "00000012"),
            PLAIN.replace("12", "1_2"),
            PLAIN.replace("12", ""),
            PLAIN.replace("12", "+12"),
            with("content-length: 12"),
            with("transfer-encoding: chunked"),
            with("transfer-encoding: identity"),
            with("expect: 100-continue"),
            with("connection: close"),
            with("connection: keep-alive, x-a"),
            with("upgrade: h2c"),
            with("te: trailers"),
            with("x : y"),
            with("host: x"),
            PLAIN.replace("Host: x", "Host: x/y"),
            PLAIN.replace("Host: x\r\n", ""),
            with("x"),
            with(&format!("x: {}", "y".repeat(HEAD_BYTES_MAX))),
            with(&"x: y\r\n".repeat(HEADERS_MAX)),
        ] {
            assert_eq!(seen(other.as_bytes()), Seen::Other, "{other}");
        }
        assert_ne!(seen(with("connection: Keep-Alive").as_bytes()), Seen::Other);
        // A part of what can't become plain is not waited for.
        assert_eq!(seen(b"GET /"), Seen::Other);
        assert_eq!(seen(&[b"POST /".as_slice(), &vec![b'x'; HEAD_BYTES_MAX]].concat()), Seen::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_seen(mut bytes in Just(PLAIN.as_bytes().to_vec()), at in 0..PLAIN.len(), byte in any::<u8>()) {
            bytes[at] = byte;
            // The same whether the one before was like it or not.
            let mut head = Head::default();
            head.read(PLAIN.as_bytes());
            prop_assert_eq!(head.read(&bytes).0, seen(&bytes));
            if let Seen::Request { head_bytes, body_bytes } = seen(&bytes) {
                prop_assert!(head_bytes <= bytes.len() && body_bytes <= BODY_BYTES_MAX);
                prop_assert!(bytes[..head_bytes].ends_with(b"\n\r\n") || bytes[..head_bytes].ends_with(b"\n\n"));
            }
        }
    }
}
