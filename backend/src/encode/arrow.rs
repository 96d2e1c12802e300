//! Scores as an Arrow IPC stream: a column an output (a list of fixed size for one that is wider), `contributions`,
//! `row_status`. Of a row that could not be scored all but the last are null.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, FixedSizeListArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema as Fields};
use headgate_contract::manifest::Dtype;
use headgate_engine::Outputs;

use super::{chosen, contributions, text_at, values};
use crate::decode::Asked;
use crate::schema::{Output, Schema};

/// Writes a reply.
pub(super) fn stream(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) {
    // The columns have the same rows, and memory takes all that is written.
    let _ = write(body, schema, asked, scores);
}

fn write(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) -> Result<(), ArrowError> {
    let failed = (!asked.faults.is_empty()).then_some(asked);
    let mut columns = Vec::new();
    for output in chosen(schema, asked) {
        let flat = column(schema, output, asked, scores);
        let column = if output.width == 1 { flat } else { lists(flat, output.width, failed)? };
        columns.push((output.name.to_string(), column));
    }
    if asked.contributions {
        let shape = contributions::shape(schema, asked.rows, &scores.contributions);
        let mut column: ArrayRef = Arc::new(PrimitiveArray::<Float64Type>::from(scores.contributions.clone()));
        for (depth, width) in shape.iter().enumerate().skip(1).rev() {
            column = lists(column, *width, failed.filter(|_| depth == 1))?;
        }
        columns.push(("contributions".to_owned(), column));
    }
    if asked.row_status {
        let reasons = (0..asked.rows).map(|row| asked.faults.reason(row));
        columns.push(("row_status".to_owned(), Arc::new(StringArray::from_iter(reasons))));
    }
    let fields = columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let fields = Arc::new(Fields::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&fields), columns.into_iter().map(|(_, column)| column).collect())?;
    let mut writer = StreamWriter::try_new(body, &fields)?;
    writer.write(&batch)?;
    writer.finish()
}

/// An output's values, row after row.
fn column(schema: &Schema, output: &Output, asked: &Asked, scores: &Outputs) -> ArrayRef {
    // Only floats have a NaN that is no failure.
    let is_float = matches!(output.dtype, Dtype::Fp64 | Dtype::Fp32 | Dtype::Fp16);
    let rows = (0..asked.rows).map(|row| (asked.faults.reason(row).is_none(), values(schema, output, row, scores)));
    let values = rows.flat_map(|(scored, values)| {
        values.iter().map(move |value| (scored && (is_float || !value.is_nan())).then_some(*value))
    });
    match output.dtype {
        Dtype::Fp64 => numbers::<Float64Type>(values, |v| v),
        Dtype::Fp32 => numbers::<Float32Type>(values, |v| v as f32),
        Dtype::Fp16 => numbers::<Float16Type>(values, <Float16Type as ArrowPrimitiveType>::Native::from_f64),
        Dtype::Int8 => numbers::<Int8Type>(values, |v| v as i8),
        Dtype::Int16 => numbers::<Int16Type>(values, |v| v as i16),
        Dtype::Int32 => numbers::<Int32Type>(values, |v| v as i32),
        Dtype::Int64 => numbers::<Int64Type>(values, |v| v as i64),
        Dtype::Uint8 => numbers::<UInt8Type>(values, |v| v as u8),
        Dtype::Uint16 => numbers::<UInt16Type>(values, |v| v as u16),
        Dtype::Uint32 => numbers::<UInt32Type>(values, |v| v as u32),
        Dtype::Uint64 => numbers::<UInt64Type>(values, |v| v as u64),
        Dtype::Bool => Arc::new(values.map(|v| v.map(|v| v != 0.0)).collect::<BooleanArray>()),
        Dtype::Bytes => Arc::new(StringArray::from_iter(values.map(|v| text_at(output, scores, v?)))),
    }
}

fn numbers<T: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<f64>>,
    read: impl Fn(f64) -> T::Native,
) -> ArrayRef {
    Arc::new(values.map(|value| value.map(&read)).collect::<PrimitiveArray<T>>())
}

/// So many values a row; where rows failed, the row is null.
fn lists(values: ArrayRef, width: usize, failed: Option<&Asked>) -> Result<ArrayRef, ArrowError> {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = failed.map(|asked| (0..asked.rows).map(|row| asked.faults.reason(row).is_none()).collect());
    let width = i32::try_from(width).map_err(|_| ArrowError::ComputeError("a row too wide".to_owned()))?;
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, values, nulls)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow_array::cast::AsArray;
    use arrow_array::{Array, types};
    use arrow_ipc::reader::StreamReader;
    use arrow_schema::DataType;
    use headgate_contract::manifest::signature::Role;
    use headgate_contract::manifest::{self, Input, Signature};
    use headgate_contract::{Digest, Version};

    use super::*;
    use crate::decode::{Faults, Shape};

    fn schema(outputs: &[(&str, Dtype, usize)]) -> Schema {
        let outputs = outputs.iter().map(|(name, dtype, width)| manifest::Output {
            name: (*name).into(),
            role: Role::Value,
            dtype: *dtype,
            width: *width,
            classes: if *dtype == Dtype::Bytes { vec!["a".into(), "b".into()] } else { vec![] },
        });
        let signature = Signature { inputs: vec![Input::numeric("x")], outputs: outputs.collect() };
        Schema::new("m".parse().unwrap(), Version::FIRST, Digest::of(""), &signature).unwrap()
    }

    fn reply(schema: &Schema, asked: Asked, scores: &Outputs) -> RecordBatch {
        let encoded = crate::encode::encode(schema, &Asked { shape: Shape::Arrow, ..asked }, scores);
        assert_eq!(encoded.content.media_type(), "application/vnd.apache.arrow.stream");
        let mut reader = StreamReader::try_new(encoded.bytes.as_slice(), None).unwrap();
        let batch = reader.next().unwrap().unwrap();
        assert!(reader.next().is_none());
        batch
    }

    #[test]
    fn each_output_has_a_column_of_its_type() {
        let dtypes = [
            (Dtype::Fp64, DataType::Float64),
            (Dtype::Fp32, DataType::Float32),
            (Dtype::Fp16, DataType::Float16),
            (Dtype::Int8, DataType::Int8),
            (Dtype::Int16, DataType::Int16),
            (Dtype::Int32, DataType::Int32),
            (Dtype::Int64, DataType::Int64),
            (Dtype::Uint8, DataType::UInt8),
            (Dtype::Uint16, DataType::UInt16),
            (Dtype::Uint32, DataType::UInt32),
            (Dtype::Uint64, DataType::UInt64),
            (Dtype::Bool, DataType::Boolean),
            (Dtype::Bytes, DataType::Utf8),
        ];
        let outputs: Vec<_> = dtypes.iter().map(|(dtype, _)| (dtype.as_str(), *dtype, 1)).collect();
        let values: Vec<f64> = [1.0, f64::NAN].iter().flat_map(|v| [*v; 13]).collect();
        let scores = Outputs { values, ..Outputs::default() };
        let batch = reply(&schema(&outputs), Asked { rows: 2, ..Asked::default() }, &scores);
        for (at, (dtype, expected)) in dtypes.iter().enumerate() {
            let column = batch.column(at);
            assert_eq!((column.data_type(), column.is_valid(0)), (expected, true), "{dtype:?}");
            assert_eq!(column.is_null(1), at > 2, "{dtype:?}");
        }
        let half = batch.column(2).as_primitive::<Float16Type>();
        assert!(half.value(0).to_f64() == 1.0 && half.value(1).is_nan());
        assert_eq!(batch.column(12).as_string::<i32>().value(0), "b");
    }

    #[test]
    fn wide_outputs_contributions_and_reasons() {
        let schema = schema(&[("p", Dtype::Fp64, 2)]);
        let mut faults = Faults::default();
        faults.add(1, "row 1: bad");
        let asked = Asked { rows: 3, faults, row_status: true, contributions: true, ..Asked::default() };
        // Without the row that failed.
        let scores =
            Outputs { values: vec![1.0, 2.0, 3.0, 4.0], contributions: vec![0.5, 1.0, 1.5, 2.0], ..Outputs::default() };
        let batch = reply(&schema, asked.clone(), &scores);
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["p", "contributions", "row_status"]);
        let list = |batch: &RecordBatch, at: usize, row: usize| {
            batch.column(at).as_fixed_size_list().value(row).as_primitive::<types::Float64Type>().values().to_vec()
        };
        assert_eq!((list(&batch, 0, 2), list(&batch, 1, 2)), (vec![3.0, 4.0], vec![1.5, 2.0]));
        assert!(batch.column(0).is_null(1) && batch.column(1).is_null(1) && batch.column(0).is_valid(0));
        let reasons: Vec<_> = batch.column(2).as_string::<i32>().iter().collect();
        assert_eq!(reasons, [None, Some("row 1: bad"), None]);
        // Several margins.
        let asked = Asked { rows: 1, contributions: true, ..Asked::default() };
        let scores = Outputs { values: vec![1.0, 2.0], contributions: vec![1.0, 2.0, 3.0, 4.0], ..Outputs::default() };
        let batch = reply(&schema, asked, &scores);
        let margins = batch.column(1).as_fixed_size_list().value(0);
        let second = margins.as_fixed_size_list().value(1);
        assert_eq!(second.as_primitive::<types::Float64Type>().values(), &[3.0, 4.0]);
    }
}
