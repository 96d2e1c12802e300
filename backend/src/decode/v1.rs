//! v1 bodies, as TF Serving and KServe read them: `instances` holds rows (arrays, objects with feature names, or single
//! values for a model with one feature), `inputs` the same or an object of columns. `parameters` is ours beside them.

use headgate_engine::Batch;

use super::columns::Columns;
use super::rows::Rows;
use super::{Asked, Body, Shape, parameters};
use crate::refusal::Refusal;

pub(super) fn decode(body: &mut Body<'_>, values: &mut Vec<f64>, batch: &mut Batch) -> Result<Asked, Refusal> {
    body.reader.open_object()?;
    let mut shape = None;
    let mut asked = Asked::default();
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        if key == "parameters" {
            parameters::read(body, &mut asked)?;
            continue;
        }
        let rows = key == "instances";
        if !rows && key != "inputs" {
            body.reader.skip()?;
            continue;
        }
        if shape.is_some() {
            return Err(body.refuse("'instances' or 'inputs' expected once"));
        }
        shape = Some(match body.reader.peek() {
            Some(b'[') => {
                let mut rows = Rows::new(values);
                rows.read(body)?;
                rows.finish(body, batch)?;
                Shape::Predictions
            }
            Some(b'{') if !rows => {
                columns(body, values, batch)?;
                Shape::Columns
            }
            _ => return Err(body.refuse(format_args!("'{key}': an array of rows expected"))),
        });
    }
    body.reader.end()?;
    let Some(shape) = shape else {
        return Err(body.refuse("'instances' is missing: {\"instances\": [row, ...]} expected"));
    };
    Ok(Asked { shape, ..asked })
}

/// An object of columns, each an array of values, of arrays of one value, or one value for a single row.
pub(super) fn columns(body: &mut Body<'_>, values: &mut Vec<f64>, batch: &mut Batch) -> Result<(), Refusal> {
    let mut columns = Columns::new(body.schema);
    body.reader.open_object()?;
    let mut first = true;
    while let Some(name) = body.reader.key(first)? {
        first = false;
        match body.schema.feature(&name) {
            Some(feature) => {
                let rows = column(body, feature, values)?;
                columns.agree(body, &name, rows)?;
                columns.arrive(body, feature)?;
            }
            None => {
                body.ignore(&name)?;
                body.reader.skip()?;
            }
        }
    }
    columns.finish(body, values, batch)
}

fn column(body: &mut Body<'_>, feature: usize, values: &mut Vec<f64>) -> Result<usize, Refusal> {
    if body.reader.peek() != Some(b'[') {
        let value = body.value(0, feature)?;
        values.push(value);
        return Ok(1);
    }
    body.reader.open_array()?;
    let mut rows = 0;
    while body.reader.element(rows == 0)? {
        body.check_rows(rows + 1)?;
        let nested = body.reader.take(b'[');
        let value = body.value(rows, feature)?;
        values.push(value);
        if nested {
            one_value(body, rows, feature)?;
        }
        rows += 1;
    }
    Ok(rows)
}

/// Reads the end of an array that holds one value of a row.
fn one_value(body: &mut Body<'_>, row: usize, feature: usize) -> Result<(), Refusal> {
    while body.reader.element(false)? {
        let name = &body.schema.features[feature].name;
        body.faults.add(row, format_args!("row {row}, feature '{name}': one value expected"));
        body.reader.skip()?;
    }
    Ok(())
}
