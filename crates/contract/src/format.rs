//! The tag that every stored document begins with: `<kind>/<major>.<minor>`.
//!
//! A reader takes every minor version of a major that it knows (unknown fields are kept and ignored) and refuses an
//! unknown major by name, so that readers can be upgraded before writers.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The tag of manifests that this build writes.
pub const MANIFEST: &str = "headgate.manifest/1.0";
/// The tag of catalog heads that this build writes.
pub const HEAD: &str = "headgate.head/1.0";
/// The tag of catalog shards that this build writes.
pub const SHARD: &str = "headgate.shard/1.0";
/// The tag of claims and build keys that this build writes.
pub const CLAIM: &str = "headgate.claim/1.0";
/// The tag of release requests that this build writes.
pub const REQUEST: &str = "headgate.request/1.0";

/// Why a stored document can't be read. The writer's fault; a retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not JSON, or not of the expected shape.
    #[error("not a {expected} document: {source}")]
    Shape {
        /// The tag that was looked for.
        expected: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// It is a document of another kind, or of a major version that this build does not know.
    #[error("unknown format '{found}': this build reads {expected} and minor versions of the same major")]
    Unknown {
        /// The tag that was found.
        found: String,
        /// The tag that was looked for.
        expected: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Tag {
    format: String,
}

/// Reads a document of the kind and major version of `expected`.
pub fn read<T: DeserializeOwned>(expected: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let tag: Tag = serde_json::from_slice(bytes).map_err(|source| FormatError::Shape { expected, source })?;
    if kind_and_major(&tag.format).is_none() || kind_and_major(&tag.format) != kind_and_major(expected) {
        return Err(FormatError::Unknown { found: tag.format.chars().take(80).collect(), expected });
    }
    serde_json::from_slice(bytes).map_err(|source| FormatError::Shape { expected, source })
}

/// Writes a document as pretty JSON; it can always be written, as no map in the contract has a key that is no text.
pub fn write<T: Serialize>(document: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn kind_and_major(tag: &str) -> Option<(&str, &str)> {
    let (kind, version) = tag.split_once('/')?;
    let (major, minor) = version.split_once('.')?;
    minor.parse::<u32>().ok()?;
    major.parse::<u32>().ok()?;
    Some((kind, major))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Doc {
        x: u32,
    }

    #[test]
    fn minor_versions_are_read_and_unknown_majors_refused_by_name() {
        let doc: Doc = read(MANIFEST, br#"{"format":"headgate.manifest/1.7","x":3,"new":[1]}"#).unwrap();
        assert_eq!(doc.x, 3);
        for bad in ["headgate.manifest/2.0", "headgate.head/1.0", "1.0", "headgate.manifest/1", "headgate.manifest/1.x"]
        {
            let Err(error) = read::<Doc>(MANIFEST, format!(r#"{{"format":"{bad}","x":3}}"#).as_bytes()) else {
                panic!("{bad} was read");
            };
            assert!(error.to_string().contains(bad), "{error}");
        }
        assert!(matches!(read::<Doc>(MANIFEST, b"{}"), Err(FormatError::Shape { .. })));
    }
}
