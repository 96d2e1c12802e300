//! `objective.name`, with each objective's link (`ProbToMargin`) and output transform (`PredTransform`).

use super::doc::{At, brief};
use crate::LoadError;
use crate::engine::OutputKind;
use crate::math;
use crate::transform::Transform;

/// From a base score to a margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Identity,
    Logit,
    Log,
}

impl Link {
    /// XGBoost's `kRtEps`, which keeps a logit finite.
    const EPSILON: f32 = 1e-6;

    /// `bounded`: as XGBoost does since 3.1, which moves a probability of nearly 0 or 1 away from it.
    pub(super) fn margin(self, score: f32, bounded: bool) -> Result<f32, LoadError> {
        let place = "learner.learner_model_param.base_score";
        match self {
            Self::Identity => Ok(score),
            Self::Logit if (0.0..=1.0).contains(&score) => {
                let bounded = bounded || score == 0.0 || score == 1.0;
                let score = if bounded { score.clamp(Self::EPSILON, 1.0 - Self::EPSILON) } else { score };
                Ok(-math::logf(1.0 / score - 1.0))
            }
            Self::Log if score > 0.0 => Ok(math::logf(score)),
            Self::Logit => Err(LoadError::at(place, format!("{score}, expected 0 to 1 for a logistic objective"))),
            Self::Log => {
                Err(LoadError::at(place, format!("{score}, expected over 0 for an objective with a log link")))
            }
        }
    }
}

/// An objective, as far as scoring goes.
#[derive(Clone, Debug)]
pub(super) struct Objective {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) transform: Transform,
    pub(super) kind: OutputKind,
}

impl Objective {
    pub(super) fn read(at: &At<'_>, classes: usize, width: usize) -> Result<Self, LoadError> {
        let name = at.get("name")?.text()?;
        let (link, transform, kind) = match name {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "reg:expectileerror" => (Link::Identity, Transform::Identity, OutputKind::Regression),
            "reg:logistic" => (Link::Logit, Transform::SigmoidF32, OutputKind::Regression),
            "binary:logistic" => (Link::Logit, Transform::SigmoidF32, OutputKind::Binary),
            "binary:logitraw" => (Link::Identity, Transform::Identity, OutputKind::Raw),
            "binary:hinge" => (Link::Identity, Transform::StepF32, OutputKind::Class(2)),
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                (Link::Log, Transform::ExpF32, OutputKind::Regression)
            }
            "multi:softprob" => (Link::Identity, Transform::SoftmaxF32, OutputKind::Multiclass(width)),
            "multi:softmax" => (Link::Identity, Transform::ArgMax, OutputKind::Class(width)),
            "rank:pairwise" | "rank:ndcg" | "rank:map" => (Link::Identity, Transform::Identity, OutputKind::Ranking),
            _ => return Err(LoadError::Unsupported(format!("XGBoost objective `{}`", brief(name)))),
        };
        if name.starts_with("multi:") && (classes < 2 || classes != width) {
            return Err(at.error(format!("`{name}` with `num_class` {classes} and {width} outputs")));
        }
        Ok(Self { name: name.to_owned(), link, transform, kind })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn links() {
        assert_eq!(Link::Identity.margin(-3.5, true).unwrap(), -3.5);
        assert_eq!(Link::Logit.margin(0.5, true).unwrap(), 0.0);
        for zero in [Link::Logit.margin(0.0, true), Link::Logit.margin(0.0, false), Link::Logit.margin(1e-9, true)] {
            assert_eq!(zero.unwrap(), Link::Logit.margin(1e-6, false).unwrap());
        }
        assert!(Link::Logit.margin(1e-9, false).unwrap() < -20.0, "before 3.1");
        assert_eq!(Link::Log.margin(1.0, true).unwrap(), 0.0);
        assert!(Link::Logit.margin(1.5, true).is_err());
        assert!(Link::Log.margin(0.0, true).is_err());
        assert!(Link::Log.margin(f32::NAN, true).is_err());
    }
}
