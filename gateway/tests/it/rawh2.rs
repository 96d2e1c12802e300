//! HTTP/2 by hand: a caller that says what no library would let it say.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types of frames (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// The flag of the last frame of a stream, and of the last one of a head.
pub(crate) const END: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as they are: each a literal that is kept in no table (RFC 7541, section 6.2.2).
pub(crate) fn literal(headers: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            // An integer of seven bits, and what is beyond them.
            let mut rest = text.len();
            if rest < 127 {
                bytes.push(rest as u8);
            } else {
                bytes.push(127);
                rest -= 127;
                while rest >= 128 {
                    bytes.push(rest as u8 | 128);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
            }
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// A head that asks for a prediction.
pub(crate) fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let plain = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/v2/models/m/infer")];
    literal(&[&plain, more].concat())
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// One that has said its preface and empty settings.
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, read: Vec::new() };
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        raw
    }

    /// Sends; whether the other side still takes anything.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; none where the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Came> {
        loop {
            if let Some((head, rest)) = self.read.split_at_checked(9) {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                if let Some(payload) = rest.get(..length) {
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
                    let came = Came { kind: head[3], flags: head[4], stream, payload: payload.to_vec() };
                    self.read.drain(..9 + length);
                    return Some(came);
                }
            }
            let read = tokio::time::timeout(Duration::from_secs(10), self.stream.read_buf(&mut self.read)).await;
            if !read.expect("nothing comes, and it stays open").is_ok_and(|count| count > 0) {
                return None;
            }
        }
    }

    /// The status of the answer on a stream, read to its end; none where it was refused by a reset, or its connection was
    /// closed.
    pub(crate) async fn status(&mut self, stream: u32) -> Option<u16> {
        let mut status = None;
        while let Some(came) = self.next().await {
            match came.kind {
                SETTINGS if came.flags == 0 => drop(self.send(&frame(SETTINGS, 1, 0, &[])).await),
                HEADERS if came.stream == stream && status.is_none() => status = Some(status_of(&came.payload)),
                RESET if came.stream == stream => return status,
                _ => {}
            }
            if came.stream == stream && matches!(came.kind, HEADERS | DATA) && came.flags & END > 0 {
                return status;
            }
        }
        status
    }

    /// The code with which the other side closes (RFC 9113, section 7), after what it said before; none where it closes
    /// without a word.
    pub(crate) async fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(came) = self.next().await {
            if let (GOAWAY, Some(bytes)) = (came.kind, came.payload.get(4..8)) {
                code = Some(u32::from_be_bytes(bytes.try_into().unwrap()));
            }
        }
        code
    }
}

/// The status in a head, which it begins with: of RFC 7541's table, or three digits behind its name's place there.
fn status_of(head: &[u8]) -> u16 {
    // What comes first may set the table's size.
    let head = if head[0] & 0xe0 == 0x20 { &head[1..] } else { head };
    const TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match head[0] {
        indexed @ 0x88..=0x8e => TABLE[usize::from(indexed - 0x88)],
        // Its digits, or Huffman's code of them: five bits of 0, 1, 2, six of 3 to 9.
        0x48 | 0x08 if head[1] == 3 => std::str::from_utf8(&head[2..5]).unwrap().parse().unwrap(),
        0x48 | 0x08 => {
            let mut bits = u32::from_be_bytes([head[2], head[3], *head.get(4).unwrap_or(&0), 0]);
            (0..3).fold(0, |status, _| {
                let (digit, long) = match bits >> 27 {
                    digit @ 0..=2 => (digit, 5),
                    _ => ((bits >> 26) - 0x19 + 3, 6),
                };
                bits <<= long;
                status * 10 + digit as u16
            })
        }
        other => panic!("a head begins with {other:#x}"),
    }
}
