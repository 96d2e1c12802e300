//! The document, as far as scoring needs it.

use serde::{Deserialize, Deserializer};

use crate::{Category, LoadError};

/// The whole file. CatBoost writes `null` for an empty list in places.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) features_info: FeaturesInfo,
    #[serde(default)]
    pub(super) model_info: ModelInfo,
    oblivious_trees: Option<Vec<Oblivious>>,
    trees: Option<Vec<Node>>,
    scale_and_bias: Option<(f64, OneOrMany)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FeaturesInfo {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) float_features: Vec<FloatFeature>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) categorical_features: Vec<CatFeature>,
    /// The texts of all categories of all features, by their hash.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) cat_features_hash: Vec<HashedText>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FloatFeature {
    pub(super) feature_index: usize,
    pub(super) flat_feature_index: usize,
    pub(super) feature_name: Option<String>,
    pub(super) feature_id: Option<String>,
    #[serde(default)]
    pub(super) has_nans: bool,
    #[serde(default)]
    pub(super) nan_value_treatment: NanTreatment,
}

/// What a missing value counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum NanTreatment {
    /// Itself, which is over no border.
    #[default]
    #[serde(rename = "AsIs")]
    Itself,
    /// The least value: it is over no border.
    #[serde(rename = "AsFalse")]
    Least,
    /// The greatest value: it is over all borders but infinity.
    #[serde(rename = "AsTrue")]
    Greatest,
}

#[derive(Debug, Deserialize)]
pub(super) struct CatFeature {
    pub(super) feature_index: usize,
    pub(super) flat_feature_index: usize,
    pub(super) feature_name: Option<String>,
    pub(super) feature_id: Option<String>,
    /// Hashes of the categories that one-hot splits ask for.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) values: Vec<i64>,
    /// Their texts, if it says.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) string_values: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HashedText {
    pub(super) hash: i64,
    pub(super) value: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ModelInfo {
    pub(super) catboost_version_info: Option<String>,
    pub(super) class_params: Option<ClassParams>,
    params: Option<Params>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ClassParams {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) class_names: Vec<Category>,
    /// For each trained class its place among all classes.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) class_to_label: Vec<f64>,
    #[serde(default)]
    pub(super) classes_count: usize,
}

#[derive(Debug, Deserialize)]
struct Params {
    loss_function: Option<LossFunction>,
}

#[derive(Debug, Deserialize)]
struct LossFunction {
    #[serde(rename = "type")]
    kind: String,
}

/// A symmetric tree: bit `k` of a leaf's place among the leaves is the answer of split `k`.
#[derive(Debug, Deserialize)]
pub(super) struct Oblivious {
    /// One for each leaf and dimension, those of a leaf next to each other.
    pub(super) leaf_values: Vec<f64>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) leaf_weights: Vec<f64>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) splits: Vec<Split>,
}

/// A node of a tree of any shape: a leaf has a value, a split has children.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) value: Option<OneOrMany>,
    pub(super) weight: Option<f64>,
    pub(super) split: Option<Split>,
    pub(super) left: Option<Box<Node>>,
    pub(super) right: Option<Box<Node>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Split {
    pub(super) split_type: String,
    pub(super) float_feature_index: Option<usize>,
    pub(super) border: Option<f64>,
    pub(super) cat_feature_index: Option<usize>,
    pub(super) value: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(f64),
    Many(Vec<f64>),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[f64] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The trees, of one shape or the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trees<'a> {
    Oblivious(&'a [Oblivious]),
    Nested(&'a [Node]),
}

fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(from).map(Option::unwrap_or_default)
}

impl File {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let file: Self = serde_json::from_slice(bytes).map_err(|e| LoadError::at("CatBoost model", e.to_string()))?;
        match (&file.oblivious_trees, &file.trees) {
            (Some(_), Some(_)) => Err(LoadError::at("CatBoost model", "both `oblivious_trees` and `trees`")),
            (None, None) => Err(LoadError::at("CatBoost model", "neither `oblivious_trees` nor `trees`")),
            _ => Ok(file),
        }
    }

    pub(super) fn trees(&self) -> Trees<'_> {
        match &self.oblivious_trees {
            Some(trees) => Trees::Oblivious(trees),
            None => Trees::Nested(self.trees.as_deref().unwrap_or_default()),
        }
    }

    /// Feature columns: up to the greatest flat index.
    pub(super) fn columns(&self) -> Result<usize, LoadError> {
        let info = &self.features_info;
        let flat = info.float_features.iter().map(|f| f.flat_feature_index);
        let last = flat.chain(info.categorical_features.iter().map(|f| f.flat_feature_index)).max();
        let columns = last.map_or(Some(0), |last| last.checked_add(1));
        columns.ok_or_else(|| LoadError::at("features_info", "a `flat_feature_index` out of range"))
    }

    /// Margins in a row: values in a leaf.
    pub(super) fn width(&self) -> Result<usize, LoadError> {
        let width = match self.trees() {
            Trees::Oblivious([first, ..]) => {
                let leaves = u32::try_from(first.splits.len()).ok().and_then(|depth| 1usize.checked_shl(depth));
                leaves.and_then(|leaves| first.leaf_values.len().checked_div(leaves))
            }
            Trees::Nested([first, ..]) => {
                let mut node = first;
                while let (None, Some(left)) = (&node.value, &node.left) {
                    node = left;
                }
                node.value.as_ref().map(|v| v.as_slice().len())
            }
            // A model without trees is its bias.
            _ => self.scale_and_bias.as_ref().map(|(_, bias)| bias.as_slice().len()),
        };
        match width {
            Some(width) if width > 0 => Ok(width),
            _ => Err(LoadError::at("tree 0", "no values in its first leaf")),
        }
    }

    /// What the sums are multiplied by, and what is added to each then.
    pub(super) fn scale_and_bias(&self, width: usize) -> Result<(f64, Vec<f64>), LoadError> {
        let Some((scale, bias)) = &self.scale_and_bias else { return Ok((1.0, vec![0.0; width])) };
        let bias = match bias.as_slice() {
            [] => vec![0.0; width],
            bias if bias.len() == width => bias.to_vec(),
            // One for all.
            [bias] => vec![*bias; width],
            bias => {
                let what = format!("{} biases for {width} outputs", bias.len());
                return Err(LoadError::at("scale_and_bias", what));
            }
        };
        Ok((*scale, bias))
    }

    /// The loss that it was trained on; none in sums of models.
    pub(super) fn loss(&self) -> Option<&str> {
        Some(self.model_info.params.as_ref()?.loss_function.as_ref()?.kind.as_str())
    }
}
