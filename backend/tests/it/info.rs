//! What the server says of itself: the OpenAPI documents, statistics, the list of models.

use bytes::Bytes;
use headgate_contract::openapi::SERVER;
use headgate_contract::proto::{ModelMetadataResponse, ModelReadyResponse, ModelStatisticsResponse};
use headgate_registry::release::Settings;
use http::Method;
use prost::Message;
use serde_json::{Value, json};

use crate::support::models::{hashed, lightgbm};
use crate::support::{Answer, Bucket, Server, get, linear, post, post_with, send, until};

const PROTOBUF: &str = "application/x-protobuf";

async fn bank() -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    (bucket, server)
}

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(server.addr, method, path, headers, Bytes::new()).await.unwrap()
}

async fn message<M: Message + Default>(server: &Server, path: &str) -> M {
    let answer = ask(server, Method::GET, path, &[("accept", PROTOBUF)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, PROTOBUF), "{answer:?}");
    M::decode(answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_document_is_the_contracts() {
    let (_bucket, server) = bank().await;
    let answer = get(server.addr, "/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body, SERVER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_document_has_its_features_and_what_it_allows_is_answered() {
    let (bucket, server) = bank().await;
    let answer = get(server.addr, "/v2/models/bank/openapi.json").await;
    assert_eq!(answer.header("x-headgate-version"), "1");
    let document = answer.json();
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&json!("Model bank"), &json!("1")));
    let row = &document["components"]["schemas"]["Row"];
    assert_eq!((&row["required"], &row["properties"]["balance"]["type"]), (&json!(["age"]), &json!("number")));
    let paths = document["paths"].as_object().unwrap();
    let predict = paths.keys().find(|path| path.ends_with(":predict")).unwrap();
    let rows = json!({"instances": [{"age": 30.0, "balance": 7.5}, {"age": null}, {"age": 0.1, "balance": -0.2}]});
    assert_eq!(post(server.addr, predict, rows).await.json()["predictions"][0], 1.0 + 0.5 * 30.0 - 2.0 * 7.5);
    let of_version = get(server.addr, "/v2/models/bank/versions/1/openapi.json").await.json();
    assert!(of_version["paths"]["/v2/models/bank/versions/1/infer"]["post"].is_object());
    get(server.addr, "/v2/models/none/openapi.json").await.says(404, &["'none'"]);
    get(server.addr, "/v2/models/bank/versions/9/openapi.json").await.says(404, &["9"]);
    bucket.configure("bank", Settings { strict: Some(true), ..Settings::default() }).await;
    until("strict", || async {
        let document = get(server.addr, "/v2/models/bank/openapi.json").await.json();
        document["components"]["schemas"]["Row"]["additionalProperties"] == false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_of_a_models_document_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        if let Some(reference) = value["$ref"].as_str() {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        let of_object = value.as_object().into_iter().flat_map(|o| o.values());
        of_object.chain(value.as_array().into_iter().flatten()).for_each(|inner| check(document, inner));
    }
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("stump", None)).await;
    bucket.release(hashed("clicks", 10, 0.5)).await;
    let server = Server::start(&bucket).await;
    for model in ["stump", "clicks"] {
        let document = get(server.addr, &format!("/v2/models/{model}/openapi.json")).await.json();
        check(&document, &document);
        assert_eq!(document["openapi"], "3.0.3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_calls_rows_and_failures() {
    let (_bucket, server) = bank().await;
    let of = |path: &'static str| async move { get(server.addr, path).await.json()["model_stats"].clone() };
    let at_first = of("/v2/models/bank/stats").await;
    assert_eq!((&at_first[0]["name"], &at_first[0]["last_inference"]), (&json!("bank"), &json!(0)));
    post(server.addr, "/v1/models/bank:predict", json!({"instances": [[1, 2], [3, 4], [5, 6]]})).await;
    post(server.addr, "/v1/models/bank:predict", json!({"instances": [[1, 2]]})).await;
    post(server.addr, "/v1/models/bank:predict", "x").await.says(400, &[]);
    let stats = of("/v2/models/bank/stats").await;
    let one = &stats[0];
    assert_eq!(
        (&one["version"], &one["inference_count"], &one["execution_count"]),
        (&json!("1"), &json!(4), &json!(2))
    );
    let (success, fail) = (&one["inference_stats"]["success"], &one["inference_stats"]["fail"]);
    assert_eq!((&success["count"], &fail["count"]), (&json!(2), &json!(1)));
    assert!(success["ns"].as_u64().unwrap() > 0 && fail["ns"].as_u64().unwrap() > 0);
    assert_eq!(one["inference_stats"]["queue"], json!({"count": 0, "ns": 0}));
    assert_eq!((&one["batch_stats"], &one["memory_usage"][0]["type"]), (&json!([]), &json!("CPU")));
    assert!(one["memory_usage"][0]["byte_size"].as_u64().unwrap() > 0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(one["last_inference"].as_u64().unwrap().abs_diff(now) < 60_000);
    for path in ["/v2/models/stats", "/v2/models/bank/versions/1/stats"] {
        assert_eq!(of(path).await, stats, "{path}");
    }
    let in_binary: ModelStatisticsResponse = message(&server, "/v2/models/bank/stats").await;
    assert_eq!((in_binary.model_stats.len(), in_binary.model_stats[0].inference_count), (1, 4));
    get(server.addr, "/v2/models/none/stats").await.says(404, &["'none'"]);
    get(server.addr, "/v2/models/bank/versions/9/stats").await.says(404, &["9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_readiness_come_as_messages_where_asked() {
    let (_bucket, server) = bank().await;
    let metadata: ModelMetadataResponse = message(&server, "/v2/models/bank").await;
    assert_eq!(
        (metadata.name.as_str(), metadata.versions, metadata.platform.as_str()),
        ("bank", vec!["1".to_owned()], "linear")
    );
    assert_eq!((metadata.inputs[1].name.as_str(), &metadata.inputs[1].shape), ("balance", &vec![-1]));
    assert!(message::<ModelReadyResponse>(&server, "/v2/models/bank/ready").await.ready);
    let refused = ask(&server, Method::GET, "/v2/models/none", &[("accept", PROTOBUF)]).await;
    refused.says(404, &["'none'"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_what_is_not_here_says_so() {
    let (bucket, server) = bank().await;
    bucket.release(linear("another", [1.0, 1.0])).await;
    let both = json!({"models": ["another", "bank"]});
    until("both", || async { get(server.addr, "/v1/models").await.json() == both }).await;
    let extensions = get(server.addr, "/v2").await.json()["extensions"].clone();
    assert!(extensions.as_array().unwrap().contains(&json!("statistics")), "{extensions}");
    get(server.addr, "/v2/models/bank/config").await.says(501, &["configuration"]);
    get(server.addr, "/v2/models/bank/trace/setting").await.says(501, &["traced"]);
    get(server.addr, "/v2/systemsharedmemory/status").await.says(501, &["shared memory"]);
    post(server.addr, "/v2/logging", "{}").await.says(501, &["logging"]);
    for bad in ["5", "[true]", r#"{"ready": {}}"#, r#"{"ready": null}"#, "{"] {
        post(server.addr, "/v2/repository/index", bad).await.says(400, &["body"]);
    }
    post(server.addr, "/v2/repository/index", " ".repeat(70_000)).await.says(413, &["65536 bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let (_bucket, server) = bank().await;
    for path in ["/v2/health/live", "/v2/models/bank", "/openapi.json", "/v2/models/stats", "/v1/models", "/ping"] {
        let (head, got) = (ask(&server, Method::HEAD, path, &[]).await, get(server.addr, path).await);
        assert_eq!((head.status, head.body.len()), (got.status, 0), "{path}");
        assert_eq!(head.header("content-length"), got.body.len().to_string(), "{path}");
    }
    let refused = post_with(server.addr, "/v2/models/bank/stats", &[], "").await;
    refused.says(405, &["GET"]);
    assert_eq!(refused.header("allow"), "GET, HEAD");
    let refused = ask(&server, Method::DELETE, "/v1/models/bank:predict", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "POST"));
}
