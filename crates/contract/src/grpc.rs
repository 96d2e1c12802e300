//! What is around a message in gRPC over HTTP/2: its frame, the time that a caller gives, the words of an error
//! (the protocol's own document, "gRPC over HTTP2").

use std::fmt::Write as _;
use std::time::Duration;

use crate::Kind;
use crate::route::{RouteError, Target};
use crate::wire::{Message, WireError};

/// The media type; a subtype may follow (`application/grpc+proto`).
pub const CONTENT_TYPE: &str = "application/grpc";
/// In requests: how long the caller waits ([`timeout`]).
pub const TIMEOUT: &str = "grpc-timeout";
/// In requests and replies: how messages are compressed.
pub const ENCODING: &str = "grpc-encoding";
/// In requests and replies: which compressions may come.
pub const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// In trailers: the code, [`crate::Kind::grpc`] or 0.
pub const STATUS: &str = "grpc-status";
/// In trailers: what is wrong, as [`percent_encoded`] writes it.
pub const MESSAGE: &str = "grpc-message";
/// The bytes before a message: whether it is compressed, and its length.
pub const HEAD_BYTES: usize = 5;

/// Fields of a message among which an [`Address`] is looked for: half a millisecond of them.
pub const FIELDS_MAX: usize = 50_000;

/// The longest text of an error that is sent, in encoded bytes: callers bound what they take of headers to 8 KiB.
const MESSAGE_BYTES_MAX: usize = 3_000;

/// What comes before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether the message is compressed, as the header [`ENCODING`] says.
    pub compressed: bool,
    /// Its length in bytes, as it comes.
    pub length: u32,
}

impl Head {
    /// Reads one; none where its first byte is neither 0 nor 1.
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Option<Self> {
        let [flag, length @ ..] = bytes;
        (flag <= 1).then(|| Self { compressed: flag == 1, length: u32::from_be_bytes(length) })
    }

    /// Writes one.
    pub fn write(self) -> [u8; HEAD_BYTES] {
        let [a, b, c, d] = self.length.to_be_bytes();
        [u8::from(self.compressed), a, b, c, d]
    }
}

/// Whom a message about a model is for, and what its sender calls it. All that name a model do so in the same fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// The model; it may end like a path (`bank/labels/canary`).
    pub model: &'a str,
    /// The version; empty: the one that the release picks.
    pub version: &'a str,
    /// The sender's name for the message.
    pub id: &'a str,
}

impl<'a> Address<'a> {
    /// Reads it and nothing else, among the first [`FIELDS_MAX`] fields; as always the last of several counts. Of a broken
    /// message what came before, and why it is broken.
    pub fn of(message: &'a [u8]) -> (Self, Result<(), WireError>) {
        let mut address = Self::default();
        let read = address.read(Message::new(message));
        (address, read)
    }

    fn read(&mut self, mut fields: Message<'a>) -> Result<(), WireError> {
        for _ in 0..FIELDS_MAX {
            let Some(field) = fields.next()? else { break };
            match field.number {
                1 => self.model = field.str()?,
                2 => self.version = field.str()?,
                3 => self.id = field.str()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What it names.
    pub fn target(&self) -> Result<Target, RouteError> {
        match self.model {
            "" => Err(RouteError {
                kind: Kind::InvalidRequest,
                message: "the message has no model_name".to_owned(),
                allow: None,
            }),
            model => Target::named(model, self.version),
        }
    }
}

/// Reads a `grpc-timeout`: one to eight digits and a unit (`H`, `M`, `S`, `m`, `u` or `n`).
pub fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A text as `grpc-message` has it: bytes outside of printable ASCII, and `%`, as `%XX`. One that is too long for a
/// header ends in `...`.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if encoded.len() > MESSAGE_BYTES_MAX {
            encoded.push_str("...");
            break;
        }
        if matches!(character, ' '..='~') && character != '%' {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            // A String takes whatever is written.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;
    use crate::proto::ModelInferRequest;

    #[test]
    fn a_message_says_whom_it_is_for() {
        let request = ModelInferRequest {
            model_name: "bank/JFK".into(),
            model_version: "7".into(),
            id: "a".into(),
            ..Default::default()
        };
        let bytes = request.encode_to_vec();
        let (address, read) = Address::of(&bytes);
        assert_eq!((address, read), (Address { model: "bank/JFK", version: "7", id: "a" }, Ok(())));
        assert_eq!(address.target().unwrap().to_string(), "bank/JFK/versions/7");
        // As Protocol Buffers have it, fields may come in any order, and the last of several counts.
        let twice = [&[0x2a, 0][..], &bytes, &[0x12, 1, b'8']].concat();
        assert_eq!(Address::of(&twice).0.version, "8");
        let (address, read) = Address::of(&bytes[..bytes.len() - 1]);
        assert!(address.version == "7" && address.id.is_empty() && read.is_err());
        assert!(Address::default().target().unwrap_err().message.contains("model_name"));
    }

    #[test]
    fn heads_read_back() {
        let head = Head { compressed: true, length: 70_000 };
        assert_eq!(head.write(), [1, 0, 1, 0x11, 0x70]);
        assert_eq!(Head::read(head.write()), Some(head));
        assert_eq!(Head::read([2, 0, 0, 0, 0]), None);
    }

    #[test]
    fn timeouts_have_a_unit() {
        for (text, duration) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("250m", Duration::from_millis(250)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(timeout(text), Some(duration), "{text}");
        }
        for text in ["", "m", "5", "1h", "-1m", "1.5S", "123456789m", "5\u{b5}"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    #[test]
    fn words_become_ascii() {
        assert_eq!(percent_encoded("row 3: '\u{e9}' is 100% wrong\n"), "row 3: '%C3%A9' is 100%25 wrong%0A");
        let long = percent_encoded(&"x".repeat(10_000));
        assert!(long.len() < 3_100 && long.ends_with("x..."), "{}", long.len());
    }
}
