//! A row: an object with a property for each feature.

use headgate_contract::manifest::{Cell, Dtype, Input};
use serde_json::{Map, Value, json};

use super::reply::one_of;
use super::{ENUM_MAX, Subject};

/// The most categories that are listed where others are refused.
const CLOSED_MAX: usize = 10_000;

pub(super) fn schema(of: &Subject<'_>) -> Value {
    let inputs = &of.signature.inputs;
    let properties: Map<String, Value> = inputs.iter().map(|input| (input.name.clone(), property(input))).collect();
    let mut row = json!({"type": "object", "description": "One row, by feature.", "properties": properties});
    let required: Vec<&str> = inputs.iter().filter(|i| is_required(i)).map(|input| input.name.as_str()).collect();
    if !required.is_empty() {
        row["required"] = required.into();
    }
    if of.strict {
        row["additionalProperties"] = false.into();
    }
    row
}

fn is_required(input: &Input) -> bool {
    input.required && input.default.is_none()
}

fn property(input: &Input) -> Value {
    let mut property = kind(input.dtype);
    property["nullable"] = true.into();
    let mut said = vec![input.dtype.as_str().to_owned()];
    if let Some(categories) = &input.categories {
        // An `enum` only where others are refused: a client that is generated from it takes no value that a later version
        // was trained with, and some languages can't name values in all scripts.
        let (key, most) = if input.forbid_unseen { ("enum", CLOSED_MAX) } else { ("x-categories", ENUM_MAX) };
        if let Some(listed) = listed(input, categories).filter(|listed| listed.len() <= most) {
            property[key] = listed.into();
        }
        said.push(one_of(categories));
        let unseen = if input.forbid_unseen { "refused" } else { "missing" };
        said.push(format!("a category that was not in training is {unseen}"));
    }
    match &input.default {
        Some(default) => {
            if let Some(default) = written(default) {
                property["default"] = default;
            }
            said.push("the default where it is absent, missing where it is null".to_owned());
        }
        None if input.required => said.push("required; missing where it is null".to_owned()),
        None => said.push("missing where it is null or absent".to_owned()),
    }
    property["description"] = said.join("; ").into();
    property
}

/// How a value of this type is written in JSON.
pub(super) fn kind(dtype: Dtype) -> Value {
    match dtype {
        Dtype::Bool => json!({"type": "boolean"}),
        Dtype::Uint8 | Dtype::Uint16 | Dtype::Int8 | Dtype::Int16 | Dtype::Int32 => {
            json!({"type": "integer", "format": "int32"})
        }
        Dtype::Uint32 | Dtype::Uint64 | Dtype::Int64 => json!({"type": "integer", "format": "int64"}),
        Dtype::Fp16 | Dtype::Fp32 => json!({"type": "number", "format": "float"}),
        Dtype::Fp64 => json!({"type": "number", "format": "double"}),
        Dtype::Bytes => json!({"type": "string"}),
    }
}

/// The categories as callers write them, and null where no others are taken; none where they are not all of the feature's
/// type.
fn listed(input: &Input, categories: &[String]) -> Option<Vec<Value>> {
    let value = |text: &String| match input.dtype {
        Dtype::Bytes => Some(text.as_str().into()),
        Dtype::Bool => None,
        Dtype::Fp16 | Dtype::Fp32 | Dtype::Fp64 => {
            text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
        }
        _ => text.parse::<i64>().ok().map(Value::from),
    };
    categories.iter().map(value).chain(input.forbid_unseen.then_some(Some(Value::Null))).collect()
}

/// A default; none where JSON can't write it.
fn written(default: &Cell) -> Option<Value> {
    match default {
        Cell::Missing => None,
        Cell::Bool(value) => Some((*value).into()),
        Cell::Number(value) => serde_json::Number::from_f64(*value).map(Value::Number),
        Cell::Text(text) => Some(text.as_str().into()),
    }
}
