//! A Parquet file as other programs write it.

use std::sync::Arc;

use headgate_trainer::data::{self, Body, Input};
use headgate_trainer::table::{NumberKind, Table, Values};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const SCHEMA: &str = "message rows {
    optional int64 id;
    optional double amount;
    optional boolean flag;
    optional binary city (UTF8);
    required int32 day (DATE);
    optional int64 at (TIMESTAMP(MILLIS, true));
    optional int32 price (DECIMAL(9, 2));
    optional group tags (LIST) { repeated group list { optional int32 element; } }
}";

fn file() -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        let some = Some(&[1_i16, 0, 1][..]);
        macro_rules! column {
            ($kind:ty, $levels:expr, $values:expr) => {{
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<$kind>().write_batch($values, $levels, None).unwrap();
                column.close().unwrap();
            }};
        }
        column!(Int64Type, some, &[7, -9]);
        column!(DoubleType, some, &[0.5, f64::NAN]);
        column!(BoolType, some, &[true, false]);
        column!(ByteArrayType, some, &[ByteArray::from("São Paulo"), ByteArray::from("")]);
        column!(Int32Type, None, &[0, 1, 19_782]);
        column!(Int64Type, some, &[43_200_000, 0]);
        column!(Int32Type, some, &[1999, -5]);
        let mut nested = group.next_column().unwrap().unwrap();
        nested.typed::<Int32Type>().write_batch(&[], Some(&[0, 0, 0]), Some(&[0, 0, 0])).unwrap();
        nested.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn read(bytes: Vec<u8>) -> Result<data::Data, data::DataError> {
    data::read(&[Input { uri: "x.parquet".to_owned(), body: Body::Bytes(bytes.into()) }])
}

fn numbers(table: &Table, name: &str) -> (NumberKind, Vec<f64>) {
    match &table.column(name).unwrap().values {
        Values::Number(kind, values) => (*kind, values.clone()),
        Values::Text(texts) => panic!("{name}: {texts:?}"),
    }
}

#[test]
fn flat_columns_are_read_and_nested_ones_named() {
    let data = read(file()).unwrap();
    let table = &data.table;
    assert_eq!(table.rows, 6);
    let (kind, ids) = numbers(table, "id");
    assert!(kind == NumberKind::Integer && ids[0] == 7.0 && ids[1].is_nan() && ids[5] == -9.0);
    assert!(numbers(table, "amount").1[2].is_nan());
    assert_eq!(numbers(table, "flag").0, NumberKind::Boolean);
    assert_eq!(numbers(table, "day"), (NumberKind::Date, vec![0.0, 1.0, 19_782.0, 0.0, 1.0, 19_782.0]));
    assert_eq!(numbers(table, "at").1[0], 0.5);
    assert_eq!(numbers(table, "price").1[0], 19.99);
    assert_eq!(table.column("city").unwrap().text(3).unwrap(), "São Paulo");
    assert_eq!(table.column("city").unwrap().text(2).unwrap(), "");
    assert!(table.column("city").unwrap().is_missing(1));
    assert_eq!(data.notes.len(), 1);
    assert!(data.notes[0].contains("tags") && data.notes[0].contains("nested"), "{:?}", data.notes);
}

#[test]
fn a_file_cut_short_or_broken_is_refused() {
    let bytes = file();
    for len in [4, 12, bytes.len() / 2, bytes.len() - 1] {
        let error = read(bytes[..len].to_vec()).unwrap_err().to_string();
        assert!(error.contains("x.parquet"), "{error}");
    }
    // One flipped byte may hit a value, which Parquet can't tell; it must not panic, and most are refused.
    let refused = (4..bytes.len()).filter(|at| {
        let mut flipped = bytes.clone();
        flipped[*at] ^= 0xff;
        read(flipped).is_err()
    });
    assert!(refused.count() > bytes.len() / 2);
}
