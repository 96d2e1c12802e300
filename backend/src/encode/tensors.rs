//! A reply as the Open Inference Protocol has it: tensors in JSON, and behind it the values of those that are wanted in
//! binary, in the order of the tensors.

use std::io::Write;

use headgate_contract::manifest::Dtype;
use headgate_engine::Outputs;

use super::{binary, chosen, comma, contributions, row_status, text, value, values};
use crate::decode::Asked;
use crate::schema::{Output, Schema};

/// Writes a reply; answers the length of the JSON where tensors in binary follow it.
pub(super) fn write(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) -> Option<usize> {
    begin(body, schema, asked);
    for (at, (output, in_binary)) in outputs(schema, asked).enumerate() {
        comma(body, at);
        let shape = [asked.rows, output.width];
        head(body, &output.name, if output.width == 1 { &shape[..1] } else { &shape }, output.dtype);
        match in_binary {
            true => size(body, binary::size(schema, output, asked.rows, scores)),
            false => data(body, schema, output, asked.rows, scores),
        }
    }
    // There is always an output before these.
    if asked.contributions && !asked.binary {
        body.push(b',');
        contributions::tensor(body, schema, asked.rows, &scores.contributions);
    } else if asked.contributions {
        body.push(b',');
        let shape = contributions::shape(schema, asked.rows, &scores.contributions);
        head(body, "contributions", &shape, Dtype::Fp64);
        size(body, 8 * scores.contributions.len());
    }
    if asked.row_status && !asked.binary {
        body.push(b',');
        row_status::tensor(body, asked);
    } else if asked.row_status {
        body.push(b',');
        head(body, "row_status", &[asked.rows], Dtype::Bytes);
        size(body, row_status::reasons(asked).map(|why| 4 + why.len()).sum());
    }
    body.extend_from_slice(b"]}");
    follow(body, schema, asked, scores)
}

/// Writes the values in binary, where any are wanted; answers the length of the JSON before them.
fn follow(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) -> Option<usize> {
    if !asked.binary && outputs(schema, asked).all(|(_, in_binary)| !in_binary) {
        return None;
    }
    let json_bytes = body.len();
    for (output, _) in outputs(schema, asked).filter(|(_, in_binary)| *in_binary) {
        binary::column(body, schema, output, asked.rows, scores);
    }
    if asked.contributions && asked.binary {
        binary::numbers(body, Dtype::Fp64, scores.contributions.iter().copied());
    }
    if asked.row_status && asked.binary {
        row_status::reasons(asked).for_each(|why| binary::text(body, why));
    }
    Some(json_bytes)
}

/// The outputs of a reply, and whether each is wanted in binary.
fn outputs<'s>(schema: &'s Schema, asked: &'s Asked) -> impl Iterator<Item = (&'s Output, bool)> {
    let listed = asked.outputs.as_deref().unwrap_or_default();
    let said = listed.iter().map(|wanted| wanted.binary).chain(std::iter::repeat(None));
    chosen(schema, asked).zip(said).map(|(output, said)| (output, said.unwrap_or(asked.binary)))
}

fn begin(body: &mut Vec<u8>, schema: &Schema, asked: &Asked) {
    // A model's name holds nothing that JSON escapes. Writing to memory can't fail.
    let _ = write!(body, "{{\"model_name\":\"{}\",\"model_version\":\"{}\"", schema.model, schema.version);
    if let Some(id) = &asked.id {
        body.extend_from_slice(b",\"id\":");
        text(body, id);
    }
    body.extend_from_slice(b",\"outputs\":[");
}

/// A tensor up to its values.
fn head(body: &mut Vec<u8>, name: &str, shape: &[usize], dtype: Dtype) {
    body.extend_from_slice(b"{\"name\":");
    text(body, name);
    body.extend_from_slice(b",\"shape\":[");
    for (at, size) in shape.iter().enumerate() {
        comma(body, at);
        let _ = write!(body, "{size}");
    }
    let _ = write!(body, "],\"datatype\":\"{}\"", dtype.as_str());
}

/// A tensor's end, where its values follow in binary.
fn size(body: &mut Vec<u8>, bytes: usize) {
    let _ = write!(body, ",\"parameters\":{{\"binary_data_size\":{bytes}}}}}");
}

/// A tensor's end, with its values.
fn data(body: &mut Vec<u8>, schema: &Schema, output: &Output, rows: usize, scores: &Outputs) {
    body.extend_from_slice(b",\"data\":[");
    for row in 0..rows {
        for (column, number) in values(schema, output, row, scores).iter().enumerate() {
            comma(body, row + column);
            value(body, output, scores, *number);
        }
    }
    body.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::manifest::signature::Role;
    use headgate_contract::manifest::{Input, Output, Signature};
    use headgate_contract::{Digest, Version};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::decode::Wanted;
    use crate::decode::binary::{Blob, Datatype};
    use crate::encode::{Content, Encoded, encode};

    fn schema(outputs: &[(&str, Dtype, usize)]) -> Schema {
        let output = |(name, dtype, width): &(&str, Dtype, usize)| Output {
            name: (*name).into(),
            role: Role::Value,
            dtype: *dtype,
            width: *width,
            classes: if *dtype == Dtype::Bytes { vec!["no".into(), "São".into()] } else { vec![] },
        };
        let signature = Signature { inputs: vec![Input::numeric("x")], outputs: outputs.iter().map(output).collect() };
        Schema::new("m".parse().unwrap(), Version::FIRST, Digest::of(""), &signature).unwrap()
    }

    /// The JSON, and each tensor's bytes: none for those that are in the JSON.
    fn split(reply: &Encoded) -> (Value, Vec<Option<Vec<u8>>>) {
        let (json, mut rest) = reply.bytes.split_at(reply.json_bytes.unwrap());
        let json: Value = serde_json::from_slice(json).unwrap();
        let blobs = json["outputs"].as_array().unwrap().iter().map(|tensor| {
            let size = tensor["parameters"]["binary_data_size"].as_u64()?;
            assert!(tensor["data"].is_null());
            let (blob, after) = rest.split_at(size as usize);
            rest = after;
            Some(blob.to_vec())
        });
        let blobs = blobs.collect();
        assert!(rest.is_empty());
        (json, blobs)
    }

    fn asked(rows: usize, binary: bool) -> Asked {
        Asked { rows, binary, ..Asked::default() }
    }

    #[test]
    fn each_output_is_where_it_is_wanted() {
        let schema = schema(&[("p", Dtype::Fp64, 2), ("class", Dtype::Int64, 1), ("label", Dtype::Bytes, 1)]);
        let scores = Outputs { values: vec![0.25, 0.75, 1.0, 1.0, 0.5, f64::NAN, 0.0, f64::NAN], ..Outputs::default() };
        let all = encode(&schema, &asked(2, true), &scores);
        assert_eq!(all.content, Content::Binary);
        let (json, blobs) = split(&all);
        let head = |name: &str, shape: Value, datatype: &str, size: usize| json!({"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}});
        let heads = json!([
            head("p", json!([2, 2]), "FP64", 32),
            head("class", json!([2]), "INT64", 16),
            head("label", json!([2]), "BYTES", 12)
        ]);
        assert_eq!(json["outputs"], heads);
        let bits = [0.25, 0.75, 0.5, f64::NAN].into_iter().flat_map(f64::to_le_bytes).collect::<Vec<_>>();
        let class = [1i64, 0].into_iter().flat_map(i64::to_le_bytes).collect::<Vec<_>>();
        let label = b"\x04\0\0\0S\xc3\xa3o\0\0\0\0".to_vec();
        assert_eq!(blobs, [Some(bits), Some(class.clone()), Some(label)]);
        let outputs = [(2, Some(false)), (1, None)].map(|(output, binary)| Wanted { output, binary });
        let some = Asked { outputs: Some(outputs.into()), ..asked(2, true) };
        let (json, blobs) = split(&encode(&schema, &some, &scores));
        assert_eq!((&json["outputs"][0]["data"], &blobs), (&json!(["São", null]), &vec![None, Some(class)]));
        let none = Asked { outputs: Some(outputs[..1].into()), ..asked(2, true) };
        let reply = encode(&schema, &none, &scores);
        assert_eq!((split(&reply).1, reply.json_bytes), (vec![None], Some(reply.bytes.len())));
        let plain = encode(&schema, &asked(2, false), &scores);
        assert_eq!((plain.content, plain.json_bytes), (Content::Json, None));
    }

    #[test]
    fn contributions_and_row_status_are_in_binary_where_that_is_the_default() {
        let schema = schema(&[("p", Dtype::Fp64, 1)]);
        let scores = Outputs { values: vec![0.5], contributions: vec![1.0, 2.0], ..Outputs::default() };
        let mut all = Asked { contributions: true, row_status: true, ..asked(2, true) };
        all.faults.add(0, "row 0: no");
        let (json, blobs) = split(&encode(&schema, &all, &scores));
        let floats = |values: &[f64]| Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        assert_eq!(json["outputs"][1]["shape"], json!([2, 2]));
        let nan = f64::NAN;
        let status = Some(b"\x09\0\0\0row 0: no\0\0\0\0".to_vec());
        assert_eq!(blobs, [floats(&[nan, 0.5]), floats(&[nan, nan, 1.0, 2.0]), status]);
        let one = Asked { outputs: Some(vec![Wanted { output: 0, binary: Some(true) }]), binary: false, ..all };
        let (json, blobs) = split(&encode(&schema, &one, &scores));
        assert_eq!(blobs.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(json["outputs"][2]["data"], json!(["row 0: no", ""]));
    }

    proptest! {
        #[test]
        fn binary_reads_back_as_what_json_says(values in proptest::collection::vec(any::<f64>(), 1..20), small in any::<bool>()) {
            let types = [
                Dtype::Bool, Dtype::Uint8, Dtype::Uint16, Dtype::Uint32, Dtype::Int8, Dtype::Int16, Dtype::Int32,
                Dtype::Int64, Dtype::Fp32, Dtype::Fp64,
            ];
            for dtype in types {
                let schema = schema(&[("y", dtype, 1)]);
                // What the type has: the engine gives an output's values in its type's range.
                let fits = |v: f64| match dtype {
                    Dtype::Fp64 => v,
                    Dtype::Fp32 => v.clamp(f32::MIN.into(), f32::MAX.into()),
                    _ => (v % 100.0).abs().trunc(),
                };
                let values: Vec<f64> = values.iter().map(|v| fits(if small { v % 2.0 } else { *v })).collect();
                let scores = Outputs { values: values.clone(), ..Outputs::default() };
                let (_, blobs) = split(&encode(&schema, &asked(values.len(), true), &scores));
                let blob = blobs[0].clone().unwrap();
                let mut read = vec![0.0; values.len()];
                Blob::new(Datatype::named(dtype.as_str()).unwrap(), &blob, read.len()).unwrap().widen(&mut read);
                let json: Value = serde_json::from_slice(&encode(&schema, &asked(values.len(), false), &scores).bytes).unwrap();
                for (read, said) in read.iter().zip(json["outputs"][0]["data"].as_array().unwrap()) {
                    let said = match said {
                        Value::Null => f64::NAN,
                        Value::Bool(said) => f64::from(u8::from(*said)),
                        Value::String(word) => word.parse().unwrap(),
                        number if dtype == Dtype::Fp32 => f64::from(number.to_string().parse::<f32>().unwrap()),
                        number => number.as_f64().unwrap(),
                    };
                    prop_assert!(read.to_bits() == said.to_bits() || (read.is_nan() && said.is_nan()), "{:?}: {} {}", dtype, read, said);
                }
            }
        }
    }
}
