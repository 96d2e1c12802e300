//! What is around a message in gRPC over HTTP/2: its frame, the time that a caller gives, the words of an error
//! (the protocol's own document, "gRPC over HTTP2").

use std::fmt::Write as _;
use std::time::Duration;

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
    use super::*;

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
