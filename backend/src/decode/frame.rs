//! JSON as MLflow's and SageMaker's clients send it: `dataframe_split`, `dataframe_records`, `instances` or `inputs` with
//! `params` or `parameters` beside; what pandas calls `split` by itself; an array of rows; one row as an object.

use headgate_engine::Batch;

use super::head::Head;
use super::rows::{Rows, transpose};
use super::{Asked, Body, Shape, parameters, v1};
use crate::refusal::Refusal;

/// What an object at the top is.
enum Top {
    /// It names one of the forms.
    Form,
    /// `columns` and `data` are in it.
    Split,
    /// It is a row.
    Row,
}

pub(super) fn decode(
    body: &mut Body<'_>,
    csv: bool,
    values: &mut Vec<f64>,
    batch: &mut Batch,
) -> Result<Asked, Refusal> {
    let mut asked = Asked { shape: if csv { Shape::Csv } else { Shape::Predictions }, ..Asked::default() };
    if body.reader.peek() == Some(b'[') {
        rows(body, values, batch)?;
    } else {
        match top(body)? {
            Top::Form => form(body, &mut asked, values, batch)?,
            Top::Split => split(body, &mut asked, values, batch)?,
            Top::Row => {
                let mut row = Rows::new(values);
                row.row(body)?;
                row.finish(body, batch)?;
            }
        }
    }
    body.reader.end()?;
    Ok(asked)
}

/// Looks ahead for a key that says what the object is. A row's values are no arrays and no objects: a feature may have
/// any of these names.
fn top(body: &Body<'_>) -> Result<Top, Refusal> {
    let mut ahead = body.reader.clone();
    ahead.open_object()?;
    let mut first = true;
    while let Some(key) = ahead.key(first)? {
        first = false;
        if matches!(ahead.peek(), Some(b'[' | b'{')) || body.schema.feature(&key).is_none() {
            match key.as_ref() {
                "dataframe_split" | "dataframe_records" | "instances" | "inputs" => return Ok(Top::Form),
                "columns" | "data" => return Ok(Top::Split),
                _ => {}
            }
        }
        ahead.skip()?;
    }
    if first {
        let forms = "'dataframe_split', 'dataframe_records', 'instances' or 'inputs'";
        return Err(body.refuse(format_args!("an empty object came: {forms}, an array of rows or one row expected")));
    }
    Ok(Top::Row)
}

fn form(body: &mut Body<'_>, asked: &mut Asked, values: &mut Vec<f64>, batch: &mut Batch) -> Result<(), Refusal> {
    body.reader.open_object()?;
    let (mut first, mut came) = (true, None);
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "params" | "parameters" => {
                parameters::read(body, asked)?;
                continue;
            }
            "dataframe_split" | "dataframe_records" | "instances" | "inputs" => {}
            _ => {
                body.reader.skip()?;
                continue;
            }
        }
        if let Some(other) = came.replace(key.clone()) {
            return Err(body.refuse(format_args!("'{key}' came beside '{other}', one of them expected")));
        }
        match (key.as_ref(), body.reader.peek()) {
            ("dataframe_split", Some(b'{')) => split(body, asked, values, batch)?,
            ("dataframe_split", _) => {
                return Err(body.refuse("'dataframe_split': an object with 'columns' and 'data' expected"));
            }
            (_, Some(b'[')) => rows(body, values, batch)?,
            ("instances" | "inputs", Some(b'{')) => v1::columns(body, values, batch)?,
            _ => return Err(body.refuse(format_args!("'{key}': an array of rows expected"))),
        }
    }
    Ok(())
}

fn rows(body: &mut Body<'_>, values: &mut Vec<f64>, batch: &mut Batch) -> Result<(), Refusal> {
    let mut rows = Rows::new(values);
    rows.read(body)?;
    rows.finish(body, batch)
}

/// An object with `columns` and `data`, in any order.
fn split(body: &mut Body<'_>, asked: &mut Asked, values: &mut Vec<f64>, batch: &mut Batch) -> Result<(), Refusal> {
    body.reader.open_object()?;
    let (mut first, mut head, mut before, mut rows) = (true, None, None, None);
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "columns" if head.is_none() => head = Some(columns(body)?),
            "data" if rows.is_none() && before.is_none() => match &head {
                Some(head) => rows = Some(data(body, head, values)?),
                None => {
                    before = Some(body.reader.clone());
                    body.reader.skip()?;
                }
            },
            "columns" | "data" => return Err(body.refuse(format_args!("'{key}' expected once"))),
            "params" | "parameters" => parameters::read(body, asked)?,
            _ => body.reader.skip()?,
        }
    }
    let Some(head) = head else {
        return Err(
            body.refuse("'columns' is missing: {\"columns\": [name, ...], \"data\": [[value, ...], ...]} expected")
        );
    };
    if let Some(before) = before {
        let behind = std::mem::replace(&mut body.reader, before);
        rows = Some(data(body, &head, values)?);
        body.reader = behind;
    }
    let Some(rows) = rows else {
        return Err(
            body.refuse("'data' is missing: {\"columns\": [name, ...], \"data\": [[value, ...], ...]} expected")
        );
    };
    transpose(values, body.schema.features.len(), rows, batch);
    Ok(())
}

fn columns(body: &mut Body<'_>) -> Result<Head, Refusal> {
    let mut head = Head::new(body);
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        if body.reader.peek() != Some(b'"') {
            return Err(body.refuse(format_args!("'columns': the name at {} is no text", head.len())));
        }
        let name = body.reader.text()?;
        head.push(body, &name)?;
    }
    head.check(body)?;
    Ok(head)
}

fn data(body: &mut Body<'_>, head: &Head, values: &mut Vec<f64>) -> Result<usize, Refusal> {
    body.reader.open_array()?;
    let (mut rows, mut numbers) = (0, Numbers { runs: head.numeric_runs(body), read: Vec::new() });
    while body.reader.element(rows == 0)? {
        body.check_rows(rows + 1)?;
        let start = head.begin(values);
        if body.reader.peek() == Some(b'[') {
            row(body, head, &mut numbers, rows, &mut values[start..])?;
        } else {
            body.faults.add(rows, format_args!("row {rows}: an array of {} values expected", head.len()));
            body.reader.skip()?;
        }
        rows += 1;
    }
    Ok(rows)
}

/// Numbers that are read together.
struct Numbers {
    /// For each column, how many from there on may be.
    runs: Vec<usize>,
    read: Vec<f64>,
}

fn row(body: &mut Body<'_>, head: &Head, numbers: &mut Numbers, row: usize, values: &mut [f64]) -> Result<(), Refusal> {
    body.reader.open_array()?;
    let mut came = 0;
    while body.reader.element(came == 0)? {
        numbers.read.clear();
        let run = numbers.runs.get(came).copied().unwrap_or_default();
        if body.reader.numbers(run, &mut numbers.read)? > 0 {
            for (at, number) in numbers.read.iter().enumerate() {
                head.feature(came + at).into_iter().for_each(|feature| values[feature] = *number);
            }
            came += numbers.read.len();
            continue;
        }
        match head.feature(came) {
            Some(feature) => values[feature] = body.value(row, feature)?,
            None => body.reader.skip()?,
        }
        came += 1;
    }
    if came != head.len() {
        let expected = head.len();
        body.faults.add(row, format_args!("row {row}: {came} values came, {expected} expected, one a column"));
    }
    Ok(())
}
