//! Columns, and what splits make of them.

use std::collections::HashMap;

use super::doc::{File, NanTreatment, Split};
use crate::LoadError;
use crate::engine::Categorical;
use crate::forest::{Rule, Test};
use crate::lightgbm::shown;

/// A feature column.
#[derive(Debug)]
pub(super) struct Column {
    /// Empty where the file has none.
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Numbers, whose missing values go right.
    Number { missing_right: bool },
    /// Categories: their codes by the hashes of their texts, and the texts in the order of the codes.
    Category { codes: HashMap<u32, u32>, texts: Vec<String> },
    /// The model does not look at it.
    Unused,
}

/// All columns, and the columns of the numeric and of the categorical features.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) columns: Vec<Column>,
    floats: HashMap<usize, usize>,
    categories: HashMap<usize, usize>,
}

/// A split on a column.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) column: usize,
    pub(super) missing_left: bool,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    /// Left up to it.
    Border(f32),
    /// Right if it is this category: its bit among others.
    Category(Vec<u32>),
}

impl Question {
    pub(super) fn test(&self) -> Test<'_> {
        match &self.asks {
            Asks::Border(border) => Test::AtMost { threshold: f64::from(*border), rule: Rule::F32 },
            Asks::Category(set) => Test::In { set, rule: Rule::F64Category, flipped: true },
        }
    }

    /// What a node takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        if let Asks::Category(set) = &self.asks { size_of_val(set.as_slice()) } else { 0 }
    }
}

impl Features {
    pub(super) fn read(file: &File, max_features: usize) -> Result<Self, LoadError> {
        let info = &file.features_info;
        let count = file.columns()?;
        LoadError::within("the number of features", count, max_features)?;
        let mut columns: Vec<Column> = Vec::new();
        columns.resize_with(count, || Column { name: String::new(), kind: Kind::Unused });
        let mut features = Self { columns, floats: HashMap::new(), categories: HashMap::new() };
        for (i, float) in info.float_features.iter().enumerate() {
            let missing_right = float.has_nans && float.nan_value_treatment == NanTreatment::Greatest;
            let name = name(&float.feature_name, &float.feature_id);
            let place = format!("features_info.float_features[{i}]");
            features.put(place, float.flat_feature_index, name, Kind::Number { missing_right })?;
            features.floats.insert(float.feature_index, float.flat_feature_index);
        }
        let hash = |hash: i64| hash as u32;
        let texts: HashMap<u32, &str> =
            info.cat_features_hash.iter().map(|h| (hash(h.hash), h.value.as_str())).collect();
        for (i, cat) in info.categorical_features.iter().enumerate() {
            let name = name(&cat.feature_name, &cat.feature_id);
            let place = format!("features_info.categorical_features[{i}]");
            let mut kind = (HashMap::new(), Vec::new());
            for (at, &value) in cat.values.iter().enumerate() {
                let text = cat.string_values.get(at).map(String::as_str).or_else(|| texts.get(&hash(value)).copied());
                let text = text.ok_or_else(|| nameless(&name, cat.flat_feature_index))?;
                kind.0.insert(hash(value), at as u32);
                kind.1.push(text.to_owned());
            }
            if kind.0.len() != kind.1.len() {
                return Err(LoadError::at(place, "a category is among its `values` twice"));
            }
            features.put(place, cat.flat_feature_index, name, Kind::Category { codes: kind.0, texts: kind.1 })?;
            features.categories.insert(cat.feature_index, cat.flat_feature_index);
        }
        Ok(features)
    }

    fn put(&mut self, place: String, at: usize, name: String, kind: Kind) -> Result<(), LoadError> {
        match self.columns.get_mut(at) {
            Some(column) if matches!(column.kind, Kind::Unused) => *column = Column { name, kind },
            _ => return Err(LoadError::at(place, format!("`flat_feature_index` {at} is another feature's too"))),
        }
        Ok(())
    }

    /// What a split asks.
    pub(super) fn question(&self, split: &Split, place: impl Fn() -> String) -> Result<Question, LoadError> {
        let bad = |what: String| LoadError::at(place(), what);
        match split.split_type.as_str() {
            "FloatFeature" => self.border(split).map_err(bad),
            "OneHotFeature" => self.one_hot(split).map_err(bad),
            "OnlineCtr" => Err(LoadError::Unsupported(format!(
                "CatBoost statistics of categories (CTR){}: train with `one_hot_max_size` of at least as many as a feature \
                 has categories",
                self.of_categories()
            ))),
            other => Err(LoadError::Unsupported(format!("CatBoost split on `{}`", shown(other)))),
        }
    }

    fn border(&self, split: &Split) -> Result<Question, String> {
        let (Some(index), Some(border)) = (split.float_feature_index, split.border) else {
            return Err("no `float_feature_index` or no `border`".into());
        };
        let column = self.floats.get(&index).copied();
        let column = column.ok_or_else(|| format!("float feature {index} is none of the model's"))?;
        let Some(Column { kind: Kind::Number { missing_right }, .. }) = self.columns.get(column) else {
            return Err(format!("feature {column} is no float feature"));
        };
        let border = border as f32;
        let missing_left = !(*missing_right && border < f32::INFINITY);
        Ok(Question { column, missing_left, asks: Asks::Border(border) })
    }

    fn one_hot(&self, split: &Split) -> Result<Question, String> {
        let (Some(index), Some(value)) = (split.cat_feature_index, split.value) else {
            return Err("no `cat_feature_index` or no `value`".into());
        };
        let column = self.categories.get(&index).copied();
        let column = column.ok_or_else(|| format!("categorical feature {index} is none of the model's"))?;
        let Some(Column { kind: Kind::Category { codes, .. }, .. }) = self.columns.get(column) else {
            return Err(format!("feature {column} is no categorical feature"));
        };
        let code = codes.get(&(value as u32)).copied();
        let code = code.ok_or_else(|| format!("category {value} is none of feature {column}'s `values`"))?;
        let mut set = vec![0; code as usize / 32 + 1];
        set[code as usize / 32] = 1 << (code % 32);
        Ok(Question { column, missing_left: true, asks: Asks::Category(set) })
    }

    /// Categorical features without one-hot splits, for a message.
    fn of_categories(&self) -> String {
        let statistical = |c: &&Column| matches!(&c.kind, Kind::Category { texts, .. } if texts.is_empty());
        let names: Vec<&str> = self.columns.iter().filter(statistical).map(|c| c.name.as_str()).take(5).collect();
        if names.is_empty() { String::new() } else { format!(" of feature `{}`", shown(&names.join("`, `"))) }
    }

    /// Names of all columns; empty where the file has none.
    pub(super) fn names(&self) -> Vec<String> {
        if self.columns.iter().all(|c| c.name.is_empty()) {
            return Vec::new();
        }
        let name = |(i, c): (usize, &Column)| if c.name.is_empty() { format!("f{i}") } else { c.name.clone() };
        self.columns.iter().enumerate().map(name).collect()
    }

    pub(super) fn categorical(&self) -> Vec<Option<Categorical>> {
        let known = |column: &Column| match &column.kind {
            Kind::Category { texts, .. } => {
                Some(Categorical { max_code: texts.len().checked_sub(1).map(|c| c as u32) })
            }
            Kind::Number { .. } | Kind::Unused => None,
        };
        self.columns.iter().map(known).collect()
    }
}

fn name(name: &Option<String>, id: &Option<String>) -> String {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    given(name).or_else(|| given(id)).unwrap_or_default()
}

fn nameless(name: &str, column: usize) -> LoadError {
    let name = if name.is_empty() { column.to_string() } else { format!("`{}`", shown(name)) };
    LoadError::Unsupported(format!(
        "categorical feature {name} of a CatBoost file that has only hashes of its categories: save it with their texts, \
         `save_model(file, format=\"json\", pool=pool)`"
    ))
}
