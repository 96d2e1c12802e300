//! What tensors of the Open Inference Protocol are, however they are written: one a feature (`[n]` or `[n,1]`), or one
//! `[n, features]` with the features in the signature's order.

use std::borrow::Cow;

use headgate_contract::manifest::signature::Accepts;
use headgate_engine::Batch;

use super::Body;
use super::binary::{Blob, Datatype};
use super::columns::Columns;
use super::rows::transpose;
use crate::refusal::{Refusal, shorten};
use crate::schema::Feature;

/// The most characters of a tensor's name that are told.
const NAME_MAX: usize = 80;

/// The head of a tensor.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) shape: Option<Vec<usize>>,
    pub(super) datatype: Option<Cow<'a, str>>,
}

impl Head<'_> {
    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.name.is_some() && self.shape.is_some() && self.datatype.is_some()
    }
}

/// What was gathered from the tensors.
pub(super) struct Gathered {
    columns: Columns,
    /// Rows of the one tensor that holds all features.
    matrix: Option<usize>,
    /// Whether that one is in the batch already.
    done: bool,
    /// The feature after the last one that came: callers mostly send them in order.
    next: usize,
}

/// What a tensor is.
pub(super) enum Tensor {
    Column(usize),
    Matrix,
    Unknown,
}

impl Gathered {
    pub(super) fn new(body: &Body<'_>) -> Self {
        Self { columns: Columns::new(body.schema), matrix: None, done: false, next: 0 }
    }

    /// The feature that is likely to come next.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// Moves the values to where the engine wants them.
    pub(super) fn finish(self, body: &Body<'_>, values: &[f64], batch: &mut Batch) -> Result<(), Refusal> {
        match self.matrix {
            Some(_) if self.done => {}
            Some(rows) => transpose(values, body.schema.features.len(), rows, batch),
            None => self.columns.finish(body, values, batch)?,
        }
        Ok(())
    }

    /// Takes note of a tensor whose values are the next to be staged; answers what it is, and its name for errors.
    pub(super) fn arrive<'h>(
        &mut self,
        body: &mut Body<'_>,
        head: &'h Head<'_>,
    ) -> Result<(Tensor, Cow<'h, str>), Refusal> {
        let Some(name) = head.name.as_deref() else {
            return Err(body.refuse("an input has no 'name'"));
        };
        let name = if name.len() > NAME_MAX { Cow::Owned(shorten(name, NAME_MAX)) } else { Cow::Borrowed(name) };
        let (Some(shape), Some(datatype)) = (&head.shape, head.datatype.as_deref()) else {
            return Err(body.refuse(format_args!("input '{name}' needs 'shape' and 'datatype'")));
        };
        let tensor = self.classify(body, head.name.as_deref().unwrap_or_default(), shape)?;
        let rows = shape.first().copied().unwrap_or(0);
        body.check_rows(rows).map_err(|e| Refusal::new(e.kind, format!("{}: input '{name}' has {rows}", e.message)))?;
        self.columns.agree(body, &name, rows)?;
        match tensor {
            Tensor::Unknown => body.ignore(&name)?,
            Tensor::Column(feature) => {
                check_datatype(body, &name, datatype, Some(feature))?;
                if self.matrix.is_some() {
                    return Err(body.refuse(format_args!("input '{name}' came beside a tensor of all features")));
                }
                self.columns.arrive(body, feature)?;
            }
            Tensor::Matrix => {
                check_datatype(body, &name, datatype, None)?;
                if self.matrix.replace(rows).is_some() || self.columns.any() {
                    return Err(body.refuse(format_args!("input '{name}', a tensor of all features, must come alone")));
                }
            }
        }
        Ok((tensor, name))
    }

    /// Puts a tensor in binary into the batch.
    pub(super) fn binary(
        &mut self,
        body: &mut Body<'_>,
        head: &Head<'_>,
        bytes: &[u8],
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let (tensor, name) = self.arrive(body, head)?;
        let datatype = head.datatype.as_deref().and_then(Datatype::named).unwrap_or(Datatype::Bytes);
        let count = head.shape.iter().flatten().fold(1usize, |count, size| count.saturating_mul(*size));
        let blob =
            Blob::new(datatype, bytes, count).map_err(|error| body.refuse(format_args!("input '{name}': {error}")))?;
        let width = body.schema.features.len();
        let read = match tensor {
            Tensor::Unknown => Ok(()),
            Tensor::Column(feature) => {
                let column = self.columns.unstage(body, feature, batch);
                if body.schema.features[feature].is_numeric() {
                    blob.widen(column);
                    return Ok(());
                }
                blob.each(|row, value| column[row] = body.of_blob(row, feature, value))
            }
            Tensor::Matrix => {
                self.done = true;
                batch.reset(width, count / width.max(1));
                if datatype != Datatype::Bytes && body.schema.features.iter().all(Feature::is_numeric) {
                    blob.transpose(batch);
                    return Ok(());
                }
                blob.each(|at, value| {
                    let (row, feature) = (at / width, at % width);
                    batch.set(row, feature, body.of_blob(row, feature, value));
                })
            }
        };
        read.map_err(|error| body.refuse(format_args!("input '{name}': {error}")))
    }

    fn classify(&mut self, body: &Body<'_>, name: &str, shape: &[usize]) -> Result<Tensor, Refusal> {
        let width = body.schema.features.len();
        let known = match body.schema.features.get(self.next) {
            Some(next) if *next.name == *name => Some(self.next),
            _ => body.schema.feature(name),
        };
        match (known, shape) {
            (Some(feature), [_] | [_, 1]) => {
                self.next = feature + 1;
                Ok(Tensor::Column(feature))
            }
            (_, [_, columns]) if *columns == width => Ok(Tensor::Matrix),
            (None, [_] | [_, 1]) => Ok(Tensor::Unknown),
            _ => {
                let name = shorten(name, NAME_MAX);
                Err(body.refuse(format_args!(
                    "input '{name}' has shape {shape:?}: [n] or [n, 1] for one feature, or [n, {width}] for all expected"
                )))
            }
        }
    }
}

/// A tensor's type must be one whose values its feature takes; FP64, INT32, ... are all numbers. A tensor of all features
/// may hold texts and numbers: each value is checked on its own.
fn check_datatype(body: &Body<'_>, name: &str, datatype: &str, feature: Option<usize>) -> Result<(), Refusal> {
    let Some(known) = Datatype::named(datatype) else {
        let datatype = shorten(datatype, 40);
        return Err(body.refuse(format_args!("input '{name}' has datatype '{datatype}': FP64, BYTES, ... expected")));
    };
    match feature.map(|feature| &body.schema.features[feature]) {
        Some(feature) if known == Datatype::Bytes && feature.accepts() == Accepts::Number => {
            let expected = feature.dtype.as_str();
            Err(body.refuse(format_args!("input '{name}' has datatype BYTES, {expected} expected")))
        }
        _ => Ok(()),
    }
}
