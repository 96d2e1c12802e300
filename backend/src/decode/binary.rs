//! Tensors in binary: values in row-major order without anything between them, little-endian; a BOOL is a byte, each of
//! BYTES a length in four bytes and so many bytes. The same in the binary tensor data extension of the Open Inference
//! Protocol and in the raw contents of its gRPC messages.
//!
//! Values only widen: what a 64-bit float holds exactly is exact, integers beyond 2^53 are rounded.

use std::fmt::Write;

use headgate_engine::Batch;

use super::json::Scalar;

/// Rows of a matrix that are transposed together: their values stay in the nearest cache.
const BLOCK: usize = 16;
/// What stands before each of BYTES.
const LENGTH: usize = 4;

/// What a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

/// The values of a tensor in binary, their number and size checked.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    datatype: Datatype,
    bytes: &'a [u8],
    count: usize,
}

/// Why bytes are not the values that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not as long as so many numbers.
    #[error("{came} bytes came, {count} values of {} take {expected}", datatype.as_str())]
    Size {
        /// What came.
        came: usize,
        /// How many values were expected.
        count: usize,
        /// Their type.
        datatype: Datatype,
        /// How many bytes they take.
        expected: usize,
    },
    /// Shorter than the lengths alone of so many texts.
    #[error("{came} bytes came, {count} values of BYTES take 4 each at least")]
    Short {
        /// What came.
        came: usize,
        /// How many values were expected.
        count: usize,
    },
    /// A length that reaches beyond the end.
    #[error("value {at} of BYTES is said to have {length} bytes, {left} are left")]
    Overrun {
        /// Which one, counted from 0.
        at: usize,
        /// What its length says.
        length: usize,
        /// Bytes after the length.
        left: usize,
    },
    /// Bytes after the last value.
    #[error("{left} bytes follow the last of {count} values of BYTES")]
    Trailing {
        /// How many bytes.
        left: usize,
        /// How many values there are.
        count: usize,
    },
}

impl Datatype {
    const ALL: [Datatype; 14] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Bf16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    /// The type of that name in the protocol.
    pub fn named(name: &str) -> Option<Self> {
        // What most tensors are comes first.
        match name {
            "FP64" => Some(Datatype::Fp64),
            "FP32" => Some(Datatype::Fp32),
            _ => Self::ALL.into_iter().find(|datatype| datatype.as_str() == name),
        }
    }

    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Bf16 => "BF16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bytes => "BYTES",
        }
    }

    /// Bytes of a value; none for BYTES, each of which has its own length.
    pub fn width(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }
}

/// Runs `$work` with `$read` as what widens one value of a type; none of that for BYTES.
macro_rules! with_reader {
    ($datatype:expr, $read:ident => $work:expr) => {
        match $datatype {
            Datatype::Bool => with_reader!(@ $read, |b: [u8; 1]| f64::from(u8::from(b[0] != 0)), $work),
            Datatype::Uint8 => with_reader!(@ $read, |b: [u8; 1]| f64::from(b[0]), $work),
            Datatype::Uint16 => with_reader!(@ $read, |b| f64::from(u16::from_le_bytes(b)), $work),
            Datatype::Uint32 => with_reader!(@ $read, |b| f64::from(u32::from_le_bytes(b)), $work),
            Datatype::Uint64 => with_reader!(@ $read, |b| u64::from_le_bytes(b) as f64, $work),
            Datatype::Int8 => with_reader!(@ $read, |b| f64::from(i8::from_le_bytes(b)), $work),
            Datatype::Int16 => with_reader!(@ $read, |b| f64::from(i16::from_le_bytes(b)), $work),
            Datatype::Int32 => with_reader!(@ $read, |b| f64::from(i32::from_le_bytes(b)), $work),
            Datatype::Int64 => with_reader!(@ $read, |b| i64::from_le_bytes(b) as f64, $work),
            Datatype::Fp16 => with_reader!(@ $read, |b| half(u16::from_le_bytes(b)), $work),
            Datatype::Bf16 => {
                with_reader!(@ $read, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)), $work)
            }
            Datatype::Fp32 => with_reader!(@ $read, |b| f64::from(f32::from_le_bytes(b)), $work),
            Datatype::Fp64 => with_reader!(@ $read, f64::from_le_bytes, $work),
            Datatype::Bytes => {}
        }
    };
    (@ $read:ident, $how:expr, $work:expr) => {{
        let $read = $how;
        $work
    }};
}

impl<'a> Blob<'a> {
    /// The bytes as so many values. What BYTES say of their own lengths is checked by [`Blob::texts`].
    pub fn new(datatype: Datatype, bytes: &'a [u8], count: usize) -> Result<Self, BlobError> {
        let came = bytes.len();
        match datatype.width() {
            Some(width) => {
                let expected = count.saturating_mul(width);
                if came != expected {
                    return Err(BlobError::Size { came, count, datatype, expected });
                }
            }
            None if came < count.saturating_mul(LENGTH) => return Err(BlobError::Short { came, count }),
            None => {}
        }
        Ok(Self { datatype, bytes, count })
    }

    /// What its elements are.
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes its numbers to a column, as many as both have; nothing where they are BYTES.
    pub fn widen(&self, to: &mut [f64]) {
        with_reader!(self.datatype, read => column(self.bytes, to, read));
    }

    /// Writes the numbers of a matrix with the batch's shape, row after row, to the batch; nothing where they are BYTES.
    pub fn transpose(&self, batch: &mut Batch) {
        with_reader!(self.datatype, read => matrix(self.bytes, batch, read));
    }

    /// Gives each number, boolean or, of BYTES, text to `each`, as a JSON parser would have read it: bytes that are no
    /// UTF-8 as they are. The error is in what lengths say, and may come after some values.
    pub fn each(&self, mut each: impl FnMut(usize, Result<Scalar<'_>, &[u8]>)) -> Result<(), BlobError> {
        if self.datatype == Datatype::Bytes {
            return self.texts(|at, bytes| match std::str::from_utf8(bytes) {
                Ok(text) => each(at, Ok(Scalar::Text(text.into()))),
                Err(_) => each(at, Err(bytes)),
            });
        }
        let mut written = String::new();
        let width = self.datatype.width().unwrap_or(1);
        for (at, bytes) in self.bytes.chunks_exact(width).enumerate() {
            written.clear();
            each(at, Ok(self.scalar(bytes, &mut written)));
        }
        Ok(())
    }

    /// Gives each of BYTES to `each`.
    pub fn texts(&self, mut each: impl FnMut(usize, &'a [u8])) -> Result<(), BlobError> {
        let mut rest = self.bytes;
        for at in 0..self.count {
            let Some((length, after)) = rest.split_first_chunk::<LENGTH>() else {
                return Err(BlobError::Short { came: self.bytes.len(), count: self.count });
            };
            let length = u32::from_le_bytes(*length) as usize;
            let Some((text, after)) = after.split_at_checked(length) else {
                return Err(BlobError::Overrun { at, length, left: after.len() });
            };
            each(at, text);
            rest = after;
        }
        match rest.len() {
            0 => Ok(()),
            left => Err(BlobError::Trailing { left, count: self.count }),
        }
    }

    /// One number with how it would be written, as categories are texts.
    fn scalar<'t>(&self, bytes: &[u8], written: &'t mut String) -> Scalar<'t> {
        let mut value = [0.0];
        Blob { bytes, count: 1, ..*self }.widen(&mut value);
        let eight = |fill: u8| {
            let mut wide = [fill; 8];
            wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            wide
        };
        // Writing to memory can't fail.
        let _ = match self.datatype {
            Datatype::Bool => return Scalar::Bool(value[0] != 0.0),
            Datatype::Uint64 => write!(written, "{}", u64::from_le_bytes(eight(0))),
            Datatype::Int64 => write!(written, "{}", i64::from_le_bytes(eight(0))),
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => write!(written, "{:?}", value[0]),
            _ => write!(written, "{}", value[0]),
        };
        Scalar::Number(value[0], written)
    }
}

#[inline(always)]
fn column<const N: usize>(bytes: &[u8], to: &mut [f64], read: impl Fn([u8; N]) -> f64) {
    for (to, from) in to.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *to = read(*from);
    }
}

#[inline(always)]
fn matrix<const N: usize>(bytes: &[u8], batch: &mut Batch, read: impl Fn([u8; N]) -> f64) {
    let width = batch.columns().max(1);
    for (block, rows) in bytes.as_chunks::<N>().0.chunks(BLOCK * width).enumerate() {
        for feature in 0..batch.columns() {
            let column = &mut batch.column_mut(feature)[block * BLOCK..];
            for (to, row) in column.iter_mut().zip(rows.chunks_exact(width)) {
                *to = read(row[feature]);
            }
        }
    }
}

/// A half-precision float, exactly. Its bits where an f32 has them, times what the exponents' biases differ by; that makes
/// of subnormals what they are, and is put right for infinities and NaN.
#[inline(always)]
fn half(bits: u16) -> f64 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    let scaled = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    f64::from(f32::from_bits(scaled | special | u32::from(bits & 0x8000) << 16))
}

#[cfg(test)]
mod tests;
