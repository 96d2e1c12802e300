//! The gRPC door: what each method answers, the same scores as JSON's, and what is refused.

mod bounds;
mod forms;
mod frames;
mod services;
mod streams;

use std::net::SocketAddr;

use headgate_contract::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use headgate_contract::proto::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use headgate_contract::proto::{SERVICE, infer_parameter::ParameterChoice};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Bucket, Server, linear};

const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

async fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

/// A call of a method of the inference service.
async fn call<Q, A>(addr: SocketAddr, method: &str, question: Q) -> Result<Response<A>, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    unary(Grpc::new(channel(addr).await), SERVICE, method, Request::new(question)).await
}

async fn unary<Q, A>(
    mut grpc: Grpc<Channel>,
    service: &str,
    method: &str,
    question: Request<Q>,
) -> Result<Response<A>, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{service}/{method}")).unwrap();
    grpc.unary(question, path, ProstCodec::<Q, A>::default()).await
}

async fn infer(addr: SocketAddr, request: ModelInferRequest) -> Result<Response<ModelInferResponse>, Status> {
    call(addr, "ModelInfer", request).await
}

fn input(name: &str, datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents,
        ..Default::default()
    }
}

fn doubles(values: &[f64]) -> Option<InferTensorContents> {
    Some(InferTensorContents { fp64_contents: values.into(), ..Default::default() })
}

fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Rows of the model `bank`, typed or raw, as one tensor a feature.
fn rows(raw: bool, ages: &[f64], balances: &[f64]) -> ModelInferRequest {
    let shape = [ages.len() as i64];
    let typed = |values| if raw { None } else { doubles(values) };
    let inputs =
        vec![input("age", "FP64", &shape, typed(ages)), input("balance", "FP64", &[shape[0], 1], typed(balances))];
    let raw_input_contents = if raw { vec![bytes(ages), bytes(balances)] } else { vec![] };
    ModelInferRequest { model_name: "bank".into(), inputs, raw_input_contents, ..Default::default() }
}

fn outputs(names: &[&str]) -> Vec<InferRequestedOutputTensor> {
    names.iter().map(|name| InferRequestedOutputTensor { name: (*name).into(), ..Default::default() }).collect()
}

fn flag(value: bool) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(value)) }
}

/// The FP64 values of a reply's output, from where they are.
fn values(reply: &ModelInferResponse, at: usize) -> Vec<f64> {
    match reply.raw_output_contents.get(at) {
        Some(raw) => raw.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)).collect(),
        None => reply.outputs[at].contents.as_ref().unwrap().fp64_contents.clone(),
    }
}

/// Checks that a call was refused with a code, a kind and these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: &Result<Response<T>, Status>, code: tonic::Code, kind: &str, words: &[&str]) {
    let status = outcome.as_ref().unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(status.metadata().get("x-headgate-error").map(|k| k.to_str().unwrap()), Some(kind), "{status:?}");
    for word in words {
        assert!(status.message().contains(word), "'{word}' is not in: {}", status.message());
    }
}
