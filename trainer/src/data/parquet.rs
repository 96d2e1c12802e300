//! Parquet files of flat columns: booleans, numbers, decimals, dates, timestamps, text. Others are left out, in words.

use std::collections::HashMap;
use std::fs::File;
use std::panic::AssertUnwindSafe;

use headgate_contract::Digest;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::{Body, COLUMNS_MAX, Data, DataError, Hashing, Input, ROWS_MAX, date};
use crate::table::{Column, NumberKind, Table, Texts, Values};

/// Rows decoded at a time.
const CHUNK_ROWS: usize = 8192;
const NANOS_A_DAY: i64 = 86_400_000_000_000;

/// How a column's stored values become the table's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    /// A number: the stored one times `scale`.
    Number { kind: NumberKind, scale: f64, unsigned: bool },
    /// An instant, in so many units a day.
    Time { units_a_day: i64 },
    /// UTF-8.
    Text,
}

pub(super) fn read(inputs: &[Input]) -> Result<Data, DataError> {
    let mut data = Data { table: Table::default(), uris: Vec::new(), digests: Vec::new(), notes: Vec::new() };
    for (at, input) in inputs.iter().enumerate() {
        let digest: Digest = Hashing::new(input.open()?).finish().map_err(|source| input.failed(source))?;
        let mut notes = Vec::new();
        // The reader panics on some broken files: to the caller that is one more way to be broken.
        let part = std::panic::catch_unwind(AssertUnwindSafe(|| read_file(input, &mut notes)))
            .map_err(|_| input.broken("broken: the Parquet reader gave up on it"))?
            .map_err(|error| file_error(input, error))?;
        if at == 0 {
            (data.table, data.notes) = (part, notes);
        } else {
            append(&mut data.table, part).map_err(|what| DataError::Differs { uri: input.uri.clone(), what })?;
        }
        if data.table.rows > ROWS_MAX {
            return Err(input.broken(format!("more than {ROWS_MAX} rows")));
        }
        data.uris.push(input.uri.clone());
        data.digests.push(digest);
    }
    Ok(data)
}

fn read_file(input: &Input, notes: &mut Vec<String>) -> Result<Table, ParquetError> {
    let reader: Box<dyn FileReader> = match &input.body {
        Body::Bytes(bytes) => Box::new(SerializedFileReader::new(bytes.clone())?),
        Body::Path(path) => Box::new(SerializedFileReader::new(File::open(path)?)?),
    };
    let schema = reader.metadata().file_metadata().schema_descr();
    if schema.num_columns() > COLUMNS_MAX {
        return Err(ParquetError::General(format!("{} columns, at most {COLUMNS_MAX}", schema.num_columns())));
    }
    let mut taken = Vec::new();
    for (leaf, descriptor) in schema.columns().iter().enumerate() {
        let name = descriptor.path().string();
        match plan(descriptor) {
            Ok(read) if !name.is_empty() => taken.push((leaf, read, Column { name, values: empty(read) })),
            Ok(_) => notes.push(format!("column {} has no name: left out", leaf + 1)),
            Err(what) => notes.push(format!("column '{name}' is {what}: left out")),
        }
    }
    let mut rows = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
        rows = count
            .checked_add(rows)
            .filter(|rows| *rows <= ROWS_MAX)
            .ok_or_else(|| ParquetError::General(format!("more than {ROWS_MAX} rows, or a row group that lies")))?;
        for (leaf, read, column) in &mut taken {
            let optional = schema.column(*leaf).max_def_level() > 0;
            read_column(group.get_column_reader(*leaf)?, *read, optional, &mut column.values)?;
            let (came, name) = (column.values.len(), &column.name);
            if came != rows {
                return Err(ParquetError::General(format!("column '{name}' has {came} values for {rows} rows")));
            }
        }
    }
    Ok(Table { rows, columns: taken.into_iter().map(|(_, _, column)| column).collect() })
}

fn empty(read: Read) -> Values {
    match read {
        Read::Text => Values::Text(Texts::default()),
        Read::Number { kind, .. } => Values::Number(kind, Vec::new()),
        Read::Time { .. } => Values::Number(NumberKind::Timestamp, Vec::new()),
    }
}

/// How a column is read; else what it is that nobody here reads.
fn plan(column: &ColumnDescriptor) -> Result<Read, String> {
    use parquet::basic::Type;
    if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
        return Err("nested".to_owned());
    }
    let number = |kind, scale| Ok(Read::Number { kind, scale, unsigned: false });
    let decimal = || number(NumberKind::Float, 0.1_f64.powi(column.type_scale()));
    let (physical, logical, converted) = (column.physical_type(), column.logical_type_ref(), column.converted_type());
    match (physical, logical, converted) {
        (Type::INT32 | Type::INT64, Some(LogicalType::Decimal { .. }), _)
        | (Type::INT32 | Type::INT64, _, ConvertedType::DECIMAL) => decimal(),
        (Type::INT32, _, ConvertedType::DATE) | (Type::INT32, Some(LogicalType::Date), _) => {
            number(NumberKind::Date, 1.0)
        }
        (Type::INT64, Some(LogicalType::Timestamp(of)), _) => {
            let units_a_day = match of.unit {
                TimeUnit::MILLIS => NANOS_A_DAY / 1_000_000,
                TimeUnit::MICROS => NANOS_A_DAY / 1_000,
                TimeUnit::NANOS => NANOS_A_DAY,
            };
            Ok(Read::Time { units_a_day })
        }
        (Type::INT64, _, ConvertedType::TIMESTAMP_MILLIS) => Ok(Read::Time { units_a_day: NANOS_A_DAY / 1_000_000 }),
        (Type::INT64, _, ConvertedType::TIMESTAMP_MICROS) => Ok(Read::Time { units_a_day: NANOS_A_DAY / 1_000 }),
        (Type::INT96, ..) => Ok(Read::Time { units_a_day: NANOS_A_DAY / 1_000 }),
        (Type::BOOLEAN, ..) => number(NumberKind::Boolean, 1.0),
        (Type::INT32 | Type::INT64, _, ConvertedType::UINT_32 | ConvertedType::UINT_64) => {
            Ok(Read::Number { kind: NumberKind::Integer, scale: 1.0, unsigned: true })
        }
        (Type::INT32 | Type::INT64, ..) => number(NumberKind::Integer, 1.0),
        (Type::FLOAT | Type::DOUBLE, ..) => number(NumberKind::Float, 1.0),
        (Type::BYTE_ARRAY, _, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
        | (Type::BYTE_ARRAY, Some(LogicalType::String), _) => Ok(Read::Text),
        (Type::BYTE_ARRAY, _, ConvertedType::NONE) => Ok(Read::Text),
        _ => Err(format!("{physical} {converted}")),
    }
}

fn read_column(reader: ColumnReader, read: Read, optional: bool, to: &mut Values) -> Result<(), ParquetError> {
    let (scale, unsigned) = match read {
        Read::Number { scale, unsigned, .. } => (scale, unsigned),
        _ => (1.0, false),
    };
    match (reader, to) {
        (ColumnReader::BoolColumnReader(r), Values::Number(_, to)) => {
            numbers(r, optional, to, |v| f64::from(u8::from(*v)))
        }
        (ColumnReader::Int32ColumnReader(r), Values::Number(_, to)) => {
            numbers(r, optional, to, |v| scaled(if unsigned { f64::from(*v as u32) } else { f64::from(*v) }, scale))
        }
        (ColumnReader::Int64ColumnReader(r), Values::Number(_, to)) => numbers(r, optional, to, |v| match read {
            Read::Time { units_a_day } => days(*v, units_a_day),
            _ if unsigned => scaled(*v as u64 as f64, scale),
            _ => scaled(*v as f64, scale),
        }),
        (ColumnReader::Int96ColumnReader(r), Values::Number(_, to)) => {
            numbers(r, optional, to, |v| date::from_micros(v.to_micros()))
        }
        (ColumnReader::FloatColumnReader(r), Values::Number(_, to)) => numbers(r, optional, to, |v| f64::from(*v)),
        (ColumnReader::DoubleColumnReader(r), Values::Number(_, to)) => numbers(r, optional, to, |v| *v),
        (ColumnReader::ByteArrayColumnReader(r), Values::Text(to)) => texts(r, optional, to),
        _ => Err(ParquetError::General("a column is not of the type that the schema says".to_owned())),
    }
}

/// A decimal: dividing by the power of ten gives the number that its text would.
fn scaled(value: f64, scale: f64) -> f64 {
    if scale == 1.0 { value } else { value / (1.0 / scale).round() }
}

fn days(value: i64, units_a_day: i64) -> f64 {
    // By way of microseconds, so that a time has the same bits here and in CSV.
    let nanos = i128::from(value) * i128::from(NANOS_A_DAY / units_a_day);
    date::from_micros((nanos / 1000) as i64)
}

fn numbers<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    optional: bool,
    to: &mut Vec<f64>,
    number: impl Fn(&T::T) -> f64,
) -> Result<(), ParquetError> {
    chunks(&mut reader, optional, |value: Option<&T::T>| {
        to.push(value.map_or(f64::NAN, &number));
        Ok(())
    })
}

fn texts<T: DataType<T = ByteArray>>(
    mut reader: ColumnReaderImpl<T>,
    optional: bool,
    to: &mut Texts,
) -> Result<(), ParquetError> {
    chunks(&mut reader, optional, |value: Option<&ByteArray>| {
        to.push(value.map(ByteArray::as_utf8).transpose()?);
        Ok(())
    })
}

fn chunks<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    optional: bool,
    mut push: impl FnMut(Option<&T::T>) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let (records, ..) = reader.read_records(CHUNK_ROWS, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(());
        }
        let mut present = values.iter();
        for row in 0..records {
            let there = !optional || levels.get(row).is_some_and(|level| *level > 0);
            push(if there { present.next() } else { None })?;
        }
    }
}

fn append(table: &mut Table, part: Table) -> Result<(), String> {
    if table.columns.len() != part.columns.len() {
        return Err(format!("{} columns where {} were", part.columns.len(), table.columns.len()));
    }
    let mut by_name: HashMap<String, Values> = part.columns.into_iter().map(|c| (c.name, c.values)).collect();
    for column in &mut table.columns {
        let more = by_name.remove(&column.name).ok_or_else(|| format!("no column '{}'", column.name))?;
        match (&mut column.values, more) {
            (Values::Text(texts), Values::Text(more)) => {
                (0..more.codes.len()).for_each(|row| texts.push(more.get(row)));
            }
            (Values::Number(kind, values), Values::Number(other, more)) if kind.join(other).is_some() => {
                *kind = kind.join(other).unwrap_or(*kind);
                values.extend(more);
            }
            _ => return Err(format!("column '{}' is of another type", column.name)),
        }
    }
    table.rows += part.rows;
    Ok(())
}

fn file_error(input: &Input, error: ParquetError) -> DataError {
    match error {
        ParquetError::EOF(what) => DataError::CutShort { uri: input.uri.clone(), what },
        other => input.broken(other.to_string()),
    }
}
