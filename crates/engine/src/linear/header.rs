//! The header of a hashed linear model: what it says, as JSON, before it is made ready to score.

use serde::Deserialize;

use super::Link;

/// The most buckets, and the most weights, of a model.
pub(crate) const BUCKETS_MAX: u64 = 1 << 28;

/// The JSON. What it does not know may change what a model means, and is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// How texts become places.
    pub(crate) hash: Hash,
    /// From margin to output.
    pub(crate) link: Link,
    /// Places, each with a weight for every output.
    pub(crate) buckets: u64,
    /// How weights are written.
    pub(crate) weights: Width,
    /// One for each output.
    pub(crate) bias: Vec<f64>,
    /// What adds to a margin, in the order in which it is summed.
    pub(crate) fields: Vec<Field>,
}

/// Whose hashing it is: all are MurmurHash3_x86_32 of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hash {
    /// scikit-learn's `FeatureHasher` and `HashingVectorizer`: seed 0, `|h| mod buckets`, negated where `h` is negative.
    Sklearn,
    /// The same with `alternate_sign=False`.
    SklearnUnsigned,
    /// Spark MLlib's `FeatureHasher` and `HashingTF` since 3.0: seed 42, the non-negative `h mod buckets`.
    Spark,
}

/// How a weight is written, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Width {
    F32,
    F64,
}

/// One summand of a margin, or several.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Field {
    /// A number times the weight at `index`, or at the hash of `key`, else of its input's name.
    Number { input: String, index: Option<u64>, key: Option<String>, space: Option<Space> },
    /// The weight at the hash of `prefix` (`input=`) and a text.
    Category { input: String, prefix: Option<String>, space: Option<Space> },
    /// The weight at the hash of `prefix` (`a^b=`) and several texts with `join` (`^`) between them.
    Cross { inputs: Vec<String>, prefix: Option<String>, join: Option<String>, space: Option<Space> },
    /// The weights at the hashes of `prefix` (nothing) and each part of a text.
    Tokens {
        input: String,
        split: Split,
        #[serde(default)]
        lowercase: bool,
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        binary: bool,
        #[serde(default)]
        norm: Norm,
        space: Option<Space>,
    },
}

/// Buckets of a field's own; without, all are.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Space {
    /// The first of them.
    pub(crate) first: u64,
    /// How many.
    pub(crate) buckets: u64,
}

/// Where a text is split; empty parts are left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    /// At whitespace, as Python's `str.split()`.
    Whitespace,
    /// Into runs of two letters, digits and underscores or more, as scikit-learn's vectorizers.
    Words,
    /// At this text.
    On(String),
}

/// What a row's tokens are divided by, once those of one bucket are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Norm {
    #[default]
    None,
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    L2,
}

// === impl Hash ===

impl Hash {
    pub(crate) fn seed(self) -> u32 {
        match self {
            Self::Sklearn | Self::SklearnUnsigned => 0,
            Self::Spark => 42,
        }
    }
}

// === impl Width ===

impl Width {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}
