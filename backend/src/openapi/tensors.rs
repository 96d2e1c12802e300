//! The forms of v2: the server's own, with the names of this model's features and outputs.

use serde_json::{Value, json};

use super::reply::described;
use super::{Subject, text_of};

pub(super) fn schemas(of: &Subject<'_>, server: &Value) -> Value {
    let same = |name: &str| server[name].clone();
    let [mut input, mut request, output, mut response, mut requested] =
        ["InferInput", "InferRequest", "InferOutput", "InferResponse", "InferRequestedOutput"].map(same);
    let features: Vec<&str> = of.signature.inputs.iter().map(|input| input.name.as_str()).collect();
    let outputs: Vec<&str> = of.signature.outputs.iter().map(|output| output.name.as_str()).collect();
    input["description"] = "One feature, [rows] or [rows, 1].".into();
    input["properties"]["name"] = text_of(&features);
    input["properties"]["shape"]["minItems"] = 1.into();
    input["properties"]["shape"]["maxItems"] = 2.into();
    request["properties"]["inputs"]["minItems"] = 1.into();
    // Replies' names stay texts: clients in some languages refuse a whole reply whose `enum` they don't know, and a later
    // version may have one output more.
    requested["properties"]["name"] = text_of(&outputs);
    let told = of.signature.outputs.iter().take(32).map(described).collect::<Vec<_>>().join(". ");
    response["description"] = format!("Scores, as tensors. {told}.").into();
    json!({
        "Datatype": server["Datatype"],
        "InferInput": input, "InferRequest": request, "InferRequestedOutput": requested,
        "InferOutput": output, "InferResponse": response,
    })
}
