//! Golden rows as people write them: JSON lines, or CSV with a header.

use headgate_contract::manifest::golden::{GoldenInput, ROWS_MAX};
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Cell, Dtype, Golden, Input, Signature};
use headgate_contract::real::{self, Real};
use serde_json::{Map, Value};

use crate::table::nearest;

/// What a key or a column of a row is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Feature(usize),
    Margin(usize),
    Output(usize),
}

/// Golden rows while they are read.
struct Rows<'a> {
    signature: &'a Signature,
    golden: Golden,
}

/// Reads rows. Margins or outputs are empty where the file has none; outputs are those of the first that is no margin.
pub(super) fn read(bytes: &[u8], signature: &Signature, notes: &mut Vec<String>) -> Result<Golden, String> {
    let inputs = signature.inputs.iter().map(|i| GoldenInput { name: i.name.clone(), values: Vec::new() }).collect();
    let golden = Golden { rows: 0, inputs, margins: Vec::new(), outputs: Vec::new(), tolerance: 0.0 };
    let mut rows = Rows { signature, golden };
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    let more = match text.trim_start().starts_with('{') {
        true => rows.json(text)?,
        false => rows.csv(text)?,
    };
    if more > 0 {
        notes.push(format!("{more} golden rows beyond the first {ROWS_MAX} are left out"));
    }
    match rows.golden.rows {
        0 => Err("it has no rows".to_owned()),
        _ if rows.golden.outputs.is_empty() && rows.golden.margins.is_empty() => {
            Err("its rows have neither 'output' nor 'margin': nothing to prove".to_owned())
        }
        _ => Ok(rows.golden),
    }
}

impl Rows<'_> {
    /// Reads lines of JSON objects; how many were too many.
    fn json(&mut self, text: &str) -> Result<usize, String> {
        let mut more = 0;
        for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let at = |what: String| format!("line {}: {what}", line + 1);
            if self.golden.rows == ROWS_MAX {
                more += 1;
                continue;
            }
            let row: Map<String, Value> = serde_json::from_str(text).map_err(|error| at(error.to_string()))?;
            let mut cells = Vec::with_capacity(row.len());
            for (key, value) in row {
                match (self.place(&key).map_err(at)?, value) {
                    // A list gives all values of a row at once.
                    (Place::Margin(0), Value::Array(list)) => {
                        cells.extend(list.into_iter().enumerate().map(|(i, value)| (Place::Margin(i), value)));
                    }
                    (Place::Output(0), Value::Array(list)) => {
                        cells.extend(list.into_iter().enumerate().map(|(i, value)| (Place::Output(i), value)));
                    }
                    (place, value) => cells.push((place, value)),
                }
            }
            let cells = cells.into_iter().map(|(place, value)| Ok((place, cell(value)?)));
            let cells = cells.collect::<Result<Vec<_>, String>>().map_err(at)?;
            self.push(cells).map_err(at)?;
        }
        Ok(more)
    }

    /// Reads a header and rows; how many were too many.
    fn csv(&mut self, text: &str) -> Result<usize, String> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let places = header.iter().map(|name| self.place(name)).collect::<Result<Vec<_>, _>>()?;
        let mut more = 0;
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            if self.golden.rows == ROWS_MAX {
                more += 1;
                continue;
            }
            let at = |what: String| format!("line {}: {what}", record.position().map_or(0, csv::Position::line));
            let cells = places.iter().zip(&record).map(|(place, text)| (*place, self.text_cell(*place, text)));
            let cells = cells.collect();
            self.push(cells).map_err(at)?;
        }
        Ok(more)
    }

    /// A CSV cell: text to a feature of texts or categories, else a number where it is one.
    fn text_cell(&self, place: Place, text: &str) -> Cell {
        let texts = |input: &Input| input.categories.is_some() || input.dtype == Dtype::Bytes;
        let is_text = matches!(place, Place::Feature(at) if texts(&self.signature.inputs[at]));
        match text {
            "" => Cell::Missing,
            text if is_text => Cell::Text(text.to_owned()),
            "true" | "True" => Cell::Bool(true),
            "false" | "False" => Cell::Bool(false),
            text => text.parse::<f64>().map_or_else(|_| Cell::Text(text.to_owned()), Cell::from),
        }
    }

    fn place(&self, key: &str) -> Result<Place, String> {
        if let Some(at) = self.signature.inputs.iter().position(|input| input.name == key) {
            return Ok(Place::Feature(at));
        }
        let numbered = |stem: &str| {
            let rest = key.strip_prefix(stem)?;
            match rest.strip_prefix('_') {
                None => (rest.is_empty() || rest == "s").then_some(0),
                Some(number) => number.parse().ok(),
            }
        };
        let value = self.signature.outputs.iter().find(|o| o.role == Role::Value);
        if let Some(at) = numbered("margin") {
            return Ok(Place::Margin(at));
        }
        if let Some(at) = numbered("output").or_else(|| numbered(&value?.name)) {
            return Ok(Place::Output(at));
        }
        let hint = nearest(key, self.signature.inputs.iter().map(|input| input.name.as_str()));
        let hint = hint.map_or(String::new(), |near| format!("; '{near}' is one"));
        Err(format!("'{key}' is no feature of the model, nor 'margin' or 'output'{hint}"))
    }

    fn push(&mut self, cells: Vec<(Place, Cell)>) -> Result<(), String> {
        let row = self.golden.rows;
        let (mut margins, mut outputs) = (Vec::new(), Vec::new());
        for (place, cell) in cells {
            match place {
                Place::Feature(at) => {
                    let values = &mut self.golden.inputs[at].values;
                    if values.len() != row {
                        return Err(format!("feature '{}' is there twice", self.golden.inputs[at].name));
                    }
                    values.push(cell);
                }
                Place::Margin(at) => put(&mut margins, at, "margin", &cell)?,
                Place::Output(at) => put(&mut outputs, at, "output", &cell)?,
            }
        }
        self.golden.inputs.iter_mut().for_each(|input| input.values.resize(row + 1, Cell::Missing));
        let width = |role| self.signature.outputs.iter().filter(|o| o.role == role).map(|o| o.width).sum::<usize>();
        let proven = self.signature.outputs.iter().find(|o| o.role == Role::Value);
        let (wide, out) = (width(Role::Margin), proven.map_or(1, |o| o.width));
        let had = (!self.golden.margins.is_empty(), !self.golden.outputs.is_empty());
        for (what, values, expected, before) in [("margins", &margins, wide, had.0), ("outputs", &outputs, out, had.1)]
        {
            let first = row == 0 && values.is_empty();
            let none = row > 0 && !before && values.is_empty();
            if first || none {
                continue;
            }
            if row > 0 && !before {
                return Err(format!("{what} came, the rows before have none"));
            }
            if values.len() != expected {
                return Err(format!("{} {what}, {expected} expected: what the model gives for a row", values.len()));
            }
        }
        self.golden.margins.extend(margins.into_iter().map(Real));
        self.golden.outputs.extend(outputs.into_iter().map(Real));
        self.golden.rows += 1;
        Ok(())
    }
}

fn cell(value: Value) -> Result<Cell, String> {
    match value {
        Value::Null => Ok(Cell::Missing),
        Value::Bool(value) => Ok(Cell::Bool(value)),
        Value::Number(value) => value.as_f64().map(Cell::Number).ok_or_else(|| format!("{value} is out of range")),
        Value::String(text) => Ok(Cell::Text(text)),
        other => Err(format!("{other} came, a number, text, boolean or null expected")),
    }
}

/// Values may come in any order, but there must be one for each place.
fn put(values: &mut Vec<f64>, at: usize, what: &str, cell: &Cell) -> Result<(), String> {
    let number = match cell {
        Cell::Number(value) => Ok(*value),
        Cell::Text(text) => real::word(text).ok_or_else(|| format!("'{text}'")),
        Cell::Bool(value) => Err(value.to_string()),
        Cell::Missing => Err("null".to_owned()),
    };
    let number = number.map_err(|came| format!("{what}: {came} came, a number expected"))?;
    if at != values.len() {
        return Err(format!("{what}_{at} came where {what}_{} was expected", values.len()));
    }
    values.push(number);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::manifest::Output;

    use super::*;

    fn signature(width: usize) -> Signature {
        let output = |name: &str, role| Output { name: name.into(), role, dtype: Dtype::Fp64, width, classes: vec![] };
        Signature {
            inputs: vec![Input::numeric("x"), Input::categorical("c", vec!["1".into(), "b".into()])],
            outputs: vec![output("probability", Role::Value), output("margin", Role::Margin)],
        }
    }

    fn parse(text: &str, width: usize) -> Result<Golden, String> {
        read(text.as_bytes(), &signature(width), &mut Vec::new())
    }

    #[test]
    fn lines_and_tables_read_the_same() {
        let json = "{\"x\": 1.5, \"c\": \"b\", \"margin\": [0.25], \"output\": 0.5}\n\n{\"c\":\"1\",\"margin\":-1,\"probability\":0.1}\n";
        let csv = "c,x,output,margin\nb,1.5,0.5,0.25\n1,,0.1,-1\n";
        let golden = parse(json, 1).unwrap();
        assert_eq!(golden, parse(csv, 1).unwrap());
        assert_eq!(golden.inputs[1].values, [Cell::Text("b".into()), Cell::Text("1".into())]);
        assert_eq!(golden.inputs[0].values, [Cell::Number(1.5), Cell::Missing]);
        assert_eq!(golden.margins, [Real(0.25), Real(-1.0)]);
        let wide = parse("x,margin_0,margin_1\n1,0.5,0.25\n", 2).unwrap();
        assert!(wide.margins.len() == 2 && wide.outputs.is_empty());
    }

    #[test]
    fn broken_rows_are_named() {
        for (text, words) in [
            ("", "no rows"),
            ("x,c\n1,b\n", "neither 'output' nor 'margin'"),
            ("xx,output\n1,0.5\n", "'xx' is no feature"),
            ("x,output\n1,b\n", "a number expected"),
            ("{\"x\":1,\"output\":0.5}\n{\"x\":1}\n", "line 2: 0 outputs, 1 expected"),
            ("{\"x\":1,\"output\":[0.5,0.5]}\n", "2 outputs, 1 expected: what the model gives"),
            (
                "{\"x\":1,\"margin\":1}\n{\"x\":1,\"margin\":1,\"output\":0.5}\n",
                "line 2: outputs came, the rows before",
            ),
            ("{\"x\":1,\"output\":null}\n", "output: null came, a number expected"),
            ("{\"x\":{},\"output\":1}\n", "line 1"),
            ("{\"x\":1\n", "line 1"),
            ("x,output_1\n1,0.5\n", "output_1 came where output_0"),
        ] {
            let error = parse(text, 1).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
