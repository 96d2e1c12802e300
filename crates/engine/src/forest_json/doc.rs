//! The document, as `docs/FORMATS.md` defines it.

use serde::Deserialize;

use crate::engine::Categorical;
use crate::lightgbm::shown;
use crate::{Category, LoadError};

/// The value of `format`.
pub const FORMAT: &str = "headgate-forest/1";

/// The whole file. Unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    format: String,
    #[serde(default)]
    pub(super) library: String,
    #[serde(default)]
    pub(super) model: String,
    pub(super) features: Vec<Feature>,
    #[serde(default)]
    pub(super) classes: Vec<Category>,
    pub(super) compare: Compare,
    pub(super) output: Output,
    #[serde(default)]
    pub(super) transform: Link,
    /// Where each margin's sum begins.
    pub(super) start: Vec<f64>,
    /// Outputs are made of the margins divided by this.
    pub(super) divide_by: Option<f64>,
    pub(super) trees: Vec<Tree>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Feature {
    pub(super) name: Option<String>,
    pub(super) categories: Option<Vec<Category>>,
}

/// What values are rounded to before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compare {
    F32,
    F64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Output {
    Regression,
    Binary,
    Multiclass,
    Score,
}

/// From a margin to an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Link {
    #[default]
    Identity,
    Exp,
    Softmax,
    /// `1 / (1 + exp(-slope m))`.
    Sigmoid(f64),
    /// `-(2 ^ -(m / expected))`.
    Isolation(f64),
}

/// A tree's arrays, one value for each node; the first node is the root. A leaf's `feature` is -1, its `left` the number
/// of its value.
#[derive(Debug, Deserialize)]
pub(super) struct Tree {
    /// The margin that it adds to; none: a leaf has a value for each margin.
    pub(super) margin: Option<usize>,
    pub(super) feature: Vec<i64>,
    /// `null`: every number goes left.
    pub(super) threshold: Vec<Option<f64>>,
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
    /// 1 where missing values go left; empty: they go right.
    #[serde(default)]
    pub(super) missing_left: Vec<u8>,
    pub(super) leaf: Vec<f64>,
    /// Of the training rows that came by; empty where it is not known.
    #[serde(default)]
    pub(super) weight: Vec<f64>,
    #[serde(default)]
    pub(super) sets: Vec<Set>,
}

/// A categorical split: the codes in the set go to one side, all else to the other.
#[derive(Debug, Deserialize)]
pub(super) struct Set {
    pub(super) node: usize,
    pub(super) codes: Vec<u64>,
    pub(super) left: bool,
}

impl File {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let bad = |what: String| LoadError::at("forest", what);
        let file: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if file.format != FORMAT {
            let known = format!("forest format `{}`, this build reads `{FORMAT}`", shown(&file.format));
            return Err(LoadError::Unsupported(known));
        }
        let (margins, classes) = (file.start.len(), file.classes.len());
        if margins == 0 {
            return Err(bad("`start` is empty, expected a value for each margin".into()));
        }
        if let Some(i) = file.start.iter().position(|s| !s.is_finite()) {
            return Err(bad(format!("`start[{i}]` is {}, not finite", file.start[i])));
        }
        if file.divide_by.is_some_and(|d| !d.is_finite() || d <= 0.0) {
            return Err(bad("`divide_by` is not over 0".into()));
        }
        let expected = match file.output {
            Output::Binary => 2,
            Output::Multiclass => margins,
            Output::Regression | Output::Score => 0,
        };
        if classes != 0 && classes != expected {
            return Err(bad(format!("{classes} classes for {margins} margins, expected {expected}")));
        }
        match file.transform {
            Link::Softmax if margins < 2 => Err(bad("`softmax` over one margin".into())),
            Link::Sigmoid(slope) if !(slope > 0.0 && slope.is_finite()) => Err(bad(format!("`sigmoid` of {slope}"))),
            Link::Isolation(expected) if !(expected >= 0.0 && expected.is_finite()) => {
                Err(bad(format!("`isolation` of {expected}")))
            }
            _ => Ok(file),
        }
    }

    /// Names of the features; empty where the file has none.
    pub(super) fn names(&self) -> Vec<String> {
        if self.features.iter().all(|f| f.name.is_none()) {
            return Vec::new();
        }
        let name = |(i, f): (usize, &Feature)| f.name.clone().unwrap_or_else(|| format!("f{i}"));
        self.features.iter().enumerate().map(name).collect()
    }
}

impl Feature {
    pub(super) fn categorical(&self) -> Option<Categorical> {
        let known = self.categories.as_ref()?.len();
        Some(Categorical { max_code: known.checked_sub(1).and_then(|code| u32::try_from(code).ok()) })
    }
}
