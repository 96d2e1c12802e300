//! What a backend answers to messages of gRPC, which come to it by HTTP/1.1.

use headgate_contract::proto::model_infer_response::InferOutputTensor;
use headgate_contract::proto::model_metadata_response::TensorMetadata;
use headgate_contract::proto::{
    InferStatistics, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelReadyResponse, ModelStatistics,
    ModelStatisticsResponse, StatisticDuration,
};
use http::{Response, request};
use prost::Message;

use super::{Body, Script, body};

/// The media type between gateway and backend.
const PROTOBUF: &str = "application/x-protobuf";

/// The answer to a message, or to a question that wants one; none where neither is.
pub(super) fn answer(head: &request::Parts, sent: &[u8], version: u64, large: usize) -> Option<Response<Body>> {
    let says = |name: &str| head.headers.get(name).is_some_and(|value| value == PROTOBUF);
    let path = head.uri.path();
    if says("content-type") && path.ends_with("/infer") {
        let request = ModelInferRequest::decode(sent).unwrap();
        let output = InferOutputTensor { name: "echo".into(), ..Default::default() };
        let raw = if large > 0 { vec![b'x'; large] } else { request.raw_input_contents.concat() };
        return Some(message(&ModelInferResponse {
            model_name: request.model_name,
            model_version: version.to_string(),
            id: request.id,
            outputs: vec![output],
            raw_output_contents: vec![raw],
            ..Default::default()
        }));
    }
    let is_question = head.method == "GET" && says("accept");
    match path.rsplit('/').next() {
        Some("ready") if is_question => Some(message(&ModelReadyResponse { ready: true })),
        _ if is_question => Some(message(&ModelMetadataResponse {
            name: path.to_owned(),
            versions: vec![version.to_string()],
            platform: "test".into(),
            inputs: vec![TensorMetadata { name: "x".into(), datatype: "FP64".into(), shape: vec![-1] }],
            outputs: vec![],
        })),
        _ => None,
    }
}

/// One call of each version that it holds.
pub(super) fn statistics(script: &Script) -> Response<Body> {
    let versions = script.models.values().flat_map(|model| model.versions.iter().map(move |v| (model, v)));
    let one = |(model, version): (&headgate_contract::fleet::ModelReport, &headgate_contract::fleet::VersionReport)| {
        let success = Some(StatisticDuration { count: 1, ns: 1_000 });
        ModelStatistics {
            name: model.model.to_string(),
            version: version.version.to_string(),
            last_inference: 7,
            inference_count: 10,
            execution_count: 1,
            inference_stats: Some(InferStatistics { success, ..Default::default() }),
            memory_usage: vec![],
        }
    };
    message(&ModelStatisticsResponse { model_stats: versions.map(one).collect() })
}

fn message(message: &impl Message) -> Response<Body> {
    let mut response = Response::new(body(message.encode_to_vec()));
    response.headers_mut().insert("content-type", PROTOBUF.parse().unwrap());
    response
}
