//! The loss, and what `predict` makes of margins then.

use super::doc::File;
use crate::LoadError;
use crate::engine::OutputKind;
use crate::lightgbm::shown;
use crate::transform::Transform;

/// How margins become outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) transform: Transform,
    pub(super) kind: OutputKind,
}

impl Loss {
    pub(super) fn read(file: &File, width: usize) -> Result<Self, LoadError> {
        // A sum of models does not say.
        let Some(name) = file.loss() else {
            return Ok(Self { transform: Transform::Identity, kind: OutputKind::Raw });
        };
        let (transform, kind) = match name {
            "RMSE"
            | "MAE"
            | "Quantile"
            | "LogLinQuantile"
            | "Expectile"
            | "MAPE"
            | "Lq"
            | "Huber"
            | "LogCosh"
            | "RMSPE"
            | "GroupQuantile"
            | "MultiQuantile"
            | "MultiRMSE"
            | "MultiRMSEWithMissingValues"
            | "SurvivalAft"
            | "Cox" => (Transform::Identity, OutputKind::Regression),
            "Poisson" | "Tweedie" => (Transform::Exp, OutputKind::Regression),
            "RMSEWithUncertainty" => (Transform::MeanVariance, OutputKind::Regression),
            "Logloss" | "CrossEntropy" | "Focal" | "MultiLogloss" | "MultiCrossEntropy" => {
                (Transform::Sigmoid(1.0), OutputKind::Binary)
            }
            "MultiClass" => (Transform::Softmax, OutputKind::Multiclass(width)),
            "MultiClassOneVsAll" => (Transform::Sigmoid(1.0), OutputKind::Multiclass(width)),
            "YetiRank" | "YetiRankPairwise" | "PairLogit" | "PairLogitPairwise" | "QueryRMSE" | "QuerySoftMax"
            | "QueryCrossEntropy" | "StochasticFilter" | "StochasticRank" | "LambdaMart" => {
                (Transform::Identity, OutputKind::Ranking)
            }
            "PythonUserDefinedPerObject"
            | "PythonUserDefinedMultiTarget"
            | "UserPerObjMetric"
            | "UserQuerywiseMetric" => (Transform::Identity, OutputKind::Raw),
            _ => return Err(LoadError::Unsupported(format!("CatBoost loss `{}`", shown(name)))),
        };
        let fits = match name {
            "RMSEWithUncertainty" => width == 2,
            "MultiClass" | "MultiClassOneVsAll" => width > 1,
            _ => width == 1 || name.starts_with("Multi") || name.starts_with("Python"),
        };
        if !fits {
            return Err(LoadError::at("model_info", format!("loss `{name}` with {width} values in a leaf")));
        }
        if matches!(kind, OutputKind::Multiclass(_)) {
            all_classes_trained(file, width)?;
        }
        Ok(Self { transform, kind })
    }
}

/// CatBoost widens the scores of classes that it was told of and that had no rows to all classes.
fn all_classes_trained(file: &File, width: usize) -> Result<(), LoadError> {
    let Some(classes) = &file.model_info.class_params else { return Ok(()) };
    let in_order = classes.class_to_label.iter().enumerate().all(|(i, &label)| label == i as f64);
    let count = classes.class_names.len().max(classes.classes_count);
    if (count == 0 || count == width) && (in_order || !classes.class_names.is_empty()) {
        return Ok(());
    }
    let what = format!("CatBoost model of {count} classes that was trained on rows of {width} of them");
    Err(LoadError::Unsupported(what))
}
