//! What a file says of its model.

use super::doc::{File, Trees};
use super::features::{Column, Features, Kind};
use crate::{Category, LoadError};

/// What a CatBoost file says of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The CatBoost that wrote it, `1.2.10`; empty where the file does not say.
    pub version: String,
    /// The loss's name, such as `Logloss`; `None` in a sum of models.
    pub loss: Option<String>,
    /// Classes, in the order of their scores; a binary model has two for its one score. Empty where there are none.
    pub classes: Vec<Category>,
    /// Margins in a row.
    pub width: usize,
    /// Boosting rounds.
    pub trees: usize,
    /// Names of the features; empty if the file carries none.
    pub feature_names: Vec<String>,
    /// For each feature the texts of its categories, if it is a categorical one; a category's code is its place in the
    /// list. Categories that no split asks for are not listed: they score as unknown ones do.
    pub categories: Vec<Option<Vec<String>>>,
}

impl Description {
    pub(super) fn new(file: &File, features: Features) -> Result<Self, LoadError> {
        let info = &file.model_info;
        let version = info.catboost_version_info.as_deref().and_then(version).unwrap_or_default();
        let categories = |column: &Column| match &column.kind {
            Kind::Category { texts, .. } => Some(texts.clone()),
            Kind::Number { .. } | Kind::Unused => None,
        };
        Ok(Self {
            version: version.to_owned(),
            loss: file.loss().map(str::to_owned),
            classes: info.class_params.as_ref().map(|c| c.class_names.clone()).unwrap_or_default(),
            width: file.width()?,
            trees: match file.trees() {
                Trees::Oblivious(trees) => trees.len(),
                Trees::Nested(trees) => trees.len(),
            },
            feature_names: features.names(),
            categories: features.columns.iter().map(categories).collect(),
        })
    }
}

/// From `... Branch: tags/v1.2.10 ...`.
fn version(info: &str) -> Option<&str> {
    let (_, after) = info.split_once("tags/v")?;
    after.split_ascii_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("Git info:\n    Branch: tags/v1.2.10\n    Author: x"), Some("1.2.10"));
        assert_eq!(version("Branch: main"), None);
    }
}
