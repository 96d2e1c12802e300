//! Health and reflection, as tools ask for them.

use headgate_contract::proto;
use prost::Message;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::client::{Client, Incoming, frame, pour};
use crate::backend::{Backend, Script};
use crate::gateway::Gateway;

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

fn check(service: &str) -> bytes::Bytes {
    frame(&HealthCheckRequest { service: service.into() }.encode_to_vec(), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_readiness() {
    let backend = Backend::start("b1", Script::ready()).await;
    let mut gateway = Gateway::before(&[&backend], "server.lame_duck_ms=1000").await;
    let mut client = Client::connect(&gateway).await;
    for service in ["", proto::SERVICE] {
        let answer = client.send("/grpc.health.v1.Health/Check", &[], check(service)).await;
        assert_eq!(answer.message::<HealthCheckResponse>().status, SERVING);
    }
    assert_eq!(client.send("/grpc.health.v1.Health/Check", &[], check("other")).await.code, 5);
    let (reply, mut stream) = client.open("/grpc.health.v1.Health/Watch", &[]).await;
    pour(&mut stream, check(""), true).await.unwrap();
    let mut said = Incoming::of(reply).await;
    let mut next = async || HealthCheckResponse::decode(said.next().await.unwrap()).unwrap().status;
    assert_eq!(next().await, SERVING);
    backend.change(|script| script.ready = false);
    assert_eq!(next().await, NOT_SERVING);
    backend.change(|script| script.ready = true);
    assert_eq!(next().await, SERVING);
    gateway.stop();
    assert_eq!(next().await, NOT_SERVING);
    assert_eq!(said.next().await.unwrap_err().0, 14);
    assert_eq!(gateway.stopped().await, headgate_gateway::server::Drained::Whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_tells_the_service_in_both_versions() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut client = Client::connect(&gateway).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let ask = |of| ServerReflectionRequest { host: String::new(), message_request: Some(of) };
        let list = frame(&ask(MessageRequest::ListServices(String::new())).encode_to_vec(), false);
        let symbol = frame(&ask(MessageRequest::FileContainingSymbol(proto::SERVICE.into())).encode_to_vec(), false);
        let answer = client.send(&path, &[], [list, symbol].concat().into()).await;
        assert_eq!((answer.code, answer.messages.len()), (0, 2), "{}", answer.words);
        let told = |at: usize| ServerReflectionResponse::decode(answer.messages[at].clone()).unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(services)) = told(0) else { panic!("{:?}", told(0)) };
        assert!(services.service.iter().any(|service| service.name == proto::SERVICE), "{services:?}");
        assert!(services.service.iter().any(|service| service.name == "grpc.health.v1.Health"), "{services:?}");
        let Some(MessageResponse::FileDescriptorResponse(files)) = told(1) else { panic!("{:?}", told(1)) };
        assert_eq!(files.file_descriptor_proto.len(), 1);
    }
}
