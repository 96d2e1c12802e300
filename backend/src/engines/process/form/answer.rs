//! An answer of the Open Inference Protocol v2, read without a tree of JSON.

use crate::decode::json::{JsonError, Reader, Scalar};

/// The most tensors that an answer has.
const TENSORS_MAX: usize = 1024;
/// The most dimensions that a tensor has.
const DEPTH_MAX: usize = 8;

/// A tensor as it came.
#[derive(Default)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Option<Vec<usize>>,
    pub(super) data: Option<Vec<Datum>>,
}

/// A value as it came.
pub(super) enum Datum {
    Null,
    Number(f64),
    Text(String),
}

/// An answer while it is read.
struct Answer<'a> {
    reader: Reader<'a>,
    /// Values that may still come.
    left: usize,
}

/// The tensors of an answer that may have so many values.
pub(super) fn read(body: &[u8], values_max: usize) -> Result<Vec<Tensor>, JsonError> {
    Answer { reader: Reader::new(body), left: values_max }.tensors()
}

impl Answer<'_> {
    fn tensors(mut self) -> Result<Vec<Tensor>, JsonError> {
        let mut list = None;
        self.reader.open_object()?;
        let mut first = true;
        while let Some(key) = self.reader.key(first)? {
            first = false;
            if key != "outputs" || list.is_some() {
                self.reader.skip()?;
                continue;
            }
            let tensors = list.insert(Vec::new());
            self.reader.open_array()?;
            let mut first = true;
            while self.reader.element(first)? {
                first = false;
                if tensors.len() == TENSORS_MAX {
                    return self.reader.error("more than 1024 outputs");
                }
                tensors.push(self.tensor()?);
            }
        }
        self.reader.end()?;
        match list {
            Some(list) => Ok(list),
            None => Err(JsonError { at: self.reader.at(), what: "'outputs' is missing" }),
        }
    }

    fn tensor(&mut self) -> Result<Tensor, JsonError> {
        let mut tensor = Tensor::default();
        self.reader.open_object()?;
        let mut first = true;
        while let Some(key) = self.reader.key(first)? {
            first = false;
            match key.as_ref() {
                "name" => tensor.name = self.reader.text()?.into_owned(),
                "shape" => tensor.shape = Some(self.shape()?),
                "data" if tensor.data.is_none() => {
                    let mut values = Vec::new();
                    self.data(&mut values, 0)?;
                    tensor.data = Some(values);
                }
                _ => self.reader.skip()?,
            }
        }
        Ok(tensor)
    }

    fn shape(&mut self) -> Result<Vec<usize>, JsonError> {
        let mut shape = Vec::new();
        self.reader.open_array()?;
        let mut first = true;
        while self.reader.element(first)? {
            first = false;
            match self.reader.number()? {
                Some(size) if size >= 0.0 && size.fract() == 0.0 && shape.len() < DEPTH_MAX => {
                    shape.push(size as usize)
                }
                _ => return self.reader.error("a tensor's size expected"),
            }
        }
        Ok(shape)
    }

    /// Values, flat or nested.
    fn data(&mut self, values: &mut Vec<Datum>, depth: usize) -> Result<(), JsonError> {
        if depth > DEPTH_MAX {
            return self.reader.error("data nested deeper than 8");
        }
        self.reader.open_array()?;
        let mut first = true;
        while self.reader.element(first)? {
            first = false;
            let datum = match self.reader.scalar()? {
                None => {
                    self.data(values, depth + 1)?;
                    continue;
                }
                Some(Scalar::Null) => Datum::Null,
                Some(Scalar::Bool(value)) => Datum::Number(f64::from(u8::from(value))),
                Some(Scalar::Number(value, _)) => Datum::Number(value),
                Some(Scalar::Text(text)) => Datum::Text(text.into_owned()),
            };
            if self.left == 0 {
                return self.reader.error("more values than its outputs have for so many rows");
            }
            self.left -= 1;
            values.push(datum);
        }
        Ok(())
    }
}
