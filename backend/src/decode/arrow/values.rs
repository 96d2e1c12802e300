//! The values of a column in a record batch, where they lie.

use arrow_ipc::{Buffer, FieldNode, RecordBatch};
use flatbuffers::Vector;

use super::layout::{Column, Kind, Layout, Place};
use crate::decode::binary::{Blob, Datatype};
use crate::decode::json::Scalar;

/// Bytes of a view: a length, and a text of up to 12 bytes or the first four, which buffer, and where in it.
const VIEW: usize = 16;

/// A record batch: how many nodes and buffers it has was checked.
pub(super) struct Data<'a> {
    rows: usize,
    nodes: Vector<'a, FieldNode>,
    buffers: Vector<'a, Buffer>,
    /// For each column of views, the first of its buffers beyond the fixed ones, and one entry more.
    views: Vec<usize>,
    body: &'a [u8],
}

/// The values of a column: the buffers are as long as its rows need.
pub(super) struct Values<'a> {
    kind: Kind,
    rows: usize,
    /// Bits of the values that are there; none: all.
    valid: Option<&'a [u8]>,
    /// Bits, numbers, offsets or views.
    fixed: &'a [u8],
    /// What offsets or views point to.
    texts: Vec<&'a [u8]>,
}

impl<'a> Data<'a> {
    /// A record batch of a stream.
    pub(super) fn new(batch: RecordBatch<'a>, body: &'a [u8], layout: &Layout<'_>) -> Result<Self, String> {
        let data = Self::unchecked(batch, body)?;
        let (all, views) = (layout.all, data.views.len() - 1);
        let buffers = all.buffers + data.views[views];
        let came = (data.nodes.len(), data.buffers.len(), views);
        if came != (all.nodes, buffers, all.views) {
            let expected = (all.nodes, buffers, all.views);
            return Err(format!("{came:?} nodes, buffers and views came, {expected:?} expected"));
        }
        Ok(data)
    }

    /// The one column of a dictionary.
    pub(super) fn dictionary(batch: RecordBatch<'a>, body: &'a [u8]) -> Result<Self, String> {
        Self::unchecked(batch, body)
    }

    fn unchecked(batch: RecordBatch<'a>, body: &'a [u8]) -> Result<Self, String> {
        if let Some(compression) = batch.compression() {
            let codec = compression.codec().variant_name().unwrap_or("unknown").to_lowercase();
            return Err(format!("its buffers are compressed ({codec}): uncompressed ones expected"));
        }
        let rows = usize::try_from(batch.length()).map_err(|_| format!("{} rows", batch.length()))?;
        let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
            return Err("it has no nodes or no buffers".to_owned());
        };
        let mut views = vec![0];
        let mut sum = 0usize;
        for count in batch.variadicBufferCounts().into_iter().flatten() {
            sum = sum.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
            views.push(sum);
        }
        if sum > buffers.len() {
            return Err(format!("views have {sum} buffers, there are {}", buffers.len()));
        }
        Ok(Self { rows, nodes, buffers, views, body })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a dictionary.
    pub(super) fn values(&self, kind: Kind) -> Result<Values<'a>, String> {
        self.at(kind, Place::default())
    }

    /// The values of a column.
    pub(super) fn column(&self, kind: Kind, column: &Column<'_>) -> Result<Values<'a>, String> {
        self.at(kind, column.place)
    }

    fn at(&self, kind: Kind, place: Place) -> Result<Values<'a>, String> {
        if place.nodes >= self.nodes.len() {
            return Err("it has no node".to_owned());
        }
        let node = self.nodes.get(place.nodes);
        let rows = usize::try_from(node.length()).ok().filter(|rows| *rows == self.rows);
        let rows = rows.ok_or_else(|| format!("{} values came, {} expected", node.length(), self.rows))?;
        if kind == Kind::Null {
            return Ok(Values { kind, rows, valid: None, fixed: &[], texts: Vec::new() });
        }
        let before = self.views.get(place.views).copied().unwrap_or_default();
        let first = place.buffers + before;
        let valid = match node.null_count() {
            0 => None,
            _ => Some(self.buffer(first, Some(rows.div_ceil(8)))?),
        };
        let fixed = self.buffer(first + 1, size(kind, rows))?;
        let texts = match kind {
            Kind::Text { .. } => vec![self.buffer(first + 2, Some(0))?],
            Kind::View => {
                let last = self.views.get(place.views + 1).ok_or("it has no count of its buffers")?;
                (0..last - before).map(|at| self.buffer(first + 2 + at, Some(0))).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(Values { kind, rows, valid, fixed, texts })
    }

    /// A buffer of at least so many bytes; none: more than there can be.
    fn buffer(&self, at: usize, least: Option<usize>) -> Result<&'a [u8], String> {
        if at >= self.buffers.len() {
            return Err(format!("buffer {at} of {} is missing", self.buffers.len()));
        }
        let buffer = self.buffers.get(at);
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let found = range.and_then(|(offset, length)| self.body.get(offset..)?.get(..length));
        let found = found.ok_or_else(|| {
            let (offset, length, all) = (buffer.offset(), buffer.length(), self.body.len());
            format!("buffer {at} has {length} bytes at {offset}, beyond the {all} of the batch")
        })?;
        match least {
            Some(least) if found.len() >= least => Ok(found),
            _ => Err(format!("buffer {at} has {} bytes, too few for {} values", found.len(), self.rows)),
        }
    }
}

/// Bytes that so many values take at least.
fn size(kind: Kind, rows: usize) -> Option<usize> {
    match kind {
        Kind::Null => Some(0),
        Kind::Bool => Some(rows.div_ceil(8)),
        Kind::Fixed(datatype) => rows.checked_mul(datatype.width()?),
        // No values need no offset.
        Kind::Text { .. } if rows == 0 => Some(0),
        Kind::Text { wide } => rows.checked_add(1)?.checked_mul(if wide { 8 } else { 4 }),
        Kind::View => rows.checked_mul(VIEW),
    }
}

impl<'a> Values<'a> {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes all values to `to`, where they are numbers.
    pub(super) fn widen(&self, to: &mut [f64]) -> bool {
        let Kind::Fixed(datatype) = self.kind else { return false };
        let Some(blob) = self.blob(datatype, 0, self.rows) else { return false };
        blob.widen(to);
        for (bits, values) in self.valid.unwrap_or_default().iter().zip(to.chunks_mut(8)) {
            if *bits != u8::MAX {
                // Without a branch: which are missing is not to be foreseen.
                for (at, value) in values.iter_mut().enumerate() {
                    *value = if bits >> at & 1 == 1 { *value } else { f64::NAN };
                }
            }
        }
        true
    }

    /// What `read` makes of a value; NaN where it is missing. The error is in where texts are said to lie.
    pub(super) fn scalar(
        &self,
        row: usize,
        mut read: impl FnMut(Result<Scalar<'_>, &[u8]>) -> f64,
    ) -> Result<f64, String> {
        if self.valid.is_some_and(|valid| !bit(valid, row)) {
            return Ok(f64::NAN);
        }
        match self.kind {
            Kind::Null => Ok(f64::NAN),
            Kind::Bool => Ok(read(Ok(Scalar::Bool(bit(self.fixed, row))))),
            Kind::Fixed(datatype) => {
                let mut found = f64::NAN;
                let blob = self.blob(datatype, row, 1).ok_or("a value is missing")?;
                blob.each(|_, scalar| found = read(scalar)).map_err(|error| error.to_string())?;
                Ok(found)
            }
            Kind::Text { wide } => self.text(row, wide).map(|text| read(scalar(text))),
            Kind::View => self.view(row).map(|text| read(scalar(text))),
        }
    }

    fn blob(&self, datatype: Datatype, row: usize, rows: usize) -> Option<Blob<'a>> {
        let width = datatype.width()?;
        Blob::new(datatype, self.fixed.get(row * width..(row + rows) * width)?, rows).ok()
    }

    fn text(&self, row: usize, wide: bool) -> Result<&'a [u8], String> {
        let (start, end) = match wide {
            true => (self.word(row).map(i64::from_le_bytes), self.word(row + 1).map(i64::from_le_bytes)),
            false => (
                self.word(row).map(i32::from_le_bytes).map(i64::from),
                self.word(row + 1).map(i32::from_le_bytes).map(i64::from),
            ),
        };
        let texts = self.texts.first().copied().unwrap_or_default();
        let range = start.and_then(|s| usize::try_from(s).ok()).zip(end.and_then(|e| usize::try_from(e).ok()));
        range.and_then(|(start, end)| texts.get(start..end)).ok_or_else(|| {
            let (start, end) = (start.unwrap_or(-1), end.unwrap_or(-1));
            format!("text {row} lies from {start} to {end}, beyond its {} bytes", texts.len())
        })
    }

    fn view(&self, row: usize) -> Result<&'a [u8], String> {
        let view = self.fixed.get(row * VIEW..(row + 1) * VIEW).ok_or("a view is missing")?;
        let word = |at: usize| {
            let word = view[4 * at..].first_chunk().map(|word| i32::from_le_bytes(*word));
            word.and_then(|word| usize::try_from(word).ok())
        };
        let found = word(0).and_then(|length| match length {
            0..=12 => view.get(4..4 + length),
            _ => self.texts.get(word(2)?)?.get(word(3)?..)?.get(..length),
        });
        found.ok_or_else(|| format!("text {row} lies beyond its buffers"))
    }

    /// The bytes of the n-th word of `fixed`.
    fn word<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.fixed.get(at * N..)?.first_chunk().copied()
    }
}

fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

/// A text, or the bytes that are none.
fn scalar(bytes: &[u8]) -> Result<Scalar<'_>, &[u8]> {
    std::str::from_utf8(bytes).map(|text| Scalar::Text(text.into())).map_err(|_| bytes)
}
