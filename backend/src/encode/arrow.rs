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
