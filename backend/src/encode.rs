//! Scores into reply bodies.
//!
//! Numbers are written as the shortest text that reads back to the same bits: of the f64, or of the f32 for an `FP32`
//! output. JSON has no NaN and no infinities: NaN is `null`, infinities are the texts `"Infinity"` and `"-Infinity"`,
//! which `float()` in Python and numpy's `array(..., dtype=float)` read, and which this server takes as input.

use headgate_contract::manifest::Dtype;
use headgate_contract::manifest::signature::Role;
use headgate_engine::{Outputs, Want};

use crate::decode::{Asked, Shape, Wanted};
use crate::schema::{Output, Schema};

mod arrow;
pub mod binary;
mod contributions;
mod csv;
pub mod protobuf;
mod row_status;
mod tensors;

/// A reply's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The body.
    pub bytes: Vec<u8>,
    /// What it is.
    pub content: Content,
    /// Where tensors in binary follow the JSON: its length.
    pub json_bytes: Option<usize>,
}

/// What a reply's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// JSON.
    #[default]
    Json,
    /// JSON, and tensors in binary behind it.
    Binary,
    /// Lines of CSV.
    Csv,
    /// A message of Protocol Buffers.
    Protobuf,
    /// An Arrow IPC stream.
    Arrow,
}

impl Content {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Content::Json => "application/json",
            Content::Binary => "application/octet-stream",
            Content::Csv => "text/csv",
            Content::Protobuf => "application/x-protobuf",
            Content::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Which outputs a reply has, in order.
fn chosen<'s>(schema: &'s Schema, asked: &'s Asked) -> impl Iterator<Item = &'s Output> + Clone {
    let listed = asked.outputs.as_deref().unwrap_or_default();
    let all = asked.outputs.is_none();
    let picked = listed.iter().filter_map(|wanted: &Wanted| schema.outputs.get(wanted.output));
    picked.chain(schema.outputs.iter().filter(move |o| all && o.role == Role::Value))
}

/// What the engine has to give.
pub fn want(schema: &Schema, asked: &Asked) -> Want {
    let has = |role| chosen(schema, asked).any(|o| o.role == role);
    Want { margins: has(Role::Margin), outputs: has(Role::Value), contributions: asked.contributions }
}

/// Writes a reply.
pub fn encode(schema: &Schema, asked: &Asked, scores: &Outputs) -> Encoded {
    if asked.faults.is_empty() {
        return written(schema, asked, scores);
    }
    let spread = |values: &[f64], width| asked.faults.spread(values, width, asked.rows);
    let (margins, values) = (schema.width(Role::Margin), schema.width(Role::Value));
    let contributions = if asked.contributions { margins.max(1) * (schema.features.len() + 1) } else { 0 };
    let scores = Outputs {
        margins: spread(&scores.margins, margins),
        values: spread(&scores.values, values),
        contributions: spread(&scores.contributions, contributions),
        texts: scores.texts.clone(),
    };
    written(schema, asked, &scores)
}

fn written(schema: &Schema, asked: &Asked, scores: &Outputs) -> Encoded {
    let rows = asked.rows;
    let columns: usize = chosen(schema, asked).map(|o| o.width).sum();
    let mut body = Vec::with_capacity(192 + (rows * columns + scores.contributions.len()) * 20);
    let (mut content, mut json_bytes) = (Content::Json, None);
    match asked.shape {
        Shape::Tensors => {
            json_bytes = tensors::write(&mut body, schema, asked, scores);
            content = if json_bytes.is_some() { Content::Binary } else { Content::Json };
        }
        Shape::Predictions => predictions(&mut body, schema, asked, rows, scores),
        Shape::Columns => columns_of(&mut body, schema, asked, rows, scores),
        Shape::Protobuf { raw } => {
            protobuf::message(&mut body, schema, asked, raw, scores);
            content = Content::Protobuf;
        }
        Shape::Csv => {
            csv::lines(&mut body, schema, asked, scores);
            content = Content::Csv;
        }
        Shape::Arrow => {
            arrow::stream(&mut body, schema, asked, scores);
            content = Content::Arrow;
        }
    }
    Encoded { bytes: body, content, json_bytes }
}

fn predictions(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, rows: usize, scores: &Outputs) {
    body.extend_from_slice(b"{\"predictions\":[");
    let single = chosen(schema, asked).nth(1).is_none();
    for row in 0..rows {
        comma(body, row);
        if single {
            chosen(schema, asked).for_each(|output| cell(body, schema, output, row, scores));
            continue;
        }
        body.push(b'{');
        for (at, output) in chosen(schema, asked).enumerate() {
            comma(body, at);
            text(body, &output.name);
            body.push(b':');
            cell(body, schema, output, row, scores);
        }
        body.push(b'}');
    }
    body.push(b']');
    if asked.contributions {
        contributions::rows(body, schema, rows, &scores.contributions);
    }
    if asked.row_status {
        row_status::rows(body, asked);
    }
    body.push(b'}');
}

fn columns_of(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, rows: usize, scores: &Outputs) {
    let column = |body: &mut Vec<u8>, output: &Output| {
        body.push(b'[');
        for row in 0..rows {
            comma(body, row);
            cell(body, schema, output, row, scores);
        }
        body.push(b']');
    };
    body.extend_from_slice(b"{\"outputs\":");
    if chosen(schema, asked).nth(1).is_none() {
        chosen(schema, asked).for_each(|output| column(body, output));
    } else {
        for (at, output) in chosen(schema, asked).enumerate() {
            body.push(if at == 0 { b'{' } else { b',' });
            text(body, &output.name);
            body.push(b':');
            column(body, output);
        }
        body.push(b'}');
    }
    if asked.contributions {
        contributions::rows(body, schema, rows, &scores.contributions);
    }
    if asked.row_status {
        row_status::rows(body, asked);
    }
    body.push(b'}');
}

/// A row of an output: a number, or an array where it is wider.
fn cell(body: &mut Vec<u8>, schema: &Schema, output: &Output, row: usize, scores: &Outputs) {
    let values = values(schema, output, row, scores);
    if let [number] = values {
        return value(body, output, scores, *number);
    }
    body.push(b'[');
    for (column, number) in values.iter().enumerate() {
        comma(body, column);
        value(body, output, scores, *number);
    }
    body.push(b']');
}

/// A row of an output in what the engine gave.
pub fn values<'o>(schema: &Schema, output: &Output, row: usize, scores: &'o Outputs) -> &'o [f64] {
    let source = if output.role == Role::Margin { &scores.margins } else { &scores.values };
    let from = row * schema.width(output.role) + output.offset;
    source.get(from..from + output.width).unwrap_or_default()
}

fn comma(body: &mut Vec<u8>, at: usize) {
    if at > 0 {
        body.push(b',');
    }
}

fn text(body: &mut Vec<u8>, text: &str) {
    // Writing a text to memory can't fail.
    let _ = serde_json::to_writer(body, text);
}

/// A number, or the text that it is the place of.
fn value(body: &mut Vec<u8>, output: &Output, scores: &Outputs, number: f64) {
    if output.dtype != Dtype::Bytes {
        return self::number(body, output.dtype, number);
    }
    match text_at(output, scores, number) {
        Some(found) => text(body, found),
        None => body.extend_from_slice(b"null"),
    }
}

/// The text that a value of a BYTES output is the place of: among the output's classes, else among the call's texts.
fn text_at<'o>(output: &'o Output, scores: &'o Outputs, number: f64) -> Option<&'o str> {
    let place = if number >= 0.0 { number as usize } else { usize::MAX };
    output.classes.get(place).map(String::as_str).or_else(|| scores.texts.get(place))
}

fn number(body: &mut Vec<u8>, dtype: Dtype, value: f64) {
    if value.is_nan() {
        return body.extend_from_slice(b"null");
    }
    // What is finite may be none as the type that callers get.
    let value = if matches!(dtype, Dtype::Fp32 | Dtype::Fp16) { f64::from(value as f32) } else { value };
    if value.is_infinite() {
        return body.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
    // Writing a finite number to memory can't fail.
    let _ = match dtype {
        Dtype::Fp64 | Dtype::Bytes => serde_json::to_writer(body, &value),
        Dtype::Fp32 | Dtype::Fp16 => serde_json::to_writer(body, &(value as f32)),
        Dtype::Bool => serde_json::to_writer(body, &(value != 0.0)),
        _ => serde_json::to_writer(body, &(value as i64)),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::manifest::{Input, Output, Signature};
    use headgate_contract::{Digest, Version};

    use super::*;

    fn output(name: &str, role: Role, dtype: Dtype, width: usize) -> Output {
        Output { name: name.into(), role, dtype, width, classes: vec![] }
    }

    fn schema(outputs: Vec<Output>) -> Schema {
        let signature = Signature { inputs: vec![Input::numeric("x")], outputs };
        Schema::new("m/a".parse().unwrap(), Version::FIRST, Digest::of(""), &signature).unwrap()
    }

    fn text_of(schema: &Schema, asked: &Asked, rows: usize, values: &[f64], margins: &[f64]) -> String {
        let scores = Outputs { values: values.to_vec(), margins: margins.to_vec(), ..Outputs::default() };
        let asked = Asked { rows, ..asked.clone() };
        String::from_utf8(encode(schema, &asked, &scores).bytes).unwrap()
    }

    #[test]
    fn tensors_hold_values_and_margins_when_asked() {
        let schema = schema(vec![
            output("margin", Role::Margin, Dtype::Fp64, 1),
            output("probability", Role::Value, Dtype::Fp64, 1),
        ]);
        let asked = Asked { id: Some("7".into()), ..Asked::default() };
        assert_eq!(want(&schema, &asked), Want { margins: false, outputs: true, contributions: false });
        assert_eq!(
            text_of(&schema, &asked, 2, &[0.1, 1.0], &[]),
            r#"{"model_name":"m/a","model_version":"1","id":"7","outputs":[{"name":"probability","shape":[2],"datatype":"FP64","data":[0.1,1.0]}]}"#
        );
        let asked =
            Asked { outputs: Some([1, 0].map(|output| Wanted { output, binary: None }).into()), ..Asked::default() };
        assert_eq!(want(&schema, &asked), Want { margins: true, outputs: true, contributions: false });
        assert!(
            text_of(&schema, &asked, 1, &[0.5], &[-2.0])
                .ends_with(r#"{"name":"margin","shape":[1],"datatype":"FP64","data":[-2.0]}]}"#)
        );
    }

    #[test]
    fn contributions_follow_the_outputs() {
        let schema = schema(vec![output("p", Role::Value, Dtype::Fp64, 1)]);
        let asked = |shape| Asked { contributions: true, rows: 2, shape, ..Asked::default() };
        assert!(want(&schema, &asked(Shape::Tensors)).contributions);
        let write = |shape, contributions: &[f64]| {
            let scores = Outputs { values: vec![0.5; 2], contributions: contributions.to_vec(), ..Outputs::default() };
            String::from_utf8(encode(&schema, &asked(shape), &scores).bytes).unwrap()
        };
        let (one, two) = ([1.0, 0.25, f64::NAN, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let tensor = |shape, data| {
            format!(r#"[0.5,0.5]}},{{"name":"contributions","shape":{shape},"datatype":"FP64","data":{data}}}]}}"#)
        };
        assert!(write(Shape::Tensors, &one).ends_with(&tensor("[2,2]", "[1.0,0.25,null,0.5]")));
        assert!(write(Shape::Tensors, &two).ends_with(&tensor("[2,2,2]", "[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0]")));
        let rows = r#"{"predictions":[0.5,0.5],"contributions":[[1.0,0.25],[null,0.5]]}"#;
        assert_eq!(write(Shape::Predictions, &one), rows);
        let columns = r#"{"outputs":[0.5,0.5],"contributions":[[[1.0,2.0],[3.0,4.0]],[[5.0,6.0],[7.0,8.0]]]}"#;
        assert_eq!(write(Shape::Columns, &two), columns);
    }

    #[test]
    fn what_json_lacks_and_f32() {
        let schema = schema(vec![output("p", Role::Value, Dtype::Fp32, 3)]);
        let asked = Asked { shape: Shape::Predictions, ..Asked::default() };
        let text = text_of(&schema, &asked, 1, &[f64::NAN, -1e300, f64::from(0.1f32)], &[]);
        assert_eq!(text, r#"{"predictions":[[null,"-Infinity",0.1]]}"#);
    }

    #[test]
    fn several_outputs_as_tf_serving_writes_them() {
        let schema =
            schema(vec![output("p", Role::Value, Dtype::Fp64, 2), output("class", Role::Value, Dtype::Int64, 1)]);
        let scores = [0.25, 0.75, 1.0, 0.5, 0.5, 0.0];
        let asked = Asked { shape: Shape::Predictions, ..Asked::default() };
        assert_eq!(
            text_of(&schema, &asked, 2, &scores, &[]),
            r#"{"predictions":[{"p":[0.25,0.75],"class":1},{"p":[0.5,0.5],"class":0}]}"#
        );
        let asked = Asked { shape: Shape::Columns, ..Asked::default() };
        assert_eq!(
            text_of(&schema, &asked, 2, &scores, &[]),
            r#"{"outputs":{"p":[[0.25,0.75],[0.5,0.5]],"class":[1,0]}}"#
        );
    }
}
