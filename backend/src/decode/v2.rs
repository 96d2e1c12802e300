//! v2 bodies of the Open Inference Protocol: one tensor a feature (`[n]` or `[n,1]`), or one tensor `[n, features]` with
//! the features in the signature's order. Keys may come in any order.
//!
//! With the binary tensor data extension a body is JSON of a length that a header says, and behind it the values of those
//! inputs that have a `binary_data_size` instead of `data`, in the order of the inputs. Where that length is 0, there is no
//! JSON: the body is one tensor of all features, and all outputs are sent in binary.

use headgate_engine::Batch;

use self::elements::Whose;
use self::extensions::Extensions;
use self::likeness::Likeness;
use super::binary::Datatype;
use super::json::Reader;
use super::tensor::{Gathered, Head, Tensor};
use super::{Asked, Body, parameters};
use crate::refusal::{Refusal, shorten};

mod elements;
mod extensions;
mod likeness;
mod outputs;

/// Where values go, and those in binary come from.
struct Inputs<'a, 'b> {
    gathered: Gathered,
    values: &'b mut Vec<f64>,
    batch: &'b mut Batch,
    /// What is left of the tensors in binary; none where the JSON is the whole body.
    binary: Option<&'a [u8]>,
    /// How the last input in binary was written.
    likeness: Option<Likeness<'a>>,
}

/// An input before its values are known to be whole.
#[derive(Default)]
struct Input<'a> {
    head: Head<'a>,
    extensions: Extensions,
    data: Data<'a>,
}

/// An input's `data`.
#[derive(Default)]
enum Data<'a> {
    #[default]
    None,
    /// Where it begins: it came before the head was whole.
    Early(Reader<'a>),
    Read,
}

/// Reads a body, of which so many bytes are JSON where tensors in binary may follow.
pub(super) fn decode<'a>(
    body: &mut Body<'a>,
    bytes: &'a [u8],
    json_bytes: Option<usize>,
    values: &mut Vec<f64>,
    batch: &mut Batch,
) -> Result<Asked, Refusal> {
    let binary = match json_bytes {
        None => None,
        Some(0) => return one_tensor(body, bytes, values, batch),
        Some(length) => {
            let Some((json, binary)) = bytes.split_at_checked(length) else {
                let came = bytes.len();
                return Err(body.refuse(format_args!("the body has {came} bytes, its JSON is said to have {length}")));
            };
            body.reader = Reader::new(json);
            Some(binary)
        }
    };
    let mut inputs = Inputs { gathered: Gathered::new(body), values, batch, binary, likeness: None };
    let asked = inputs.document(body)?;
    if let Some(left @ [_, ..]) = inputs.binary {
        let left = left.len();
        return Err(body.refuse(format_args!("{left} bytes follow the last input's tensor in binary")));
    }
    inputs.gathered.finish(body, inputs.values, inputs.batch)?;
    Ok(asked)
}

/// A body without JSON: one tensor of all features, in the type that they have in common.
fn one_tensor(body: &mut Body<'_>, bytes: &[u8], values: &[f64], batch: &mut Batch) -> Result<Asked, Refusal> {
    let features = &body.schema.features;
    let first = features.first().ok_or_else(|| body.refuse("the model has no features"))?;
    if let Some(other) = features.iter().find(|f| f.dtype != first.dtype) {
        return Err(body.refuse(format_args!(
            "a body without JSON is one tensor of one type: feature '{}' is {}, feature '{}' is {}",
            first.name,
            first.dtype.as_str(),
            other.name,
            other.dtype.as_str()
        )));
    }
    let datatype = first.dtype.as_str();
    let Some(width) = Datatype::named(datatype).and_then(Datatype::width) else {
        let name = &first.name;
        return Err(
            body.refuse(format_args!("a body without JSON is one tensor of numbers: feature '{name}' is BYTES"))
        );
    };
    let (columns, row) = (features.len(), features.len() * width);
    if !bytes.len().is_multiple_of(row) {
        let came = bytes.len();
        return Err(body.refuse(format_args!("{came} bytes came, rows of {columns} {datatype} have {row} each")));
    }
    let head = Head {
        name: Some("body".into()),
        shape: Some(vec![bytes.len() / row, columns]),
        datatype: Some(datatype.into()),
    };
    let mut gathered = Gathered::new(body);
    gathered.binary(body, &head, bytes, batch)?;
    gathered.finish(body, values, batch)?;
    Ok(Asked { binary: true, ..Asked::default() })
}

impl<'a> Inputs<'a, '_> {
    fn document(&mut self, body: &mut Body<'a>) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        let mut came = false;
        body.reader.open_object()?;
        let mut first = true;
        while let Some(key) = body.reader.key(first)? {
            first = false;
            match key.as_ref() {
                "inputs" if came => return Err(body.refuse("'inputs' is sent twice")),
                "inputs" => {
                    came = true;
                    self.inputs(body)?;
                }
                "outputs" => asked.outputs = outputs::read(body)?,
                "parameters" => parameters::read(body, &mut asked)?,
                "id" => asked.id = Some(body.reader.text()?.into_owned()),
                _ => body.reader.skip()?,
            }
        }
        body.reader.end()?;
        if came {
            return Ok(asked);
        }
        Err(body.refuse("'inputs' is missing: {\"inputs\": [tensor, ...]} expected"))
    }

    fn inputs(&mut self, body: &mut Body<'a>) -> Result<(), Refusal> {
        body.reader.open_array()?;
        let mut first = true;
        while body.reader.element(first)? {
            first = false;
            if !self.alike(body)? {
                self.input(body)?;
            }
        }
        Ok(())
    }

    /// Reads an input that is written as the last one was, where it is one.
    fn alike(&mut self, body: &mut Body<'a>) -> Result<bool, Refusal> {
        let (Some(likeness), Some(binary)) = (&mut self.likeness, self.binary) else { return Ok(false) };
        let Some(next) = body.schema.features.get(self.gathered.next()) else { return Ok(false) };
        let Some(length) = likeness.find(body.reader.rest(), &next.name) else { return Ok(false) };
        let Some((bytes, after)) = binary.split_at_checked(likeness.size) else { return Ok(false) };
        body.reader.pass(length);
        self.binary = Some(after);
        self.gathered.binary(body, &likeness.head, bytes, self.batch)?;
        Ok(true)
    }

    fn input(&mut self, body: &mut Body<'a>) -> Result<(), Refusal> {
        let mut input = Input::default();
        body.reader.peek();
        let whole = body.reader.rest();
        body.reader.open_object()?;
        let mut first = true;
        while let Some(key) = body.reader.key(first)? {
            first = false;
            match key.as_ref() {
                "name" => input.head.name = Some(body.reader.text()?),
                "datatype" => input.head.datatype = Some(body.reader.text()?),
                "shape" => input.head.shape = Some(shape(body, &input.head)?),
                "parameters" => input.extensions = extensions::read(body)?,
                "data" => self.data(body, &mut input)?,
                _ => body.reader.skip()?,
            }
        }
        if !input.extensions.is_empty() {
            let whole = &whole[..whole.len() - body.reader.rest().len()];
            return self.extended(body, input, whole);
        }
        match input.data {
            Data::Read => Ok(()),
            Data::Early(reader) => {
                let after = std::mem::replace(&mut body.reader, reader);
                self.values(body, &input.head)?;
                body.reader = after;
                Ok(())
            }
            Data::None => Err(body.refuse(format_args!("input '{}' has no 'data'", name_of(&input.head)))),
        }
    }

    fn data(&mut self, body: &mut Body<'a>, input: &mut Input<'a>) -> Result<(), Refusal> {
        if !matches!(input.data, Data::None) {
            return Err(body.refuse("a tensor's 'data' is sent twice"));
        }
        if input.head.is_whole() {
            input.data = Data::Read;
            return self.values(body, &input.head);
        }
        body.reader.peek();
        input.data = Data::Early(body.reader.clone());
        Ok(body.reader.skip()?)
    }

    fn values(&mut self, body: &mut Body<'a>, head: &Head<'a>) -> Result<(), Refusal> {
        let (tensor, name) = self.gathered.arrive(body, head)?;
        let shape = head.shape.as_deref().unwrap_or_default();
        match tensor {
            Tensor::Unknown => Ok(body.reader.skip()?),
            Tensor::Column(feature) => elements::read(body, &name, shape, self.values, Whose::Feature(feature)),
            Tensor::Matrix => elements::read(body, &name, shape, self.values, Whose::All),
        }
    }

    /// An input with parameters that say where its values are, and how it is written.
    fn extended(&mut self, body: &mut Body<'a>, input: Input<'a>, whole: &'a [u8]) -> Result<(), Refusal> {
        let name = name_of(&input.head);
        let refuse = |words: &str| Err(body.refuse(format_args!("input '{name}' {words}")));
        let size = match input.extensions.check(body, format_args!("input '{name}'"))? {
            None if matches!(input.data, Data::None) => return refuse("has no 'data'"),
            _ if !matches!(input.data, Data::None) => return refuse("has both 'data' and 'binary_data_size'"),
            None => return Ok(()),
            Some(size) => size,
        };
        let Some(binary) = self.binary else {
            return refuse(
                "has 'binary_data_size', but no header inference-header-content-length says where it begins",
            );
        };
        let Some((bytes, after)) = binary.split_at_checked(size) else {
            let left = binary.len();
            return refuse(&format!("has a 'binary_data_size' of {size}, {left} bytes of the body are left"));
        };
        self.binary = Some(after);
        self.gathered.binary(body, &input.head, bytes, self.batch)?;
        self.likeness = Likeness::new(whole, input.head, size);
        Ok(())
    }
}

fn name_of(head: &Head<'_>) -> String {
    shorten(head.name.as_deref().unwrap_or("?"), 80)
}

fn shape(body: &mut Body<'_>, head: &Head<'_>) -> Result<Vec<usize>, Refusal> {
    let mut shape = Vec::new();
    body.reader.open_array()?;
    while body.reader.element(shape.is_empty())? {
        match body.reader.number()? {
            Some(size) if size >= 0.0 && size.fract() == 0.0 && size <= 1e15 && shape.len() < 8 => {
                shape.push(size as usize);
            }
            _ => {
                let name = name_of(head);
                return Err(
                    body.refuse(format_args!("input '{name}': 'shape': up to 8 whole numbers from 0 up expected"))
                );
            }
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests;
