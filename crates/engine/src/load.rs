//! From the bytes of a file to an engine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Engine, Level, catboost, forest_json, lightgbm, linear, xgboost};

/// A model file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// LightGBM's text format (`save_model`).
    LightgbmText,
    /// XGBoost's JSON.
    XgboostJson,
    /// XGBoost's UBJSON.
    XgboostUbj,
    /// CatBoost's JSON.
    CatboostJson,
    /// [`forest_json`]'s JSON.
    ForestJson,
    /// [`linear`]'s JSON.
    LinearJson,
    /// [`linear`]'s hashed weights.
    LinearHashed,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [
        Self::LightgbmText,
        Self::XgboostJson,
        Self::XgboostUbj,
        Self::CatboostJson,
        Self::ForestJson,
        Self::LinearJson,
        Self::LinearHashed,
    ];

    /// The name that manifests carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LightgbmText => "lightgbm-text",
            Self::XgboostJson => "xgboost-json",
            Self::XgboostUbj => "xgboost-ubj",
            Self::CatboostJson => "catboost-json",
            Self::ForestJson => "forest-json",
            Self::LinearJson => "linear-json",
            Self::LinearHashed => "linear-hashed",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A format name that is none of [`Format::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown model format `{0}`, expected lightgbm-text, xgboost-json, xgboost-ubj, catboost-json, forest-json, linear-json or linear-hashed"
)]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|f| f.as_str() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// What a model may take. Parsing takes in addition a small multiple of the file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the loaded model, in bytes.
    pub max_memory_bytes: usize,
    /// Feature columns.
    pub max_features: usize,
    /// Margins in a row (classes or targets).
    pub max_outputs: usize,
    /// The instructions that it is scored with; the best that this processor has where it lacks these.
    pub level: Level,
}

impl Default for Limits {
    /// 4 GiB, a million features, 65,536 outputs, the best instructions that there are.
    fn default() -> Self {
        Self { max_memory_bytes: 4 << 30, max_features: 1_000_000, max_outputs: 65_536, level: Level::best() }
    }
}

/// Why a file is not a model that can be served. The file's fault: trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Broken, cut short or contradicting itself.
    #[error("{place}: {what}")]
    Malformed {
        /// Where: `header`, `tree 12, node 7`, `byte 311`.
        place: String,
        /// What came, and what was expected.
        what: String,
    },
    /// A model of a kind that is not served.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Over one of the [`Limits`].
    #[error("{what} is {came}, the limit is {limit}")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// What the file asks for.
        came: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl LoadError {
    pub(crate) fn at(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Malformed { place: place.into(), what: what.into() }
    }

    /// `Ok` where `came` is within `limit`.
    pub(crate) fn within(what: &'static str, came: usize, limit: usize) -> Result<(), Self> {
        if came > limit { Err(Self::TooLarge { what, came, limit }) } else { Ok(()) }
    }
}

/// One category of a categorical column, as the trainer's data frame had it. Its code is its place in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Category {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

/// Guesses the format from the content; `None` where it is none of them.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    if linear::is_hashed(bytes) {
        return Some(Format::LinearHashed);
    }
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace())?;
    let bytes = &bytes[start..];
    if bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n") {
        return Some(Format::LightgbmText);
    }
    // An object in UBJSON goes on with the length of its first key, in JSON with a quote.
    match bytes {
        [b'{', b'L' | b'i' | b'U' | b'I' | b'l', ..] => Some(Format::XgboostUbj),
        [b'{', ..] => match xgboost::sniff_json(bytes)? {
            (key, _) if key == "learner" => Some(Format::XgboostJson),
            (key, Some(name)) if key == "format" && name.starts_with("headgate-forest/") => Some(Format::ForestJson),
            (key, _) if key == "format" => Some(Format::LinearJson),
            _ => Some(Format::CatboostJson),
        },
        _ => None,
    }
}

/// Reads a model file.
pub fn load(format: Format, bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    match format {
        Format::LightgbmText => lightgbm::load(bytes, limits),
        Format::XgboostJson | Format::XgboostUbj => xgboost::load(format, bytes, limits),
        Format::CatboostJson => catboost::load(bytes, limits),
        Format::ForestJson => forest_json::load(bytes, limits),
        Format::LinearJson => linear::load(bytes, limits),
        Format::LinearHashed => linear::open(Box::new(bytes.to_vec()), limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
        assert_eq!("onnx".parse::<Format>(), Err(UnknownFormat("onnx".into())));
    }

    #[test]
    fn formats_are_told_apart_by_content() {
        assert_eq!(sniff(b"tree\nversion=v4\n"), Some(Format::LightgbmText));
        assert_eq!(sniff(b"\n tree\r\nversion=v4\r\n"), Some(Format::LightgbmText));
        assert_eq!(sniff(b"{L\0\0\0\0\0\0\0\x07learner"), Some(Format::XgboostUbj));
        assert_eq!(sniff(br#"{"version":[1,2,3],"learner":{"#), Some(Format::XgboostJson));
        assert_eq!(sniff(br#" {"bias": 1, "format": "headgate-linear/1"}"#), Some(Format::LinearJson));
        assert_eq!(sniff(br#"{"trees": [], "format": "headgate-forest/1"}"#), Some(Format::ForestJson));
        assert_eq!(sniff(br#"{"ctr_data": {"a": [1]}, "features_info": {}"#), Some(Format::CatboostJson));
        assert_eq!(sniff(br#"{"a": 1}"#), None);
        assert_eq!(sniff(b"HGLINEAR\x02\0\0\0"), Some(Format::LinearHashed));
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"PK\x03\x04"), None);
    }
}
