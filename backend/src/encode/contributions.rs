//! What each feature added to each margin: the features in the signature's order, the bias last.

use headgate_contract::manifest::Dtype;

use super::{comma, number};
use crate::schema::Schema;

/// Margins of a row.
fn margins(columns: usize, rows: usize, contributions: &[f64]) -> usize {
    contributions.len() / (rows * columns).max(1)
}

/// The tensor's shape: `[rows, features + 1]`, with several margins `[rows, margins, features + 1]`.
pub(super) fn shape(schema: &Schema, rows: usize, contributions: &[f64]) -> Vec<usize> {
    let columns = schema.features.len() + 1;
    match margins(columns, rows, contributions) {
        1 => vec![rows, columns],
        margins => vec![rows, margins, columns],
    }
}

/// One more tensor.
pub(super) fn tensor(body: &mut Vec<u8>, schema: &Schema, rows: usize, contributions: &[f64]) {
    let shape = shape(schema, rows, contributions).iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let head = format!("{{\"name\":\"contributions\",\"shape\":[{shape}],\"datatype\":\"FP64\",\"data\":");
    body.extend_from_slice(head.as_bytes());
    array(body, contributions);
    body.push(b'}');
}

/// One more field of a v1 reply: an array for each row, with several margins an array of such arrays.
pub(super) fn rows(body: &mut Vec<u8>, schema: &Schema, rows: usize, contributions: &[f64]) {
    let columns = schema.features.len() + 1;
    let margins = margins(columns, rows, contributions);
    body.extend_from_slice(b",\"contributions\":[");
    for (row, of_row) in contributions.chunks((margins * columns).max(1)).enumerate() {
        comma(body, row);
        if margins == 1 {
            array(body, of_row);
            continue;
        }
        body.push(b'[');
        for (margin, of_margin) in of_row.chunks(columns).enumerate() {
            comma(body, margin);
            array(body, of_margin);
        }
        body.push(b']');
    }
    body.push(b']');
}

fn array(body: &mut Vec<u8>, values: &[f64]) {
    body.push(b'[');
    for (at, value) in values.iter().enumerate() {
        comma(body, at);
        number(body, Dtype::Fp64, *value);
    }
    body.push(b']');
}
