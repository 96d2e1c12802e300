//! Bodies straight into typed columns, no JSON tree.
//!
//! What a value means, for every door: `null`, `NaN` (bare or as text) and a value of a category that the model has not
//! seen are *missing*; an absent feature gets its default, else is missing, else, where it is required, an error.
//! `Infinity` and `-Infinity`, bare or as text, are numbers; booleans are 0 and 1; a number written as text is a type
//! error. JSON numbers are read as 64-bit floats whatever type the tensor declares. Rows are counted from 0.
//!
//! What is wrong with a row's values is that row's fault ([`Faults`]); what is wrong with the body fails the call.

use headgate_contract::Kind;
use headgate_engine::{Batch, Texts};

use crate::refusal::{Refusal, shorten};
use crate::schema::{Mismatch, Schema};

mod arrow;
pub mod binary;
pub mod columns;
mod csv;
mod element;
pub mod faults;
mod frame;
mod head;
pub mod ignored;
pub mod json;
mod number;
mod parameters;
mod protobuf;
mod rows;
mod runs;
mod tensor;
mod typed;
mod v1;
mod v2;

pub use csv::Lines;
pub use faults::Faults;
pub use ignored::Ignored;
use json::{JsonError, Reader, Scalar};
pub use rows::transpose;

/// The most values that one call may make, in rows x features: 128 MiB.
pub const CELLS_MAX: usize = 16 << 20;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Open Inference Protocol v2 in JSON; where tensors in binary follow it, the JSON has so many bytes.
    V2 {
        /// Length of the JSON.
        json_bytes: Option<usize>,
    },
    /// TF Serving's and KServe's v1.
    V1,
    /// JSON as MLflow's and SageMaker's clients send it.
    Frame {
        /// Whether the reply is CSV.
        csv: bool,
    },
    /// Lines of CSV.
    Csv(Lines),
    /// A `ModelInferRequest` as a message of gRPC holds it.
    Protobuf,
    /// An Arrow IPC stream.
    Arrow,
}

/// What bounds a body.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most rows of one call.
    pub rows_max: usize,
    /// Whether a feature that the version does not know is an error.
    pub strict: bool,
}

/// What a body asked for, beside the rows that are now in the batch.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The request's id.
    pub id: Option<String>,
    /// The outputs asked for; none where the caller leaves it to us.
    pub outputs: Option<Vec<Wanted>>,
    /// Whether outputs that do not say so are sent in binary.
    pub binary: bool,
    /// Whether the reply says what each feature added.
    pub contributions: bool,
    /// Whether bad rows fail alone, and the reply says which and why.
    pub row_status: bool,
    /// Rows that came, those of [`Asked::faults`] included.
    pub rows: usize,
    /// Rows that are not in the batch, as they can't be scored.
    pub faults: Faults,
    /// Features that the version does not know.
    pub ignored: Ignored,
    /// How the reply is written.
    pub shape: Shape,
}

/// An output that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its place in the schema.
    pub output: usize,
    /// Whether it is to be sent in binary, where the caller says so.
    pub binary: Option<bool>,
}

/// How a reply is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// As the Open Inference Protocol's tensors.
    #[default]
    Tensors,
    /// As TF Serving's `predictions`, row by row.
    Predictions,
    /// As TF Serving's `outputs`, column by column.
    Columns,
    /// As lines of CSV.
    Csv,
    /// As a `ModelInferResponse`.
    Protobuf {
        /// Whether the tensors are in `raw_output_contents`.
        raw: bool,
    },
    /// As an Arrow IPC stream.
    Arrow,
}

/// Values on their way to the batch; its allocation is kept between calls.
#[derive(Debug, Default)]
pub struct Staging {
    values: Vec<f64>,
}

/// One body on its way.
struct Body<'a> {
    schema: &'a Schema,
    bounds: Bounds,
    reader: Reader<'a>,
    ignored: Ignored,
    faults: Faults,
    /// What text features name by place.
    texts: Texts,
}

/// Reads a body into `batch`.
pub fn decode(
    form: Form,
    bytes: &[u8],
    schema: &Schema,
    bounds: Bounds,
    staging: &mut Staging,
    batch: &mut Batch,
) -> Result<Asked, Refusal> {
    staging.values.clear();
    let mut texts = std::mem::take(batch.texts_mut());
    texts.clear();
    for default in &schema.default_texts {
        texts.push(default);
    }
    let reader = Reader::new(bytes);
    let mut body = Body { schema, bounds, reader, ignored: Ignored::default(), faults: Faults::default(), texts };
    let asked = match form {
        Form::V2 { json_bytes } => v2::decode(&mut body, bytes, json_bytes, &mut staging.values, batch),
        Form::V1 => v1::decode(&mut body, &mut staging.values, batch),
        Form::Frame { csv } => frame::decode(&mut body, csv, &mut staging.values, batch),
        Form::Arrow => arrow::decode(&mut body, bytes, batch),
        Form::Csv(lines) => csv::decode(&mut body, bytes, lines, &mut staging.values, batch),
        Form::Protobuf => protobuf::decode(&mut body, bytes, &mut staging.values, batch),
    };
    *batch.texts_mut() = std::mem::take(&mut body.texts);
    body.finish(asked?, batch)
}

// === impl Staging ===

impl Staging {
    /// Gives back what a large call took.
    pub fn shrink(&mut self, values_max: usize) {
        if self.values.capacity() > values_max {
            self.values = Vec::new();
        }
    }
}

// === impl Body ===

impl Body<'_> {
    /// A refusal that names the model.
    fn refuse(&self, what: impl std::fmt::Display) -> Refusal {
        Refusal::invalid(format!("model '{}' version {}: {what}", self.schema.model, self.schema.version))
    }

    /// Takes note that a row has a value that its feature does not take; missing stands in its place.
    #[cold]
    fn mismatch(&mut self, row: usize, feature: usize, mismatch: &Mismatch) -> f64 {
        let name = self.schema.features.get(feature).map_or("", |f| &f.name);
        let (came, expected) = (&mismatch.came, mismatch.expected);
        self.faults.add(row, format_args!("row {row}, feature '{name}': {came} came, {expected} expected"));
        f64::NAN
    }

    /// Takes rows that can't be scored out of the batch, or refuses the call for them.
    fn finish(self, mut asked: Asked, batch: &mut Batch) -> Result<Asked, Refusal> {
        asked.rows = batch.rows();
        if asked.rows == 0 {
            return Err(self.refuse("no rows came, at least one expected"));
        }
        if !self.faults.is_empty() {
            if !asked.row_status {
                return Err(self.refuse(&self.faults));
            }
            batch.retain(|row| self.faults.reason(row).is_none());
        }
        (asked.ignored, asked.faults) = (self.ignored, self.faults);
        Ok(asked)
    }

    /// Reads the value of a feature.
    #[inline]
    fn value(&mut self, row: usize, feature: usize) -> Result<f64, Refusal> {
        let known = &self.schema.features[feature];
        if known.is_numeric()
            && let Some(value) = self.reader.number()?
        {
            return Ok(value);
        }
        match self.reader.scalar()? {
            Some(Scalar::Text(text)) if known.is_text() => Ok(self.texts.push(&text) as f64),
            Some(scalar) => Ok(known.value(&scalar).unwrap_or_else(|m| self.mismatch(row, feature, &m))),
            None => {
                let came = if self.reader.peek() == Some(b'[') { "an array" } else { "an object" };
                let expected = if known.is_numeric() { "a number" } else { "a text" };
                self.reader.skip()?;
                Ok(self.mismatch(row, feature, &Mismatch { came: came.to_owned(), expected }))
            }
        }
    }

    /// The place of the output of that name.
    fn output(&self, name: &str) -> Result<usize, Refusal> {
        self.schema.outputs.iter().position(|o| *o.name == *name).ok_or_else(|| {
            let known = self.schema.outputs.iter().map(|o| o.name.as_ref()).collect::<Vec<_>>().join("', '");
            let name = shorten(name, 80);
            self.refuse(format_args!("output '{name}' is not known: '{known}' expected"))
        })
    }

    /// Takes note of a feature that the version does not know; its value is still to be skipped.
    fn ignore(&mut self, name: &str) -> Result<(), Refusal> {
        if self.bounds.strict {
            let name = shorten(name, 80);
            return Err(self.refuse(format_args!("feature '{name}' is not known, and the release is strict")));
        }
        self.ignored.add(name);
        Ok(())
    }

    /// Checks that there is room for one row more.
    #[inline]
    fn check_rows(&self, rows: usize) -> Result<(), Refusal> {
        let most = self.bounds.rows_max.min(CELLS_MAX / self.schema.features.len().max(1));
        if rows > most {
            return Err(Refusal::new(
                Kind::TooLarge,
                format!("model '{}': more than {most} rows in one call", self.schema.model),
            ));
        }
        Ok(())
    }

    /// A call with features of which the version knows none is a mistake, not a row of missing values.
    fn check_known(&self, known: bool) -> Result<(), Refusal> {
        if known || self.ignored.is_empty() {
            return Ok(());
        }
        let names = self.schema.features.iter().take(4).map(|f| f.name.as_ref()).collect::<Vec<_>>().join("', '");
        Err(self.refuse(format_args!("none of the features sent ({}) is known: '{names}', ... expected", self.ignored)))
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Refusal::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests;
