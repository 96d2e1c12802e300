//! Lines of CSV as RFC 4180 has them: rows in the signature's order, or under a header.
//!
//! A cell means what it means in data that is trained on ([`headgate_contract::csv`]): an empty one is missing.

use headgate_contract::csv::{boolean, is_missing, number};
use headgate_engine::Batch;

use super::head::Head;
use super::json::{Reader, Scalar};
use super::rows::transpose;
use super::{Asked, Body, Shape};
use crate::refusal::Refusal;
use crate::schema::Mismatch;

/// How lines of CSV are read, and whether they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Whether the first line is a header; none: found out by its cells.
    pub header: Option<bool>,
    /// Whether bad rows fail alone.
    pub row_status: bool,
    /// Whether the reply is CSV too.
    pub reply: bool,
}

/// Cells of a line that are kept; more make no row and no header.
const LINE_CELLS_MAX: usize = 1 << 18;

/// The lines of a body, one at a time.
struct Table<'a> {
    core: csv_core::Reader,
    rest: &'a [u8],
    ended: bool,
    /// The cells of the line, one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many cells the line has.
    cells: usize,
}

pub(super) fn decode(
    body: &mut Body<'_>,
    bytes: &[u8],
    lines: Lines,
    values: &mut Vec<f64>,
    batch: &mut Batch,
) -> Result<Asked, Refusal> {
    let mut table = Table::new(bytes);
    let mut more = table.next(body)?;
    let named = more && lines.header.unwrap_or_else(|| is_header(body, &table));
    let head = if named { header(body, &table)? } else { Head::signature(body) };
    if named {
        more = table.next(body)?;
    }
    let mut rows = 0;
    while more {
        body.check_rows(rows + 1)?;
        let start = head.begin(values);
        row(body, &head, &table, rows, &mut values[start..]);
        rows += 1;
        more = table.next(body)?;
    }
    transpose(values, body.schema.features.len(), rows, batch);
    let shape = if lines.reply { Shape::Csv } else { Shape::Predictions };
    Ok(Asked { row_status: lines.row_status, shape, ..Asked::default() })
}

/// A line is a header where a cell is a feature's name; but where all cells are numbers, as features may be named, only
/// where each is the name of another feature.
fn is_header(body: &Body<'_>, line: &Table<'_>) -> bool {
    let feature = |cell: &[u8]| std::str::from_utf8(cell).ok().and_then(|cell| body.schema.feature(cell));
    if line.iter().all(|cell| json_number(cell).is_some() || cell.is_empty()) {
        let mut names: Vec<_> = line.iter().map(feature).collect();
        names.sort_unstable();
        return names.first().is_some_and(Option::is_some) && names.windows(2).all(|pair| pair[0] != pair[1]);
    }
    line.iter().any(|cell| feature(cell).is_some())
}

fn header(body: &mut Body<'_>, line: &Table<'_>) -> Result<Head, Refusal> {
    if line.cells > line.ends.len() {
        return Err(body.refuse(format_args!("the header has {} cells, {LINE_CELLS_MAX} at most expected", line.cells)));
    }
    let mut head = Head::new(body);
    for cell in line.iter() {
        head.push(body, &String::from_utf8_lossy(cell))?;
    }
    head.check(body)?;
    Ok(head)
}

fn row(body: &mut Body<'_>, head: &Head, line: &Table<'_>, row: usize, values: &mut [f64]) {
    if line.cells != head.len() {
        let (came, expected) = (line.cells, head.len());
        body.faults.add(row, format_args!("row {row}: {came} cells came, {expected} expected"));
        return;
    }
    for (at, cell) in line.iter().enumerate() {
        if let Some(feature) = head.feature(at) {
            values[feature] = value(body, row, feature, cell);
        }
    }
}

fn value(body: &mut Body<'_>, row: usize, feature: usize, cell: &[u8]) -> f64 {
    let known = &body.schema.features[feature];
    if cell.is_empty() {
        return f64::NAN;
    }
    if known.is_numeric()
        && let Some(number) = json_number(cell)
    {
        return number;
    }
    let Ok(text) = std::str::from_utf8(cell) else {
        let expected = if known.is_numeric() { "a number" } else { "a text" };
        return body.mismatch(row, feature, &Mismatch { came: "bytes that are no UTF-8".to_owned(), expected });
    };
    if known.is_text() {
        return body.texts.push(text) as f64;
    }
    let trimmed = text.trim_ascii();
    let scalar = match (number(trimmed), boolean(trimmed)) {
        // No infinity but the words for it: a number too large is an error.
        (Some(number), _) if number.is_finite() || headgate_contract::real::word(trimmed).is_some() => {
            Scalar::Number(number, text)
        }
        (_, Some(value)) => Scalar::Bool(value),
        _ => Scalar::Text(text.into()),
    };
    match known.value(&scalar) {
        Ok(value) => value,
        Err(_) if is_missing(trimmed) => f64::NAN,
        Err(mismatch) => body.mismatch(row, feature, &mismatch),
    }
}

/// The number that a cell is, as JSON writes it.
#[inline]
fn json_number(cell: &[u8]) -> Option<f64> {
    let cell = cell.trim_ascii();
    let mut reader = Reader::new(cell);
    let number = reader.number().ok().flatten();
    number.filter(|_| reader.at() == cell.len())
}

// === impl Table ===

impl<'a> Table<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (text, ends) = (vec![0; 1024], vec![0; 64]);
        Self { core: csv_core::Reader::new(), rest: bytes, ended: false, text, ends, cells: 0 }
    }

    /// Reads the next line that is not empty; false at the end.
    fn next(&mut self, body: &Body<'_>) -> Result<bool, Refusal> {
        use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
        let (mut filled, mut kept) = (0, 0);
        self.cells = 0;
        loop {
            let (result, read, wrote, cells) =
                self.core.read_record(self.rest, &mut self.text[filled..], &mut self.ends[kept..]);
            self.rest = &self.rest[read..];
            (filled, kept, self.cells) = (filled + wrote, kept + cells, self.cells + cells);
            match result {
                Record => return Ok(true),
                End => return Ok(false),
                OutputFull => self.text.resize(2 * self.text.len(), 0),
                OutputEndsFull if self.ends.len() < LINE_CELLS_MAX => self.ends.resize(2 * self.ends.len(), 0),
                // Such a line is none that is read: its cells are only counted.
                OutputEndsFull => kept = 0,
                InputEmpty if !self.ended => {
                    // Ends the last line, unless a quote in it is open.
                    (self.ended, self.rest) = (true, b"\n");
                }
                InputEmpty if filled > 0 || self.cells > 0 => {
                    return Err(body.refuse("the last line has a quote that is not closed"));
                }
                InputEmpty => return Ok(false),
            }
        }
    }

    /// The line's cells.
    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let kept = self.cells.min(self.ends.len());
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends[..kept]).map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
    }
}
