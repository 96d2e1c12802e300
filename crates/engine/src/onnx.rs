//! What an ONNX file says of its model, read without ONNX Runtime: names, types and shapes of what goes in and comes out,
//! and whether it can be served at all.
//!
//! Refused, whatever the library would do with it: tensors that lie in other files, operators that only a library of
//! the publisher's could bring, graphs within graphs beyond [`NESTED_MAX`]. The format: <https://onnx.ai/onnx/repo-docs/IR.html>,
//! field numbers from its `onnx.proto`.

mod graph;

use std::fmt;

use headgate_contract::wire::{Message, Value, WireError};

/// The most graphs within graphs (loops, branches).
pub const NESTED_MAX: usize = 16;
/// The most inputs, or outputs, of a graph.
pub const PORTS_MAX: usize = 100_000;

/// Sets of operators that ONNX Runtime brings itself.
const BUILT_IN: [&str; 5] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"];

/// What a file says of its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The program that wrote the file, with its version; empty where it does not say.
    pub producer: String,
    /// What goes in, in order, without what has a value of its own.
    pub inputs: Vec<Port>,
    /// What comes out, in order.
    pub outputs: Vec<Port>,
    /// The classes' names, where the graph's classifiers agree on them.
    pub classes: Vec<String>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub kind: Kind,
}

/// What an input or output carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor {
        /// Its elements.
        element: Element,
        /// Its shape, where it has one: `None` is a dimension that calls choose.
        dims: Option<Vec<Option<u64>>>,
    },
    /// For each row a map from class to number, as scikit-learn's exporter writes probabilities unless told otherwise.
    Maps {
        /// What a class is: [`Element::Int64`] or [`Element::Text`].
        key: Element,
        /// The numbers.
        value: Element,
        /// The classes' names.
        classes: Vec<String>,
    },
    /// Anything else, by its name.
    Other(&'static str),
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Element {
    Float,
    Double,
    Int64,
    Int32,
    Bool,
    Text,
    /// One that is not served, by its number in `onnx.proto`.
    Other(i64),
}

/// Why a file is not served. Its publisher's fault; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// Broken, cut short or contradicting itself.
    #[error("byte {offset}: {what}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What came, and what was expected.
        what: String,
    },
    /// It asks for what is not given.
    #[error("{0}")]
    Refused(String),
}

impl From<WireError> for OnnxError {
    fn from(error: WireError) -> Self {
        Self::at(error.at, error.what)
    }
}

/// Whether bytes begin as an ONNX file does, be it cut short or broken further on: with the number of the format's version.
pub fn sniff(bytes: &[u8]) -> bool {
    // Flatbuffers of ONNX Runtime's own format are none, whatever they begin with.
    matches!(bytes, [0x08, 1..=63, next, ..] if next & 7 == 2 || next & 7 == 0) && bytes.get(4..8) != Some(b"ORTM")
}

/// Reads what a file says, and checks all of it.
pub fn describe(bytes: &[u8]) -> Result<Description, OnnxError> {
    if bytes.get(4..8) == Some(b"ORTM") {
        return Err(OnnxError::Refused("it is in ONNX Runtime's own format, not in ONNX".to_owned()));
    }
    let mut found = graph::Found::default();
    let (mut producer, mut release) = (String::new(), String::new());
    let mut file = Message::new(bytes);
    let mut graphs = 0;
    while let Some(field) = file.next()? {
        match (field.number, &field.value) {
            (2, Value::Bytes(_)) => producer = field.text()?,
            (3, Value::Bytes(_)) => release = field.text()?,
            (7, _) => {
                graphs += 1;
                found.graph(field.message()?, 0)?;
            }
            (25, _) => found.function(field.message()?)?,
            _ => {}
        }
    }
    if graphs == 0 {
        return Err(OnnxError::at(bytes.len(), "it has no graph"));
    }
    let mut description = found.finish()?;
    description.producer = format!("{producer} {release}").trim().chars().take(80).collect();
    Ok(description)
}

// === impl OnnxError ===

impl OnnxError {
    fn at(offset: usize, what: impl Into<String>) -> Self {
        Self::Malformed { offset, what: what.into() }
    }
}

// === impl Port ===

impl Port {
    /// Values that a row has; none where the file does not say.
    pub fn width(&self) -> Option<usize> {
        match &self.kind {
            Kind::Tensor { dims: Some(dims), .. } => {
                let row = dims.get(1..).unwrap_or_default();
                let product = row.iter().try_fold(1u64, |product, dim| product.checked_mul((*dim)?));
                product.and_then(|p| usize::try_from(p).ok())
            }
            Kind::Tensor { dims: None, .. } => None,
            Kind::Maps { classes, .. } => Some(classes.len()),
            Kind::Other(_) => None,
        }
    }

    /// Rows that it takes or gives at once, where the file fixes them.
    pub fn rows(&self) -> Option<u64> {
        match &self.kind {
            Kind::Tensor { dims: Some(dims), .. } => dims.first().copied().flatten(),
            _ => None,
        }
    }
}

// === impl Element ===

impl Element {
    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Float,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::Text,
            9 => Self::Bool,
            11 => Self::Double,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Double => "double",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Bool => "bool",
            Self::Text => "string",
            Self::Other(2) => "uint8",
            Self::Other(3) => "int8",
            Self::Other(4) => "uint16",
            Self::Other(5) => "int16",
            Self::Other(10) => "float16",
            Self::Other(12) => "uint32",
            Self::Other(13) => "uint64",
            Self::Other(14 | 15) => "complex",
            Self::Other(16) => "bfloat16",
            Self::Other(number) => return write!(f, "type {number}"),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor { element, dims: None } => write!(f, "a tensor of {element} without a shape"),
            Self::Tensor { element, dims: Some(dims) } => {
                let dims: Vec<_> = dims.iter().map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string())).collect();
                write!(f, "a tensor of {element} [{}]", dims.join(", "))
            }
            Self::Maps { key, value, .. } => write!(f, "a sequence of maps from {key} to {value}"),
            Self::Other(what) => write!(f, "{what}"),
        }
    }
}

#[cfg(test)]
mod tests;
