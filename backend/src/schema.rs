//! A signature made ready for decoding and encoding: features by name, categories by text, outputs by place.

use std::collections::HashMap;

use headgate_contract::manifest::signature::{Accepts, Role};
use headgate_contract::manifest::{Cell, Dtype, Input, Signature};
use headgate_contract::{Digest, ModelName, Version, real};

use crate::decode::json::Scalar;
use crate::refusal::shorten;

/// What a version takes and gives.
#[derive(Debug)]
pub struct Schema {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
    /// The manifest's digest.
    pub digest: Digest,
    /// The features, in the order of the engine's columns.
    pub features: Vec<Feature>,
    /// The outputs, in the order of the signature.
    pub outputs: Vec<Output>,
    /// For each feature how many numeric ones follow each other from it on, itself included.
    pub numeric_runs: Vec<usize>,
    /// Defaults of text features; a feature's [`Feature::absent`] is its place among them.
    pub default_texts: Vec<Box<str>>,
    by_name: HashMap<Box<str>, usize>,
}

/// One feature.
#[derive(Debug)]
pub struct Feature {
    /// Its name.
    pub name: Box<str>,
    /// The type that callers are told.
    pub dtype: Dtype,
    /// Whether a row without it is an error.
    pub required: bool,
    /// What a row without it gets.
    pub absent: f64,
    categories: Option<Categories>,
}

/// The categories of a feature and their codes.
#[derive(Debug)]
struct Categories {
    by_text: HashMap<Box<str>, u32>,
    /// Those that are written as numbers, by the number's bits, so that `3` finds "3" and "3.0".
    by_number: HashMap<u64, u32>,
    forbid_unseen: bool,
}

/// One output: columns of what the engine gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: Box<str>,
    /// Value or margin.
    pub role: Role,
    /// The type that callers get.
    pub dtype: Dtype,
    /// The first of its columns.
    pub offset: usize,
    /// How many columns.
    pub width: usize,
    /// The classes, one for each column, where they have names.
    pub classes: Vec<String>,
}

/// A value that a feature does not take: what came, and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What came.
    pub came: String,
    /// What was expected.
    pub expected: &'static str,
}

// === impl Schema ===

impl Schema {
    /// Compiles a signature. The error, a default that its own feature does not take, is the publisher's fault.
    pub fn new(model: ModelName, version: Version, digest: Digest, signature: &Signature) -> Result<Self, String> {
        let mut default_texts = Vec::new();
        let features =
            signature.inputs.iter().map(|i| Feature::new(i, &mut default_texts)).collect::<Result<Vec<_>, _>>()?;
        let by_name = features.iter().enumerate().map(|(at, f)| (f.name.clone(), at)).collect();
        let mut offsets = [0, 0];
        let outputs = signature.outputs.iter().map(|output| {
            let offset = &mut offsets[usize::from(output.role == Role::Margin)];
            *offset += output.width;
            Output {
                name: output.name.as_str().into(),
                role: output.role,
                dtype: output.dtype,
                offset: *offset - output.width,
                width: output.width,
                classes: output.classes.clone(),
            }
        });
        let mut numeric_runs: Vec<usize> = vec![0; features.len()];
        for (at, feature) in features.iter().enumerate().rev() {
            if feature.is_numeric() {
                numeric_runs[at] = 1 + numeric_runs.get(at + 1).copied().unwrap_or(0);
            }
        }
        let outputs = outputs.collect();
        Ok(Self { model, version, digest, outputs, features, numeric_runs, default_texts, by_name })
    }

    /// The feature of that name.
    pub fn feature(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// How many columns the outputs of a role have together.
    pub fn width(&self, role: Role) -> usize {
        self.outputs.iter().filter(|o| o.role == role).map(|o| o.width).sum()
    }
}

impl Feature {
    fn new(input: &Input, default_texts: &mut Vec<Box<str>>) -> Result<Self, String> {
        let mut feature = Self {
            name: input.name.as_str().into(),
            dtype: input.dtype,
            required: input.required && input.default.is_none(),
            absent: f64::NAN,
            categories: input.categories.as_ref().map(|list| Categories::new(list, input.forbid_unseen)),
        };
        if let (true, Some(Cell::Text(default))) = (feature.is_text(), &input.default) {
            feature.absent = default_texts.len() as f64;
            default_texts.push(default.as_str().into());
        } else if let Some(default) = &input.default {
            feature.absent = feature.value(&scalar(default)).map_err(|m| {
                format!("default of feature '{}': {} came, {} expected", input.name, m.came, m.expected)
            })?;
        }
        Ok(feature)
    }

    /// Whether callers may send numbers only.
    pub fn is_numeric(&self) -> bool {
        self.categories.is_none() && self.dtype != Dtype::Bytes
    }

    /// Whether it takes any text.
    pub fn is_text(&self) -> bool {
        self.categories.is_none() && self.dtype == Dtype::Bytes
    }

    /// How many categories it has, where it is categorical.
    pub fn category_count(&self) -> Option<usize> {
        self.categories.as_ref().map(|c| c.by_text.len())
    }

    /// What callers may send.
    pub fn accepts(&self) -> Accepts {
        if self.is_numeric() { Accepts::Number } else { self.dtype.accepts() }
    }

    /// The engine's number for a value: numbers and booleans as they are, categories as their codes, NaN for missing. A
    /// free text has none: its place among the batch's texts stands for it.
    pub fn value(&self, scalar: &Scalar<'_>) -> Result<f64, Mismatch> {
        match &self.categories {
            None if self.is_text() => match scalar {
                Scalar::Null => Ok(f64::NAN),
                _ => Err(Mismatch { came: describe(scalar), expected: "a text" }),
            },
            None => numeric(scalar),
            Some(categories) => categories.code(scalar),
        }
    }
}

impl Categories {
    fn new(list: &[String], forbid_unseen: bool) -> Self {
        let mut categories =
            Self { by_text: HashMap::with_capacity(list.len()), by_number: HashMap::new(), forbid_unseen };
        for (code, text) in (0..).zip(list) {
            categories.by_text.insert(text.as_str().into(), code);
            if let Ok(number) = text.parse::<f64>() {
                categories.by_number.entry(number_key(number)).or_insert(code);
            }
        }
        categories
    }

    fn code(&self, scalar: &Scalar<'_>) -> Result<f64, Mismatch> {
        let text = |text: &str| self.by_text.get(text).copied();
        let number = |number: f64| self.by_number.get(&number_key(number)).copied();
        let code = match scalar {
            Scalar::Null => return Ok(f64::NAN),
            Scalar::Number(value, _) if value.is_nan() => return Ok(f64::NAN),
            Scalar::Text(value) => text(value),
            Scalar::Number(value, written) => text(written).or_else(|| number(*value)),
            Scalar::Bool(true) => text("true").or_else(|| text("True")).or_else(|| number(1.0)),
            Scalar::Bool(false) => text("false").or_else(|| text("False")).or_else(|| number(0.0)),
        };
        match code {
            Some(code) => Ok(f64::from(code)),
            None if self.forbid_unseen => {
                Err(Mismatch { came: describe(scalar), expected: "one of the feature's categories" })
            }
            None => Ok(f64::NAN),
        }
    }
}

/// -0 and 0 are one number.
fn number_key(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

fn numeric(scalar: &Scalar<'_>) -> Result<f64, Mismatch> {
    match scalar {
        Scalar::Number(value, _) => Ok(*value),
        Scalar::Null => Ok(f64::NAN),
        Scalar::Bool(value) => Ok(f64::from(u8::from(*value))),
        Scalar::Text(text) => match real::word(text) {
            Some(value) => Ok(value),
            None => Err(Mismatch { came: describe(scalar), expected: "a number" }),
        },
    }
}

/// A value in words, bounded.
pub fn describe(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(_, written) => shorten(written, 40),
        Scalar::Text(text) => format!("text \"{}\"", shorten(text, 40)),
    }
}

/// A manifest's value as the parser would have read it.
pub fn scalar(cell: &Cell) -> Scalar<'_> {
    match cell {
        Cell::Missing => Scalar::Null,
        Cell::Bool(value) => Scalar::Bool(*value),
        Cell::Number(value) => Scalar::Number(*value, ""),
        Cell::Text(text) => Scalar::Text(text.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn feature(input: Input) -> Feature {
        Feature::new(&input, &mut Vec::new()).unwrap()
    }

    #[test]
    fn numbers_take_numbers_booleans_and_words() {
        let feature = feature(Input::numeric("x"));
        assert_eq!(feature.value(&Scalar::Number(1.5, "1.5")), Ok(1.5));
        assert_eq!(feature.value(&Scalar::Bool(true)), Ok(1.0));
        assert_eq!(feature.value(&Scalar::Text("-Infinity".into())), Ok(f64::NEG_INFINITY));
        assert!(feature.value(&Scalar::Text("NaN".into())).unwrap().is_nan());
        assert!(feature.value(&Scalar::Null).unwrap().is_nan());
        let mismatch = feature.value(&Scalar::Text("1.5".into())).unwrap_err();
        assert_eq!((mismatch.came.as_str(), mismatch.expected), ("text \"1.5\"", "a number"));
    }

    #[test]
    fn categories_are_found_by_text_number_and_boolean() {
        let list = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let job = feature(Input::categorical("job", list(&["admin.", "student"])));
        assert_eq!(job.value(&Scalar::Text("student".into())), Ok(1.0));
        assert!(job.value(&Scalar::Text("pirate".into())).unwrap().is_nan());
        let code = feature(Input::categorical("code", list(&["10", "3.0", "-0"])));
        assert_eq!(code.value(&Scalar::Number(3.0, "3")), Ok(1.0));
        assert_eq!(code.value(&Scalar::Number(0.0, "0")), Ok(2.0));
        assert_eq!(code.value(&Scalar::Text("10".into())), Ok(0.0));
        let flag = feature(Input::categorical("flag", list(&["False", "True"])));
        assert_eq!(flag.value(&Scalar::Bool(true)), Ok(1.0));
        let strict = feature(Input { forbid_unseen: true, ..Input::categorical("job", list(&["a"])) });
        assert_eq!(strict.value(&Scalar::Text("b".into())).unwrap_err().came, "text \"b\"");
        assert!(strict.value(&Scalar::Null).unwrap().is_nan());
    }

    #[test]
    fn a_default_is_used_and_must_fit() {
        let with = |default| Input { default: Some(default), required: true, ..Input::numeric("x") };
        let feature = feature(with(Cell::Number(2.0)));
        assert_eq!((feature.absent, feature.required), (2.0, false));
        assert!(Feature::new(&with(Cell::Text("x".into())), &mut Vec::new()).unwrap_err().contains("'x'"));
    }
}
