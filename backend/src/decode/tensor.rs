//! What tensors of the Open Inference Protocol are, however they are written: one a feature (`[n]` or `[n,1]`), or one
//! `[n, features]` with the features in the signature's order.

use std::borrow::Cow;

use headgate_contract::manifest::signature::Accepts;
use headgate_engine::Batch;

use super::Body;
use super::columns::Columns;
use super::rows::transpose;
use crate::refusal::{Refusal, shorten};

/// The head of a tensor.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) shape: Option<Vec<usize>>,
    pub(super) datatype: Option<Cow<'a, str>>,
}

/// What was gathered from the tensors.
pub(super) struct Gathered {
    columns: Columns,
    /// Rows of the one tensor that holds all features.
    matrix: Option<usize>,
}

/// What a tensor is.
pub(super) enum Tensor {
    Column(usize),
    Matrix,
    Unknown,
}

impl Gathered {
    pub(super) fn new(body: &Body<'_>) -> Self {
        Self { columns: Columns::new(body.schema), matrix: None }
    }

    /// Moves the values to where the engine wants them.
    pub(super) fn finish(self, body: &Body<'_>, values: &[f64], batch: &mut Batch) -> Result<(), Refusal> {
        match self.matrix {
            Some(rows) => transpose(values, body.schema.features.len(), rows, batch),
            None => self.columns.finish(body, values, batch)?,
        }
        Ok(())
    }

    /// Takes note of a tensor whose values are the next to be staged; answers what it is, and its name for errors.
    pub(super) fn arrive(&mut self, body: &mut Body<'_>, head: &Head<'_>) -> Result<(Tensor, String), Refusal> {
        let Some(name) = head.name.as_deref() else {
            return Err(body.refuse("an input has no 'name'"));
        };
        let name = shorten(name, 80);
        let (Some(shape), Some(datatype)) = (&head.shape, head.datatype.as_deref()) else {
            return Err(body.refuse(format_args!("input '{name}' needs 'shape' and 'datatype'")));
        };
        let tensor = classify(body, &name, shape)?;
        let rows = shape.first().copied().unwrap_or(0);
        body.check_rows(rows)?;
        self.columns.agree(body, &name, rows)?;
        match tensor {
            Tensor::Unknown => body.ignore(&name)?,
            Tensor::Column(feature) => {
                check_datatype(body, &name, datatype, &[feature])?;
                if self.matrix.is_some() {
                    return Err(body.refuse(format_args!("input '{name}' came beside a tensor of all features")));
                }
                self.columns.arrive(body, feature)?;
            }
            Tensor::Matrix => {
                let width = body.schema.features.len();
                check_datatype(body, &name, datatype, &(0..width).collect::<Vec<_>>())?;
                if self.matrix.replace(rows).is_some() || self.columns.any() {
                    return Err(body.refuse(format_args!("input '{name}', a tensor of all features, must come alone")));
                }
            }
        }
        Ok((tensor, name))
    }
}

fn classify(body: &Body<'_>, name: &str, shape: &[usize]) -> Result<Tensor, Refusal> {
    let width = body.schema.features.len();
    match (body.schema.feature(name), shape) {
        (Some(feature), [_] | [_, 1]) => Ok(Tensor::Column(feature)),
        (_, [_, columns]) if *columns == width => Ok(Tensor::Matrix),
        (None, [_] | [_, 1]) => Ok(Tensor::Unknown),
        _ => Err(body.refuse(format_args!(
            "input '{name}' has shape {shape:?}: [n] or [n, 1] for one feature, or [n, {width}] for all expected"
        ))),
    }
}

/// A tensor's type must be one whose values its features take; FP64, INT32, ... are all numbers.
fn check_datatype(body: &Body<'_>, name: &str, datatype: &str, features: &[usize]) -> Result<(), Refusal> {
    let text = match datatype {
        "BYTES" => true,
        "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "BF16"
        | "FP32" | "FP64" => false,
        _ => {
            let datatype = shorten(datatype, 40);
            return Err(
                body.refuse(format_args!("input '{name}' has datatype '{datatype}': FP64, BYTES, ... expected"))
            );
        }
    };
    // A tensor of all features may hold texts and numbers: each value is checked on its own.
    match features {
        [feature] if text && body.schema.features[*feature].accepts() == Accepts::Number => {
            let expected = body.schema.features[*feature].dtype.as_str();
            Err(body.refuse(format_args!("input '{name}' has datatype BYTES, {expected} expected")))
        }
        _ => Ok(()),
    }
}
