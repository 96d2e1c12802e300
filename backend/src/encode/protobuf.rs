//! Scores into a `ModelInferResponse`, written field by field: values in `raw_output_contents`, or typed where the
//! request's were. What a value that is missing becomes is said in [`super::binary`].

use headgate_contract::manifest::Dtype;
use headgate_engine::Outputs;

use super::row_status::reasons;
use super::{binary, chosen, contributions, values};
use crate::decode::Asked;
use crate::schema::{Output, Schema};

/// Fields of a `ModelInferResponse`.
const MODEL_NAME: u32 = 1;
const MODEL_VERSION: u32 = 2;
const ID: u32 = 3;
const OUTPUTS: u32 = 5;
const RAW_OUTPUT_CONTENTS: u32 = 6;
/// Fields of an `InferOutputTensor`.
const NAME: u32 = 1;
const DATATYPE: u32 = 2;
const SHAPE: u32 = 3;
const CONTENTS: u32 = 5;
/// Lists of `InferTensorContents` that are no output's own.
const FP64_CONTENTS: u32 = 7;
const BYTES_CONTENTS: u32 = 8;
/// The wire type of what has a length.
const LENGTH: u32 = 2;

/// Writes a reply.
pub(super) fn message(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, raw: bool, scores: &Outputs) {
    // Of half-precision floats there are no typed contents, and all are raw or none.
    let raw = raw || chosen(schema, asked).any(|output| list(output.dtype).is_none());
    bytes(body, MODEL_NAME, schema.model.as_str().as_bytes());
    bytes(body, MODEL_VERSION, schema.version.to_string().as_bytes());
    if let Some(id) = &asked.id {
        bytes(body, ID, id.as_bytes());
    }
    let (mut of_tensor, mut typed) = (Vec::new(), Vec::new());
    let mut tensor = |name: &str, dtype: Dtype, shape: &[usize], write: &dyn Fn(&mut Vec<u8>)| {
        of_tensor.clear();
        bytes(&mut of_tensor, NAME, name.as_bytes());
        bytes(&mut of_tensor, DATATYPE, dtype.as_str().as_bytes());
        packed(&mut of_tensor, SHAPE, shape.iter().map(|size| *size as u64));
        if !raw {
            typed.clear();
            write(&mut typed);
            bytes(&mut of_tensor, CONTENTS, &typed);
        }
        bytes(body, OUTPUTS, &of_tensor);
    };
    for output in chosen(schema, asked) {
        let shape = [asked.rows, output.width];
        let shape = if output.width == 1 { &shape[..1] } else { &shape };
        tensor(&output.name, output.dtype, shape, &|to| contents(to, schema, output, asked.rows, scores));
    }
    if asked.contributions {
        let shape = contributions::shape(schema, asked.rows, &scores.contributions);
        tensor("contributions", Dtype::Fp64, &shape, &|to| doubles(to, scores.contributions.iter().copied()));
    }
    if asked.row_status {
        tensor("row_status", Dtype::Bytes, &[asked.rows], &|to| {
            reasons(asked).for_each(|why| bytes(to, BYTES_CONTENTS, why.as_bytes()));
        });
    }
    if raw {
        raw_contents(body, schema, asked, scores);
    }
}

fn raw_contents(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) {
    for output in chosen(schema, asked) {
        head(body, RAW_OUTPUT_CONTENTS, binary::size(schema, output, asked.rows, scores));
        binary::column(body, schema, output, asked.rows, scores);
    }
    if asked.contributions {
        head(body, RAW_OUTPUT_CONTENTS, 8 * scores.contributions.len());
        binary::numbers(body, Dtype::Fp64, scores.contributions.iter().copied());
    }
    if asked.row_status {
        head(body, RAW_OUTPUT_CONTENTS, reasons(asked).map(|why| 4 + why.len()).sum());
        reasons(asked).for_each(|why| binary::text(body, why));
    }
}

/// The list that a type's values are in; of half-precision floats none.
fn list(dtype: Dtype) -> Option<u32> {
    Some(match dtype {
        Dtype::Bool => 1,
        Dtype::Int8 | Dtype::Int16 | Dtype::Int32 => 2,
        Dtype::Int64 => 3,
        Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 => 4,
        Dtype::Uint64 => 5,
        Dtype::Fp32 => 6,
        Dtype::Fp64 => FP64_CONTENTS,
        Dtype::Bytes => BYTES_CONTENTS,
        Dtype::Fp16 => return None,
    })
}

/// The typed contents of an output.
fn contents(to: &mut Vec<u8>, schema: &Schema, output: &Output, rows: usize, scores: &Outputs) {
    let Some(list) = list(output.dtype) else { return };
    let values = (0..rows).flat_map(|row| values(schema, output, row, scores).iter().copied());
    match output.dtype {
        Dtype::Fp64 => doubles(to, values),
        Dtype::Fp32 => {
            head(to, list, 4 * (rows * output.width));
            binary::numbers(to, Dtype::Fp32, values);
        }
        Dtype::Bytes => {
            values.for_each(|value| {
                bytes(to, list, super::text_at(output, scores, value).unwrap_or_default().as_bytes())
            });
        }
        dtype => packed(to, list, values.map(|value| whole(dtype, value))),
    }
}

fn doubles(to: &mut Vec<u8>, values: impl Iterator<Item = f64> + Clone) {
    head(to, FP64_CONTENTS, 8 * values.clone().count());
    binary::numbers(to, Dtype::Fp64, values);
}

/// A whole number of a type, the nearest that it has, as a varint holds it: negative ones in 64 bits.
fn whole(dtype: Dtype, value: f64) -> u64 {
    match dtype {
        Dtype::Bool => u64::from(value != 0.0 && !value.is_nan()),
        Dtype::Int8 => i64::from(value as i8) as u64,
        Dtype::Int16 => i64::from(value as i16) as u64,
        Dtype::Int32 => i64::from(value as i32) as u64,
        Dtype::Int64 => (value as i64) as u64,
        Dtype::Uint8 => u64::from(value as u8),
        Dtype::Uint16 => u64::from(value as u16),
        Dtype::Uint32 => u64::from(value as u32),
        _ => value as u64,
    }
}

fn packed(to: &mut Vec<u8>, field: u32, values: impl Iterator<Item = u64> + Clone) {
    head(to, field, values.clone().map(varint_bytes).sum());
    values.for_each(|value| varint(to, value));
}

fn bytes(to: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(to, field, value.len());
    to.extend_from_slice(value);
}

/// What comes before so many bytes: the field's key and their length.
pub fn head(to: &mut Vec<u8>, field: u32, length: usize) {
    varint(to, u64::from(field << 3 | LENGTH));
    varint(to, length as u64);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
