//! Rows into tensors, and tensors into rows.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use headgate_contract::Kind;
use headgate_engine::onnx::Element;
use headgate_engine::{Batch, Outputs};
use ort::session::SessionInputValue;
use ort::value::{DynMap, DynMapValueType, DynValue, IntoTensorElementType, PrimitiveTensorElementType, Tensor};

use super::plan::{Feed, Fetch, Form, Plan};
use crate::refusal::{Refusal, shorten};

/// Whole numbers up to here are exact as 64-bit floats, which is how calls bring them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Rows of a batch, and which of them a run scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'b> {
    pub(super) batch: &'b Batch,
    pub(super) from: usize,
    /// How many the run takes; where the batch has fewer its last row is repeated.
    pub(super) count: usize,
}

/// Why a call's rows can't be put into tensors: a value that the input's type does not hold. The caller's fault.
pub(super) fn check(plan: &Plan, batch: &Batch) -> Result<(), Refusal> {
    for feed in &plan.inputs {
        for (at, feature) in feed.features.iter().enumerate() {
            let column = batch.column(feed.first + at);
            let holds = |value: &f64| match feed.element {
                Element::Int64 => value.fract() == 0.0 && value.abs() <= EXACT,
                Element::Int32 => value.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(value),
                Element::Bool => *value == 0.0 || *value == 1.0,
                _ => true,
            };
            let refuse = |row: usize, came: String| {
                let expected = feed.element;
                Refusal::invalid(format!(
                    "row {row}, feature '{feature}': {came} came, a value of type {expected} expected"
                ))
            };
            if let Some(row) = column.iter().position(|value| !holds(value)) {
                let came = if column[row].is_nan() { "no value".to_owned() } else { column[row].to_string() };
                return Err(refuse(row, came));
            }
            if feed.element == Element::Text
                && let Some(row) = (0..batch.rows()).find(|row| text(batch, *row, feed.first + at).contains('\0'))
            {
                return Err(refuse(row, "a text with a NUL byte".to_owned()));
            }
        }
    }
    Ok(())
}

/// A missing text is an empty one, as ONNX has no other.
fn text(batch: &Batch, row: usize, column: usize) -> &str {
    batch.text(row, column).unwrap_or_default()
}

/// The tensors of a run.
pub(super) fn inputs<'p>(plan: &'p Plan, rows: Rows<'_>) -> ort::Result<Vec<(&'p str, SessionInputValue<'static>)>> {
    let tensor = |feed: &'p Feed| {
        let value = match feed.element {
            Element::Float => numbers(feed, rows, |value| value as f32)?,
            Element::Double => numbers(feed, rows, |value| value)?,
            Element::Int64 => numbers(feed, rows, |value| value as i64)?,
            Element::Int32 => numbers(feed, rows, |value| value as i32)?,
            Element::Bool => numbers(feed, rows, |value| value != 0.0)?,
            Element::Text | Element::Other(_) => {
                let text = |(row, column)| text(rows.batch, row, column).to_owned();
                let texts: Vec<String> = cells(feed, rows).map(text).collect();
                Tensor::from_string_array((shape(feed, rows), &*texts))?.into_dyn()
            }
        };
        Ok((feed.name.as_str(), SessionInputValue::from(value)))
    };
    plan.inputs.iter().map(tensor).collect()
}

fn numbers<T: PrimitiveTensorElementType + Debug + Clone + Default + 'static>(
    feed: &Feed,
    rows: Rows<'_>,
    convert: impl Fn(f64) -> T,
) -> ort::Result<DynValue> {
    let width = feed.features.len();
    let mut values = vec![T::default(); rows.count * width];
    for at in 0..width {
        let column = rows.batch.column(feed.first + at);
        for row in 0..rows.count {
            values[row * width + at] = convert(column[rows.row(row)]);
        }
    }
    Ok(Tensor::from_array((shape(feed, rows), values))?.into_dyn())
}

/// Row and column of each value of an input, in the tensor's order.
fn cells<'f>(feed: &'f Feed, rows: Rows<'f>) -> impl Iterator<Item = (usize, usize)> + 'f {
    let width = feed.features.len();
    (0..rows.count).flat_map(move |row| (0..width).map(move |at| (rows.row(row), feed.first + at)))
}

fn shape(feed: &Feed, rows: Rows<'_>) -> Vec<i64> {
    std::iter::once(rows.count as i64).chain(feed.dims.iter().copied()).collect()
}

impl Rows<'_> {
    fn row(&self, row: usize) -> usize {
        (self.from + row).min(self.batch.rows().saturating_sub(1))
    }

    /// Rows that are the batch's own, and not made up.
    fn own(&self) -> usize {
        self.count.min(self.batch.rows().saturating_sub(self.from))
    }
}

/// Adds a run's results to those of the batch: `values` are `plan.width` a row.
pub(super) fn take<'v>(
    plan: &Plan,
    rows: Rows<'_>,
    value: impl Fn(&str) -> Option<&'v DynValue>,
    into: &mut Outputs,
) -> Result<(), Refusal> {
    let from = into.values.len();
    into.values.resize(from + rows.own() * plan.width, f64::NAN);
    let mut offset = 0;
    for fetch in &plan.outputs {
        let failed = |what: String| Refusal::new(Kind::ModelFailed, format!("output '{}': {what}", fetch.name));
        let came = value(&fetch.name).ok_or_else(|| failed("it is not there".to_owned()))?;
        let column = column(fetch, rows.count, came, into).map_err(failed)?;
        let rows = into.values.get_mut(from..).unwrap_or_default().chunks_mut(plan.width.max(1));
        for (row, values) in rows.zip(column.chunks(fetch.width.max(1))) {
            row[offset..offset + fetch.width].copy_from_slice(values);
        }
        offset += fetch.width;
    }
    Ok(())
}

/// The values of an output, row by row; places among `into.texts` where they are texts.
fn column(fetch: &Fetch, rows: usize, value: &DynValue, into: &mut Outputs) -> Result<Vec<f64>, String> {
    let values = match &fetch.form {
        Form::Tensor(Element::Float) => floats::<f32>(value, |v| f64::from(*v))?,
        Form::Tensor(Element::Double) => floats::<f64>(value, |v| *v)?,
        Form::Tensor(Element::Int64) => floats::<i64>(value, |v| *v as f64)?,
        Form::Tensor(Element::Int32) => floats::<i32>(value, |v| f64::from(*v))?,
        Form::Tensor(Element::Bool) => floats::<bool>(value, |v| f64::from(u8::from(*v)))?,
        Form::Tensor(Element::Text | Element::Other(_)) => {
            let (_, texts) = value.try_extract_strings().map_err(words)?;
            texts.iter().map(|text| into.texts.push(text) as f64).collect()
        }
        Form::Maps { key, value: element, classes } => maps(value, *key, *element, classes)?,
    };
    match values.len() {
        came if came == rows * fetch.width => Ok(values),
        came => Err(format!("{came} values for {rows} rows of {}", fetch.width)),
    }
}

fn floats<T: PrimitiveTensorElementType>(value: &DynValue, convert: impl Fn(&T) -> f64) -> Result<Vec<f64>, String> {
    let (_, values) = value.try_extract_tensor::<T>().map_err(words)?;
    Ok(values.iter().map(convert).collect())
}

/// A map a row; a class that a row's map lacks is missing.
fn maps(value: &DynValue, key: Element, element: Element, classes: &[String]) -> Result<Vec<f64>, String> {
    let maps = value.try_extract_sequence::<DynMapValueType>().map_err(words)?;
    let mut values = Vec::with_capacity(maps.len() * classes.len());
    for map in maps {
        let by_class: HashMap<String, f64> = match (key, element) {
            (Element::Text, Element::Float) => pairs::<String, f32>(&map, |key| key, f64::from)?,
            (Element::Text, _) => pairs::<String, f64>(&map, |key| key, |value| value)?,
            (_, Element::Float) => pairs::<i64, f32>(&map, |key| key.to_string(), f64::from)?,
            _ => pairs::<i64, f64>(&map, |key| key.to_string(), |value| value)?,
        };
        values.extend(classes.iter().map(|class| by_class.get(class).copied().unwrap_or(f64::NAN)));
    }
    Ok(values)
}

fn pairs<K, V>(
    map: &DynMap,
    class: impl Fn(K) -> String,
    number: impl Fn(V) -> f64,
) -> Result<HashMap<String, f64>, String>
where
    K: IntoTensorElementType + Clone + Hash + Eq,
    V: PrimitiveTensorElementType + Clone,
{
    let pairs = map.try_extract_key_values::<K, V>().map_err(words)?;
    Ok(pairs.into_iter().map(|(key, value)| (class(key), number(value))).collect())
}

/// What the library says, bounded.
pub(super) fn words(error: impl std::fmt::Display) -> String {
    shorten(&error.to_string().replace('\n', " "), 400)
}

/// The results of `rows` rows from row `from` on, with texts of their own.
pub(super) fn part(plan: &Plan, whole: &Outputs, from: usize, rows: usize) -> Outputs {
    let values = whole.values.get(from * plan.width..(from + rows) * plan.width).unwrap_or_default();
    let mut part = Outputs { values: values.to_vec(), ..Outputs::default() };
    let mut offset = 0;
    for fetch in &plan.outputs {
        if fetch.form == Form::Tensor(Element::Text) {
            for row in part.values.chunks_mut(plan.width) {
                for value in &mut row[offset..offset + fetch.width] {
                    let text = whole.texts.get(*value as usize).unwrap_or_default();
                    *value = part.texts.push(text) as f64;
                }
            }
        }
        offset += fetch.width;
    }
    part
}
