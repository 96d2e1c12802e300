//! Names of models, and version numbers.
//!
//! A model is one segment or two, `flights` or `flights/JFK`: the second names a *scope* of the first. A scope's value
//! may be any text; [`ModelName::scoped`] writes it so that it fits a segment and [`ModelName::scope_text`] reads it back.

use std::{fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest segment, in bytes of its written form.
pub const SEGMENT_BYTES_MAX: usize = 128;

/// Words that follow a model in a path, and so can't be a segment.
pub const RESERVED: &[&str] = &[
    "versions",
    "labels",
    "infer",
    "invocations",
    "ready",
    "stats",
    "config",
    "load",
    "unload",
    "metadata",
    "predict",
    "explain",
    "generate",
    "generate_stream",
    "openapi.json",
    "trace",
    "index",
    "models",
];

/// A model's name: one segment, or a base and a scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

/// A version's number, from 1 up, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(NonZeroU64);

/// Why a text is no model name or version. The caller's fault; a retry does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A segment is empty (an empty scope is written `~`).
    #[error("model name '{0}' has an empty segment")]
    Empty(String),
    /// A segment is longer than [`SEGMENT_BYTES_MAX`] bytes.
    #[error("model name segment '{0}...' is longer than 128 bytes")]
    TooLong(String),
    /// A segment holds a byte outside `[A-Za-z0-9._~-]`, begins with `.`, or holds a `~` that is no escape.
    #[error("'{0}' is no model name segment: letters, digits, '.', '_', '-' (not first '.'), other bytes as ~xx")]
    Alphabet(String),
    /// A segment is a word that follows a model in a path.
    #[error("'{0}' can't be a model name segment: paths use that word")]
    Reserved(String),
    /// More than two segments.
    #[error("model name '{0}' has more than two segments")]
    Segments(String),
    /// Not a whole number from 1 up.
    #[error("'{0}' is no version: a whole number from 1 up expected")]
    Version(String),
}

// === impl ModelName ===

impl ModelName {
    /// The name of `base`'s scope whose value is `text`, which may be any text whose written form fits.
    pub fn scoped(base: &ModelName, text: &str) -> Result<Self, NameError> {
        if base.scope().is_some() {
            return Err(NameError::Segments(format!("{base}/{}", shorten(text))));
        }
        let segment = write_segment(text);
        check_segment(&segment)?;
        Ok(Self(format!("{base}/{segment}")))
    }

    /// The whole name as it is written in paths and in the bucket.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment.
    pub fn base(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(base, _)| base)
    }

    /// The base as a model of its own.
    pub fn base_name(&self) -> ModelName {
        Self(self.base().to_owned())
    }

    /// The second segment as written, where there is one.
    pub fn scope(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, scope)| scope)
    }

    /// The scope's value as the text that [`ModelName::scoped`] was given.
    pub fn scope_text(&self) -> Option<String> {
        self.scope().and_then(read_segment)
    }
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut segments = text.split('/');
        for segment in segments.by_ref().take(2) {
            check_segment(segment)?;
        }
        match segments.next() {
            None => Ok(Self(text.to_owned())),
            Some(_) => Err(NameError::Segments(shorten(text))),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ModelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

// === impl Version ===

impl Version {
    /// The first version.
    pub const FIRST: Version = Version(NonZeroU64::MIN);

    /// A version from its number; 0 is none.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::Version(shorten(text));
        if text.starts_with(['0', '+']) {
            return Err(refused());
        }
        text.parse().ok().and_then(Self::new).ok_or_else(refused)
    }
}

// === segments ===

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Writes any text as a segment: what a segment can't hold becomes `~xx`, the empty text `~`.
fn write_segment(text: &str) -> String {
    if text.is_empty() {
        return "~".to_owned();
    }
    let refused_first = text.starts_with('.') || RESERVED.contains(&text);
    let mut segment = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if plain(byte) && !(at == 0 && refused_first) {
            segment.push(byte as char);
        } else {
            segment.push('~');
            segment.push_str(&hex::encode([byte]));
        }
    }
    segment
}

/// The text that a segment stands for; none where an escape is broken or the bytes are no UTF-8.
fn read_segment(segment: &str) -> Option<String> {
    if segment == "~" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'~' {
            let mut escaped = [0; 1];
            hex::decode_to_slice(rest.get(..2)?, &mut escaped).ok()?;
            bytes.push(escaped[0]);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn check_segment(segment: &str) -> Result<(), NameError> {
    if segment.is_empty() {
        return Err(NameError::Empty(segment.to_owned()));
    }
    if segment.len() > SEGMENT_BYTES_MAX {
        return Err(NameError::TooLong(shorten(segment)));
    }
    if RESERVED.contains(&segment) {
        return Err(NameError::Reserved(segment.to_owned()));
    }
    // Most names are written as they are: each call reads one.
    if segment.bytes().all(plain) && !segment.starts_with('.') {
        return Ok(());
    }
    // One text has one written form, or two models would share a scope.
    match read_segment(segment) {
        Some(text) if write_segment(&text) == segment => Ok(()),
        _ => Err(NameError::Alphabet(shorten(segment))),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_scopes() {
        for good in ["flights", "flights/JFK", "a.b_c-d", "bank/admin.", "bank/~", "bank/S~c3~a3o~20Paulo"] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            ".a",
            "a/.b",
            "versions",
            "a/infer",
            "a b",
            "a~",
            "a/~zz",
            "a/~61",
            "é",
            "a:predict",
        ] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?} was taken");
        }
        assert!("x".repeat(129).parse::<ModelName>().is_err());
    }

    #[test]
    fn versions() {
        assert_eq!("12".parse::<Version>().unwrap().get(), 12);
        for bad in ["", "0", "01", "+1", "-1", "1.0", "99999999999999999999999"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?} was taken");
        }
        assert!(serde_json::from_str::<Version>("0").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_scope_that_reads_back(text in ".{0,40}") {
            let base: ModelName = "bank".parse().unwrap();
            if let Ok(name) = ModelName::scoped(&base, &text) {
                prop_assert_eq!(name.scope_text().unwrap(), text);
                prop_assert_eq!(name.as_str().parse::<ModelName>().unwrap(), name);
            } else {
                prop_assert!(write_segment(&text).len() > SEGMENT_BYTES_MAX);
            }
        }

        #[test]
        fn no_name_leaves_its_folder(text in "[./~a-z%]{0,12}") {
            if let Ok(name) = text.parse::<ModelName>() {
                prop_assert!(name.as_str().split('/').all(|s| !s.starts_with('.') && !s.is_empty()));
            }
        }
    }

    #[test]
    fn awkward_scopes_read_back() {
        let base: ModelName = "bank".parse().unwrap();
        for text in ["admin.", "São Paulo", "self-employed", "a/b", "🛫", "", ".", "..", "versions", "~", "~61", "%2F"]
        {
            let name = ModelName::scoped(&base, text).unwrap();
            assert_eq!(name.scope_text().unwrap(), text, "{name}");
        }
    }
}
