//! What goes into a model and what comes out: one message, from which the JSON is written too.

use headgate_contract::proto::ModelMetadataResponse;
use headgate_contract::proto::model_metadata_response::TensorMetadata;
use serde_json::{Value, json};

use crate::servable::Servable;
use crate::snapshot::Model;

/// The metadata of a version of a model.
pub(in crate::doors) fn metadata(model: &Model, servable: &Servable) -> ModelMetadataResponse {
    let tensor = |name: &str, datatype: &str, width: usize| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: if width == 1 { vec![-1] } else { vec![-1, i64::try_from(width).unwrap_or(-1)] },
    };
    let signature = &servable.manifest.signature;
    ModelMetadataResponse {
        name: model.name.to_string(),
        versions: model.held.iter().map(|s| s.schema.version.to_string()).collect(),
        platform: servable.manifest.engine.name.clone(),
        inputs: signature.inputs.iter().map(|i| tensor(&i.name, i.dtype.as_str(), 1)).collect(),
        outputs: signature.outputs.iter().map(|o| tensor(&o.name, o.dtype.as_str(), o.width)).collect(),
    }
}

/// The same in JSON, with the names of classes, and the version that it is about.
pub(super) fn document(metadata: ModelMetadataResponse, servable: &Servable) -> Value {
    let tensor = |t: &TensorMetadata| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape});
    let outputs = metadata.outputs.iter().zip(&servable.manifest.signature.outputs).map(|(tensor_of, output)| {
        let mut written = tensor(tensor_of);
        if !output.classes.is_empty() {
            written["parameters"] = json!({ "classes": output.classes.join(",") });
        }
        written
    });
    json!({
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": metadata.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "parameters": {"version": servable.schema.version.to_string(), "digest": servable.schema.digest.to_string()},
    })
}
