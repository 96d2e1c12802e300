//! CSV files, plain or gzip, with a header. The separator (`,`, `;`, tab or `|`) is seen from the header; cells are
//! trimmed.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use csv::{ErrorKind, StringRecord};
use flate2::bufread::MultiGzDecoder;
use headgate_contract::Digest;

use super::cell::{self, Kind, Seen};
use super::{COLUMNS_MAX, Data, DataError, Hashing, Input, ROWS_MAX, date};
use crate::table::{Column, NumberKind, Table, Texts, Values};

/// The longest header.
const HEADER_BYTES_MAX: u64 = 16 << 20;
const BUFFER_BYTES: usize = 1 << 16;

pub(super) fn read(inputs: &[Input]) -> Result<Data, DataError> {
    let (mut names, mut seen): (Vec<String>, Vec<Seen>) = (Vec::new(), Vec::new());
    let mut digests = Vec::with_capacity(inputs.len());
    for input in inputs {
        digests.push(scan(input, &mut names, |record| {
            seen.resize(record.len(), Seen::default());
            seen.iter_mut().zip(record).for_each(|(seen, cell)| seen.add(cell));
            Ok(())
        })?);
    }
    fill(inputs, names, &seen, digests)
}

fn fill(inputs: &[Input], mut names: Vec<String>, seen: &[Seen], digests: Vec<Digest>) -> Result<Data, DataError> {
    let mut columns: Vec<Values> = seen.iter().map(|seen| empty(seen.kind())).collect();
    let mut rows = 0;
    for (input, expected) in inputs.iter().zip(&digests) {
        let digest = scan(input, &mut names, |record| {
            if rows == ROWS_MAX {
                return Err(input.broken(format!("more than {ROWS_MAX} rows")));
            }
            rows += 1;
            columns.iter_mut().zip(record).for_each(|(column, cell)| push(column, cell));
            Ok(())
        })?;
        if digest != *expected {
            return Err(input.broken("it changed while it was read"));
        }
    }
    let mut notes = Vec::new();
    let mut table = Table { rows, columns: Vec::with_capacity(names.len()) };
    for (at, (name, values)) in names.into_iter().zip(columns).enumerate() {
        if name.is_empty() {
            notes.push(format!("column {} has no name: left out", at + 1));
        } else {
            table.columns.push(Column { name, values });
        }
    }
    Ok(Data { table, uris: inputs.iter().map(|input| input.uri.clone()).collect(), digests, notes })
}

fn empty(kind: Kind) -> Values {
    match kind {
        Kind::Text => Values::Text(Texts::default()),
        Kind::Number(kind) => Values::Number(kind, Vec::new()),
    }
}

fn push(column: &mut Values, cell: &str) {
    let missing = cell::is_missing(cell);
    match column {
        Values::Text(texts) => texts.push((!missing).then_some(cell)),
        Values::Number(_, values) if missing => values.push(f64::NAN),
        Values::Number(NumberKind::Boolean, values) => {
            values.push(cell::boolean(cell).map_or(f64::NAN, |b| f64::from(u8::from(b))));
        }
        Values::Number(NumberKind::Date | NumberKind::Timestamp, values) => {
            values.push(date::parse(cell).map_or(f64::NAN, |(days, _)| days));
        }
        Values::Number(_, values) => values.push(cell::number(cell).unwrap_or(f64::NAN)),
    }
}

/// Reads a file once: its header, which has to be `names` where they are known, then each row. The digest is that of the
/// file's bytes as they lie.
fn scan(
    input: &Input,
    names: &mut Vec<String>,
    mut row: impl FnMut(&StringRecord) -> Result<(), DataError>,
) -> Result<Digest, DataError> {
    let mut hashing = Hashing::new(input.open()?);
    {
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, &mut hashing);
        let gzip = raw.fill_buf().map_err(|source| input.failed(source))?.starts_with(&[0x1f, 0x8b]);
        let plain: Box<dyn Read + '_> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, plain);
        let mut first = Vec::new();
        let bounded = plain.by_ref().take(HEADER_BYTES_MAX).read_until(b'\n', &mut first);
        bounded.map_err(|source| io_error(input, source))?;
        let delimiter = delimiter(&first);
        let whole = io::Cursor::new(first).chain(plain);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(whole);
        let header = reader.headers().map_err(|error| csv_error(input, error))?;
        check_header(input, header, names)?;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| csv_error(input, error))? {
            row(&record)?;
        }
    }
    hashing.finish().map_err(|source| input.failed(source))
}

/// The separator: the one that the header has most of.
fn delimiter(start: &[u8]) -> u8 {
    let line = start.split(|b| *b == b'\n').next().unwrap_or(start);
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(d, _)| d == byte).filter(|_| !quoted) {
            *count += 1;
        }
    }
    // Of equals the first: a header of one column is separated by commas.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(d, _)| d)
}

fn check_header(input: &Input, header: &StringRecord, names: &mut Vec<String>) -> Result<(), DataError> {
    if header.is_empty() || header.iter().all(str::is_empty) {
        return Err(input.broken("it has no header"));
    }
    if header.len() > COLUMNS_MAX {
        return Err(input.broken(format!("{} columns, at most {COLUMNS_MAX}", header.len())));
    }
    let mut distinct = HashSet::new();
    if let Some(twice) = header.iter().find(|name| !name.is_empty() && !distinct.insert(*name)) {
        return Err(input.broken(format!("column '{twice}' is there twice")));
    }
    if names.is_empty() {
        *names = header.iter().map(str::to_owned).collect();
    }
    let what = match header.iter().zip(names.iter()).find(|(now, before)| now != before) {
        Some((now, before)) => format!("column '{now}' where '{before}' was"),
        None if header.len() != names.len() => format!("{} columns where {} were", header.len(), names.len()),
        None => return Ok(()),
    };
    Err(DataError::Differs { uri: input.uri.clone(), what })
}

fn io_error(input: &Input, source: io::Error) -> DataError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            DataError::CutShort { uri: input.uri.clone(), what: "its gzip stream has no end".to_owned() }
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => input.broken(format!("broken gzip: {source}")),
        _ => input.failed(source),
    }
}

fn csv_error(input: &Input, error: csv::Error) -> DataError {
    match error.into_kind() {
        ErrorKind::Io(source) => io_error(input, source),
        ErrorKind::Utf8 { pos, err } => {
            input.broken(format!("line {}, cell {}: not UTF-8", pos.map_or(0, |pos| pos.line()), err.field() + 1))
        }
        ErrorKind::UnequalLengths { pos, expected_len, len } => input
            .broken(format!("line {}: {len} cells, the header has {expected_len}", pos.map_or(0, |pos| pos.line()))),
        other => input.broken(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::data::Body;

    fn input(uri: &str, bytes: &[u8]) -> Input {
        Input { uri: uri.to_owned(), body: Body::Bytes(bytes.to_vec().into()) }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in "[a-c,;\"\n0-9. T:-]{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for bytes in [text.as_bytes(), &bytes, &gzip(&bytes)] {
                if let Ok(data) = super::super::read(&[input("x", bytes)]) {
                    prop_assert!(data.table.columns.iter().all(|column| column.values.len() == data.table.rows));
                }
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refused(bytes: &[u8]) -> String {
        super::super::read(&[input("x.csv", bytes)]).unwrap_err().to_string()
    }

    #[test]
    fn types_are_those_of_the_whole_column_of_all_files() {
        let first = gzip(b"\xef\xbb\xbf a , b;,c,d,\n1, x,2024-01-02,true,9\n,NA,?,FALSE,9\n");
        let second = gzip(b"a,b;,c,d,\n2.5,\"x, y\",2024-01-03 12:00,,9\n");
        let data = super::super::read(&[input("1", &first), input("2", &second)]).unwrap();
        let kinds: Vec<_> = data
            .table
            .columns
            .iter()
            .map(|c| match &c.values {
                Values::Number(kind, values) => (c.name.as_str(), kind.word(), values[2]),
                Values::Text(texts) => (c.name.as_str(), texts.get(2).unwrap(), texts.words.len() as f64),
            })
            .collect();
        assert_eq!(kinds[..3], [("a", "number", 2.5), ("b;", "x, y", 2.0), ("c", "timestamp", 19_725.5)]);
        assert!(kinds[3].1 == "boolean" && kinds[3].2.is_nan());
        assert_eq!(data.notes, ["column 5 has no name: left out"]);
        assert_eq!(data.digests[0], Digest::of(&first));
    }

    #[test]
    fn separators_are_seen_from_the_header() {
        for separator in [";", "\t", "|", ","] {
            let text = ["\"a,,;;||\"", "b", "c"].join(separator) + "\n" + &["1", "2", "3"].join(separator);
            let data = super::super::read(&[input("x", text.as_bytes())]).unwrap();
            assert_eq!(data.table.columns.len(), 3, "{separator:?}");
        }
        assert_eq!(super::super::read(&[input("x", b"only\n1\n")]).unwrap().table.rows, 1);
    }

    #[test]
    fn bad_files_are_refused_with_the_place() {
        let whole = gzip(&[b"a,b\n".to_vec(), b"1,2\n".repeat(50_000)].concat());
        for (bytes, words) in [
            (&b"a,b\n1,2\n1,2,3\n"[..], "line 3: 3 cells, the header has 2"),
            (b"a,b\n1,2\n\xff,3\n", "line 3, cell 1: not UTF-8"),
            (b"a,b,a\n1,2,3\n", "column 'a' is there twice"),
            (b"", "empty"),
            (b"a,b\n", "no rows"),
            (b"\n\n", "no header"),
            (&whole[..whole.len() / 2], "cut short"),
            (&whole[..whole.len() - 3], "cut short"),
            (b"PK\x03\x04rest", "zip"),
        ] {
            let error = refused(bytes);
            assert!(error.contains(words), "{error}");
        }
        let mut flipped = whole.clone();
        flipped[40] ^= 0x55;
        assert!(super::super::read(&[input("x", &flipped)]).is_err());
        let both = [input("1", b"a,b\n1,2\n"), input("2", b"a,c\n1,2\n")];
        assert!(super::super::read(&both).unwrap_err().to_string().contains("column 'c' where 'b' was"));
    }
}
