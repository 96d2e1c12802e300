//! The reply of v1: the outputs row by row, and what was asked for beside them.

use headgate_contract::manifest::Output;
use serde_json::{Value, json};

use super::Subject;
use super::row::kind;

/// Classes that are named.
const CLASSES_MAX: usize = 1000;

pub(super) fn schema(of: &Subject<'_>) -> Value {
    let prediction = match (of.values().next(), of.values().nth(1)) {
        (Some(output), None) => value(output),
        _ => json!({"$ref": "#/components/schemas/Prediction"}),
    };
    let mut properties = json!({
        "predictions": {"type": "array", "description": "One a row.", "items": prediction},
        "row_status": {
            "type": "array", "description": "Where it is asked for: for each row null, or why it could not be scored.",
            "items": {"type": "string", "nullable": true},
        },
    });
    if let Some(margins) = of.explained {
        properties["contributions"] = contributions(of.signature.inputs.len() + 1, margins);
    }
    json!({
        "type": "object", "description": "Scores.", "required": ["predictions"], "properties": properties,
        "additionalProperties": true,
    })
}

/// A row's outputs by name, where there are several.
pub(super) fn of_several(of: &Subject<'_>) -> Option<Value> {
    of.values().nth(1)?;
    let names: Vec<&str> = of.values().map(|output| output.name.as_str()).collect();
    let properties: serde_json::Map<String, Value> = of.values().map(|o| (o.name.clone(), value(o))).collect();
    Some(json!({
        "type": "object", "description": "The outputs of one row.", "required": names, "properties": properties,
        "additionalProperties": true,
    }))
}

/// One row of an output.
fn value(output: &Output) -> Value {
    let mut one = kind(output.dtype);
    one["nullable"] = true.into();
    let mut value = match output.width {
        1 => one,
        width => json!({"type": "array", "minItems": width, "maxItems": width, "items": one}),
    };
    value["description"] = described(output).into();
    if (1..=CLASSES_MAX).contains(&output.classes.len()) {
        value["x-classes"] = json!(output.classes);
    }
    value
}

/// What an output is, in words.
pub(super) fn described(output: &Output) -> String {
    let (name, dtype) = (&output.name, output.dtype.as_str());
    let shape = match output.width {
        1 => "[rows]".to_owned(),
        width => format!("[rows, {width}]"),
    };
    let classes = if output.classes.is_empty() { String::new() } else { format!("; {}", one_of(&output.classes)) };
    format!("{name}: {dtype} {shape}{classes}; NaN is null, infinities are texts")
}

/// The first of some names, and how many more there are.
pub(super) fn one_of(names: &[String]) -> String {
    let few = names.iter().take(16).map(String::as_str).collect::<Vec<_>>().join("', '");
    match names.len() {
        0..=16 => format!("of '{few}'"),
        more => format!("of '{few}' and {} more", more - 16),
    }
}

fn contributions(columns: usize, margins: usize) -> Value {
    let numbers = json!({
        "type": "array", "minItems": columns, "maxItems": columns,
        "items": {"type": "number", "format": "double", "nullable": true},
    });
    let row = match margins {
        1 => numbers,
        margins => json!({"type": "array", "minItems": margins, "maxItems": margins, "items": numbers}),
    };
    json!({
        "type": "array", "items": row,
        "description": "Where they are asked for: for each row what each feature added to the margin, in the signature's \
                        order, the bias last; with several margins an array for each.",
    })
}
