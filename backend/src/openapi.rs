//! A model's own OpenAPI document: two operations of the server's, with its features as typed properties and its outputs
//! as what comes back, so that a client that is generated from it knows them.
//!
//! Every row that the document allows is taken by the door. The door takes more: booleans for numbers, words for what
//! JSON has no number for, features that are not known.

use std::sync::LazyLock;

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Output, Signature};
use headgate_contract::openapi::SERVER;
use headgate_contract::route::Target;
use serde_json::{Map, Value, json};

use crate::servable::Servable;

mod reply;
mod row;
mod tensors;

/// The most names or categories that are listed; what is generated from an `enum` has a constant for each.
const ENUM_MAX: usize = 256;

static SERVERS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SERVER).unwrap_or_default());

/// What a document is about.
struct Subject<'s> {
    signature: &'s Signature,
    /// Whether a feature that is not known is refused.
    strict: bool,
    /// Margins whose contributions can be asked for; none where they can't be had.
    explained: Option<usize>,
}

/// The document of a version, for callers of `target`. `strict`: whether its release refuses unknown features.
pub fn document(target: &Target, servable: &Servable, strict: bool) -> Value {
    let (schema, manifest) = (&servable.schema, &servable.manifest);
    let margins = servable.contributions_per_row() / (schema.features.len() + 1);
    let explained = servable.no_contributions().is_none().then_some(margins);
    let subject = Subject { signature: &manifest.signature, strict, explained };
    let unknown = if strict { "refused" } else { "ignored" };
    let (model, version) = (&schema.model, schema.version);
    json!({
        "openapi": SERVERS["openapi"],
        "info": {
            "title": format!("Model {model}"),
            "version": version.to_string(),
            "description": format!(
                "Version {version} of model '{model}' ({}, {} features), digest {}. A feature that is null or absent is \
                 missing, as in training; one that the version does not know is {unknown}.",
                manifest.engine.name, schema.features.len(), schema.digest
            ),
        },
        "servers": SERVERS["servers"],
        "tags": [SERVERS["tags"][0]],
        "paths": paths(target),
        "components": {
            "schemas": subject.schemas(),
            "responses": SERVERS["components"]["responses"],
            "parameters": {
                "TimeoutMs": SERVERS["components"]["parameters"]["TimeoutMs"],
                "RequestId": SERVERS["components"]["parameters"]["RequestId"],
            },
            "headers": SERVERS["components"]["headers"],
        },
    })
}

/// The server's own operations, for one model.
fn paths(target: &Target) -> Value {
    let mut paths = Map::new();
    for (general, own) in [
        ("/v1/models/{model}:predict", format!("/v1/models/{target}:predict")),
        ("/v2/models/{model}/infer", format!("/v2/models/{target}/infer")),
    ] {
        let mut operation = SERVERS["paths"][general]["post"].clone();
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.retain(|parameter| parameter["$ref"] != "#/components/parameters/Model");
        }
        if let Some(content) = operation["requestBody"]["content"]["application/json"].as_object_mut() {
            content.remove("example");
        }
        paths.insert(own, json!({ "post": operation }));
    }
    paths.into()
}

impl Subject<'_> {
    fn schemas(&self) -> Value {
        let server = &SERVERS["components"]["schemas"];
        let mut schemas = json!({
            "ErrorBody": server["ErrorBody"],
            "CallParameters": self.parameters(),
            "Row": row::schema(self),
            "PredictRequest": {
                "type": "object", "description": "Rows to score.", "required": ["instances"],
                "properties": {
                    "instances": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Row"}},
                    "parameters": {"$ref": "#/components/schemas/CallParameters"},
                },
            },
            "PredictResponse": reply::schema(self),
        });
        if let (Some(schemas), Value::Object(tensors)) = (schemas.as_object_mut(), tensors::schemas(self, server)) {
            schemas.extend(tensors);
            schemas.extend(reply::of_several(self).map(|several| ("Prediction".to_owned(), several)));
        }
        schemas
    }

    /// What a call asks for beside its rows; without contributions where they can't be had.
    fn parameters(&self) -> Value {
        let mut parameters = SERVERS["components"]["schemas"]["CallParameters"].clone();
        if self.explained.is_none()
            && let Some(properties) = parameters["properties"].as_object_mut()
        {
            properties.remove("contributions");
        }
        parameters
    }

    /// The outputs that are sent unless others are asked for.
    fn values(&self) -> impl Iterator<Item = &Output> {
        self.signature.outputs.iter().filter(|output| output.role == Role::Value)
    }
}

/// A text of one of these values; any text where they are too many to list.
fn text_of(values: &[&str]) -> Value {
    if values.len() > ENUM_MAX { json!({"type": "string"}) } else { json!({"type": "string", "enum": values}) }
}

#[cfg(test)]
mod tests;
