//! Which server gets which call, and what gRPC ports that lie do to callers.

use headgate_contract::header;

use super::port::{Manner, Port};
use super::scripted::{INDEX, Scripted};
use crate::gateway::{Gateway, config};
use crate::grpc::client::{Client, question};
use crate::until;

async fn before(listed: &[String], more: &str) -> Gateway {
    let list = serde_json::to_string(listed).unwrap();
    let gateway = Gateway::start(config(&[], format!("discovery.foreign={list}\n{more}").trim_end())).await;
    gateway.until_ready(listed.len()).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_to_those_that_take_it() {
    let (triton, kserve, mlserver) = (Scripted::start().await, Scripted::start().await, Scripted::start().await);
    kserve.answer("/v1/models", 200, r#"{"models":["m"]}"#);
    kserve.answer("/v2/models/m/ready", 200, "");
    kserve.answer("/v1/models/m:predict", 200, r#"{"predictions":[1]}"#);
    let listed = [
        format!("triton={}", triton.address),
        format!("kserve={}", kserve.address),
        format!("mlserver={}", mlserver.address),
    ];
    let gateway = before(&listed, "").await;
    let by = async |path: &str, headers: &[(&str, &str)]| {
        let mut backends = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let answer = gateway.post(path, headers).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            backends.insert(answer.header(header::BACKEND).to_owned());
        }
        backends
    };
    let state = gateway.state().await;
    assert_eq!(state["models"][0]["serves"][0]["backends"].as_array().unwrap().len(), 3, "they are replicas");
    assert_eq!(by("/v1/models/m:predict", &[]).await, [kserve.address.clone()].into());
    assert!(!by("/v2/models/m/infer", &[(header::JSON_LENGTH, "13")]).await.contains(&mlserver.address));
    assert!(kserve.asked(INDEX).is_empty(), "it has none");
    let answer = Client::connect(&gateway).await.infer(&[]).await;
    assert_eq!(answer.code, 12);
    assert!(answer.words.contains("(kserve, mlserver, triton) that take no gRPC"), "{}", answer.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_port_that_does_not_answer_takes_nothing_else_away() {
    let server = Scripted::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = before(&[format!("triton={},grpc={closed}", server.address)], "").await;
    let mut client = Client::connect(&gateway).await;
    for _ in 0..20 {
        let answer = client.infer(&[]).await;
        assert!(answer.code == 14 && answer.words.contains("gRPC port that answers"), "{answer:?}");
    }
    assert_eq!(gateway.infer().await.status, 200);
    assert_eq!(gateway.backend_state(&server.address).await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_go_away_lose_no_call() {
    let (server, port) = (Scripted::start().await, Port::start().await);
    let listed = format!("triton={},grpc={}", server.address, port.address);
    let gateway = before(&[listed], "retry.attempts_max=1").await;
    port.behave(Manner::Leave);
    let calls = (0..8).map(|_| async {
        let mut client = Client::connect(&gateway).await;
        for _ in 0..25 {
            let answer = client.infer(&[("grpc-timeout", "5S"), ("x-kept", "1"), ("x-headgate-version", "9")]).await;
            assert_eq!((answer.code, answer.words.as_str()), (0, ""));
            assert_eq!((answer.header(header::VERSION), answer.header(header::DIGEST)), ("1", ""));
        }
    });
    futures_util::future::join_all(calls).await;
    assert!(port.connections() > 10, "{} connections", port.connections());
    let metadata = port.metadata();
    assert!(metadata["grpc-timeout"].to_str().unwrap().ends_with('m') && metadata["x-kept"] == "1");
    assert!(metadata.keys().all(|name| !name.as_str().starts_with("x-headgate")), "{metadata:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_port_that_speaks_garbage_harms_its_own_calls_and_no_other() {
    let (server, port) = (Scripted::start().await, Port::start().await);
    let listed = format!("triton={},grpc={}", server.address, port.address);
    let gateway = before(&[listed], "fleet.eject_failures=0\nretry.attempts_max=1").await;
    let mut client = Client::connect(&gateway).await;
    for (manner, code, words) in [
        (Manner::Reset, 14, "broke off"),
        (Manner::Statusless, 14, "broke off"),
        (Manner::Short, 14, "broke off"),
        (Manner::Long, 14, "broke off"),
        (Manner::Garbage, 14, "broke off"),
        (Manner::Page, 14, "no gRPC"),
        (Manner::Refuse(3, "row 1: 100%25 wrong"), 3, "row 1: 100%25 wrong"),
        (Manner::Refuse(8, "full"), 14, "full"),
        (Manner::Refuse(2, "Unexpected"), 13, "Unexpected"),
        (Manner::Refuse(77, ""), 13, "gRPC status 77"),
    ] {
        port.behave(manner);
        let answer = client.infer(&[]).await;
        assert!(answer.code == code && answer.words.contains(words), "{manner:?}: {} {}", answer.code, answer.words);
        port.behave(Manner::Well);
        assert_eq!(client.infer(&[]).await.code, 0, "after {manner:?}");
        assert_eq!(gateway.infer().await.status, 200);
    }
    port.behave(Manner::Refuse(5, "Request for unknown model: 'm' is not found"));
    assert_eq!(client.infer(&[]).await.code, 14);
    until("it is not believed", async || {
        gateway.post("/v2/repository/index", &[]).await.text().contains("listed as ready, and not there")
    })
    .await;
    assert_eq!(client.call("ModelInfer", &[], &question("m", "7", b"x")).await.code, 5, "nobody has that version");
}
