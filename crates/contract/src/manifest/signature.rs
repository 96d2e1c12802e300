//! What goes into a model and what comes out.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Cell;

/// The most inputs a signature has.
pub const INPUTS_MAX: usize = 100_000;

/// A model's inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// The features, in the order of the model's columns.
    pub inputs: Vec<Input>,
    /// The results.
    pub outputs: Vec<Output>,
}

/// One feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The type that callers send.
    pub dtype: Dtype,
    /// Its categories in the order of their codes, where it is categorical; otherwise free text where `dtype` is BYTES,
    /// else numeric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// Whether a value outside `categories` is an error; otherwise it is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forbid_unseen: bool,
    /// Whether a row without it is an error; otherwise it is missing, or has the default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What a row without it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Cell>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub role: Role,
    /// The type that callers get.
    pub dtype: Dtype,
    /// Values a row.
    #[serde(default = "one")]
    pub width: usize,
    /// The classes, where each of the `width` values belongs to one; of a BYTES output the texts that its values are
    /// places of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// What an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model's result: sent unless the caller asks for other outputs.
    #[default]
    Value,
    /// The raw margin, before the output's transform: sent when asked for.
    Margin,
}

/// A tensor's element type, by its name in the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Dtype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

fn one() -> usize {
    1
}

// === impl Signature ===

impl Signature {
    /// Checks that names differ and counts are sane. The error is for the publisher.
    pub fn check(&self) -> Result<(), String> {
        if self.inputs.is_empty() || self.inputs.len() > INPUTS_MAX {
            return Err(format!("signature has {} inputs, 1 to {INPUTS_MAX} expected", self.inputs.len()));
        }
        if !self.outputs.iter().any(|o| o.role == Role::Value) {
            return Err("signature has no output".to_owned());
        }
        let mut names = HashSet::new();
        for input in &self.inputs {
            if input.name.is_empty() || !names.insert(input.name.as_str()) {
                return Err(format!("input name '{}' is empty or used twice", input.name));
            }
            input.check()?;
        }
        let mut names = HashSet::new();
        for output in &self.outputs {
            if output.name.is_empty() || !names.insert(output.name.as_str()) {
                return Err(format!("output name '{}' is empty or used twice", output.name));
            }
            let fits =
                output.classes.is_empty() || output.dtype == Dtype::Bytes || output.classes.len() == output.width;
            if output.width == 0 || !fits {
                return Err(format!(
                    "output '{}' has {} classes and width {}",
                    output.name,
                    output.classes.len(),
                    output.width
                ));
            }
        }
        Ok(())
    }

    /// Why callers of `old` could not be served by this signature: every new required input, removed or changed output
    /// and changed type, in words. Empty when they all can.
    pub fn breaks(&self, old: &Signature) -> Vec<String> {
        let mut reasons = Vec::new();
        for input in &self.inputs {
            match old.inputs.iter().find(|o| o.name == input.name) {
                None if input.required => reasons.push(format!("input '{}' is new and required", input.name)),
                None => {}
                Some(before) if before.dtype.accepts() != input.dtype.accepts() => reasons.push(format!(
                    "input '{}' changes its type from {} to {}",
                    input.name,
                    before.dtype.as_str(),
                    input.dtype.as_str()
                )),
                Some(before) if input.required && !before.required => {
                    reasons.push(format!("input '{}' becomes required", input.name));
                }
                Some(_) => {}
            }
        }
        for before in &old.outputs {
            match self.outputs.iter().find(|o| o.name == before.name) {
                None => reasons.push(format!("output '{}' is gone", before.name)),
                Some(now) if now.dtype != before.dtype || now.width != before.width => reasons.push(format!(
                    "output '{}' changes from {} x {} to {} x {}",
                    before.name,
                    before.dtype.as_str(),
                    before.width,
                    now.dtype.as_str(),
                    now.width
                )),
                Some(_) => {}
            }
        }
        reasons
    }
}

impl Input {
    /// A numeric feature that may be missing.
    pub fn numeric(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            dtype: Dtype::Fp64,
            categories: None,
            forbid_unseen: false,
            required: false,
            default: None,
        }
    }

    /// A categorical feature that may be missing; code k is `categories[k]`.
    pub fn categorical(name: impl Into<String>, categories: Vec<String>) -> Self {
        Self { dtype: Dtype::Bytes, categories: Some(categories), ..Self::numeric(name) }
    }

    fn check(&self) -> Result<(), String> {
        let Some(categories) = &self.categories else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        match categories.iter().find(|c| !seen.insert(c.as_str())) {
            Some(twice) => Err(format!("input '{}' lists category '{twice}' twice", self.name)),
            None => Ok(()),
        }
    }
}

// === impl Dtype ===

/// What a caller may send for a type: the gate compares these, as an INT32 that becomes an FP64 breaks nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Any number or boolean.
    Number,
    /// Text.
    Text,
}

impl Dtype {
    /// What a caller may send.
    pub fn accepts(self) -> Accepts {
        match self {
            Dtype::Bytes => Accepts::Text,
            _ => Accepts::Number,
        }
    }

    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Dtype::Bool => "BOOL",
            Dtype::Uint8 => "UINT8",
            Dtype::Uint16 => "UINT16",
            Dtype::Uint32 => "UINT32",
            Dtype::Uint64 => "UINT64",
            Dtype::Int8 => "INT8",
            Dtype::Int16 => "INT16",
            Dtype::Int32 => "INT32",
            Dtype::Int64 => "INT64",
            Dtype::Fp16 => "FP16",
            Dtype::Fp32 => "FP32",
            Dtype::Fp64 => "FP64",
            Dtype::Bytes => "BYTES",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn signature(inputs: Vec<Input>) -> Signature {
        let output = Output { name: "p".into(), role: Role::Value, dtype: Dtype::Fp64, width: 1, classes: vec![] };
        Signature { inputs, outputs: vec![output] }
    }

    #[test]
    fn what_breaks_old_callers_is_named() {
        let old = signature(vec![Input::numeric("a"), Input::categorical("c", vec!["x".into()])]);
        assert!(signature(vec![Input::numeric("a"), Input::numeric("new")]).breaks(&old).is_empty());
        let required = Input { required: true, ..Input::numeric("new") };
        let mut new = signature(vec![Input::categorical("a", vec![]), required]);
        new.outputs[0].name = "q".into();
        let reasons = new.breaks(&old).join("; ");
        for word in ["'a' changes its type", "'new' is new and required", "output 'p' is gone"] {
            assert!(reasons.contains(word), "{reasons}");
        }
    }

    #[test]
    fn a_signature_that_contradicts_itself_is_refused() {
        assert!(signature(vec![]).check().is_err());
        assert!(signature(vec![Input::numeric("a"), Input::numeric("a")]).check().is_err());
        assert!(signature(vec![Input::categorical("a", vec!["x".into(), "x".into()])]).check().is_err());
        assert!(signature(vec![Input::numeric("a")]).check().is_ok());
        // Free text.
        assert!(signature(vec![Input { dtype: Dtype::Bytes, ..Input::numeric("a") }]).check().is_ok());
    }
}
