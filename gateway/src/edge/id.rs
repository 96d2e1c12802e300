//! Request ids.

use headgate_contract::header as ours;
use http::header::{HeaderMap, HeaderValue};

use super::chance::chance;

/// The longest request id that is taken.
const ID_BYTES_MAX: usize = 128;

/// A request's id.
#[derive(Clone, Debug)]
pub(super) enum Id {
    /// The caller's.
    Given(HeaderValue),
    /// Ours: hex digits.
    Made([u8; 32]),
}

impl Id {
    /// The caller's, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(ours::REQUEST_ID).filter(|id| {
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
        });
        given.map_or_else(Self::make, |id| Id::Given(id.clone()))
    }

    /// A new one.
    pub(super) fn make() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut made = [0; 32];
        for half in made.chunks_exact_mut(16) {
            let bits = chance();
            for (at, digit) in half.iter_mut().enumerate() {
                *digit = DIGITS[(bits >> (60 - 4 * at)) as usize & 15];
            }
        }
        Id::Made(made)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Id::Given(id) => id.as_bytes(),
            Id::Made(made) => made,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        match self {
            Id::Given(id) => id.clone(),
            Id::Made(made) => HeaderValue::from_bytes(made).unwrap_or_else(|_| HeaderValue::from_static("none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_or_made() {
        let with = |id: &'static str| {
            let name = http::HeaderName::from_static(ours::REQUEST_ID);
            Id::of(&HeaderMap::from_iter([(name, HeaderValue::from_static(id))]))
        };
        assert_eq!(with("abc").as_str(), "abc");
        let made = with("a b");
        assert!(made.as_str().len() == 32 && made.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_eq!(made.header(), made.as_str());
        assert_ne!(Id::make().as_str(), Id::make().as_str());
    }
}
