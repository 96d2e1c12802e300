//! What is said to a process and heard of it: bodies of the Open Inference Protocol v2, after the version's signature.

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, Signature};
use headgate_contract::real;
use headgate_engine::{Batch, Outputs, Want};

use crate::refusal::shorten;

mod answer;

use answer::{Datum, Tensor};

/// How calls of a version are written, and their answers read.
#[derive(Debug)]
pub(super) struct Form {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Input {
    /// `{"name":"age","datatype":"FP64","shape":[`
    head: Vec<u8>,
    kind: Kind,
}

/// How a feature's values are written.
#[derive(Debug)]
enum Kind {
    Number,
    Integer,
    Bool,
    /// Places among the batch's texts.
    Text,
    /// Codes of these.
    Category(Vec<String>),
}

#[derive(Debug)]
struct Output {
    name: String,
    role: Role,
    width: usize,
    /// The first of its columns among those of its role.
    offset: usize,
    dtype: Dtype,
    classes: Vec<String>,
}

impl Form {
    pub(super) fn new(signature: &Signature) -> Self {
        let inputs = signature.inputs.iter().map(|input| {
            let kind = match (&input.categories, input.dtype) {
                (Some(categories), _) => Kind::Category(categories.clone()),
                (None, Dtype::Bytes) => Kind::Text,
                (None, Dtype::Bool) => Kind::Bool,
                (None, Dtype::Fp16 | Dtype::Fp32 | Dtype::Fp64) => Kind::Number,
                (None, _) => Kind::Integer,
            };
            // Categories are texts, whatever callers may write them as.
            let dtype = if input.categories.is_some() { Dtype::Bytes } else { input.dtype };
            let name = serde_json::Value::from(input.name.as_str());
            Input {
                head: format!("{{\"name\":{name},\"datatype\":\"{}\",\"shape\":[", dtype.as_str()).into_bytes(),
                kind,
            }
        });
        let mut ends = [0, 0];
        let outputs = signature.outputs.iter().map(|output| {
            let end = &mut ends[usize::from(output.role == Role::Margin)];
            let offset = *end;
            *end += output.width;
            let (name, classes) = (output.name.clone(), output.classes.clone());
            Output { name, role: output.role, width: output.width, offset, dtype: output.dtype, classes }
        });
        Self { outputs: outputs.collect(), inputs: inputs.collect() }
    }

    /// A call's body: a tensor a feature, `null` for missing, infinities as the texts `"Infinity"` and `"-Infinity"`.
    pub(super) fn write(&self, batch: &Batch, want: Want) -> Vec<u8> {
        let rows = batch.rows();
        let mut body = Vec::with_capacity(64 + self.inputs.len() * (48 + 12 * rows));
        body.extend_from_slice(b"{\"inputs\":[");
        for (column, input) in self.inputs.iter().enumerate().take(batch.columns()) {
            comma(&mut body, column);
            body.extend_from_slice(&input.head);
            body.extend_from_slice(format!("{rows}],\"data\":[").as_bytes());
            for (row, value) in batch.column(column).iter().enumerate() {
                comma(&mut body, row);
                input.kind.write(&mut body, *value, || batch.text(row, column));
            }
            body.extend_from_slice(b"]}");
        }
        body.extend_from_slice(b"],\"outputs\":[");
        for (at, output) in self.outputs.iter().filter(|o| wanted(o.role, want)).enumerate() {
            comma(&mut body, at);
            body.extend_from_slice(b"{\"name\":");
            text(&mut body, &output.name);
            body.push(b'}');
        }
        body.extend_from_slice(b"]}");
        body
    }

    /// An answer's body. The error says what is wrong with it.
    pub(super) fn read(&self, body: &[u8], rows: usize, want: Want) -> Result<Outputs, String> {
        let width = |role| self.outputs.iter().filter(|o| o.role == role).map(|o| o.width).sum::<usize>();
        let mut outputs = Outputs::default();
        if want.outputs {
            outputs.values = vec![f64::NAN; rows * width(Role::Value)];
        }
        if want.margins {
            outputs.margins = vec![f64::NAN; rows * width(Role::Margin)];
        }
        let mut found = vec![false; self.outputs.len()];
        let values = rows * self.outputs.iter().map(|o| o.width).sum::<usize>();
        for tensor in answer::read(body, values).map_err(|error| format!("byte {}: {}", error.at, error.what))? {
            // More than was asked for does no harm.
            let Some(at) = self.outputs.iter().position(|o| o.name == tensor.name) else { continue };
            let output = &self.outputs[at];
            if !wanted(output.role, want) {
                continue;
            }
            if std::mem::replace(&mut found[at], true) {
                return Err(format!("output '{}' came twice", output.name));
            }
            output.take(tensor, rows, width(output.role), &mut outputs)?;
        }
        match self.outputs.iter().zip(found).find(|(output, found)| wanted(output.role, want) && !found) {
            Some((output, _)) => Err(format!("output '{}' is missing", output.name)),
            None => Ok(outputs),
        }
    }
}

impl Kind {
    fn write<'t>(&self, body: &mut Vec<u8>, value: f64, its_text: impl Fn() -> Option<&'t str>) {
        match self {
            Self::Text => match its_text() {
                Some(found) => text(body, found),
                None => body.extend_from_slice(b"null"),
            },
            Self::Category(list) => match list.get(value as usize).filter(|_| value >= 0.0) {
                Some(found) => text(body, found),
                None => body.extend_from_slice(b"null"),
            },
            _ if value.is_nan() => body.extend_from_slice(b"null"),
            _ if value.is_infinite() => {
                body.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
            }
            Self::Bool => body.extend_from_slice(if value == 0.0 { b"false" } else { b"true" }),
            // Not every reader takes 1.0 for an integer.
            Self::Integer if value.fract() == 0.0 && value.abs() < 9e15 => {
                body.extend_from_slice(format!("{}", value as i64).as_bytes());
            }
            // Writing a finite number to memory can't fail.
            Self::Number | Self::Integer => _ = serde_json::to_writer(body, &value),
        }
    }
}

impl Output {
    /// Checks a tensor and puts it in its place.
    fn take(&self, tensor: Tensor, rows: usize, stride: usize, outputs: &mut Outputs) -> Result<(), String> {
        let name = &self.name;
        let expected = rows * self.width;
        let data = tensor.data.ok_or_else(|| format!("output '{name}' has no data"))?;
        if data.len() != expected {
            let came = data.len();
            return Err(format!(
                "output '{name}' has {came} values, {expected} expected for {rows} rows of {}",
                self.width
            ));
        }
        let shape = tensor.shape.ok_or_else(|| format!("output '{name}' has no shape"))?;
        if shape != [rows, self.width] && !(self.width == 1 && shape == [rows]) {
            return Err(format!("output '{name}' has shape {shape:?}, [{rows}, {}] expected", self.width));
        }
        for (at, datum) in data.into_iter().enumerate() {
            let value = self.value(datum, outputs)?;
            let (row, column) = (at / self.width, at % self.width);
            let into = if self.role == Role::Margin { &mut outputs.margins } else { &mut outputs.values };
            into[row * stride + self.offset + column] = value;
        }
        Ok(())
    }

    /// The engine's number for a value: a text's is its place among the classes, else among the call's texts.
    fn value(&self, datum: Datum, outputs: &mut Outputs) -> Result<f64, String> {
        let (is_text, name) = (self.dtype == Dtype::Bytes, &self.name);
        match datum {
            Datum::Null => Ok(f64::NAN),
            Datum::Number(value) if !is_text => Ok(value),
            Datum::Number(value) => Err(format!("output '{name}': {value} came, a text expected")),
            Datum::Text(text) if is_text && self.classes.is_empty() => Ok(outputs.texts.push(&text) as f64),
            Datum::Text(text) if is_text => match self.classes.iter().position(|class| *class == text) {
                Some(place) => Ok(place as f64),
                None => Err(format!("output '{name}': '{}' is none of its classes", shorten(&text, 40))),
            },
            Datum::Text(text) => match real::word(&text) {
                Some(value) => Ok(value),
                None => Err(format!("output '{name}': text '{}' came, a number expected", shorten(&text, 40))),
            },
        }
    }
}

fn wanted(role: Role, want: Want) -> bool {
    if role == Role::Margin { want.margins } else { want.outputs }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::manifest::{Input as SignedInput, Output as SignedOutput};

    use super::*;

    const WANT: Want = Want { margins: false, outputs: true, contributions: false };

    fn form() -> Form {
        let input = |name: &str, dtype| SignedInput { dtype, ..SignedInput::numeric(name) };
        let output =
            |name: &str, role, dtype, width| SignedOutput { name: name.into(), role, dtype, width, classes: vec![] };
        Form::new(&Signature {
            inputs: vec![
                input("x", Dtype::Fp64),
                input("n", Dtype::Int64),
                input("say \"t\"", Dtype::Bytes),
                SignedInput::categorical("c", vec!["a".into(), "b".into()]),
            ],
            outputs: vec![
                output("p", Role::Value, Dtype::Fp64, 2),
                output("margin", Role::Margin, Dtype::Fp64, 1),
                output("label", Role::Value, Dtype::Bytes, 1),
            ],
        })
    }

    #[test]
    fn a_call_is_what_any_json_parser_reads() {
        let mut batch = Batch::new(4, 2);
        let place = batch.texts_mut().push("caf\u{e9} \"x\"") as f64;
        for (column, values) in
            [[1.0, f64::INFINITY], [2.0, f64::NAN], [f64::NAN, place], [1.0, f64::NAN]].iter().enumerate()
        {
            batch.column_mut(column).copy_from_slice(values);
        }
        let body: serde_json::Value = serde_json::from_slice(&form().write(&batch, WANT)).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"inputs": [
                {"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, "Infinity"]},
                {"name": "n", "datatype": "INT64", "shape": [2], "data": [2, null]},
                {"name": "say \"t\"", "datatype": "BYTES", "shape": [2], "data": [null, "caf\u{e9} \"x\""]},
                {"name": "c", "datatype": "BYTES", "shape": [2], "data": ["b", null]},
            ], "outputs": [{"name": "p"}, {"name": "label"}]})
        );
    }

    #[test]
    fn an_answer_is_put_in_the_signatures_order() {
        let body = br#"{"id":"7","outputs":[
            {"data":["no",null],"name":"label","shape":[2],"datatype":"BYTES"},
            {"name":"p","datatype":"FP64","shape":[2,2],"data":[[0.5,"NaN"],[1,"-Infinity"]]}]}"#;
        let outputs = form().read(body, 2, WANT).unwrap();
        assert_eq!((outputs.values[0], outputs.values[3], outputs.values[4]), (0.5, 1.0, f64::NEG_INFINITY));
        assert!(outputs.values[1].is_nan() && outputs.values[5].is_nan());
        assert_eq!((outputs.texts.get(outputs.values[2] as usize), outputs.margins.len()), (Some("no"), 0));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let label = r#"{"name":"label","shape":[1],"data":["a"]}"#;
        let outputs = |p: &str| format!(r#"{{"outputs":[{p},{label}]}}"#);
        for (body, words) in [
            ("garbage".to_owned(), "'{' expected"),
            ("{}".to_owned(), "'outputs' is missing"),
            (format!(r#"{{"outputs":[{label}]}}"#), "output 'p' is missing"),
            (
                outputs(r#"{"name":"p","shape":[1,2],"data":[0.5]}"#),
                "output 'p' has 1 values, 2 expected for 1 rows of 2",
            ),
            (
                outputs(r#"{"name":"p","shape":[1,2],"data":[1,2,3,4,5]}"#),
                "byte 55: more values than its outputs have for so many rows",
            ),
            (outputs(r#"{"name":"p","shape":[2,1],"data":[1,2]}"#), "shape [2, 1], [1, 2] expected"),
            (outputs(r#"{"name":"p","data":[1,2]}"#), "no shape"),
            (outputs(r#"{"name":"p","shape":[1,2]}"#), "no data"),
            (outputs(r#"{"name":"p","shape":[1,2],"data":["a","b"]}"#), "text 'a' came, a number expected"),
            (outputs(r#"{"name":"p","shape":[1,-2],"data":[1,2]}"#), "a tensor's size expected"),
            (outputs(&format!("{label},{label}")), "'label' came twice"),
            (outputs(r#"{"name":"p","shape":[1,2],"data":[[[[[[[[[[[[1,2]]]]]]]]]]]]}"#), "deeper than 8"),
            (r#"{"outputs":[{"name":"label","shape":[1],"data":[1]}]}"#.to_owned(), "1 came, a text expected"),
            (r#"{"outputs":[{"na"#.to_owned(), "ends too early"),
        ] {
            let error = form().read(body.as_bytes(), 1, WANT).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_odd(cut in 0usize..200, at in 0usize..200, byte: u8) {
            let mut body = br#"{"outputs":[{"name":"label","shape":[1],"data":["a"]},
                {"shape":[1,2],"name":"p","data":[[0.5e1,null]],"more":{"x":[1,{}]}}]}"#.to_vec();
            let at = at % body.len();
            body[at] = byte;
            body.truncate(body.len().saturating_sub(cut % 3 * cut));
            if let Ok(outputs) = form().read(&body, 1, WANT) {
                proptest::prop_assert_eq!(outputs.values.len(), 3);
            }
        }
    }

    #[test]
    fn classes_are_found_by_their_texts() {
        let mut form = form();
        form.outputs[2].classes = vec!["no".into(), "yes".into()];
        let body = |class: &str| {
            let p = r#"{"name":"p","shape":[1,2],"data":[1,2]}"#;
            format!(r#"{{"outputs":[{p},{{"name":"label","shape":[1,1],"data":["{class}"]}}]}}"#)
        };
        assert_eq!(form.read(body("yes").as_bytes(), 1, WANT).unwrap().values, [1.0, 2.0, 1.0]);
        assert!(form.read(body("maybe").as_bytes(), 1, WANT).unwrap_err().contains("'maybe' is none of its classes"));
    }
}
