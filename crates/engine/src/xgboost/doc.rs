//! A parsed document, the same for JSON and UBJSON: arrays of numbers are kept flat, long parts that scoring has no use
//! for are left out.

use crate::LoadError;

/// How deep a document may nest. A model's nests nine deep.
pub(super) const MAX_DEPTH: usize = 32;

/// Keys whose values are read over, not kept: what nothing here asks of the nodes.
const LEFT_OUT: [&str; 2] = ["loss_changes", "parents"];

/// Whether a key's value is kept.
pub(super) fn keeps(key: &str) -> bool {
    !LEFT_OUT.contains(&key)
}

/// A value. Booleans in arrays become 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// An array of integers only; also the empty array.
    Ints(Vec<i64>),
    /// An array of numbers. Those of JSON are rounded to `f32`, as XGBoost reads them.
    Floats(Vec<f64>),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The first value under a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(fields) => fields.iter().find(|f| f.0 == key).map(|f| &f.1),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Ints(_) => "an array of integers",
            Self::Floats(_) => "an array of numbers",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A value and the place it was found at, for errors.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) value: &'a Value,
    pub(super) place: String,
}

impl<'a> At<'a> {
    pub(super) fn error(&self, what: impl Into<String>) -> LoadError {
        LoadError::at(self.place.clone(), what)
    }

    fn not(&self, expected: &str) -> LoadError {
        self.error(format!("expected {expected}, found {}", self.value.kind()))
    }

    /// The value under a key, if it is there and not null.
    pub(super) fn maybe(&self, key: &str) -> Option<At<'a>> {
        let value = self.value.get(key).filter(|v| **v != Value::Null)?;
        let dot = if self.place.is_empty() { "" } else { "." };
        Some(At { value, place: format!("{}{dot}{key}", self.place) })
    }

    pub(super) fn get(&self, key: &str) -> Result<At<'a>, LoadError> {
        self.maybe(key).ok_or_else(|| {
            let place = if self.place.is_empty() { "the document" } else { &self.place };
            LoadError::at(place, format!("no `{key}`"))
        })
    }

    pub(super) fn text(&self) -> Result<&'a str, LoadError> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.not("a text")),
        }
    }

    /// An integer, also one that is written as text, as XGBoost writes its parameters.
    pub(super) fn int(&self) -> Result<i64, LoadError> {
        match self.value {
            Value::Int(i) => Ok(*i),
            Value::Text(t) => t.trim().parse().map_err(|_| self.error(format!("`{}` is not an integer", brief(t)))),
            _ => Err(self.not("an integer")),
        }
    }

    /// A count: an integer from 0 on.
    pub(super) fn count(&self) -> Result<usize, LoadError> {
        let i = self.int()?;
        usize::try_from(i).map_err(|_| self.error(format!("{i}, expected 0 or more")))
    }

    pub(super) fn ints(&self) -> Result<&'a [i64], LoadError> {
        match self.value {
            Value::Ints(ints) => Ok(ints),
            _ => Err(self.not("an array of integers")),
        }
    }

    /// Numbers as `f32`, integers among them rounded.
    pub(super) fn floats(&self) -> Result<Vec<f32>, LoadError> {
        match self.value {
            Value::Ints(ints) => Ok(ints.iter().map(|&i| i as f32).collect()),
            Value::Floats(floats) => Ok(floats.iter().map(|&f| f as f32).collect()),
            _ => Err(self.not("an array of numbers")),
        }
    }

    /// The elements of an array of anything but numbers.
    pub(super) fn list(&self) -> Result<&'a [Value], LoadError> {
        match self.value {
            Value::List(list) => Ok(list),
            Value::Ints(ints) if ints.is_empty() => Ok(&[]),
            _ => Err(self.not("an array")),
        }
    }

    /// The texts of an array.
    pub(super) fn texts(&self) -> Result<Vec<String>, LoadError> {
        let text = |v: &Value| match v {
            Value::Text(t) => Ok(t.clone()),
            _ => Err(self.not("an array of texts")),
        };
        self.list()?.iter().map(text).collect()
    }
}

/// The beginning of a text that came, for a message.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Gathers an array's elements, flat as long as they are numbers.
#[derive(Debug)]
pub(super) struct Gather(Value);

impl Gather {
    pub(super) fn new() -> Self {
        Self(Value::Ints(Vec::new()))
    }

    pub(super) fn push(&mut self, element: Value) {
        let element = match element {
            Value::Bool(b) => Value::Int(b.into()),
            other => other,
        };
        match (&mut self.0, element) {
            (Value::Ints(ints), Value::Int(i)) => ints.push(i),
            (Value::Floats(floats), Value::Float(f)) => floats.push(f),
            (Value::Floats(floats), Value::Int(i)) => floats.push(f64::from(i as f32)),
            (Value::Ints(ints), Value::Float(f)) => {
                let mut floats: Vec<f64> = ints.iter().map(|&i| f64::from(i as f32)).collect();
                floats.push(f);
                self.0 = Value::Floats(floats);
            }
            (Value::List(list), element) => list.push(element),
            (Value::Ints(_) | Value::Floats(_), element) => {
                let mut list = match std::mem::replace(&mut self.0, Value::Null) {
                    Value::Ints(ints) => ints.into_iter().map(Value::Int).collect(),
                    Value::Floats(floats) => floats.into_iter().map(Value::Float).collect(),
                    _ => Vec::new(),
                };
                list.push(element);
                self.0 = Value::List(list);
            }
            // A gatherer holds nothing else.
            (_, _) => {}
        }
    }

    pub(super) fn done(self) -> Value {
        match self.0 {
            Value::Ints(mut ints) => {
                ints.shrink_to_fit();
                Value::Ints(ints)
            }
            Value::Floats(mut floats) => {
                floats.shrink_to_fit();
                Value::Floats(floats)
            }
            other => other,
        }
    }
}
