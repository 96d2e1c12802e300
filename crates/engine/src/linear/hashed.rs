//! Hashed linear models: a file of weights that is scored where it lies.

use std::fmt;

use super::fields::{Fields, Hits};
use super::header::{BUCKETS_MAX, Header, Width};
use super::{Bytes, Link};
use crate::engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::lightgbm::shown;
use crate::{Batch, Limits, LoadError, explain};

/// How the file begins.
pub(crate) const MAGIC: &[u8; 8] = b"HGLINEAR";
/// The version that this build reads.
const VERSION: u32 = 2;
/// Magic, version, the header's length, the number of weights.
const PRELUDE: usize = 24;
/// Weights begin at a multiple of this, so that none lies on two cache lines.
const ALIGNMENT: usize = 64;
/// The longest header, in bytes.
const HEADER_MAX: usize = 16 << 20;
/// Rows whose buckets are known before the first weight is read: reads that wait for memory then overlap.
const BLOCK_ROWS: usize = 16;
/// Hits beyond which a block ends, and beyond which a scratch gives its memory back.
const BLOCK_HITS: usize = 1 << 14;
/// How many tokens a text is taken to have, where what a row costs is estimated.
const TOKENS: usize = 20;

/// Buffers of a call.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    hits: Hits,
    /// Where each row's hits end.
    ends: Vec<usize>,
    text: String,
}

struct Hashed {
    bytes: Box<Bytes>,
    /// Where the weights begin in it: bucket by bucket, in each one for every output.
    offset: usize,
    width: Width,
    fields: Fields,
    categorical: Vec<Option<Categorical>>,
    bias: Vec<f64>,
    link: Link,
}

/// The weights, as they lie in the file.
#[derive(Clone, Copy)]
enum Weights<'a> {
    F32(&'a [[u8; 4]]),
    F64(&'a [[u8; 8]]),
}

/// Builds a model that reads its weights from `bytes` for as long as it lives.
pub(crate) fn open(bytes: Box<Bytes>, limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let whole: &[u8] = (*bytes).as_ref();
    let (header, offset, count) = read(whole)?;
    let outputs = header.bias.len();
    LoadError::within("the number of outputs", outputs, limits.max_outputs)?;
    let expected = header.buckets.checked_mul(outputs as u64).filter(|n| (1..=BUCKETS_MAX).contains(n));
    let Some(expected) = expected else {
        let what = format!("{} buckets and {outputs} outputs, 1 to {BUCKETS_MAX} weights expected", header.buckets);
        return Err(LoadError::at("header", what));
    };
    if count != expected {
        let what = format!("{count} weights, {} buckets and {outputs} outputs make {expected}", header.buckets);
        return Err(LoadError::at("byte 16", what));
    }
    let end = offset + expected as usize * header.weights.bytes();
    if whole.len() != end {
        let what = match whole.len() < end {
            true => format!("cut short: {end} bytes expected, {} came", whole.len()),
            false => format!("{} bytes follow the last weight", whole.len() - end),
        };
        return Err(LoadError::at("end of file", what));
    }
    check_numbers(&header, header.weights.of(&whole[offset..]))?;
    let fields = Fields::new(&header, limits)?;
    let categorical = vec![None; fields.names.len()];
    let Header { weights: width, bias, link, .. } = header;
    let model = Hashed { bytes, offset, width, fields, categorical, bias, link };
    LoadError::within("the model's memory in bytes", model.memory_bytes(), limits.max_memory_bytes)?;
    Ok(Box::new(model))
}

/// The header, where the weights begin, and how many the file says there are.
fn read(whole: &[u8]) -> Result<(Header, usize, u64), LoadError> {
    let prelude = whole.first_chunk::<PRELUDE>().filter(|p| p.starts_with(MAGIC));
    let Some(prelude) = prelude else {
        let what = format!("`{}` and {} bytes more expected", MAGIC.escape_ascii(), PRELUDE - MAGIC.len());
        return Err(LoadError::at("byte 0", what));
    };
    let u32_at = |at: usize| u32::from_le_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
    let version = u32_at(8);
    if version != VERSION {
        let swapped = if version.swap_bytes() == VERSION { ", written big-endian" } else { "" };
        let known = format!("hashed linear format {version}{swapped}: this build reads {VERSION}, little-endian");
        return Err(LoadError::Unsupported(known));
    }
    let length = u32_at(12) as usize;
    LoadError::within("the header's length in bytes", length, HEADER_MAX)?;
    let Some(json) = whole[PRELUDE..].get(..length) else {
        let what = format!("a header of {length} bytes, {} follow", whole.len() - PRELUDE);
        return Err(LoadError::at("byte 12", what));
    };
    let header: Header = serde_json::from_slice(json).map_err(|e| LoadError::at("header", shown(&e.to_string())))?;
    let offset = (PRELUDE + length).next_multiple_of(ALIGNMENT);
    let padding = whole.get(PRELUDE + length..offset);
    let Some(padding) = padding else {
        return Err(LoadError::at("end of file", format!("cut short: weights begin at byte {offset}")));
    };
    if let Some(at) = padding.iter().position(|b| *b != 0) {
        return Err(LoadError::at(format!("byte {}", PRELUDE + length + at), "zeros expected up to the first weight"));
    }
    let count = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
    Ok((header, offset, count))
}

/// Refuses what is no number, by name.
fn check_numbers(header: &Header, weights: Weights<'_>) -> Result<(), LoadError> {
    header.link.check(header.bias.len()).map_err(|what| LoadError::at("header", what))?;
    let outputs = header.bias.len();
    match weights.not_finite() {
        None => Ok(()),
        Some((at, value)) => {
            let output = if outputs > 1 { format!(", output {}", at % outputs) } else { String::new() };
            Err(LoadError::at(format!("bucket {}{output}", at / outputs), format!("its weight is {value}")))
        }
    }
}

// === impl Weights ===

impl Width {
    /// The weights that these bytes are; what is left over at the end is none.
    fn of(self, bytes: &[u8]) -> Weights<'_> {
        match self {
            Self::F32 => Weights::F32(bytes.as_chunks().0),
            Self::F64 => Weights::F64(bytes.as_chunks().0),
        }
    }
}

impl Weights<'_> {
    /// The first one that is NaN or infinite, and its place.
    fn not_finite(self) -> Option<(usize, f64)> {
        // All exponent bits set; found by blocks, so that the pass is as fast as memory.
        match self {
            Self::F32(weights) => {
                const EXPONENT: u32 = 0x7f80_0000;
                let bad = |w: &[u8; 4]| u32::from_le_bytes(*w) & EXPONENT == EXPONENT;
                let block = weights.chunks(4096).position(|block| block.iter().fold(false, |any, w| any | bad(w)))?;
                let at = block * 4096 + weights[block * 4096..].iter().position(bad)?;
                Some((at, f32::from_le_bytes(weights[at]).into()))
            }
            Self::F64(weights) => {
                const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
                let bad = |w: &[u8; 8]| u64::from_le_bytes(*w) & EXPONENT == EXPONENT;
                let block = weights.chunks(4096).position(|block| block.iter().fold(false, |any, w| any | bad(w)))?;
                let at = block * 4096 + weights[block * 4096..].iter().position(bad)?;
                Some((at, f64::from_le_bytes(weights[at])))
            }
        }
    }

    /// Adds what the hits weigh to a row's margins, in their order.
    #[inline]
    fn add(self, hits: &[(u32, f64)], margins: &mut [f64]) {
        match self {
            Self::F32(weights) => add(hits, margins, |at, value| f64::from(f32::from_le_bytes(weights[at])) * value),
            Self::F64(weights) => add(hits, margins, |at, value| f64::from_le_bytes(weights[at]) * value),
        }
    }

    /// Adds how much that is, whatever its sign.
    fn add_absolute(self, hits: &[(u32, f64)], sums: &mut [f64]) {
        match self {
            Self::F32(weights) => add(hits, sums, |at, v| (f64::from(f32::from_le_bytes(weights[at])) * v).abs()),
            Self::F64(weights) => add(hits, sums, |at, v| (f64::from_le_bytes(weights[at]) * v).abs()),
        }
    }
}

#[inline]
fn add(hits: &[(u32, f64)], margins: &mut [f64], product: impl Fn(usize, f64) -> f64) {
    if let [margin] = margins {
        for &(bucket, value) in hits {
            *margin += product(bucket as usize, value);
        }
        return;
    }
    let outputs = margins.len();
    for &(bucket, value) in hits {
        for (output, margin) in margins.iter_mut().enumerate() {
            *margin += product(bucket as usize * outputs + output, value);
        }
    }
}

// === impl Hashed ===

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, width, fields, categorical: _, bias, link, bytes } = self;
        let bytes = (**bytes).as_ref().len();
        write!(f, "Hashed({bytes} bytes, {width:?} from {offset}, {link:?}, bias {bias:?}, {fields:?})")
    }
}

impl Hashed {
    fn weights(&self) -> Weights<'_> {
        self.width.of((*self.bytes).as_ref().get(self.offset..).unwrap_or_default())
    }

    fn margins(&self, batch: &Batch, buffers: &mut Buffers, margins: &mut Vec<f64>) {
        let weights = self.weights();
        let Buffers { hits, ends, text } = buffers;
        margins.clear();
        let mut row = 0;
        while row < batch.rows() {
            hits.clear();
            ends.clear();
            while row < batch.rows() && ends.len() < BLOCK_ROWS && hits.len() < BLOCK_HITS {
                self.fields.list.iter().for_each(|field| field.push(batch, row, text, hits));
                ends.push(hits.len());
                row += 1;
            }
            let mut from = 0;
            for &end in ends.iter() {
                let start = margins.len();
                margins.extend_from_slice(&self.bias);
                weights.add(&hits[from..end], &mut margins[start..]);
                from = end;
            }
        }
        // What one long text took is not kept.
        hits.shrink_to(2 * BLOCK_HITS);
        text.shrink_to(BLOCK_HITS);
    }
}

/// What each input adds to each margin. What a cross adds is shared by its inputs in equal parts, as in Shapley's values
/// against a row where all is missing.
fn explain(
    model: &Hashed,
    batch: &Batch,
    Buffers { hits, text, .. }: &mut Buffers,
    margins: &[f64],
    contributions: &mut Vec<f64>,
) -> Result<(), ScoreError> {
    let (weights, columns, outputs) = (model.weights(), model.inputs() + 1, model.bias.len());
    contributions.resize(margins.len() * columns, 0.0);
    let mut rounding = vec![0.0; margins.len()];
    let (mut sums, mut absolute) = (vec![0.0; outputs], vec![0.0; outputs]);
    for (row, of_row) in contributions.chunks_exact_mut(columns * outputs).enumerate() {
        absolute.iter_mut().zip(&model.bias).for_each(|(sum, bias)| *sum = bias.abs());
        let mut summands = columns;
        for field in &model.fields.list {
            hits.clear();
            field.push(batch, row, text, hits);
            summands += hits.len();
            sums.fill(0.0);
            weights.add(hits, &mut sums);
            weights.add_absolute(hits, &mut absolute);
            let among = field.columns();
            for (sum, of_margin) in sums.iter().zip(of_row.chunks_exact_mut(columns)) {
                among.iter().for_each(|column| of_margin[*column] += sum / among.len() as f64);
            }
        }
        for (output, of_margin) in of_row.chunks_exact_mut(columns).enumerate() {
            of_margin[columns - 1] = model.bias[output];
            rounding[row * outputs + output] = summands as f64 * f64::EPSILON * absolute[output];
        }
    }
    explain::check(contributions, columns, margins, |margin, _| rounding[margin])
}

impl Engine for Hashed {
    fn inputs(&self) -> usize {
        self.fields.names.len()
    }

    fn input_names(&self) -> &[String] {
        &self.fields.names
    }

    fn categorical(&self) -> &[Option<Categorical>] {
        &self.categorical
    }

    fn takes_text(&self, column: usize) -> bool {
        self.fields.texts.get(column) == Some(&true)
    }

    fn no_contributions(&self) -> Option<&'static str> {
        None
    }

    fn contributions_cost_ns_per_row(&self) -> f64 {
        self.cost_ns_per_row() + 10.0 * self.fields.names.len() as f64
    }

    fn margin_width(&self) -> usize {
        self.bias.len()
    }

    fn output_width(&self) -> usize {
        self.bias.len()
    }

    fn output_kind(&self) -> OutputKind {
        self.link.output_kind(self.bias.len())
    }

    fn margin_kind(&self) -> MarginKind {
        MarginKind::F64
    }

    fn cost_ns_per_row(&self) -> f64 {
        let hits = self.fields.list.len() + TOKENS * self.fields.token_fields;
        60.0 + 40.0 * hits as f64 + (hits + 10) as f64 * self.bias.len() as f64
    }

    /// The file as a whole, though it is in the page cache where it is mapped: scoring is fast only as long as it stays.
    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + (*self.bytes).as_ref().len()
            + self.fields.memory_bytes()
            + size_of_val(self.categorical.as_slice())
            + size_of_val(self.bias.as_slice())
    }

    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError> {
        if batch.columns() != self.inputs() {
            return Err(ScoreError::Columns { expected: self.inputs(), came: batch.columns() });
        }
        self.margins(batch, &mut scratch.hashed, &mut scratch.margins);
        out.margins.clear();
        out.values.clear();
        out.contributions.clear();
        if want.contributions {
            explain(self, batch, &mut scratch.hashed, &scratch.margins, &mut out.contributions)?;
        }
        if want.outputs {
            self.link.transform().apply(&scratch.margins, self.bias.len(), &mut out.values);
        }
        if want.margins {
            out.margins.extend_from_slice(&scratch.margins);
        }
        Ok(())
    }
}
