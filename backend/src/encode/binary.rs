//! Values of a reply in binary: little-endian, a BOOL as a byte, each of BYTES as its length in four bytes and its bytes.
//! Of a value that is missing, NaN in floats, integers and booleans say 0, and BYTES an empty text.

use headgate_contract::manifest::Dtype;
use headgate_engine::Outputs;

use crate::schema::{Output, Schema};

/// Bytes of a number of a type; none for BYTES.
pub fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::Bool | Dtype::Uint8 | Dtype::Int8 => Some(1),
        Dtype::Uint16 | Dtype::Int16 | Dtype::Fp16 => Some(2),
        Dtype::Uint32 | Dtype::Int32 | Dtype::Fp32 => Some(4),
        Dtype::Uint64 | Dtype::Int64 | Dtype::Fp64 => Some(8),
        Dtype::Bytes => None,
    }
}

/// Bytes of an output's values.
pub fn size(schema: &Schema, output: &Output, rows: usize, scores: &Outputs) -> usize {
    match width(output.dtype) {
        Some(width) => width * output.width * rows,
        None => values(schema, output, rows, scores).map(|value| 4 + text_of(output, scores, value).len()).sum(),
    }
}

/// Appends an output's values, row after row.
pub fn column(to: &mut Vec<u8>, schema: &Schema, output: &Output, rows: usize, scores: &Outputs) {
    let values = values(schema, output, rows, scores);
    match output.dtype {
        Dtype::Bytes => values.for_each(|value| text(to, text_of(output, scores, value))),
        dtype => numbers(to, dtype, values),
    }
}

/// Appends numbers; of a type that is too small for one, the nearest that it has.
pub fn numbers(to: &mut Vec<u8>, dtype: Dtype, values: impl Iterator<Item = f64>) {
    match dtype {
        Dtype::Fp64 => values.for_each(|v| to.extend_from_slice(&v.to_le_bytes())),
        Dtype::Fp32 => values.for_each(|v| to.extend_from_slice(&(v as f32).to_le_bytes())),
        Dtype::Fp16 => values.for_each(|v| to.extend_from_slice(&half(v).to_le_bytes())),
        Dtype::Bool => values.for_each(|v| to.push(u8::from(v != 0.0 && !v.is_nan()))),
        Dtype::Uint8 => values.for_each(|v| to.push(v as u8)),
        Dtype::Uint16 => values.for_each(|v| to.extend_from_slice(&(v as u16).to_le_bytes())),
        Dtype::Uint32 => values.for_each(|v| to.extend_from_slice(&(v as u32).to_le_bytes())),
        Dtype::Uint64 => values.for_each(|v| to.extend_from_slice(&(v as u64).to_le_bytes())),
        Dtype::Int8 => values.for_each(|v| to.extend_from_slice(&(v as i8).to_le_bytes())),
        Dtype::Int16 => values.for_each(|v| to.extend_from_slice(&(v as i16).to_le_bytes())),
        Dtype::Int32 => values.for_each(|v| to.extend_from_slice(&(v as i32).to_le_bytes())),
        Dtype::Int64 => values.for_each(|v| to.extend_from_slice(&(v as i64).to_le_bytes())),
        Dtype::Bytes => {}
    }
}

/// Appends one of BYTES.
pub fn text(to: &mut Vec<u8>, text: &str) {
    // No reply has a text of 4 GiB.
    let bytes = &text.as_bytes()[..text.len().min(u32::MAX as usize)];
    to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn values<'o>(
    schema: &'o Schema,
    output: &'o Output,
    rows: usize,
    scores: &'o Outputs,
) -> impl Iterator<Item = f64> + 'o {
    (0..rows).flat_map(move |row| super::values(schema, output, row, scores).iter().copied())
}

fn text_of<'o>(output: &'o Output, scores: &'o Outputs, value: f64) -> &'o str {
    super::text_at(output, scores, value).unwrap_or_default()
}

/// The nearest half-precision float, ties to even; too large ones are infinite.
fn half(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return 0x7e00;
    }
    // Adding a power of two of the right size rounds at the last bit that a half has there, as the processor rounds.
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(-14);
    if exponent > 15 {
        return sign | 0x7c00;
    }
    let unit = f64::from_bits(((exponent - 10 + 1023) as u64) << 52);
    let units = (magnitude / unit).round_ties_even() as u16;
    // A normal one has 1024 to 2048 units, the first 1024 of which its exponent says.
    let base = if exponent > -14 || units >= 1024 { ((exponent + 15) as u16) << 10 } else { 0 };
    sign | if base > 0 { base + (units - 1024) } else { units }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::decode::binary::{Blob, Datatype};

    fn halves(value: f64) -> [u8; 2] {
        half(value).to_le_bytes()
    }

    fn widened(bytes: &[u8]) -> f64 {
        let mut to = [0.0];
        Blob::new(Datatype::Fp16, bytes, 1).unwrap().widen(&mut to);
        to[0]
    }

    #[test]
    fn every_half_is_itself_and_what_lies_between_goes_to_the_nearer_one() {
        for bits in 0..=u16::MAX {
            let value = widened(&bits.to_le_bytes());
            assert!(half(value) == bits || value.is_nan() && widened(&halves(value)).is_nan(), "{bits:#x}");
            if bits & 0x7fff >= 0x7bff {
                continue;
            }
            let next = widened(&(bits + 1).to_le_bytes());
            let middle = f64::midpoint(value, next);
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            let toward = |to: f64| if to > middle { middle.next_up() } else { middle.next_down() };
            assert_eq!((half(middle), half(toward(value)), half(toward(next))), (even, bits, bits + 1), "{bits:#x}");
        }
        assert_eq!([half(65519.9), half(65520.0), half(-1e300), half(1e-300)], [0x7bff, 0x7c00, 0xfc00, 0]);
    }

    #[test]
    fn numbers_that_a_type_lacks() {
        let write = |dtype, values: &[f64]| {
            let mut to = Vec::new();
            numbers(&mut to, dtype, values.iter().copied());
            to
        };
        assert_eq!(write(Dtype::Uint8, &[-1.0, 2.0, 300.0, f64::NAN]), [0, 2, 255, 0]);
        assert_eq!(write(Dtype::Int16, &[-1.0, f64::INFINITY]), [255, 255, 255, 127]);
        assert_eq!(write(Dtype::Bool, &[f64::NAN, 0.0, 0.5, -1.0]), [0, 0, 1, 1]);
        assert_eq!(write(Dtype::Fp32, &[0.1]), 0.1f32.to_le_bytes());
        assert_eq!(write(Dtype::Fp64, &[f64::NEG_INFINITY]), f64::NEG_INFINITY.to_le_bytes());
        let all = [Dtype::Bool, Dtype::Uint8, Dtype::Uint16, Dtype::Uint32, Dtype::Uint64, Dtype::Int8, Dtype::Int16]
            .into_iter()
            .chain([Dtype::Int32, Dtype::Int64, Dtype::Fp16, Dtype::Fp32, Dtype::Fp64]);
        for dtype in all {
            assert_eq!(Some(write(dtype, &[1.0]).len()), width(dtype), "{dtype:?}");
        }
    }
}
