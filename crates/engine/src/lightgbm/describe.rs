//! What a file says of its model.

use super::text::{Header, Text, shown};
use crate::{Category, LoadError};

/// What a feature was in training.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureInfo {
    /// Constant, and not used.
    Unused,
    /// Numeric, with its range in training.
    Range {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// Categorical, with the codes seen in training; -1 stands for missing.
    Categories(Vec<i64>),
}

/// What a LightGBM text file says of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `v2`, `v3`, `v4`.
    pub version: String,
    /// The objective's line, its parameters with it, such as `binary sigmoid:1`; `None` for a custom one.
    pub objective: Option<String>,
    /// `num_class`; 1 where there are no classes.
    pub classes: usize,
    /// Margins in a row.
    pub trees_per_iteration: usize,
    /// Boosting rounds.
    pub iterations: usize,
    /// Whether it is a random forest, whose outputs are means.
    pub average_output: bool,
    /// Names of the features; LightGBM writes blanks as `_`.
    pub feature_names: Vec<String>,
    /// What each feature was in training; empty in files that do not say.
    pub feature_infos: Vec<FeatureInfo>,
    /// The columns trained as categorical ones, from the parameters, else from the infos.
    pub categorical_features: Vec<usize>,
    /// The categories of each of the data frame's categorical columns, in the columns' order; a category's code is its
    /// place in its list. Columns with *ordered* categories have a list too, although LightGBM takes them as numbers.
    pub pandas_categorical: Option<Vec<Vec<Category>>>,
}

impl Description {
    pub(super) fn new(text: &Text<'_>, header: Header<'_>) -> Result<Self, LoadError> {
        let mut infos = Vec::with_capacity(header.infos.len());
        for (i, info) in header.infos.iter().enumerate() {
            let bad =
                || LoadError::at(format!("header, feature {i}"), format!("`feature_infos` has `{}`", shown(info)));
            infos.push(FeatureInfo::read(info).ok_or_else(bad)?);
        }
        // Without infos every feature counts as numeric.
        infos.resize(header.features, FeatureInfo::Unused);
        let categorical = |i: &FeatureInfo| matches!(i, FeatureInfo::Categories(_));
        let seen = || infos.iter().enumerate().filter(|i| categorical(i.1)).map(|i| i.0).collect();
        let columns = named_columns(text.tail, header.features).unwrap_or_else(seen);
        Ok(Self {
            version: header.version.to_owned(),
            objective: header.objective.map(str::to_owned),
            classes: header.classes,
            trees_per_iteration: header.trees_per_iteration,
            iterations: header.iterations,
            average_output: header.average_output,
            feature_names: header.names.iter().map(|&n| n.to_owned()).collect(),
            feature_infos: infos,
            categorical_features: columns,
            pandas_categorical: pandas_categorical(text.tail)?,
        })
    }

    /// For each feature its categories, where the file's lists can be told to belong to the categorical features: there
    /// are as many of the one as of the other.
    pub fn categories(&self) -> Option<Vec<Option<&[Category]>>> {
        let lists = self.pandas_categorical.as_ref()?;
        if lists.len() != self.categorical_features.len() {
            return None;
        }
        let mut categories = vec![None; self.feature_names.len()];
        for (&column, list) in self.categorical_features.iter().zip(lists) {
            *categories.get_mut(column)? = Some(list.as_slice());
        }
        Some(categories)
    }
}

impl FeatureInfo {
    /// `none`, `[min:max]`, or codes between colons.
    fn read(info: &str) -> Option<Self> {
        if info == "none" {
            return Some(Self::Unused);
        }
        if let Some(range) = info.strip_prefix('[') {
            let (min, max) = range.strip_suffix(']')?.split_once(':')?;
            return Some(Self::Range { min: min.parse().ok()?, max: max.parse().ok()? });
        }
        info.split(':').map(|code| code.parse().ok()).collect::<Option<_>>().map(Self::Categories)
    }
}

/// `[categorical_feature: 1,3]` among the parameters, where it lists column numbers.
fn named_columns(tail: &str, features: usize) -> Option<Vec<usize>> {
    let line = tail.lines().find_map(|l| l.strip_prefix("[categorical_feature: ")?.strip_suffix(']'))?;
    let mut columns = line.split(',').map(|c| c.trim().parse().ok()).collect::<Option<Vec<usize>>>()?;
    columns.sort_unstable();
    columns.dedup();
    (!columns.is_empty() && columns.iter().all(|&c| c < features)).then_some(columns)
}

/// The last line, which the Python package appends.
fn pandas_categorical(tail: &str) -> Result<Option<Vec<Vec<Category>>>, LoadError> {
    let Some(json) = tail.lines().rev().find_map(|l| l.strip_prefix("pandas_categorical:")) else { return Ok(None) };
    serde_json::from_str(json).map_err(|e| LoadError::at("last line", format!("`pandas_categorical`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infos_are_of_three_kinds() {
        assert_eq!(FeatureInfo::read("none"), Some(FeatureInfo::Unused));
        assert_eq!(FeatureInfo::read("[-1.5:2e3]"), Some(FeatureInfo::Range { min: -1.5, max: 2000.0 }));
        assert_eq!(FeatureInfo::read("-1:2:0"), Some(FeatureInfo::Categories(vec![-1, 2, 0])));
        assert_eq!(FeatureInfo::read("[1:"), None);
        assert_eq!(FeatureInfo::read("a:b"), None);
    }

    #[test]
    fn categories_keep_their_types() {
        let tail = "x\n\npandas_categorical:[[\"a\", \"b\\n\"], [5, 7], [true, 0.5]]\n";
        let lists = pandas_categorical(tail).unwrap_or_default().unwrap_or_default();
        assert_eq!(lists[0], [Category::Text("a".into()), Category::Text("b\n".into())]);
        assert_eq!(lists[1], [Category::Int(5), Category::Int(7)]);
        assert_eq!(lists[2], [Category::Bool(true), Category::Float(0.5)]);
        assert_eq!(pandas_categorical("pandas_categorical:null"), Ok(None));
        assert!(pandas_categorical("pandas_categorical:[[").is_err());
    }
}
