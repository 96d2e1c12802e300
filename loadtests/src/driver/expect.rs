//! What replies must look like: a reply that says it is of a version must carry that version's bytes for that request.

use std::collections::BTreeMap;

use bytes::Bytes;
use headgate_contract::header;
use http::HeaderMap;

/// What each version answers.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// By version.
    pub versions: BTreeMap<u64, Expected>,
}

/// What one version answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its manifest's digest, as the reply's header says it.
    pub digest: String,
    /// The reply's bytes to each of the driver's bodies, in their order.
    pub replies: Vec<Bytes>,
}

/// Why a reply can't be attributed to exactly one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It names no version.
    NoVersion,
    /// It names a version that is not one of the expected.
    UnknownVersion,
    /// Its digest is not that of the version that it names.
    WrongDigest,
    /// Its bytes are not those of the version that it names.
    WrongBody,
}

impl Expect {
    /// Checks a reply with status 200 to body number `body`.
    pub fn check(&self, headers: &HeaderMap, body: usize, reply: &[u8]) -> Result<(), Fault> {
        let version = version_of(headers).ok_or(Fault::NoVersion)?;
        let expected = self.versions.get(&version).ok_or(Fault::UnknownVersion)?;
        if headers.get(header::DIGEST).is_none_or(|digest| digest.as_bytes() != expected.digest.as_bytes()) {
            return Err(Fault::WrongDigest);
        }
        match expected.replies.get(body) {
            Some(bytes) if bytes == reply => Ok(()),
            _ => Err(Fault::WrongBody),
        }
    }
}

impl Fault {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::NoVersion => "no_version",
            Fault::UnknownVersion => "unknown_version",
            Fault::WrongDigest => "wrong_digest",
            Fault::WrongBody => "wrong_body",
        }
    }
}

/// The version that a reply names.
pub fn version_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::VERSION)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(version: &str, digest: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::VERSION, version.parse().unwrap());
        headers.insert(header::DIGEST, digest.parse().unwrap());
        headers
    }

    #[test]
    fn a_reply_belongs_to_exactly_one_version() {
        let of = |digest: &str, replies: &[&'static str]| Expected {
            digest: digest.to_owned(),
            replies: replies.iter().map(|r| Bytes::from_static(r.as_bytes())).collect(),
        };
        let expect = Expect { versions: [(1, of("aa", &["x", "y"])), (2, of("bb", &["u", "v"]))].into() };
        assert_eq!(expect.check(&headers("1", "aa"), 1, b"y"), Ok(()));
        assert_eq!(expect.check(&headers("2", "bb"), 0, b"u"), Ok(()));
        // The other version's bytes, the reply to another request, a mixed digest, a foreign version, none at all.
        assert_eq!(expect.check(&headers("1", "aa"), 0, b"u"), Err(Fault::WrongBody));
        assert_eq!(expect.check(&headers("1", "aa"), 0, b"y"), Err(Fault::WrongBody));
        assert_eq!(expect.check(&headers("1", "bb"), 0, b"x"), Err(Fault::WrongDigest));
        assert_eq!(expect.check(&headers("3", "aa"), 0, b"x"), Err(Fault::UnknownVersion));
        assert_eq!(expect.check(&HeaderMap::new(), 0, b"x"), Err(Fault::NoVersion));
        assert_eq!(expect.check(&headers("x", "aa"), 0, b"x"), Err(Fault::NoVersion));
    }
}
