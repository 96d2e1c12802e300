//! Bodies straight into typed columns, no JSON tree.
//!
//! What a value means, for every door: `null`, `NaN` (bare or as text) and a value of a category that the model has not
//! seen are *missing*; an absent feature gets its default, else is missing, else, where it is required, an error.
//! `Infinity` and `-Infinity`, bare or as text, are numbers; booleans are 0 and 1; a number written as text is a type
//! error. JSON numbers are read as 64-bit floats whatever type the tensor declares. Rows are counted from 0.

use headgate_contract::route::Protocol;
use headgate_engine::{Batch, Texts};

use crate::refusal::{Refusal, shorten};
use crate::schema::{Mismatch, Schema};

pub mod columns;
pub mod ignored;
pub mod json;
mod number;
mod parameters;
mod rows;
mod v1;
mod v2;

pub use ignored::Ignored;
use json::{JsonError, Reader, Scalar};

/// The most values that one call may make, in rows x features: 128 MiB.
pub const CELLS_MAX: usize = 16 << 20;

/// What bounds a body.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most rows of one call.
    pub rows_max: usize,
    /// Whether a feature that the version does not know is an error.
    pub strict: bool,
}

/// What a body asked for, beside the rows that are now in the batch.
#[derive(Debug, Default)]
pub struct Asked {
    /// The request's id, as JSON text.
    pub id: Option<String>,
    /// The outputs asked for, by place in the schema; none where the caller leaves it to us.
    pub outputs: Option<Vec<usize>>,
    /// Whether the reply says what each feature added.
    pub contributions: bool,
    /// Features that the version does not know.
    pub ignored: Ignored,
    /// How the reply is written.
    pub shape: Shape,
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
    /// What text features name by place.
    texts: Texts,
}

/// Reads a body into `batch`.
pub fn decode(
    protocol: Protocol,
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
    let mut body = Body { schema, bounds, reader: Reader::new(bytes), ignored: Ignored::default(), texts };
    let asked = match protocol {
        Protocol::V2 => v2::decode(&mut body, &mut staging.values, batch),
        Protocol::V1 => v1::decode(&mut body, &mut staging.values, batch),
    };
    *batch.texts_mut() = body.texts;
    asked
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

    /// A refusal that names the model, the row and the feature.
    fn mismatch(&self, row: usize, feature: usize, mismatch: &Mismatch) -> Refusal {
        let name = self.schema.features.get(feature).map_or("", |f| &f.name);
        self.refuse(format_args!("row {row}, feature '{name}': {} came, {} expected", mismatch.came, mismatch.expected))
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
            Some(scalar) => known.value(&scalar).map_err(|m| self.mismatch(row, feature, &m)),
            None => {
                let came = if self.reader.peek() == Some(b'[') { "an array" } else { "an object" };
                let expected = if known.is_numeric() { "a number" } else { "a text" };
                Err(self.mismatch(row, feature, &Mismatch { came: came.to_owned(), expected }))
            }
        }
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
                headgate_contract::Kind::TooLarge,
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
