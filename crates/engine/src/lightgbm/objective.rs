//! The header's `objective` line, as `ObjectiveFunction::CreateObjectiveFunction` reads it.

use super::text::{Header, shown};
use crate::LoadError;
use crate::engine::OutputKind;
use crate::transform::Transform;

/// How margins become outputs.
#[derive(Debug)]
pub(super) struct Objective {
    pub(super) transform: Transform,
    pub(super) kind: OutputKind,
}

impl Objective {
    pub(super) fn read(header: &Header<'_>) -> Result<Self, LoadError> {
        let raw = Self { transform: Transform::Identity, kind: OutputKind::Raw };
        let Some(line) = header.objective else { return Ok(raw) };
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { return Ok(raw) };
        let words: Vec<&str> = words.collect();
        let width = header.trees_per_iteration;
        let regression = |transform| Self { transform, kind: OutputKind::Regression };
        let square_root = words.contains(&"sqrt");
        let objective = match name {
            "regression"
            | "regression_l2"
            | "l2"
            | "mse"
            | "mean_squared_error"
            | "l2_root"
            | "rmse"
            | "regression_l1"
            | "l1"
            | "mae"
            | "mean_absolute_error"
            | "quantile"
            | "fair"
            | "mape"
            | "mean_absolute_percentage_error" => {
                regression(if square_root { Transform::SignedSquare } else { Transform::Identity })
            }
            "huber" => regression(Transform::Identity),
            "poisson" | "gamma" | "tweedie" => regression(Transform::Exp),
            "cross_entropy" | "xentropy" => Self { transform: Transform::Sigmoid(1.0), kind: OutputKind::Binary },
            "cross_entropy_lambda" | "xentlambda" => regression(Transform::Softplus),
            "binary" => Self { transform: Transform::Sigmoid(slope(line, &words)?), kind: OutputKind::Binary },
            "multiclass" | "softmax" => Self { transform: Transform::Softmax, kind: classes(line, &words, width)? },
            "multiclassova" | "multiclass_ova" | "ova" | "ovr" => {
                Self { transform: Transform::Sigmoid(slope(line, &words)?), kind: classes(line, &words, width)? }
            }
            "lambdarank" | "rank_xendcg" | "xendcg" => {
                Self { transform: Transform::Identity, kind: OutputKind::Ranking }
            }
            "custom" | "none" | "null" | "na" => raw,
            _ => return Err(LoadError::Unsupported(format!("LightGBM objective `{}`", shown(name)))),
        };
        if width > 1 && !matches!(objective.kind, OutputKind::Multiclass(_) | OutputKind::Raw) {
            let what = format!("objective `{name}` with `num_tree_per_iteration={width}`, expected 1");
            return Err(LoadError::at("header", what));
        }
        Ok(objective)
    }
}

/// The value of `key:value` among the words.
fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix(':'))
}

fn slope(line: &str, words: &[&str]) -> Result<f64, LoadError> {
    let slope = value(words, "sigmoid").and_then(|v| v.parse::<f64>().ok());
    slope
        .filter(|s| *s > 0.0 && s.is_finite())
        .ok_or_else(|| LoadError::at("header", format!("objective `{}` has no `sigmoid` over 0", shown(line))))
}

fn classes(line: &str, words: &[&str], width: usize) -> Result<OutputKind, LoadError> {
    let classes = value(words, "num_class").and_then(|v| v.parse::<usize>().ok());
    if classes != Some(width) {
        let what = format!("objective `{}` with `num_tree_per_iteration={width}`", shown(line));
        return Err(LoadError::at("header", what));
    }
    Ok(OutputKind::Multiclass(width))
}
