//! Arrow IPC streams: a column a feature, by name; record batches one behind the other.
//!
//! The messages are read with the format's own tables, their verifier before them; the values are read where they lie in
//! the body, each buffer checked against it first. Arrays are not made: their readers panic where offsets lie.

use std::collections::HashMap;

use arrow_ipc::{DictionaryBatch, Endianness, MessageHeader, RecordBatch};
use headgate_engine::Batch;

use super::head::Head;
use super::json::Reader;
use super::{Asked, Body, Shape, Wanted, parameters};
use crate::refusal::{Refusal, shorten};
use dictionary::Dictionary;
use layout::{Column, Kind, Layout};
use stream::{Part, Stream};
use values::{Data, Values};

mod dictionary;
mod layout;
mod stream;
mod values;

/// The key of a schema's metadata that has the parameters, in JSON.
const PARAMETERS: &str = "headgate.parameters";

/// A part of the stream behind the schema, in order.
enum Step<'a> {
    Rows(RecordBatch<'a>, &'a [u8]),
    Dictionary(DictionaryBatch<'a>, &'a [u8]),
}

/// A column that is a feature's.
struct Known<'a> {
    feature: usize,
    column: Column<'a>,
    kind: Kind,
}

pub(super) fn decode<'a>(body: &mut Body<'a>, bytes: &'a [u8], batch: &mut Batch) -> Result<Asked, Refusal> {
    let mut asked = Asked { shape: Shape::Arrow, ..Asked::default() };
    let mut stream = Stream::new(bytes);
    let first = stream.next().map_err(|words| body.refuse(words))?;
    let Some(layout) = first.map(|part| schema(body, &part, &mut asked)).transpose()?.flatten() else {
        return Err(body.refuse("an Arrow IPC stream that begins with a schema expected"));
    };
    let (head, known) = columns(body, &layout)?;
    let (mut steps, mut rows) = (Vec::new(), 0usize);
    while let Some(part) = stream.next().map_err(|words| body.refuse(words))? {
        let step = step(body, &part)?;
        if let Step::Rows(of, _) = &step {
            let more = usize::try_from(of.length()).map_err(|_| body.refuse("a record batch of less than no rows"))?;
            rows = rows.saturating_add(more);
            body.check_rows(rows)?;
        }
        steps.push(step);
    }
    head.shape(body, rows, batch);
    fill(body, &layout, &known, steps, batch)?;
    Ok(asked)
}

/// Reads the message that has to be the schema; none where it is another.
fn schema<'a>(body: &mut Body<'a>, part: &Part<'a>, asked: &mut Asked) -> Result<Option<Layout<'a>>, Refusal> {
    let Some(schema) = part.message.header_as_schema() else { return Ok(None) };
    if schema.endianness() != Endianness::Little {
        return Err(body.refuse("the stream is big-endian, a little-endian one expected"));
    }
    let entries = schema.custom_metadata().into_iter().flatten();
    let parameters = entries.filter(|entry| entry.key() == Some(PARAMETERS)).find_map(|entry| entry.value());
    if let Some(text) = parameters {
        body.reader = Reader::new(text.as_bytes());
        read_parameters(body, asked).map_err(|refusal| {
            Refusal::new(refusal.kind, format!("schema metadata '{PARAMETERS}': {}", refusal.message))
        })?;
    }
    Layout::new(&schema, part.message.version()).map(Some).map_err(|words| body.refuse(words))
}

fn read_parameters(body: &mut Body<'_>, asked: &mut Asked) -> Result<(), Refusal> {
    body.reader.open_object()?;
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        if key == "outputs" {
            asked.outputs = Some(outputs(body)?);
            continue;
        }
        match asked.flag(&key) {
            Some(flag) => *flag = parameters::boolean(body, &key)?,
            None => body.reader.skip()?,
        }
    }
    Ok(body.reader.end()?)
}

fn outputs(body: &mut Body<'_>) -> Result<Vec<Wanted>, Refusal> {
    let mut wanted = Vec::new();
    body.reader.open_array()?;
    while body.reader.element(wanted.is_empty())? {
        let name = body.reader.text()?;
        let output = body.output(&name)?;
        if wanted.iter().any(|other: &Wanted| other.output == output) {
            return Err(body.refuse(format_args!("output '{}' is asked for twice", shorten(&name, 80))));
        }
        wanted.push(Wanted { output, binary: None });
    }
    Ok(wanted)
}

/// Which columns are features', and what lies in them.
fn columns<'a>(body: &mut Body<'a>, layout: &Layout<'a>) -> Result<(Head, Vec<Known<'a>>), Refusal> {
    let mut head = Head::new(body);
    let mut known = Vec::new();
    for (at, column) in layout.columns.iter().enumerate() {
        head.push(body, column.name())?;
        if let Some(feature) = head.feature(at) {
            let kind =
                column.kind().map_err(|words| body.refuse(format_args!("column '{}' {words}", column.name())))?;
            known.push(Known { feature, column: *column, kind });
        }
    }
    if layout.columns.is_empty() {
        return Err(body.refuse("the schema has no column, one a feature expected"));
    }
    head.check(body)?;
    Ok((head, known))
}

fn step<'a>(body: &Body<'_>, part: &Part<'a>) -> Result<Step<'a>, Refusal> {
    let number = part.number;
    let found = match part.message.header_type() {
        MessageHeader::RecordBatch => part.message.header_as_record_batch().map(|of| Step::Rows(of, part.body)),
        MessageHeader::DictionaryBatch => {
            part.message.header_as_dictionary_batch().map(|of| Step::Dictionary(of, part.body))
        }
        _ => None,
    };
    let expected = "a record batch or a dictionary expected";
    found.ok_or_else(|| {
        let came = part.message.header_type().variant_name().unwrap_or("unknown");
        body.refuse(format_args!("message {number} of the stream is of type {came}: {expected}"))
    })
}

/// Writes all values to their columns.
fn fill(
    body: &mut Body<'_>,
    layout: &Layout<'_>,
    known: &[Known<'_>],
    steps: Vec<Step<'_>>,
    batch: &mut Batch,
) -> Result<(), Refusal> {
    let kinds = dictionary_kinds(body, known)?;
    let mut dictionaries: HashMap<i64, Dictionary<'_>> = HashMap::new();
    let (mut start, mut number) = (0, 0);
    for step in steps {
        match step {
            Step::Dictionary(of, bytes) => {
                // Those of columns that are ignored are ignored too.
                let Some(kind) = kinds.get(&of.id()) else { continue };
                let refuse = |words| body.refuse(format_args!("dictionary {}: {words}", of.id()));
                let values = of.data().ok_or_else(|| "it has no values".to_owned());
                let values = values.and_then(|data| Data::dictionary(data, bytes)?.values(*kind));
                let values = values.map_err(refuse)?;
                dictionaries.entry(of.id()).or_default().add(values, of.isDelta());
            }
            Step::Rows(of, bytes) => {
                let data = Data::new(of, bytes, layout);
                let data = data.map_err(|words| body.refuse(format_args!("record batch {number}: {words}")))?;
                for known in known {
                    let to = &mut batch.column_mut(known.feature)[start..start + data.rows()];
                    column(body, known, &data, &dictionaries, start, to).map_err(|words| {
                        let name = known.column.name();
                        body.refuse(format_args!("column '{name}' of record batch {number}: {words}"))
                    })?;
                }
                start += data.rows();
                number += 1;
            }
        }
    }
    Ok(())
}

/// What lies in the dictionaries of known columns.
fn dictionary_kinds(body: &Body<'_>, known: &[Known<'_>]) -> Result<HashMap<i64, Kind>, Refusal> {
    let mut kinds = HashMap::new();
    for known in known {
        if let Some((id, _)) = known.column.index
            && kinds.insert(id, known.kind).is_some_and(|other| other != known.kind)
        {
            let name = known.column.name();
            return Err(body.refuse(format_args!("column '{name}': its dictionary {id} is one of other values too")));
        }
    }
    Ok(kinds)
}

/// Writes a column of a record batch, whose first row is row `start` of the call.
fn column(
    body: &mut Body<'_>,
    known: &Known<'_>,
    data: &Data<'_>,
    dictionaries: &HashMap<i64, Dictionary<'_>>,
    start: usize,
    to: &mut [f64],
) -> Result<(), String> {
    let feature = known.feature;
    let Some((id, datatype)) = known.column.index else {
        let values = data.column(known.kind, &known.column)?;
        return plain(body, &values, start, feature, to);
    };
    let indices = data.column(Kind::Fixed(datatype), &known.column)?;
    indices.widen(to);
    let none = Dictionary::default();
    let dictionary = dictionaries.get(&id).unwrap_or(&none);
    // Worth it where values come again, and never larger than the column.
    let mut seen: Vec<Option<f64>> = vec![None; if dictionary.len() <= to.len() { dictionary.len() } else { 0 }];
    for (at, value) in to.iter_mut().enumerate().filter(|(_, value)| !value.is_nan()) {
        // Indices are integers; what is negative becomes 0 only if it is compared before.
        let index = if *value >= 0.0 { *value as usize } else { usize::MAX };
        if let Some(Some(known)) = seen.get(index) {
            *value = *known;
            continue;
        }
        let row = start + at;
        let written = *value;
        let found = dictionary.scalar(index, |scalar| body.of_blob(row, feature, scalar))?;
        *value = found.ok_or_else(|| format!("row {row} has index {written} into {} values", dictionary.len()))?;
        // A value that its feature does not take is each row's fault.
        if body.faults.reason(row).is_none()
            && let Some(place) = seen.get_mut(index)
        {
            *place = Some(*value);
        }
    }
    Ok(())
}

fn plain(body: &mut Body<'_>, values: &Values<'_>, start: usize, feature: usize, to: &mut [f64]) -> Result<(), String> {
    if body.schema.features[feature].is_numeric() && values.widen(to) {
        return Ok(());
    }
    for (at, value) in to.iter_mut().enumerate() {
        *value = values.scalar(at, |scalar| body.of_blob(start + at, feature, scalar))?;
    }
    Ok(())
}
