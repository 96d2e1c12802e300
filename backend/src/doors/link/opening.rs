//! The request by which a link is asked for.

use headgate_contract::link::{HEADER, PATH, PROTOCOL, Versions};

/// A head that is longer asks for something else.
const HEAD_BYTES_MAX: usize = 4 << 10;
const HEADERS_MAX: usize = 32;

/// What the bytes of a connection begin with.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Opening {
    /// A part of such a request.
    Part,
    /// All of it.
    Asked {
        head_bytes: usize,
        /// The versions that the gateway speaks; none where they can't be read.
        versions: Option<Versions>,
    },
    /// Another request.
    Other,
}

/// Reads what a connection begins with.
pub(in super::super) fn opening(bytes: &[u8]) -> Opening {
    let line = ["GET ", PATH, " HTTP/1.1\r\n"].concat();
    if bytes.len() < line.len() {
        return if !bytes.is_empty() && line.as_bytes().starts_with(bytes) { Opening::Part } else { Opening::Other };
    }
    if !bytes.starts_with(line.as_bytes()) {
        return Opening::Other;
    }
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut slots);
    let head_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Opening::Part,
        _ => return Opening::Other,
    };
    let named = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let asks = named("upgrade").is_some_and(|header| header.value.eq_ignore_ascii_case(PROTOCOL.as_bytes()));
    if !asks || named("content-length").is_some() || named("transfer-encoding").is_some() {
        return Opening::Other;
    }
    let versions = named(HEADER).and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    Opening::Asked { head_bytes, versions }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "GET /fleet/v1/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: headgate-link\r\n\
                         X-Headgate-Link: 1-2\r\n\r\n";

    #[test]
    fn a_question_is_read_whole_or_waited_for_and_all_else_is_left() {
        let versions = Some(Versions { min: 1, max: 2 });
        let behind = [ASKED.as_bytes(), b"\x01"].concat();
        assert_eq!(opening(&behind), Opening::Asked { head_bytes: ASKED.len(), versions });
        for end in 1..ASKED.len() {
            assert_eq!(opening(&ASKED.as_bytes()[..end]), Opening::Part, "{end}");
        }
        let unread = ASKED.replace("1-2", "two");
        assert_eq!(opening(unread.as_bytes()), Opening::Asked { head_bytes: unread.len(), versions: None });
        for other in [
            "",
            "GET /fleet/v1/state",
            "POST /",
            &ASKED.replace("headgate-link\r\nX", "websocket\r\nX"),
            &ASKED.replace("Host: x", "content-length: 5"),
            &ASKED.replace("Host: x", "no header"),
            &format!("{}{}", &ASKED[..40], "x".repeat(HEAD_BYTES_MAX)),
        ] {
            assert_eq!(opening(other.as_bytes()), Opening::Other, "{other}");
        }
    }
}
