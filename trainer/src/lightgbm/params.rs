//! LightGBM's parameters: which there are, which are the user's, and which are ours.

use std::collections::BTreeMap;

use super::{Library, LightgbmError};
use crate::table::nearest;

/// Rounds where early stopping decides, unless told otherwise.
const ROUNDS: usize = 1000;
/// Rounds where nothing does.
const ROUNDS_BLIND: usize = 100;
/// Rounds without a better metric after which training stops.
const PATIENCE: usize = 50;

/// Parameters that say where data and models are, or that have a flag of their own here.
const OURS: &[(&str, &str)] = &[
    ("config", "a file of parameters is not read"),
    ("task", "training is the only task"),
    ("data", "--data names the data"),
    ("valid", "validation rows are split off by --seed"),
    ("input_model", "training begins without a model"),
    ("output_model", "the model goes into the store"),
    ("output_result", "nothing is predicted into a file"),
    ("label_column", "--target names it"),
    ("weight_column", "rows have no weights yet"),
    ("group_column", "ranking is not trained here"),
    ("ignore_column", "--ignore names it"),
    ("categorical_feature", "--categorical names it"),
    ("objective", "--objective names it"),
    ("seed", "--seed sets it"),
    ("num_threads", "--threads sets it"),
    ("num_class", "the target's classes are counted"),
    ("machines", "training runs on one machine"),
    ("num_machines", "training runs on one machine"),
    ("machine_list_filename", "training runs on one machine"),
    ("forcedsplits_filename", "what a build is made of is the data and the parameters alone"),
    ("forcedbins_filename", "what a build is made of is the data and the parameters alone"),
    ("parser_config_file", "what a build is made of is the data and the parameters alone"),
    ("header", "the files tell"),
    ("two_round", "the files tell"),
    ("save_binary", "nothing is written but the model"),
    ("snapshot_freq", "nothing is written but the model"),
    ("verbosity", "warnings are always shown"),
];

/// What the user wants of LightGBM, under LightGBM's main names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    given: BTreeMap<String, String>,
}

/// Why a parameter is refused. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum ParameterError {
    /// Not `K=V`.
    #[error("--param '{0}': K=V expected, V without spaces")]
    Shape(String),
    /// LightGBM has no such parameter.
    #[error("--param '{name}': LightGBM has no such parameter{hint}")]
    Unknown {
        /// The name that came.
        name: String,
        /// The nearest one.
        hint: String,
    },
    /// It has another place here.
    #[error("--param '{name}' is not taken: {why}")]
    Ours {
        /// The name that came.
        name: String,
        /// What does it instead.
        why: &'static str,
    },
    /// Given twice, perhaps under two of its names, with two values.
    #[error("--param '{0}' is given twice with different values")]
    Twice(String),
    /// Not a count.
    #[error("--param '{name}={value}': a whole number expected")]
    Count {
        /// The name.
        name: String,
        /// What came.
        value: String,
    },
    /// The library's words.
    #[error(transparent)]
    Lightgbm(#[from] LightgbmError),
}

impl Parameters {
    /// Takes `K=V` pairs, names resolved as this library does.
    pub fn resolve(library: &Library, pairs: &[String]) -> Result<Self, ParameterError> {
        let aliases: BTreeMap<String, Vec<String>> = serde_json::from_str(&library.parameter_names()?)
            .map_err(|error| LightgbmError::Refused(format!("its list of parameters can't be read: {error}")))?;
        Self::from_pairs(pairs, &aliases)
    }

    fn from_pairs(pairs: &[String], aliases: &BTreeMap<String, Vec<String>>) -> Result<Self, ParameterError> {
        let mut given = BTreeMap::new();
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '\0') {
                return Err(ParameterError::Shape(pair.clone()));
            }
            let known = aliases.iter().find(|(main, others)| *main == name || others.iter().any(|other| other == name));
            let Some((main, _)) = known else {
                let names = aliases.iter().flat_map(|(main, others)| std::iter::once(main).chain(others));
                let hint =
                    nearest(name, names.map(String::as_str)).map_or(String::new(), |n| format!("; '{n}' is one"));
                return Err(ParameterError::Unknown { name: name.to_owned(), hint });
            };
            if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == main).filter(|(ours, _)| *ours != "objective")
            {
                return Err(ParameterError::Ours { name: name.to_owned(), why });
            }
            if given.insert(main.clone(), value.to_owned()).is_some_and(|before| before != value) {
                return Err(ParameterError::Twice(name.to_owned()));
            }
        }
        for count in ["num_iterations", "early_stopping_round"] {
            if let Some(value) = given.get(count).filter(|value| value.parse::<u32>().is_err()) {
                return Err(ParameterError::Count { name: count.to_owned(), value: value.clone() });
            }
        }
        Ok(Self { given })
    }

    /// As they were given, under their main names.
    pub fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    /// The objective, where one was given.
    pub fn objective(&self) -> Option<&str> {
        self.given.get("objective").map(String::as_str)
    }

    /// The most rounds.
    pub fn rounds(&self, validated: bool) -> usize {
        let default = if validated && self.patience().is_some() { ROUNDS } else { ROUNDS_BLIND };
        self.given.get("num_iterations").and_then(|value| value.parse().ok()).unwrap_or(default).max(1)
    }

    /// After how many rounds without a better metric training stops; none where it doesn't.
    pub fn patience(&self) -> Option<usize> {
        // Dropped trees come back changed: no earlier round of DART is a model by itself.
        if self.given.get("boosting").is_some_and(|value| value == "dart") {
            return None;
        }
        let given = self.given.get("early_stopping_round").and_then(|value| value.parse().ok());
        Some(given.unwrap_or(PATIENCE)).filter(|patience| *patience > 0)
    }

    /// LightGBM's own text: what was given over `defaults` over ours.
    pub fn text(&self, defaults: &BTreeMap<String, String>, seed: u64, threads: usize) -> String {
        let mut all: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in [
            ("learning_rate", "0.05"),
            // The same rows and parameters then give the same bytes, whatever the number of threads.
            ("deterministic", "true"),
            ("force_row_wise", "true"),
            ("verbosity", "0"),
        ] {
            all.insert(name, value.to_owned());
        }
        all.insert("seed", (seed & 0x7fff_ffff).to_string());
        all.insert("num_threads", threads.to_string());
        all.extend(defaults.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let here = |name: &str| matches!(name, "num_iterations" | "early_stopping_round");
        all.extend(self.given.iter().filter(|(n, _)| !here(n)).map(|(name, value)| (name.as_str(), value.clone())));
        if all.get("force_col_wise").is_some_and(|value| value == "true") {
            all.remove("force_row_wise");
        }
        all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn resolve(pairs: &[&str]) -> Result<Parameters, ParameterError> {
        let aliases = [
            ("num_leaves", &["num_leaf", "max_leaves"][..]),
            ("num_iterations", &["n_estimators"]),
            ("boosting", &["boosting_type"]),
            ("seed", &["random_state"]),
            ("objective", &[]),
        ];
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let aliases = aliases.iter().map(|(main, others)| ((*main).to_owned(), own(others))).collect();
        Parameters::from_pairs(&pairs.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), &aliases)
    }

    #[test]
    fn names_are_resolved_and_ours_and_unknown_ones_refused() {
        let parameters = resolve(&["max_leaves=7", "n_estimators=5", "num_leaves=7"]).unwrap();
        assert_eq!(parameters.given()["num_leaves"], "7");
        assert_eq!((parameters.rounds(true), parameters.patience()), (5, Some(PATIENCE)));
        let text = parameters.text(&BTreeMap::new(), 3, 2);
        assert!(text.contains("num_leaves=7") && text.contains("seed=3") && !text.contains("num_iterations"), "{text}");
        for (pair, words) in [
            ("num_leafs=3", "'num_leaf' is one"),
            ("random_state=3", "--seed sets it"),
            ("num_leaves", "K=V"),
            ("num_leaves=3 data=/x", "without spaces"),
            ("n_estimators=many", "whole number"),
        ] {
            let error = resolve(&[pair]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(matches!(resolve(&["num_leaves=3", "max_leaves=4"]), Err(ParameterError::Twice(_))));
    }

    #[test]
    fn dart_does_not_stop_early() {
        let dart = resolve(&["boosting_type=dart"]).unwrap();
        assert_eq!((dart.patience(), dart.rounds(true)), (None, ROUNDS_BLIND));
    }
}
