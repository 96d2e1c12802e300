//! Scores as lines of CSV, one a row, without a header: the outputs, what each feature added, why a row could not be
//! scored. Numbers are written as in JSON but for what JSON lacks: NaN is an empty cell, infinities are bare words.

use headgate_contract::manifest::Dtype;
use headgate_engine::Outputs;

use super::{chosen, comma, number, text_at, values};
use crate::decode::Asked;
use crate::schema::Schema;

/// Writes a reply.
pub(super) fn lines(body: &mut Vec<u8>, schema: &Schema, asked: &Asked, scores: &Outputs) {
    let explained = scores.contributions.len() / asked.rows.max(1);
    for row in 0..asked.rows {
        let mut at = 0;
        for output in chosen(schema, asked) {
            for value in values(schema, output, row, scores) {
                comma(body, at);
                at += 1;
                match output.dtype {
                    Dtype::Bytes => text_at(output, scores, *value).into_iter().for_each(|found| text(body, found)),
                    dtype => real(body, dtype, *value),
                }
            }
        }
        for value in scores.contributions.get(row * explained..(row + 1) * explained).unwrap_or_default() {
            body.push(b',');
            real(body, Dtype::Fp64, *value);
        }
        if asked.row_status {
            body.push(b',');
            asked.faults.reason(row).into_iter().for_each(|why| text(body, why));
        }
        body.push(b'\n');
    }
}

fn real(body: &mut Vec<u8>, dtype: Dtype, value: f64) {
    match value {
        value if value.is_nan() => {}
        f64::INFINITY => body.extend_from_slice(b"Infinity"),
        f64::NEG_INFINITY => body.extend_from_slice(b"-Infinity"),
        value => number(body, dtype, value),
    }
}

/// A text as it is, in quotes where it would not read back without: an empty one too, as an empty cell is missing.
fn text(body: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        return body.extend_from_slice(text.as_bytes());
    }
    body.push(b'"');
    for (at, part) in text.split('"').enumerate() {
        body.extend_from_slice(if at > 0 { b"\"\"" } else { b"" });
        body.extend_from_slice(part.as_bytes());
    }
    body.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::manifest::signature::Role;
    use headgate_contract::manifest::{Input, Output, Signature};
    use headgate_contract::{Digest, Version};

    use super::*;
    use crate::decode::Faults;

    #[test]
    fn a_line_a_row() {
        let output = |name: &str, dtype, width, classes: &[&str]| Output {
            name: name.into(),
            role: Role::Value,
            dtype,
            width,
            classes: classes.iter().map(|c| (*c).to_owned()).collect(),
        };
        let outputs = vec![
            output("p", Dtype::Fp64, 2, &[]),
            output("label", Dtype::Bytes, 1, &["", "a, \"b\"", "c"]),
            output("n", Dtype::Int64, 1, &[]),
        ];
        let signature = Signature { inputs: vec![Input::numeric("x")], outputs };
        let schema = Schema::new("m".parse().unwrap(), Version::FIRST, Digest::of(""), &signature).unwrap();
        let values = vec![0.1, f64::INFINITY, 1.0, 3.0, f64::NAN, -1.5, 2.0, 4.0, 1.0, 2.0, 0.0, 5.0];
        let mut faults = Faults::default();
        faults.add(1, "row 1, feature 'x'");
        let asked = Asked { rows: 3, faults, row_status: true, ..Asked::default() };
        let scores = Outputs { values, contributions: vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0], ..Outputs::default() };
        let mut body = Vec::new();
        lines(&mut body, &schema, &asked, &scores);
        let lines = [
            "0.1,Infinity,\"a, \"\"b\"\"\",3,0.5,1.0,",
            ",-1.5,c,4,1.5,2.0,\"row 1, feature 'x'\"",
            "1.0,2.0,\"\",5,2.5,3.0,",
        ];
        assert_eq!(String::from_utf8(body).unwrap(), lines.join("\n") + "\n");
    }
}
