//! Linear models: a small JSON format of this house for dense ones, and a binary one for hashed, sparse ones, whose
//! weights are scored where the file lies (`docs/LINEAR.md`).
//!
//! ```json
//! {"format": "headgate-linear/1", "features": ["age", "balance"], "weights": [0.5, -2.0], "bias": 1.0, "link": "logistic"}
//! ```
//!
//! With several outputs, `weights` is one list for each and `bias` a list. The margin is
//! `bias + weight[0] * value[0] + weight[1] * value[1] + ...`, in that order, in `f64`; a missing value makes it NaN.
//! `link` is `identity`, `log` (the output is `exp` of the margin), `logistic` (each output by itself), `softmax` or `ovr`
//! (each logistic, divided by their sum: one versus rest). Unknown fields are ignored.

mod fields;
mod hashed;
mod header;
mod murmur;
mod tokens;

use serde::Deserialize;

use crate::engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::transform::Transform;
use crate::{Batch, Limits, LoadError, explain};

pub(crate) use hashed::Buffers;

/// The value of `format`.
pub const FORMAT: &str = "headgate-linear/1";

#[derive(Debug, Deserialize)]
struct File {
    format: String,
    features: Vec<String>,
    weights: OneOrMany<Vec<f64>>,
    bias: OneOrMany<f64>,
    link: Link,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Link {
    Identity,
    Log,
    Logistic,
    Softmax,
    Ovr,
}

/// What owns a file's bytes: memory, or a mapping. It gives the same ones as long as it lives.
pub type Bytes = dyn AsRef<[u8]> + Send + Sync;

#[derive(Debug)]
struct Linear {
    names: Vec<String>,
    categorical: Vec<Option<Categorical>>,
    /// One list for each output.
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
    link: Link,
}

/// Builds the model.
pub(crate) fn load(bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let bad = |what: String| LoadError::at("linear model", what);
    let file: File = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    if file.format != FORMAT {
        let known = format!("linear format `{}`, this build reads `{FORMAT}`", crate::lightgbm::shown(&file.format));
        return Err(LoadError::Unsupported(known));
    }
    let (weights, bias) = (file.weights.into_vec(), file.bias.into_vec());
    LoadError::within("the number of features", file.features.len(), limits.max_features)?;
    LoadError::within("the number of outputs", bias.len(), limits.max_outputs)?;
    if weights.is_empty() || weights.len() != bias.len() {
        return Err(bad(format!("weights for {} outputs, a bias for {}", weights.len(), bias.len())));
    }
    for (i, list) in weights.iter().enumerate() {
        if list.len() != file.features.len() {
            let what = format!("output {i} has {} weights for {} features", list.len(), file.features.len());
            return Err(bad(what));
        }
    }
    file.link.check(bias.len()).map_err(bad)?;
    let categorical = vec![None; file.features.len()];
    let model = Linear { names: file.features, categorical, weights, bias, link: file.link };
    LoadError::within("the model's memory in bytes", model.memory_bytes(), limits.max_memory_bytes)?;
    Ok(Box::new(model))
}

/// Whether a file begins as a hashed model does.
pub fn is_hashed(start: &[u8]) -> bool {
    start.starts_with(hashed::MAGIC)
}

/// Builds a hashed model on bytes that it keeps: only its header is parsed. One pass over the weights refuses those that
/// are no numbers.
pub fn open(bytes: Box<Bytes>, limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    hashed::open(bytes, limits)
}

impl Link {
    fn transform(self) -> Transform {
        match self {
            Self::Identity => Transform::Identity,
            Self::Log => Transform::Exp,
            Self::Logistic => Transform::Sigmoid(1.0),
            Self::Softmax => Transform::Softmax,
            Self::Ovr => Transform::OneVersusRest,
        }
    }

    fn output_kind(self, outputs: usize) -> OutputKind {
        match self {
            Self::Identity | Self::Log => OutputKind::Regression,
            Self::Logistic => OutputKind::Binary,
            Self::Softmax | Self::Ovr => OutputKind::Multiclass(outputs),
        }
    }

    fn check(self, outputs: usize) -> Result<(), String> {
        match self {
            Self::Softmax if outputs < 2 => Err("`softmax` over one output".to_owned()),
            Self::Ovr if outputs < 2 => Err("`ovr` over one output".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Linear {
    /// A column adds its weight times its value.
    fn explain(&self, batch: &Batch, margins: &[f64], contributions: &mut Vec<f64>) -> Result<(), ScoreError> {
        let columns = self.names.len() + 1;
        contributions.reserve(margins.len() * columns);
        for row in 0..batch.rows() {
            for (weights, &bias) in self.weights.iter().zip(&self.bias) {
                contributions.extend(weights.iter().enumerate().map(|(c, weight)| weight * batch.column(c)[row]));
                contributions.push(bias);
            }
        }
        let rounding = columns as f64 * f64::EPSILON;
        explain::check(contributions, columns, margins, |_, whole| rounding * whole)
    }
}

impl Engine for Linear {
    fn inputs(&self) -> usize {
        self.names.len()
    }

    fn input_names(&self) -> &[String] {
        &self.names
    }

    fn categorical(&self) -> &[Option<Categorical>] {
        &self.categorical
    }

    fn no_contributions(&self) -> Option<&'static str> {
        None
    }

    fn contributions_cost_ns_per_row(&self) -> f64 {
        2.0 * (self.names.len() * self.bias.len()) as f64
    }

    fn margin_width(&self) -> usize {
        self.bias.len()
    }

    fn output_width(&self) -> usize {
        self.bias.len()
    }

    fn output_kind(&self) -> OutputKind {
        self.link.output_kind(self.bias.len())
    }

    fn margin_kind(&self) -> MarginKind {
        MarginKind::F64
    }

    fn cost_ns_per_row(&self) -> f64 {
        20.0 + (self.names.len() * self.bias.len()) as f64 + 10.0 * self.bias.len() as f64
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.names.iter().map(|n| size_of::<String>() + n.len()).sum::<usize>()
            + size_of_val(self.categorical.as_slice())
            + self.weights.iter().map(|w| size_of::<Vec<f64>>() + size_of_val(w.as_slice())).sum::<usize>()
            + size_of_val(self.bias.as_slice())
    }

    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError> {
        if batch.columns() != self.inputs() {
            return Err(ScoreError::Columns { expected: self.inputs(), came: batch.columns() });
        }
        let width = self.bias.len();
        let margins = &mut scratch.margins;
        margins.clear();
        for _ in 0..batch.rows() {
            margins.extend_from_slice(&self.bias);
        }
        for (output, weights) in self.weights.iter().enumerate() {
            for (column, weight) in weights.iter().enumerate() {
                for (value, row) in batch.column(column).iter().zip(margins.chunks_exact_mut(width)) {
                    row[output] += weight * value;
                }
            }
        }
        out.margins.clear();
        out.values.clear();
        out.contributions.clear();
        if want.contributions {
            self.explain(batch, margins, &mut out.contributions)?;
        }
        if want.outputs {
            self.link.transform().apply(margins, width, &mut out.values);
        }
        if want.margins {
            out.margins.extend_from_slice(margins);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BOTH: Want = Want { margins: true, outputs: true, contributions: false };

    fn score(json: &str, rows: &[[f64; 2]]) -> Outputs {
        let model = load(json.as_bytes(), &Limits::default()).unwrap();
        let mut out = Outputs::default();
        model.score(&Batch::from_rows(2, rows), &mut Scratch::default(), &mut out, BOTH).unwrap();
        out
    }

    fn refused(json: &str) -> String {
        load(json.as_bytes(), &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn one_output() {
        let json = r#"{"format":"headgate-linear/1","features":["a","b"],"weights":[2,-1],"bias":0.5,"link":"LINK"}"#;
        let out = score(&json.replace("LINK", "identity"), &[[1.0, 1.0], [0.0, 0.5], [f64::NAN, 1.0]]);
        assert_eq!(out.margins[..2], [1.5, 0.0]);
        assert!(out.values[2].is_nan());
        let out = score(&json.replace("LINK", "logistic"), &[[0.0, 0.5]]);
        assert_eq!((out.margins, out.values), (vec![0.0], vec![0.5]));
        let out = score(&json.replace("LINK", "log"), &[[0.0, 0.5]]);
        assert_eq!((out.margins, out.values), (vec![0.0], vec![1.0]));
        assert!(refused(&json.replace("LINK", "softmax")).contains("`softmax` over one output"));
        assert!(refused(&json.replace("LINK", "ovr")).contains("`ovr` over one output"));
        assert!(refused(&json.replace("LINK", "probit")).contains("unknown variant `probit`"));
    }

    #[test]
    fn a_column_adds_its_weight_times_its_value() {
        let json = r#"{"format":"headgate-linear/1","features":["a","b"],"weights":[[1,0.5],[0.1,3]],"bias":[7,-1],
            "link":"softmax"}"#;
        let model = load(json.as_bytes(), &Limits::default()).unwrap();
        let (batch, mut out) = (Batch::from_rows(2, &[[1.0, 2.0], [f64::NAN, 0.1]]), Outputs::default());
        let want = Want { contributions: true, ..Want::default() };
        model.score(&batch, &mut Scratch::default(), &mut out, want).unwrap();
        assert_eq!(out.contributions[..6], [1.0, 1.0, 7.0, 0.1, 6.0, -1.0]);
        assert!(out.contributions[6].is_nan() && out.contributions[9].is_nan());
        assert_eq!(out.contributions[7..9], [0.05, 7.0]);
    }

    #[test]
    fn several_outputs() {
        let json = r#"{"format":"headgate-linear/1","features":["a","b"],"weights":[[1,0],[0,1],[1,1]],"bias":[0,0,0],
            "link":"softmax","later":1}"#;
        let out = score(json, &[[1.0, 2.0], [0.0, 0.0]]);
        assert_eq!(out.margins, [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
        assert_eq!(out.values[3..], [1.0 / 3.0; 3]);
        let out = score(&json.replace("softmax", "ovr"), &[[1.0, 2.0], [0.0, 0.0]]);
        assert_eq!(out.values[3..], [1.0 / 3.0; 3]);
        assert!((out.values[..3].iter().sum::<f64>() - 1.0).abs() < 1e-15 && out.values[1] > out.values[0]);
    }

    #[test]
    fn contradictions_are_refused() {
        let json = r#"{"format":"headgate-linear/1","features":["a","b"],"weights":[[1,0],[0]],"bias":[0,0],"link":"identity"}"#;
        assert!(refused(json).contains("output 1 has 1 weights for 2 features"));
        assert!(refused(&json.replace("[0,0]", "[0]")).contains("weights for 2 outputs, a bias for 1"));
        assert!(refused(&json.replace("linear/1", "linear/2")).contains("this build reads `headgate-linear/1`"));
        assert!(refused("{").contains("EOF"));
    }
}
