//! The binary tensor data extension: tensors behind the JSON, both ways.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::models::score;
use crate::support::{Answer, Bucket, Server, linear, post, send};

const ROWS: [[f64; 2]; 3] = [[30.0, 7.5], [0.1, -0.2], [f64::INFINITY, 1.0]];
const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

fn fp64(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    values.into_iter().flat_map(f64::to_le_bytes).collect()
}

fn column(name: &str, shape: Value, size: impl Into<Value>) -> Value {
    json!({"name": name, "shape": shape, "datatype": "FP64", "parameters": {"binary_data_size": size.into()}})
}

async fn infer(server: &Server, document: &Value, blobs: &[u8]) -> Answer {
    let json = document.to_string();
    sent(server, &json.len().to_string(), [json.as_bytes(), blobs].concat()).await
}

async fn sent(server: &Server, length: &str, body: Vec<u8>) -> Answer {
    let headers = [("inference-header-content-length", length), ("content-type", "application/octet-stream")];
    send(server.addr, Method::POST, "/v2/models/bank/infer", &headers, body.into()).await.unwrap()
}

/// The JSON of a reply, and what follows it.
fn split(answer: &Answer) -> (Value, Bytes) {
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/octet-stream"),
        "{answer:?}"
    );
    let length: usize = answer.header("inference-header-content-length").parse().unwrap();
    (serde_json::from_slice(&answer.body[..length]).unwrap(), answer.body.slice(length..))
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_in_binary_have_the_scores_of_json() {
    let (_bucket, server) = bank(&[]).await;
    let expected = fp64(ROWS.map(|row| score(WEIGHTS, row)));
    let columns = json!([column("age", json!([3]), 24), column("balance", json!([3, 1]), 24)]);
    let blobs = fp64((0..2).flat_map(|c| ROWS.map(|row| row[c])));
    let document = json!({"id": "7", "inputs": columns, "parameters": {"binary_data_output": true}});
    let (reply, blob) = split(&infer(&server, &document, &blobs).await);
    assert_eq!(
        reply,
        json!({"model_name": "bank", "model_version": "1", "id": "7", "outputs": [
            {"name": "score", "shape": [3], "datatype": "FP64", "parameters": {"binary_data_size": 24}},
        ]})
    );
    assert_eq!(blob, expected);
    let outputs = json!([{"name": "margin", "parameters": {"binary_data": true}}, {"name": "score", "parameters": {"binary_data": false}}]);
    let document = json!({"inputs": [column("x", json!([3, 2]), 48)], "outputs": outputs});
    let (reply, blob) = split(&infer(&server, &document, &fp64(ROWS.into_iter().flatten())).await);
    assert_eq!(
        (&blob, &reply["outputs"][1]["data"][0]),
        (&Bytes::from(expected.clone()), &json!(score(WEIGHTS, ROWS[0])))
    );
    // Without JSON: one tensor in, all outputs in binary.
    let (_, blob) = split(&sent(&server, "0", fp64(ROWS.into_iter().flatten())).await);
    assert_eq!(blob, expected);
    // JSON in, binary out, and the other way round.
    let body = json!({"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [1]}], "parameters": {"binary_data_output": true}});
    let (_, blob) = split(&post(server.addr, "/v2/models/bank/infer", &body).await);
    assert!(f64::from_le_bytes(blob[..].try_into().unwrap()).is_nan());
    let answer = infer(&server, &json!({ "inputs": columns }), &blobs).await;
    assert_eq!(
        (answer.header("content-type"), answer.header("inference-header-content-length")),
        ("application/json", "")
    );
    assert_eq!(answer.json()["outputs"][0]["data"][2], "Infinity");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_beyond_what_is_read_on_a_servers_thread() {
    let (_bucket, server) = bank(&[]).await;
    let rows: Vec<[f64; 2]> = (0..50_000).map(|n| [f64::from(n), f64::from(n % 7)]).collect();
    let document = json!({
        "inputs": [column("x", json!([rows.len(), 2]), 16 * rows.len())],
        "parameters": {"binary_data_output": true, "row_status": true, "contributions": true},
    });
    let (reply, blob) = split(&infer(&server, &document, &fp64(rows.iter().copied().flatten())).await);
    assert_eq!(blob[..8 * rows.len()], fp64(rows.iter().map(|row| score(WEIGHTS, *row))));
    let sizes: Vec<u64> = reply["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["parameters"]["binary_data_size"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [8, 24, 4].map(|bytes| bytes * rows.len() as u64));
    assert_eq!(sizes.iter().sum::<u64>(), blob.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_is_named_and_others_are_answered_meanwhile() {
    let (_bucket, server) = bank(&[("limits.rows_max", "1000")]).await;
    let age = fp64([1.0, 2.0]);
    let with = |input: Value| {
        let (server, age) = (&server, &age);
        async move { infer(server, &json!({ "inputs": [input] }), age).await }
    };
    let wrong = async {
        with(column("age", json!([3]), 16)).await.says(400, &["'bank'", "'age'", "16 bytes came", "take 24"]);
        with(column("age", json!([3]), 24)).await.says(400, &["'age'", "'binary_data_size' of 24", "16 bytes"]);
        with(column("age", json!([1]), 8)).await.says(400, &["8 bytes follow"]);
        with(column("age", json!([2]), -16)).await.says(400, &["'age'", "-16 came"]);
        with(column("age", json!([2]), "16")).await.says(400, &["'age'", "text \"16\""]);
        with(column("age", json!([-2]), 16)).await.says(400, &["'shape'"]);
        with(column("age", json!([1u64 << 40, 1u64 << 40]), 16)).await.says(400, &["'age'", "[n, 2] for all"]);
        with(column("age", json!([1_000_000]), 16)).await.says(413, &["'age'", "1000000", "1000 rows"]);
        with(column("x", json!([1_000_000, 2]), 16)).await.says(413, &["'x'", "1000000"]);
        let shared =
            json!({"name": "age", "shape": [2], "datatype": "FP64", "parameters": {"shared_memory_region": "r"}});
        with(shared).await.says(400, &["'age'", "'shared_memory_region'"]);
        let texts = json!({"name": "age", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 16}});
        with(texts).await.says(400, &["'age'", "BYTES"]);
        for (length, words) in [
            ("100000", &["body has", "said to have 100000"][..]),
            ("18446744073709551615", &["said to have"]),
            ("18446744073709551616", &["inference-header-content-length"]),
            ("-1", &["inference-header-content-length", "'-1'"]),
            ("1.5", &["'1.5'"]),
            ("0", &["rows of 2 FP64 have 16 each"]),
            ("5", &["ends too early"]),
        ] {
            let document = json!({ "inputs": [column("age", json!([2]), 16)] }).to_string();
            let body = [document.as_bytes(), &age, b"x"].concat();
            sent(&server, length, body).await.says(400, words);
        }
    };
    let others = async {
        for _ in 0..20 {
            assert_eq!(server.answers("bank").await, "1");
        }
    };
    tokio::join!(wrong, others);
}
