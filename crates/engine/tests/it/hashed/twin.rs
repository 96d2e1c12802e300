//! A hashed linear model as its documentation says it, row by row and text by text.

use std::collections::BTreeMap;

use serde_json::Value;

/// A value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Missing,
    Number(f64),
    Text(String),
}

/// MurmurHash3_x86_32, as published.
pub(crate) fn murmur3(bytes: &[u8], seed: u32) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e2d51).rotate_left(15).wrapping_mul(0x1b873593);
    let mut h = seed;
    let mut blocks = bytes.chunks_exact(4);
    for b in &mut blocks {
        h ^= mix(u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe6546b64);
    }
    let tail = blocks.remainder().iter().rev().fold(0u32, |k, b| k << 8 | u32::from(*b));
    h ^= mix(tail);
    h ^= bytes.len() as u32;
    h = (h ^ h >> 16).wrapping_mul(0x85ebca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2ae35);
    h ^ h >> 16
}

/// The margins of a row.
pub(crate) fn margins(header: &Value, weights: &[f64], inputs: &[String], row: &[Cell]) -> Vec<f64> {
    let mut margins: Vec<f64> = header["bias"].as_array().unwrap().iter().map(|b| b.as_f64().unwrap()).collect();
    let outputs = margins.len();
    let cell = |name: &Value| &row[inputs.iter().position(|i| i == name).unwrap()];
    for field in header["fields"].as_array().unwrap() {
        for (bucket, value) in hits(header, field, cell) {
            for (output, margin) in margins.iter_mut().enumerate() {
                let weight = weights[bucket as usize * outputs + output];
                let weight = if header["weights"] == "f32" { f64::from(weight as f32) } else { weight };
                *margin += weight * value;
            }
        }
    }
    margins
}

fn hits<'a>(header: &Value, field: &Value, cell: impl Fn(&Value) -> &'a Cell) -> Vec<(u64, f64)> {
    let or = |member: &str, otherwise: String| field[member].as_str().map_or(otherwise, str::to_owned);
    let name = |input: &Value| input.as_str().unwrap().to_owned();
    match field["kind"].as_str().unwrap() {
        "number" => {
            let Cell::Number(value) = cell(&field["input"]) else { return vec![] };
            match field["index"].as_u64() {
                Some(index) => vec![(index, *value)],
                None => {
                    let (bucket, sign) = place(header, field, &or("key", name(&field["input"])));
                    vec![(bucket, sign * value)]
                }
            }
        }
        "category" => {
            let Cell::Text(text) = cell(&field["input"]) else { return vec![] };
            let prefix = or("prefix", format!("{}=", name(&field["input"])));
            vec![place(header, field, &format!("{prefix}{text}"))]
        }
        "cross" => {
            let inputs = field["inputs"].as_array().unwrap();
            let texts: Option<Vec<&str>> =
                inputs.iter().map(|i| if let Cell::Text(t) = cell(i) { Some(t.as_str()) } else { None }).collect();
            let Some(texts) = texts else { return vec![] };
            let names: Vec<String> = inputs.iter().map(name).collect();
            let prefix = or("prefix", format!("{}=", names.join("^")));
            vec![place(header, field, &format!("{prefix}{}", texts.join(&or("join", "^".into()))))]
        }
        _ => {
            let Cell::Text(text) = cell(&field["input"]) else { return vec![] };
            let text = if field["lowercase"] == true { text.to_lowercase() } else { text.clone() };
            let prefix = or("prefix", String::new());
            let tokens = tokens(&field["split"], &text);
            counted(field, tokens.iter().map(|token| place(header, field, &format!("{prefix}{token}"))).collect())
        }
    }
}

fn tokens(split: &Value, text: &str) -> Vec<String> {
    let mut tokens = match split {
        Value::Object(on) => text.split(on["on"].as_str().unwrap()).map(str::to_owned).collect(),
        split => {
            let words = split == "words";
            let mut tokens = vec![String::new()];
            for c in text.chars() {
                let white = c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
                let splits = if words { !c.is_alphanumeric() && c != '_' } else { white };
                match splits {
                    true => tokens.push(String::new()),
                    false => tokens.last_mut().unwrap().push(c),
                }
            }
            tokens.retain(|t| !words || t.chars().count() > 1);
            tokens
        }
    };
    tokens.retain(|t| !t.is_empty());
    tokens
}

fn counted(field: &Value, hits: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    let (binary, norm) = (field["binary"] == true, field["norm"].as_str().unwrap());
    if !binary && norm == "none" {
        return hits;
    }
    let mut sums = BTreeMap::<u64, f64>::new();
    hits.iter().for_each(|(bucket, value)| *sums.entry(*bucket).or_default() += value);
    if binary {
        sums.values_mut().for_each(|value| *value = 1.0);
    }
    let by = match norm {
        "none" => 1.0,
        "l1" => sums.values().fold(0.0, |sum, v| sum + v.abs()),
        _ => sums.values().fold(0.0, |sum, v| sum + v * v).sqrt(),
    };
    sums.into_iter().map(|(bucket, value)| (bucket, if by > 0.0 { value / by } else { value })).collect()
}

fn place(header: &Value, field: &Value, text: &str) -> (u64, f64) {
    let all = header["buckets"].as_u64().unwrap();
    let (first, buckets) = match &field["space"] {
        Value::Null => (0, all),
        space => (space["first"].as_u64().unwrap(), space["buckets"].as_u64().unwrap()),
    };
    let spark = header["hash"] == "spark";
    let hash = i64::from(murmur3(text.as_bytes(), if spark { 42 } else { 0 }).cast_signed());
    let bucket = if spark { hash.rem_euclid(buckets as i64) } else { hash.abs() % buckets as i64 };
    let sign = if header["hash"] == "sklearn" && hash < 0 { -1.0 } else { 1.0 };
    (first + bucket as u64, sign)
}
