//! A tensor's `data`: as many values as the shape says, flat or nested as the shape is.

use crate::decode::Body;
use crate::refusal::Refusal;

/// Whose values a tensor has.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// One feature's.
    Feature(usize),
    /// All features', in the signature's order.
    All,
}

impl Whose {
    /// The feature of the k-th value.
    fn feature(self, body: &Body<'_>, at: usize) -> usize {
        match self {
            Whose::Feature(feature) => feature,
            Whose::All => at % body.schema.features.len(),
        }
    }

    /// How many values from the k-th on are of numeric features, at least.
    fn run(self, body: &Body<'_>, at: usize) -> usize {
        let runs = &body.schema.numeric_runs;
        match self {
            Whose::Feature(feature) if runs[feature] > 0 => usize::MAX,
            Whose::Feature(_) => 0,
            Whose::All if runs[0] == runs.len() => usize::MAX,
            Whose::All => runs[at % runs.len()],
        }
    }
}

/// Reads the values.
pub(super) fn read(
    body: &mut Body<'_>,
    name: &str,
    shape: &[usize],
    values: &mut Vec<f64>,
    whose: Whose,
) -> Result<(), Refusal> {
    let width = shape.get(1).copied().unwrap_or(1);
    let expected = shape[0] * width;
    let nested = shape.len() == 2;
    let mut came = 0;
    let disagree = |body: &Body<'_>, came: String| {
        Err(body.refuse(format_args!("input '{name}' has {came} values, its shape {shape:?} says {expected}")))
    };
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        if nested && body.reader.peek() == Some(b'[') && came % width == 0 {
            row(body, name, shape, (came, expected), values, whose)?;
            came += width;
            continue;
        }
        if came == expected {
            return disagree(body, format!("more than {expected}"));
        }
        came += some(body, (came, expected, width), values, whose)?;
    }
    if came != expected {
        return disagree(body, came.to_string());
    }
    Ok(())
}

/// Reads an array of one row's values, the first of which is the `start`-th of all.
fn row(
    body: &mut Body<'_>,
    name: &str,
    shape: &[usize],
    (start, expected): (usize, usize),
    values: &mut Vec<f64>,
    whose: Whose,
) -> Result<(), Refusal> {
    let width = shape[1];
    let (end, row) = (start + width, start / width);
    let mut came = start;
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        if came == end || came == expected {
            return Err(body
                .refuse(format_args!("input '{name}', row {row}: more than {width} values, its shape is {shape:?}")));
        }
        came += some(body, (came, end.min(expected), width), values, whose)?;
    }
    if came != end {
        let came = came - start;
        return Err(body.refuse(format_args!("input '{name}', row {row}: {came} values, its shape is {shape:?}")));
    }
    Ok(())
}

/// Reads one value or more, the first of which is the `at`-th of all, up to the `end`-th; answers how many.
#[inline]
fn some(
    body: &mut Body<'_>,
    (at, end, width): (usize, usize, usize),
    values: &mut Vec<f64>,
    whose: Whose,
) -> Result<usize, Refusal> {
    let most = whose.run(body, at).min(end - at);
    match body.reader.numbers(most, values)? {
        0 => {
            let value = body.value(at / width, whose.feature(body, at))?;
            values.push(value);
            Ok(1)
        }
        came => Ok(came),
    }
}
