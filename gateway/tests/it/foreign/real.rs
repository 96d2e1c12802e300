//! MLServer, Triton and KServe: what they answer through a gateway is what they answer directly.

use std::time::Duration;

use bytes::Bytes;
use headgate_contract::header;
use headgate_contract::proto::model_infer_request::InferInputTensor;
use headgate_contract::proto::{
    ModelInferRequest, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ModelStatisticsRequest, ModelStatisticsResponse, ModelStreamInferResponse,
};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::servers::{Server, or_skip, post};
use crate::gateway::{Answer, Gateway, config};
use crate::grpc::client::{Answer as Told, Client, Incoming, frame, path, pour};
use crate::until;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

async fn before(servers: &[&Server], more: &str) -> Gateway {
    let list: Vec<&str> = servers.iter().map(|server| server.listed.as_str()).collect();
    let list = serde_json::to_string(&list).unwrap();
    let gateway = Gateway::start(config(&[], format!("discovery.foreign={list}\n{more}").trim_end())).await;
    gateway.until_ready(servers.len()).await;
    gateway
}

async fn through(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    post(&Http::builder(TokioExecutor::new()).build_http(), &gateway.address, path, headers, body.into()).await
}

fn rows() -> Value {
    json!({"id": "q", "inputs": [{"name": "rows", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2.0, 3.0, 4.0]}]})
}

/// The same as binary tensors: the JSON's length, and the body.
fn binary() -> (String, Bytes) {
    let head = json!({
        "id": "q", "parameters": {"binary_data_output": true},
        "inputs": [{"name": "rows", "shape": [2, 2], "datatype": "FP64", "parameters": {"binary_data_size": 32}}],
    });
    let head = head.to_string();
    let rows: Vec<u8> = [1.5_f64, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    (head.len().to_string(), [head.as_bytes(), &rows].concat().into())
}

/// The same as a message of gRPC.
fn message(version: &str) -> ModelInferRequest {
    let input =
        InferInputTensor { name: "rows".into(), datatype: "FP64".into(), shape: vec![2, 2], ..Default::default() };
    let rows = [1.5_f64, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: "sum".into(),
        model_version: version.into(),
        id: "q".into(),
        inputs: vec![input],
        raw_input_contents: vec![rows],
        ..Default::default()
    }
}

/// Sends the same call to both; both answer the same.
async fn same(server: &Server, gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let direct = server.post(path, headers, body.clone()).await;
    let answer = through(gateway, path, headers, body).await;
    assert_eq!((answer.status, &answer.body), (direct.status, &direct.body), "{path}: {direct:?}");
    assert_eq!(answer.header(header::JSON_LENGTH), direct.header(header::JSON_LENGTH));
    answer
}

async fn same_message(server: &Server, gateway: &Gateway, version: &str) -> Told {
    let (mut direct, mut gateway) = (Client::at(&server.grpc).await, Client::connect(gateway).await);
    let direct = direct.call("ModelInfer", &[], &message(version)).await;
    let answer = gateway.call("ModelInfer", &[], &message(version)).await;
    assert_eq!(answer.inferred(), direct.inferred());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn triton_answers_as_it_does_directly() {
    let Some(server) = or_skip("triton_answers_as_it_does_directly", Server::triton().await) else { return };
    let gateway = before(&[&server], "").await;
    let rows: Bytes = rows().to_string().into();
    let (length, tensors) = binary();
    for (path, version) in [("/v2/models/sum", "2"), ("/v2/models/sum/versions/1", "1")] {
        let answer = same(&server, &gateway, &format!("{path}/infer"), &[], rows.clone()).await;
        assert_eq!(answer.json()["model_version"], version);
        assert_eq!((answer.status.as_u16(), answer.header(header::VERSION)), (200, version));
        let headers = [(header::JSON_LENGTH, length.as_str())];
        let answer = same(&server, &gateway, &format!("{path}/infer"), &headers, tensors.clone()).await;
        assert!(answer.status == 200 && !answer.header(header::JSON_LENGTH).is_empty());
    }
    assert_eq!(gateway.get("/v2/models/sum/versions/1").await.body, server.get("/v2/models/sum/versions/1").await.body);
    assert_eq!(gateway.get("/v2/models/sum/ready").await.status, 200);
    assert_eq!(gateway.get("/v2/models/sum/versions/7/ready").await.status, 404);
    assert_eq!(through(&gateway, "/v2/models/sum/infer", &[], "{").await.status, 500, "as it answers directly");
    let listed = through(&gateway, "/v2/repository/index", &[], "").await.json();
    let ready = |name: &str, version: &str| json!({"name": name, "version": version, "state": "READY", "reason": ""});
    assert_eq!(listed, json!([ready("other", "1"), ready("sum", "1"), ready("sum", "2")]));
    // gRPC.
    for (version, chosen) in [("", "2"), ("1", "1")] {
        let answer = same_message(&server, &gateway, version).await;
        assert_eq!((answer.inferred().model_version.as_str(), answer.header(header::VERSION)), (chosen, chosen));
    }
    let mut client = Client::connect(&gateway).await;
    let about = ModelMetadataRequest { name: "sum".into(), version: String::new() };
    let metadata: ModelMetadataResponse = client.call("ModelMetadata", &[], &about).await.message();
    assert_eq!((metadata.platform.as_str(), metadata.versions), ("python", vec!["2".to_owned()]));
    let about = ModelReadyRequest { name: "sum".into(), version: "1".into() };
    let ready: ModelReadyResponse = client.call("ModelReady", &[], &about).await.message();
    assert!(ready.ready);
    let about = ModelStatisticsRequest { name: "sum".into(), version: String::new() };
    let statistics: ModelStatisticsResponse = client.call("ModelStatistics", &[], &about).await.message();
    assert_eq!(statistics.model_stats.len(), 2);
    assert!(statistics.model_stats.iter().all(|of| of.inference_count > 0), "{statistics:?}");
    let mut wrong = message("");
    wrong.inputs[0].name = "columns".into();
    let answer = client.call("ModelInfer", &[], &wrong).await;
    assert_eq!(answer.code, 3);
    assert!(answer.words.contains("unexpected inference input 'columns'"), "{}", answer.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_calls_and_large_messages_pass_to_triton() {
    let test = "a_stream_of_calls_and_large_messages_pass_to_triton";
    let Some(server) = or_skip(test, Server::triton().await) else { return };
    let gateway = before(&[&server], "limits.deadline_ms=20000").await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[]).await;
    let mut answers = Incoming::of(reply).await;
    for round in 0..20 {
        let mut message = message(["", "1", "2"][round % 3]);
        message.id = round.to_string();
        pour(&mut stream, frame(&message.encode_to_vec(), false), round == 19).await.unwrap();
    }
    for round in 0..20 {
        let answer = ModelStreamInferResponse::decode(answers.next().await.unwrap()).unwrap();
        let response = answer.infer_response.unwrap();
        assert_eq!((response.id, response.model_version.as_str()), (round.to_string(), ["2", "1", "2"][round % 3]));
    }
    assert_eq!(answers.next().await, Err((0, String::new())));
    // Its reply is larger than what is read whole.
    let many = 200_000_usize;
    let mut large = message("1");
    large.inputs[0].shape = vec![many as i64 / 200, 200];
    large.raw_input_contents = vec![1.0_f64.to_le_bytes().repeat(many)];
    assert_eq!(client.call("ModelInfer", &[], &large).await.inferred().raw_output_contents[0].len(), many / 200 * 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_triton_unloads_is_gone_and_comes_back() {
    let test = "a_model_that_triton_unloads_is_gone_and_comes_back";
    let Some(server) = or_skip(test, Server::triton().await) else { return };
    let gateway = before(&[&server], "").await;
    let status = async |model: &str| {
        through(&gateway, &format!("/v2/models/{model}/infer"), &[], rows().to_string()).await.status.as_u16()
    };
    assert_eq!((status("sum").await, status("other").await), (200, 200));
    server.post("/v2/repository/models/other/unload", &[], "{}").await;
    until("it is gone", async || status("other").await == 404).await;
    assert_eq!(status("sum").await, 200, "others stay");
    let listed = through(&gateway, "/v2/repository/index", &[], "").await;
    assert!(!listed.text().contains("other"), "{}", listed.text());
    server.post("/v2/repository/models/other/load", &[], "{}").await;
    until("it is back", async || status("other").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mlserver_answers_as_it_does_directly() {
    let Some(server) = or_skip("mlserver_answers_as_it_does_directly", Server::mlserver("v1.2").await) else { return };
    let gateway = before(&[&server], "").await;
    let answer = same(&server, &gateway, "/v2/models/sum/infer", JSON, rows().to_string().into()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["outputs"][0]["data"].clone()), (200, json!([3.5, 7.0])));
    assert_eq!(answer.header(header::VERSION), "1002000");
    // Callers of ours need not say that it is JSON, and name a version that is no number by its label.
    let answer = through(&gateway, "/v2/models/sum/labels/v1.2/infer", &[], rows().to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["model_version"].clone()), (200, json!("v1.2")));
    let (length, tensors) = binary();
    let answer = through(&gateway, "/v2/models/sum/infer", &[(header::JSON_LENGTH, &length)], tensors).await;
    assert_eq!(answer.status, 501);
    assert!(answer.text().contains("(mlserver) that take no tensors in binary"), "{}", answer.text());
    assert_eq!(gateway.get("/v2/models/sum").await.body, server.get("/v2/models/sum").await.body);
    assert_eq!(gateway.get("/v2/models/sum/ready").await.status, 200);
    let answer = same_message(&server, &gateway, "").await;
    assert_eq!(answer.inferred().model_version, "v1.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_one_of_two_mlservers_loses_no_call() {
    let test = "killing_one_of_two_mlservers_loses_no_call";
    let (one, two) = tokio::join!(Server::mlserver("1"), Server::mlserver("1"));
    let (Some(one), Some(two)) = (or_skip(test, one), or_skip(test, two)) else { return };
    one_of_two_goes([&one, &two], "-KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_one_of_two_tritons_loses_no_call() {
    let test = "stopping_one_of_two_tritons_loses_no_call";
    let (one, two) = tokio::join!(Server::triton(), Server::triton());
    let (Some(one), Some(two)) = (or_skip(test, one), or_skip(test, two)) else { return };
    one_of_two_goes([&one, &two], "-TERM").await;
}

/// The first one gets a signal while both are called.
async fn one_of_two_goes(servers: [&Server; 2], signal: &str) {
    let gateway = before(&servers, "limits.deadline_ms=20000").await;
    let stop = CancellationToken::new();
    let callers = (0..8).map(|at| tokio::spawn(call_on(gateway.address.clone(), at % 2 == 0, stop.clone())));
    let callers: Vec<_> = callers.collect();
    until("both have answered", async || {
        let state = gateway.state().await;
        state["backends"].as_array().unwrap().iter().all(|backend| backend["calls"].as_u64() > Some(20))
    })
    .await;
    servers[0].signal(signal);
    let address = &servers[0].address;
    // Triton takes its time to stop.
    let began = tokio::time::Instant::now();
    while gateway.backend_state(address).await != "pending" {
        assert!(began.elapsed() < Duration::from_secs(60), "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert!(calls > 40, "{calls} calls");
}

/// Calls until it is told to stop, by gRPC or HTTP; each call succeeds. How many they were.
async fn call_on(address: String, by_grpc: bool, stop: CancellationToken) -> u32 {
    let http = Http::builder(TokioExecutor::new()).build_http();
    let mut grpc = Client::at(&address).await;
    let mut calls = 0;
    while !stop.is_cancelled() {
        if by_grpc {
            let answer = grpc.call("ModelInfer", &[], &message("")).await;
            assert_eq!((answer.code, answer.words.as_str()), (0, ""));
        } else {
            let answer = post(&http, &address, "/v2/models/sum/infer", JSON, rows().to_string().into()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        calls += 1;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve_answers_as_it_does_directly() {
    let Some(server) = or_skip("kserve_answers_as_it_does_directly", Server::kserve().await) else { return };
    let gateway = before(&[&server], "").await;
    let answer = same(&server, &gateway, "/v2/models/sum/infer", JSON, rows().to_string().into()).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::VERSION)), (200, "1"));
    let instances = json!({"instances": [[1.5, 2.0], [3.0, 4.0]]}).to_string();
    let answer = same(&server, &gateway, "/v1/models/sum:predict", JSON, instances.into()).await;
    assert_eq!(answer.json(), json!({"predictions": [3.5, 7.0]}));
    let (length, tensors) = binary();
    let answer = same(&server, &gateway, "/v2/models/sum/infer", &[(header::JSON_LENGTH, &length)], tensors).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.get("/v1/models/sum").await.body, server.get("/v1/models/sum").await.body);
    assert_eq!(gateway.get("/v2/models/sum/ready").await.status, 200);
    same_message(&server, &gateway, "").await;
}
