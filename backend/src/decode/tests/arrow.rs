//! Arrow IPC streams, good and bad.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{Float16Type, Int8Type, Int32Type, Int64Type, UInt16Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float16Array,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, NullArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMillisecondArray, UInt8Array, UInt64Array,
};
use arrow_ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema as Fields};

use super::*;

type Named = (&'static str, ArrayRef);

fn batch_of(columns: &[Named], parameters: Option<&str>) -> RecordBatch {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let metadata: HashMap<_, _> =
        parameters.map(|text| ("headgate.parameters".to_owned(), text.to_owned())).into_iter().collect();
    let fields = Fields::new_with_metadata(fields.collect::<Vec<_>>(), metadata);
    RecordBatch::try_new(Arc::new(fields), columns.iter().map(|(_, column)| Arc::clone(column)).collect()).unwrap()
}

fn written(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn stream(columns: &[Named]) -> Vec<u8> {
    written(&[batch_of(columns, None)], IpcWriteOptions::default())
}

fn arrow_of(schema: &Schema, bytes: &[u8]) -> Result<(Asked, Batch), Refusal> {
    read_within(Form::Arrow, schema, bytes, BOUNDS)
}

fn arrow(columns: &[Named]) -> Result<(Asked, Batch), Refusal> {
    arrow_of(&bank(), &stream(columns))
}

fn ages(values: impl Into<Float64Array>) -> Named {
    ("age", Arc::new(values.into()))
}

fn texts(name: &'static str, values: &[Option<&str>]) -> Named {
    (name, Arc::new(values.iter().copied().collect::<StringArray>()))
}

#[test]
fn every_type_of_number_is_read() {
    let half = <Float16Type as ArrowPrimitiveType>::Native::from_f32;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![Some(-3.0), None, Some(2.0)])),
        Arc::new(Float32Array::from(vec![Some(-3.0), None, Some(2.0)])),
        Arc::new(Float16Array::from(vec![Some(half(-3.0)), None, Some(half(2.0))])),
        Arc::new(Int8Array::from(vec![Some(-3), None, Some(2)])),
        Arc::new(Int16Array::from(vec![Some(-3), None, Some(2)])),
        Arc::new(Int32Array::from(vec![Some(-3), None, Some(2)])),
        Arc::new(Int64Array::from(vec![Some(-3), None, Some(2)])),
        Arc::new(vec![Some(-3), None, Some(2), None].into_iter().collect::<Int64Array>().slice(0, 3)),
    ];
    for column in columns {
        let (_, batch) = arrow(&[("age", Arc::clone(&column))]).unwrap();
        assert_eq!(rows(&batch), [["-3.0", "NaN", "5.0"], ["NaN", "NaN", "5.0"], ["2.0", "NaN", "5.0"]], "{column:?}");
    }
    let columns: [(ArrayRef, [&str; 2]); 5] = [
        (Arc::new(UInt8Array::from(vec![255, 0])), ["255.0", "0.0"]),
        (Arc::new(UInt64Array::from(vec![u64::MAX, 1])), ["1.8446744073709552e19", "1.0"]),
        (Arc::new(BooleanArray::from(vec![Some(true), None])), ["1.0", "NaN"]),
        (Arc::new(NullArray::new(2)), ["NaN", "NaN"]),
        (Arc::new(StringArray::from(vec!["-Infinity", "NaN"])), ["-inf", "NaN"]),
    ];
    for (column, expected) in columns {
        let (_, batch) = arrow(&[("age", Arc::clone(&column))]).unwrap();
        assert_eq!([0, 1].map(|row| format!("{:?}", batch.column(0)[row])), expected, "{column:?}");
    }
}

#[test]
fn categories_come_as_texts_dictionaries_or_numbers() {
    let long = "a category of more than twelve bytes";
    let jobs = vec!["admin.".to_owned(), "student".to_owned(), long.to_owned(), "3".to_owned(), "7.0".to_owned()];
    let bank = schema(vec![Input::categorical("job", jobs)]);
    let list = [Some("student"), None, Some("pirate"), Some(long), Some("student")];
    let dictionary: DictionaryArray<Int8Type> = list.into_iter().collect();
    let wide: DictionaryArray<Int64Type> = list.into_iter().collect();
    let unsigned: DictionaryArray<UInt16Type> = list.into_iter().collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(list.into_iter().collect::<StringArray>()),
        Arc::new(list.into_iter().collect::<LargeStringArray>()),
        Arc::new(list.into_iter().collect::<StringViewArray>()),
        Arc::new(dictionary),
        Arc::new(wide),
        Arc::new(unsigned),
        Arc::new(list.into_iter().chain([Some("admin.")]).collect::<StringArray>().slice(0, 5)),
    ];
    for column in columns {
        let (_, batch) = arrow_of(&bank, &stream(&[("job", Arc::clone(&column))])).unwrap();
        let read: Vec<String> = batch.column(0).iter().map(|v| format!("{v:?}")).collect();
        assert_eq!(read, ["1.0", "NaN", "NaN", "2.0", "1.0"], "{column:?}");
    }
    for column in [Arc::new(Int32Array::from(vec![3, 7])) as ArrayRef, Arc::new(Float64Array::from(vec![3.0, 7.0]))] {
        let (_, batch) = arrow_of(&bank, &stream(&[("job", column)])).unwrap();
        assert_eq!(batch.column(0), [3.0, 4.0]);
    }
    let free = schema(vec![Input { dtype: Dtype::Bytes, ..Input::numeric("job") }]);
    for column in [
        Arc::new(list.into_iter().collect::<StringViewArray>()) as ArrayRef,
        Arc::new(list.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ] {
        let (_, batch) = arrow_of(&free, &stream(&[("job", column)])).unwrap();
        assert_eq!((0..5).map(|row| batch.text(row, 0)).collect::<Vec<_>>(), list);
    }
}

#[test]
fn record_batches_come_one_behind_the_other_with_their_dictionaries() {
    let batch = |age: f64, jobs: &[&str]| {
        let job: DictionaryArray<Int8Type> = jobs.iter().copied().collect();
        let age = Float64Array::from(vec![age; jobs.len()]);
        batch_of(&[("job", Arc::new(job)), ("age", Arc::new(age))], None)
    };
    let growing = [batch(1.0, &["x"]), batch(2.0, &["x", "student"]), batch(3.0, &["x", "student", "admin."])];
    let other = [batch(1.0, &["x"]), batch(2.0, &["student", "x"]), batch(3.0, &["admin.", "student", "x"])];
    for (batches, handling, expected) in [
        (&growing, DictionaryHandling::Resend, "[NaN, NaN, 1.0, NaN, 1.0, 0.0]"),
        (&growing, DictionaryHandling::Delta, "[NaN, NaN, 1.0, NaN, 1.0, 0.0]"),
        (&other, DictionaryHandling::Resend, "[NaN, 1.0, NaN, 0.0, 1.0, NaN]"),
    ] {
        let bytes = written(batches, IpcWriteOptions::default().with_dictionary_handling(handling));
        let (asked, read) = arrow_of(&bank(), &bytes).unwrap();
        assert_eq!((asked.rows, read.column(0)), (6, &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0][..]));
        assert_eq!(format!("{:?}", read.column(1)), expected);
    }
    let empty = batch_of(&[ages(Vec::<f64>::new()), texts("job", &[])], None);
    let some = batch_of(&[ages(vec![1.0]), texts("job", &[Some("student")])], None);
    let bytes = written(&[empty.clone(), some.clone(), empty], IpcWriteOptions::default());
    assert_eq!(rows(&arrow_of(&bank(), &bytes).unwrap().1), [["1.0", "1.0", "5.0"]]);
    // The end may be that of the body; the continuation mark came later than the format.
    let bytes = stream(&[ages(vec![1.0])]);
    assert!(arrow_of(&bank(), &bytes[..bytes.len() - 8]).is_ok());
    let legacy = IpcWriteOptions::try_new(8, true, arrow_ipc::MetadataVersion::V4).unwrap();
    assert_eq!(rows(&arrow_of(&bank(), &written(&[some], legacy)).unwrap().1), [["1.0", "1.0", "5.0"]]);
}

/// Columns of all kinds that no feature has.
fn strangers() -> Vec<Named> {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let inner: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "another text of more than twelve bytes"]));
    let fields = vec![
        (Arc::new(Field::new("a", DataType::Utf8View, true)), inner),
        (Arc::new(Field::new("b", list.data_type().clone(), true)), Arc::new(list.clone()) as ArrayRef),
    ];
    vec![
        ("list", Arc::new(list)),
        ("struct", Arc::new(StructArray::from(fields))),
        ("decimal", Arc::new(Decimal128Array::from(vec![1, 2]))),
        ("time", Arc::new(TimestampMillisecondArray::from(vec![1, 2]))),
        ("bytes", Arc::new(BinaryArray::from_vec(vec![b"a", b"\xff"]))),
        ("dictionary", Arc::new(["p", "q"].into_iter().collect::<DictionaryArray<Int8Type>>())),
        ("view", Arc::new(StringViewArray::from(vec![None, Some("a text of more than twelve bytes")]))),
        ("null", Arc::new(NullArray::new(2))),
    ]
}

#[test]
fn unknown_columns_of_any_type_are_passed_over() {
    let mut columns = strangers();
    columns.push(ages(vec![1.0, 2.0]));
    columns.push(("job", Arc::new(StringViewArray::from(vec![Some("student"), None]))));
    columns.extend(strangers().into_iter().map(|(_, column)| ("again", column)));
    let (asked, batch) = arrow(&columns).unwrap();
    assert_eq!(rows(&batch), [["1.0", "1.0", "5.0"], ["2.0", "NaN", "5.0"]]);
    assert_eq!(asked.ignored.to_string(), "list,struct,decimal,time,bytes,dictionary,view,null,again");
    let strict = Bounds { strict: true, ..BOUNDS };
    says(read_within(Form::Arrow, &bank(), &stream(&columns), strict), &["'list'", "strict"]);
}

#[test]
fn parameters_are_in_the_schemas_metadata() {
    let with = |parameters: &str| {
        let batch = batch_of(&[ages(vec![1.0, 2.0]), texts("balance", &[Some("x"), Some("NaN")])], Some(parameters));
        arrow_of(&bank(), &written(&[batch], IpcWriteOptions::default()))
    };
    let (asked, batch) =
        with(r#"{"row_status": true, "contributions": true, "outputs": ["margin"], "x": [1]}"#).unwrap();
    assert!(asked.contributions && asked.row_status && asked.shape == Shape::Arrow);
    assert_eq!(asked.outputs, Some(vec![Wanted { output: 1, binary: None }]));
    assert_eq!(asked.faults.reason(0), Some("row 0, feature 'balance': text \"x\" came, a number expected"));
    assert_eq!((asked.rows, rows(&batch)), (2, vec![["2.0", "NaN", "NaN"].map(str::to_owned).to_vec()]));
    says(with("{"), &["schema metadata 'headgate.parameters'", "ends too early"]);
    says(with("[]"), &["schema metadata 'headgate.parameters'", "'{' expected"]);
    says(with(r#"{"row_status": 1}"#), &["'headgate.parameters'", "'row_status'", "1 came"]);
    says(with(r#"{"outputs": ["score"]}"#), &["'score'", "'probability', 'margin'"]);
    says(with(r#"{"outputs": ["margin", "margin"]}"#), &["'margin' is asked for twice"]);
}

#[test]
fn what_is_wrong_with_a_stream_is_named() {
    let two = |column: ArrayRef| arrow(&[("age", column)]);
    for (name, column) in strangers() {
        match name {
            "dictionary" => says(two(column), &["row 0, feature 'age': text \"p\" came, a number expected; row 1"]),
            "view" => says(two(column), &["row 1, feature 'age': text \"a text", "a number expected"]),
            "null" => assert!(two(column).is_ok()),
            _ => says(two(column), &["column 'age' has type", "integers, floats"]),
        }
    }
    says(arrow(&[ages(vec![1.0]), ages(vec![2.0])]), &["'age' is sent twice"]);
    says(arrow(&[texts("job", &[Some("student")])]), &["'age' is required and absent"]);
    says(arrow(&[texts("Age", &[Some("1")])]), &["(Age) is known"]);
    says(arrow(&[ages(Vec::<f64>::new())]), &["no rows"]);
    let none = StreamWriter::try_new(Vec::new(), &Fields::empty()).unwrap().into_inner().unwrap();
    says(arrow_of(&bank(), &none), &["the schema has no column"]);
    let dates: DictionaryArray<Int8Type> =
        DictionaryArray::new(Int8Array::from(vec![0]), Arc::new(TimestampMillisecondArray::from(vec![1])));
    says(two(Arc::new(dates)), &["column 'age' has type timestamp"]);
    let bytes = stream(&[ages(vec![1.0])]);
    let of = |bytes: &[u8]| arrow_of(&bank(), bytes);
    says(of(b""), &["begins with a schema"]);
    says(of(b"{\"instances\": []}"), &["message 0 of the stream says that its metadata has"]);
    says(of(&[bytes.as_slice(), b"x"].concat()), &["1 bytes follow the end"]);
    says(of(&bytes[..bytes.len() - 40]), &["message 1 of the stream says that its body has", "are left"]);
    says(of(&bytes[..3]), &["ends within the length"]);
    let schema_bytes = 8 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    says(of(&bytes[schema_bytes..]), &["begins with a schema"]);
    let twice = [&bytes[..schema_bytes], &bytes].concat();
    says(of(&twice), &["message 1 of the stream is of type Schema"]);
    let batch = batch_of(&[ages(vec![1.0])], None);
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    says(of(&file.into_inner().unwrap()), &["an Arrow file came, an IPC stream expected"]);
    let compressed = include_bytes!("lz4.arrows");
    says(of(compressed), &["record batch 0: its buffers are compressed (lz4_frame): uncompressed ones expected"]);
    let many = ages(vec![1.0; 1001]);
    assert_eq!(arrow(&[many]).unwrap_err().kind, Kind::TooLarge);
    let halves = [batch_of(&[ages(vec![1.0; 600])], None), batch_of(&[ages(vec![1.0; 600])], None)];
    assert_eq!(of(&written(&halves, IpcWriteOptions::default())).unwrap_err().kind, Kind::TooLarge);
}

/// Streams that have all that is read.
fn streams() -> Vec<Vec<u8>> {
    let jobs = [Some("student"), None, Some("a text of more than twelve bytes"), Some("admin.")];
    let ages = || ages(vec![Some(1.0), None, Some(3.0), Some(4.0)]);
    let view: ArrayRef = Arc::new(jobs.into_iter().collect::<StringViewArray>());
    let dictionary: ArrayRef = Arc::new(jobs.into_iter().collect::<DictionaryArray<Int8Type>>());
    let large: ArrayRef = Arc::new(jobs.into_iter().collect::<LargeStringArray>());
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), None]));
    let small: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None, Some(3), None]));
    [
        vec![ages(), ("job", view), ("balance", flags)],
        vec![ages(), ("job", dictionary), ("balance", small)],
        vec![("list", strangers().remove(0).1), ("age", Arc::new(Int64Array::from(vec![1, 2])))],
        vec![ages(), ("job", large), texts("balance", &[Some("NaN"), None, Some("inf"), None])],
    ]
    .iter()
    .map(|columns| {
        let batch = batch_of(columns, Some(r#"{"row_status": true}"#));
        written(&[batch.clone(), batch], IpcWriteOptions::default())
    })
    .collect()
}

#[test]
fn no_part_of_a_stream_is_read_without_its_end() {
    for bytes in streams() {
        let whole = arrow_of(&bank(), &bytes).unwrap();
        for end in 0..bytes.len() {
            // Between messages a stream may end.
            if let Ok((asked, _)) = arrow_of(&bank(), &bytes[..end]) {
                assert!(asked.rows <= whole.0.rows);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_mutated_stream_panics_or_makes_rows_up(
        which in 0usize..4,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, any::<u8>()), 1..6),
    ) {
        let mut bytes = STREAMS.with(|streams| streams[which].clone());
        for (at, how, byte) in edits {
            // Lengths and offsets lie at multiples of four.
            let at = at.index(bytes.len()) & if how < 10 { !3 } else { !0 };
            let value: &[u8] = match how {
                0 => &[0xff; 4],
                1 => &[0xff; 8],
                2 => &i32::MAX.to_le_bytes(),
                3 => &i64::MAX.to_le_bytes(),
                4 => &i64::MIN.to_le_bytes(),
                5 => &[0; 8],
                6 => &[byte, 0, 0, 0],
                7 => &[byte, 0, 0, 0, 0, 0, 0, 0],
                8 => &[0, 0, 0, byte],
                9 => &(1i64 << 40).to_le_bytes(),
                _ => &[byte],
            };
            let end = (at + value.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&value[..end - at]);
        }
        match arrow_of(&bank(), &bytes) {
            Ok((asked, batch)) => prop_assert_eq!((asked.rows, batch.columns()), (batch.rows() + asked.faults.len(), 3)),
            Err(refusal) => prop_assert!(matches!(refusal.kind, Kind::InvalidRequest | Kind::TooLarge), "{}", refusal),
        }
    }
}

thread_local! {
    static STREAMS: Vec<Vec<u8>> = streams();
}

proptest! {
    #[test]
    fn arrow_gives_what_rows_give(table in table(), split in any::<prop::sample::Index>(), dictionary in any::<bool>()) {
        let listed: Vec<Value> = table.iter().map(|r| json!([r.0, r.1.map(job), r.2])).collect();
        let (_, expected) = read(Form::V1, &bank(), &json!({ "instances": listed }).to_string()).unwrap();
        let part = |table: &[(Option<f64>, Option<bool>, f64)]| {
            let jobs = table.iter().map(|r| r.1.map(job));
            let jobs: ArrayRef = match dictionary {
                true => Arc::new(jobs.collect::<DictionaryArray<Int8Type>>()),
                false => Arc::new(jobs.collect::<StringArray>()),
            };
            let balances = Float64Array::from(table.iter().map(|r| r.2).collect::<Vec<_>>());
            let ages = ages(table.iter().map(|r| r.0).collect::<Vec<_>>());
            batch_of(&[("balance", Arc::new(balances)), ages, ("job", jobs)], None)
        };
        let split = split.index(table.len());
        let bytes = written(&[part(&table[..split]), part(&table[split..])], IpcWriteOptions::default());
        let (_, batch) = arrow_of(&bank(), &bytes).unwrap();
        prop_assert_eq!(rows(&batch), rows(&expected));
    }
}
