//! Questions, health and reflection.

use std::time::Duration;

use headgate_contract::proto::{
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest,
    ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse, SERVICE, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::{bank, call, channel, infer, refused, rows};
use crate::support::linear;

#[tokio::test(flavor = "multi_thread")]
async fn questions_have_the_answers_of_http() {
    let (bucket, server) = bank(&[]).await;
    bucket.release(linear("flights/JFK", [1.0, 1.0])).await;
    server.until_state("flights/JFK", 1, "READY").await;
    let addr = server.addr;
    let live: ServerLiveResponse = call(addr, "ServerLive", ServerLiveRequest {}).await.unwrap().into_inner();
    let ready: ServerReadyResponse = call(addr, "ServerReady", ServerReadyRequest {}).await.unwrap().into_inner();
    assert!(live.live && ready.ready);
    let of: ServerMetadataResponse = call(addr, "ServerMetadata", ServerMetadataRequest {}).await.unwrap().into_inner();
    assert!(of.name == "headgate" && of.extensions.iter().any(|e| e == "binary_tensor_data"), "{of:?}");
    for (name, version) in [("bank", ""), ("bank", "1"), ("flights/JFK", "")] {
        let asked = ModelReadyRequest { name: name.into(), version: version.into() };
        let ready: ModelReadyResponse = call(addr, "ModelReady", asked).await.unwrap().into_inner();
        assert!(ready.ready, "{name} {version}");
    }
    let asked = ModelMetadataRequest { name: "bank".into(), version: String::new() };
    let metadata: ModelMetadataResponse = call(addr, "ModelMetadata", asked).await.unwrap().into_inner();
    assert_eq!((metadata.versions.as_slice(), metadata.platform.as_str()), (&["1".to_owned()][..], "linear"));
    assert_eq!((metadata.inputs[1].name.as_str(), &metadata.inputs[1].shape[..]), ("balance", &[-1][..]));
    infer(addr, rows(true, &[1.0, 2.0], &[1.0, 2.0])).await.unwrap();
    let asked = ModelStatisticsRequest { name: "bank".into(), version: "1".into() };
    let statistics: ModelStatisticsResponse = call(addr, "ModelStatistics", asked).await.unwrap().into_inner();
    let of_bank = &statistics.model_stats[0];
    assert_eq!((of_bank.inference_count, of_bank.execution_count), (2, 1));
    let asked = RepositoryIndexRequest { ready: true, ..Default::default() };
    let index: RepositoryIndexResponse = call(addr, "RepositoryIndex", asked).await.unwrap().into_inner();
    let entries: Vec<_> =
        index.models.iter().map(|m| (m.name.as_str(), m.version.as_str(), m.state.as_str())).collect();
    assert_eq!(entries, [("bank", "1", "READY"), ("flights/JFK", "1", "READY")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() {
    let (_bucket, server) = bank(&[]).await;
    for (name, version, code, kind, words) in [
        ("none", "", Code::NotFound, "not_found", "'none' is not known"),
        ("bank", "7", Code::NotFound, "not_found", "no version 7"),
        ("bank", "two", Code::InvalidArgument, "invalid_request", "two"),
        ("", "", Code::InvalidArgument, "invalid_request", "model"),
    ] {
        let asked = ModelReadyRequest { name: name.into(), version: version.into() };
        refused(&call::<_, ModelReadyResponse>(server.addr, "ModelReady", asked).await, code, kind, &[words]);
        let mut request = rows(true, &[1.0], &[1.0]);
        (request.model_name, request.model_version) = (name.into(), version.into());
        refused(&infer(server.addr, request).await, code, kind, &[words]);
    }
    for (method, words) in
        [("RepositoryModelLoad", "promot"), ("ModelConfig", "ModelMetadata"), ("TraceSetting", "TraceSetting")]
    {
        let asked = call::<_, ServerLiveResponse>(server.addr, method, ServerLiveRequest {}).await;
        refused(&asked, Code::Unimplemented, "unsupported", &[words]);
    }
}

fn serving(response: HealthCheckResponse) -> ServingStatus {
    response.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_readiness_and_open_streams_end_with_the_server() {
    let (_bucket, mut server) = bank(&[("drain.lame_duck_ms", "1500")]).await;
    let mut health = HealthClient::new(channel(server.addr).await);
    let of = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", SERVICE] {
        assert_eq!(serving(health.check(of(service)).await.unwrap().into_inner()), ServingStatus::Serving);
    }
    assert_eq!(health.check(of("none")).await.unwrap_err().code(), Code::NotFound);
    let mut watched = health.watch(of(SERVICE)).await.unwrap().into_inner();
    let mut unknown = health.watch(of("none")).await.unwrap().into_inner();
    assert_eq!(serving(watched.message().await.unwrap().unwrap()), ServingStatus::Serving);
    assert_eq!(serving(unknown.message().await.unwrap().unwrap()), ServingStatus::ServiceUnknown);
    server.terminate();
    assert_eq!(serving(watched.message().await.unwrap().unwrap()), ServingStatus::NotServing);
    assert_eq!(serving(health.check(of("")).await.unwrap().into_inner()), ServingStatus::NotServing);
    // It still answers.
    infer(server.addr, rows(true, &[1.0], &[1.0])).await.unwrap();
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(30), server.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_shows_the_service_in_both_versions() {
    let (_bucket, server) = bank(&[]).await;
    // Both have the same messages.
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let asked = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(SERVICE.into())),
        ];
        let mut grpc = Grpc::new(channel(server.addr).await);
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let stream = futures_util::stream::iter(asked);
        let answers: Result<tonic::Response<Streaming<ServerReflectionResponse>>, Status> =
            grpc.streaming(Request::new(stream), PathAndQuery::try_from(path).unwrap(), codec).await;
        let mut answers = answers.unwrap().into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) =
            answers.message().await.unwrap().unwrap().message_response
        else {
            panic!("no list");
        };
        let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
        assert!(names.contains(&SERVICE) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
        let file = answers.message().await.unwrap().unwrap().message_response;
        assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
    }
}
