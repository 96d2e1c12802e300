//! A `ModelInferRequest` as it lies in bytes: no message is built, and tensors are read where they are. Tensors have the
//! shapes of [`super::v2`]; their values are typed `contents`, or all of them `raw_input_contents`.

use std::borrow::Cow;

use headgate_contract::wire::{Field, Message, Value, WireError};
use headgate_engine::Batch;

use super::tensor::{Gathered, Head, Tensor};
use super::{Asked, Body, Shape, Wanted, typed};
use crate::refusal::{Refusal, shorten};

/// The fields of a `ModelInferRequest` that are read here; model and version are its door's.
const ID: u32 = 3;
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_INPUT_CONTENTS: u32 = 7;

/// Of a tensor the name, of an entry of a map the key.
const NAME: u32 = 1;
/// Other fields of an `InferInputTensor`.
const DATATYPE: u32 = 2;
const SHAPE: u32 = 3;
const CONTENTS: u32 = 5;

/// The largest size, and the most of them.
const SIZE_MAX: usize = 1_000_000_000_000_000;
const SIZES_MAX: usize = 8;
const SHAPES: &str = "up to 8 whole numbers from 0 up";

/// A tensor before its values are read.
#[derive(Default)]
struct Input<'a> {
    head: Head<'a>,
    contents: Option<Message<'a>>,
}

pub(super) fn decode<'a>(
    body: &mut Body<'a>,
    bytes: &'a [u8],
    values: &mut Vec<f64>,
    batch: &mut Batch,
) -> Result<Asked, Refusal> {
    let (mut asked, mut inputs, mut raws) = (Asked::default(), 0usize, 0usize);
    let mut outputs = Vec::new();
    let mut message = Message::new(bytes);
    while let Some(field) = message.next()? {
        match field.number {
            ID => asked.id = Some(field.str()?.to_owned()).filter(|id| !id.is_empty()),
            PARAMETERS => parameter(body, &field, &mut asked)?,
            INPUTS => inputs += 1,
            OUTPUTS => output(body, &field, &mut outputs)?,
            RAW_INPUT_CONTENTS => raws += 1,
            _ => {}
        }
    }
    if inputs == 0 {
        return Err(body.refuse("'inputs' is missing: at least one tensor expected"));
    }
    if raws > 0 && raws != inputs {
        return Err(body.refuse(format_args!("{raws} raw_input_contents came for {inputs} inputs: one each expected")));
    }
    asked.outputs = (!outputs.is_empty()).then_some(outputs);
    let mut gathered = Gathered::new(body);
    let typed = tensors(body, bytes, raws > 0, values, batch, &mut gathered)?;
    asked.shape = Shape::Protobuf { raw: !typed };
    gathered.finish(body, values, batch)?;
    Ok(asked)
}

/// Reads all tensors; answers whether any had typed contents.
fn tensors<'a>(
    body: &mut Body<'a>,
    bytes: &'a [u8],
    raw: bool,
    values: &mut Vec<f64>,
    batch: &mut Batch,
    gathered: &mut Gathered,
) -> Result<bool, Refusal> {
    let mut typed = false;
    let mut message = Message::new(bytes);
    // The raw contents in step with the inputs: a list of either would have no bound but the body's.
    let mut raws = Message::new(bytes);
    while let Some(field) = message.next()? {
        if field.number != INPUTS {
            continue;
        }
        let input = input(body, &field)?;
        typed |= input.contents.is_some();
        if !raw {
            contents(body, input, values, gathered)?;
            continue;
        }
        if input.contents.is_some() {
            let name = shorten(input.head.name.as_deref().unwrap_or("?"), 80);
            let words =
                format_args!("input '{name}' has contents beside raw_input_contents: one or the other expected");
            return Err(body.refuse(words));
        }
        let bytes = next_raw(&mut raws)?;
        gathered.binary(body, &input.head, bytes, batch)?;
    }
    Ok(typed)
}

fn next_raw<'a>(message: &mut Message<'a>) -> Result<&'a [u8], WireError> {
    while let Some(field) = message.next()? {
        if field.number == RAW_INPUT_CONTENTS {
            return field.bytes();
        }
    }
    Ok(&[])
}

fn input<'a>(body: &Body<'_>, field: &Field<'a>) -> Result<Input<'a>, Refusal> {
    let mut input = Input::default();
    let mut message = field.message()?;
    while let Some(field) = message.next()? {
        match field.number {
            NAME => input.head.name = Some(Cow::Borrowed(field.str()?)),
            DATATYPE => input.head.datatype = Some(Cow::Borrowed(field.str()?)),
            SHAPE => shape(body, &field, &mut input.head)?,
            CONTENTS if input.contents.is_some() => return Err(body.refuse("a tensor's 'contents' is sent twice")),
            CONTENTS => input.contents = Some(field.message()?),
            _ => {}
        }
    }
    Ok(input)
}

/// Sizes, packed or one by one.
fn shape(body: &Body<'_>, field: &Field<'_>, head: &mut Head<'_>) -> Result<(), Refusal> {
    let (name, shape) = (head.name.as_deref().unwrap_or("?"), head.shape.get_or_insert_default());
    let mut add = |size: u64| match i64::try_from(size).ok().and_then(|size| usize::try_from(size).ok()) {
        Some(size) if size <= SIZE_MAX && shape.len() < SIZES_MAX => {
            shape.push(size);
            Ok(())
        }
        _ => {
            let came = if shape.len() < SIZES_MAX { (size as i64).to_string() } else { "a ninth size".to_owned() };
            let name = shorten(name, 80);
            Err(body.refuse(format_args!("input '{name}' has {came} in its 'shape': {SHAPES} expected")))
        }
    };
    match field.value {
        Value::Varint(size) => add(size),
        _ => {
            let mut packed = field.message()?;
            while !packed.is_empty() {
                add(packed.varint()?)?;
            }
            Ok(())
        }
    }
}

fn contents(
    body: &mut Body<'_>,
    input: Input<'_>,
    values: &mut Vec<f64>,
    gathered: &mut Gathered,
) -> Result<(), Refusal> {
    let Some(contents) = input.contents else {
        let name = shorten(input.head.name.as_deref().unwrap_or("?"), 80);
        return Err(body.refuse(format_args!("input '{name}' has no 'contents', and no raw_input_contents came")));
    };
    let (tensor, name) = gathered.arrive(body, &input.head)?;
    let shape = input.head.shape.as_deref().unwrap_or_default();
    let datatype = input.head.datatype.as_deref().unwrap_or_default();
    let width = body.schema.features.len();
    match tensor {
        Tensor::Unknown => Ok(()),
        Tensor::Column(feature) => typed::elements(body, &name, datatype, shape, contents, values, |_| feature),
        Tensor::Matrix => typed::elements(body, &name, datatype, shape, contents, values, |at| at % width),
    }
}

/// An entry of the map of parameters.
fn parameter(body: &Body<'_>, field: &Field<'_>, asked: &mut Asked) -> Result<(), Refusal> {
    let (mut key, mut value) = ("", None);
    let mut message = field.message()?;
    while let Some(field) = message.next()? {
        match field.number {
            NAME => key = field.str()?,
            2 => value = field.message()?.next()?,
            _ => {}
        }
    }
    let Some(flag) = asked.flag(key) else { return Ok(()) };
    *flag = match value {
        Some(Field { number: 1, value: Value::Varint(value), .. }) => value != 0,
        _ => return Err(body.refuse(format_args!("parameter '{key}': a bool_param expected"))),
    };
    Ok(())
}

/// An output that is asked for.
fn output(body: &Body<'_>, field: &Field<'_>, outputs: &mut Vec<Wanted>) -> Result<(), Refusal> {
    let mut name = "";
    let mut message = field.message()?;
    while let Some(field) = message.next()? {
        if field.number == NAME {
            name = field.str()?;
        }
    }
    let output = body.output(name)?;
    if outputs.iter().all(|wanted| wanted.output != output) {
        outputs.push(Wanted { output, binary: None });
    }
    Ok(())
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::invalid(format!("body: {error}"))
    }
}
