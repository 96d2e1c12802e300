//! What a file says of its model.

use super::doc::File;
use crate::Category;

/// What a `headgate-forest/1` file says of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The library that trained it with its version, `scikit-learn 1.9.1`; empty where the file does not say.
    pub library: String,
    /// What the library calls it, `RandomForestClassifier`; empty where the file does not say.
    pub model: String,
    /// Names of the features; empty if the file carries none.
    pub feature_names: Vec<String>,
    /// For each feature its categories, if it is a categorical one; a category's code is its place in the list.
    pub categories: Vec<Option<Vec<Category>>>,
    /// Classes, in the order of their scores; a binary model has two for its one score. Empty where there are none.
    pub classes: Vec<Category>,
}

impl Description {
    pub(super) fn new(file: &File) -> Self {
        Self {
            library: file.library.clone(),
            model: file.model.clone(),
            feature_names: file.names(),
            categories: file.features.iter().map(|f| f.categories.clone()).collect(),
            classes: file.classes.clone(),
        }
    }
}
