//! v2 bodies of the Open Inference Protocol: one tensor a feature (`[n]` or `[n,1]`), or one tensor `[n, features]` with
//! the features in the signature's order. `data` is flat or nested, and may come before `shape` and `datatype`.

use headgate_engine::Batch;

use super::json::Reader;
use super::tensor::{Gathered, Head, Tensor};
use super::{Asked, Body, Wanted, parameters};
use crate::refusal::Refusal;

pub(super) fn decode(body: &mut Body<'_>, values: &mut Vec<f64>, batch: &mut Batch) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    let mut gathered = None;
    body.reader.open_object()?;
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "inputs" if gathered.is_some() => return Err(body.refuse("'inputs' is sent twice")),
            "inputs" => gathered = Some(inputs(body, values)?),
            "outputs" => asked.outputs = outputs(body)?,
            "parameters" => parameters::read(body, &mut asked)?,
            "id" => {
                asked.id = Some(body.reader.text()?.into_owned());
            }
            _ => body.reader.skip()?,
        }
    }
    body.reader.end()?;
    let Some(gathered) = gathered else {
        return Err(body.refuse("'inputs' is missing: {\"inputs\": [tensor, ...]} expected"));
    };
    gathered.finish(body, values, batch)?;
    Ok(asked)
}

fn inputs(body: &mut Body<'_>, values: &mut Vec<f64>) -> Result<Gathered, Refusal> {
    let mut gathered = Gathered::new(body);
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        input(body, values, &mut gathered)?;
    }
    Ok(gathered)
}

fn input<'a>(body: &mut Body<'a>, values: &mut Vec<f64>, gathered: &mut Gathered) -> Result<(), Refusal> {
    let mut head = Head::<'a>::default();
    // Where the data begins, when it came before the head was whole; none yet; or already read.
    let mut early: Option<Reader<'a>> = None;
    let mut done = false;
    body.reader.open_object()?;
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "name" => head.name = Some(body.reader.text()?),
            "datatype" => head.datatype = Some(body.reader.text()?),
            "shape" => head.shape = Some(shape(body)?),
            "data" if done || early.is_some() => return Err(body.refuse("a tensor's 'data' is sent twice")),
            "data" if head.name.is_some() && head.shape.is_some() && head.datatype.is_some() => {
                data(body, &head, values, gathered)?;
                done = true;
            }
            "data" => {
                body.reader.peek();
                early = Some(body.reader.clone());
                body.reader.skip()?;
            }
            _ => body.reader.skip()?,
        }
    }
    match early {
        Some(reader) => {
            let after = std::mem::replace(&mut body.reader, reader);
            data(body, &head, values, gathered)?;
            body.reader = after;
            Ok(())
        }
        None if done => Ok(()),
        None => Err(body.refuse(format_args!("input '{}' has no 'data'", head.name.as_deref().unwrap_or("?")))),
    }
}

fn shape(body: &mut Body<'_>) -> Result<Vec<usize>, Refusal> {
    let mut shape = Vec::new();
    body.reader.open_array()?;
    while body.reader.element(shape.is_empty())? {
        match body.reader.number()? {
            Some(size) if size >= 0.0 && size.fract() == 0.0 && size <= 1e15 && shape.len() < 8 => {
                shape.push(size as usize);
            }
            _ => return Err(body.refuse("'shape': up to 8 whole numbers from 0 up expected")),
        }
    }
    Ok(shape)
}

fn data(body: &mut Body<'_>, head: &Head<'_>, values: &mut Vec<f64>, gathered: &mut Gathered) -> Result<(), Refusal> {
    let (tensor, name) = gathered.arrive(body, head)?;
    let shape = head.shape.as_deref().unwrap_or_default();
    match tensor {
        Tensor::Unknown => Ok(body.reader.skip()?),
        Tensor::Column(feature) => elements(body, &name, shape, values, |_| feature),
        Tensor::Matrix => {
            let width = body.schema.features.len();
            elements(body, &name, shape, values, |at| at % width)
        }
    }
}

/// Reads as many values as the shape says, flat or nested as the shape is; `feature` says whose the k-th is.
fn elements(
    body: &mut Body<'_>,
    name: &str,
    shape: &[usize],
    values: &mut Vec<f64>,
    feature: impl Fn(usize) -> usize,
) -> Result<(), Refusal> {
    let width = shape.get(1).copied().unwrap_or(1);
    let expected = shape[0] * width;
    let nested = shape.len() == 2;
    let mut came = 0;
    let disagree = |body: &Body<'_>, came: String| {
        Err(body.refuse(format_args!("input '{name}' has {came} values, its shape {shape:?} says {expected}")))
    };
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        if nested && body.reader.peek() == Some(b'[') && came % width == 0 {
            let end = came + width;
            body.reader.open_array()?;
            let mut first = true;
            while body.reader.element(first)? {
                first = false;
                if came == end || came == expected {
                    return Err(body.refuse(format_args!(
                        "input '{name}', row {}: more than {width} values, its shape is {shape:?}",
                        (end - width) / width
                    )));
                }
                let value = body.value(came / width, feature(came))?;
                values.push(value);
                came += 1;
            }
            if came != end {
                return Err(body.refuse(format_args!(
                    "input '{name}', row {}: {} values, its shape is {shape:?}",
                    (end - width) / width,
                    came + width - end
                )));
            }
            continue;
        }
        if came == expected {
            return disagree(body, format!("more than {expected}"));
        }
        let value = body.value(came / width, feature(came))?;
        values.push(value);
        came += 1;
    }
    if came != expected {
        return disagree(body, came.to_string());
    }
    Ok(())
}

/// The outputs asked for; an empty list asks for what we would send anyway.
fn outputs(body: &mut Body<'_>) -> Result<Option<Vec<Wanted>>, Refusal> {
    let mut outputs: Vec<Wanted> = Vec::new();
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        body.reader.open_object()?;
        let mut name = None;
        let mut first = true;
        while let Some(key) = body.reader.key(first)? {
            first = false;
            if key == "name" {
                name = Some(body.reader.text()?);
            } else {
                body.reader.skip()?;
            }
        }
        let name = name.unwrap_or_default();
        let output = body.output(&name)?;
        if outputs.iter().all(|wanted| wanted.output != output) {
            outputs.push(Wanted { output, binary: None });
        }
    }
    Ok((!outputs.is_empty()).then_some(outputs))
}
