//! A tensor's values as `InferTensorContents` has them: one of eight lists, by the tensor's datatype.

use headgate_contract::wire::{Field, Message, Value, WireError};

use super::Body;
use super::element::Element;
use crate::refusal::Refusal;

/// The lists, by the number of their field less one.
const LISTS: [&str; 8] = [
    "bool_contents",
    "int_contents",
    "int64_contents",
    "uint_contents",
    "uint64_contents",
    "fp32_contents",
    "fp64_contents",
    "bytes_contents",
];

/// Reads as many values as the shape says; `feature` says whose the k-th is.
pub(super) fn elements(
    body: &mut Body<'_>,
    name: &str,
    datatype: &str,
    shape: &[usize],
    mut contents: Message<'_>,
    values: &mut Vec<f64>,
    feature: impl Fn(usize) -> usize,
) -> Result<(), Refusal> {
    let width = shape.get(1).copied().unwrap_or(1).max(1);
    let expected: usize = shape.iter().product();
    let list = list(body, name, datatype)?;
    let mut came = 0;
    let mut put = |body: &mut Body<'_>, element: Element<'_>| {
        if came == expected {
            return Err(body.refuse(format_args!(
                "input '{name}' has more than {expected} values, its shape {shape:?} says {expected}"
            )));
        }
        values.push(body.element(came / width, feature(came), element));
        came += 1;
        Ok(())
    };
    while let Some(field) = contents.next()? {
        if field.number != list {
            let other = LISTS.get(field.number as usize - 1).copied().unwrap_or("other contents");
            let expected = LISTS[list as usize - 1];
            let words = format_args!("input '{name}' has datatype {datatype} and {other}: {expected} expected");
            return Err(body.refuse(words));
        }
        each(&field, |element| put(body, element))?;
    }
    if came != expected {
        let words = format_args!("input '{name}' has {came} values, its shape {shape:?} says {expected}");
        return Err(body.refuse(words));
    }
    Ok(())
}

/// The number of the list that a datatype's values are in.
fn list(body: &Body<'_>, name: &str, datatype: &str) -> Result<u32, Refusal> {
    Ok(match datatype {
        "BOOL" => 1,
        "INT8" | "INT16" | "INT32" => 2,
        "INT64" => 3,
        "UINT8" | "UINT16" | "UINT32" => 4,
        "UINT64" => 5,
        "FP32" => 6,
        "FP64" => 7,
        "BYTES" => 8,
        _ => {
            let words = format_args!("input '{name}': {datatype} has no typed contents: raw_input_contents expected");
            return Err(body.refuse(words));
        }
    })
}

/// Each value of a field: numbers are packed, or one a field.
fn each<'a>(field: &Field<'a>, mut put: impl FnMut(Element<'a>) -> Result<(), Refusal>) -> Result<(), Refusal> {
    // As Protocol Buffers read them: what is wider than the type is cut.
    let whole = |value: u64| match field.number {
        1 => Element::Bool(value != 0),
        2 => Element::Signed(i64::from(value as i32)),
        3 => Element::Signed(value as i64),
        4 => Element::Unsigned(u64::from(value as u32)),
        _ => Element::Unsigned(value),
    };
    let cut = || {
        Refusal::from(WireError::at(
            field.offset,
            format!("{} that end within a number", LISTS[field.number as usize - 1]),
        ))
    };
    match (field.number, &field.value) {
        (1..=5, Value::Varint(value)) => put(whole(*value)),
        (6, Value::Fixed32(bits)) => put(Element::Real(f64::from(f32::from_bits(*bits)))),
        (7, Value::Fixed64(bits)) => put(Element::Real(f64::from_bits(*bits))),
        (8, Value::Bytes(bytes)) => put(Element::Bytes(bytes)),
        (1..=5, Value::Bytes(_)) => {
            let mut packed = field.message()?;
            while !packed.is_empty() {
                put(whole(packed.varint()?))?;
            }
            Ok(())
        }
        (6, Value::Bytes(bytes)) => {
            let (numbers, rest) = bytes.as_chunks::<4>();
            numbers.iter().try_for_each(|n| put(Element::Real(f64::from(f32::from_le_bytes(*n)))))?;
            if rest.is_empty() { Ok(()) } else { Err(cut()) }
        }
        (7, Value::Bytes(bytes)) => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            numbers.iter().try_for_each(|n| put(Element::Real(f64::from_le_bytes(*n))))?;
            if rest.is_empty() { Ok(()) } else { Err(cut()) }
        }
        _ => {
            let list = LISTS[field.number as usize - 1];
            Err(WireError::at(field.offset, format!("{list} of another type")).into())
        }
    }
}
