//! What each door answers.

use serde_json::{Value, json};

use crate::support::models::{lightgbm, number, score};
use crate::support::{Bucket, Server, get, linear, post, post_with, send};

const ROW: [f64; 2] = [0.3, 12.7];

async fn bank() -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    (bucket, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_and_v1_give_the_same_scores() {
    let (_bucket, server) = bank().await;
    let expected = score([0.5, -2.0], ROW);
    let body = json!({
        "id": "42",
        "inputs": [
            {"name": "age", "shape": [1], "datatype": "FP64", "data": [ROW[0]]},
            {"name": "balance", "shape": [1, 1], "datatype": "FP64", "data": [[ROW[1]]]},
        ],
        "outputs": [{"name": "score"}, {"name": "margin"}],
    });
    let v2 = post_with(server.addr, "/v2/models/bank/infer", &[("x-request-id", "abc")], &body).await;
    assert_eq!(v2.status, 200, "{v2:?}");
    assert_eq!(
        v2.json(),
        json!({"model_name": "bank", "model_version": "1", "id": "42", "outputs": [
            {"name": "score", "shape": [1], "datatype": "FP64", "data": [expected]},
            {"name": "margin", "shape": [1], "datatype": "FP64", "data": [expected]},
        ]})
    );
    assert_eq!((v2.header("x-request-id"), v2.header("x-headgate-version")), ("abc", "1"));
    assert_eq!((v2.header("x-headgate-rows"), v2.header("x-headgate-load")), ("1", "0"));
    assert_eq!(v2.header("x-headgate-digest").len(), 64);
    for (path, body) in [
        ("/v1/models/bank:predict", json!({"instances": [ROW, ROW]})),
        ("/v1/models/bank/versions/1:predict", json!({"instances": [{"balance": ROW[1], "age": ROW[0]}, ROW]})),
    ] {
        let v1 = post(server.addr, path, &body).await;
        assert_eq!(v1.json(), json!({"predictions": [expected, expected]}), "{path}");
        assert_eq!((v1.header("x-headgate-rows"), v1.header("x-request-id").len()), ("2", 32));
    }
    let columns =
        post(server.addr, "/v1/models/bank:predict", json!({"inputs": {"age": [ROW[0]], "balance": [ROW[1]]}}));
    assert_eq!(columns.await.json(), json!({"outputs": [expected]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lightgbm_model_answers_with_probabilities_and_margins() {
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("stump", None)).await;
    let server = Server::start(&bucket).await;
    let body = json!({
        "inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP64", "data": [[30, 0], [31, 0], [null, null]]}],
        "outputs": [{"name": "margin"}, {"name": "probability"}],
    });
    let reply = post(server.addr, "/v2/models/stump/infer", &body).await.json();
    assert_eq!(reply["outputs"][0]["data"], json!([-0.5, 0.25, -0.5]));
    let probability = reply["outputs"][1]["data"][1].as_f64().unwrap();
    assert!((probability - 1.0 / (1.0 + (-0.25f64).exp())).abs() < 1e-15, "{probability}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contributions_come_with_the_scores_where_asked_for() {
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("stump", None)).await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    let body = json!({
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [[30, 0], [31, 0]]}],
        "parameters": {"contributions": true},
    });
    let reply = post(server.addr, "/v2/models/stump/infer", &body).await.json();
    assert_eq!(reply["outputs"][0]["name"], "probability");
    let tensor = &reply["outputs"][1];
    assert_eq!(
        (&tensor["name"], &tensor["shape"], &tensor["datatype"]),
        (&json!("contributions"), &json!([2, 3]), &json!("FP64"))
    );
    let data: Vec<f64> = serde_json::from_value(tensor["data"].clone()).unwrap();
    for (came, expected) in data.iter().zip([-0.375, 0.0, -0.125, 0.375, 0.0, -0.125]) {
        assert!((came - expected).abs() < 1e-15, "{data:?}");
    }
    let body = json!({"instances": [[2, 3]], "parameters": {"contributions": true}});
    let reply = post(server.addr, "/v1/models/bank:predict", &body).await.json();
    assert_eq!(reply, json!({"predictions": [-4.0], "contributions": [[1.0, -6.0, 1.0]]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn contributions_that_are_not_to_be_had_are_refused_with_the_reason() {
    let bucket = Bucket::new().await;
    let (version, bytes) = lightgbm("stump", None);
    let text = String::from_utf8(bytes).unwrap();
    let bare: String = text.lines().filter(|l| !l.starts_with("leaf_count")).flat_map(|l| [l, "\n"]).collect();
    bucket.release((version, bare.into_bytes())).await;
    let server = Server::start(&bucket).await;
    let mut body = json!({"instances": [[31, 0]], "parameters": {"contributions": true}});
    let refused = post(server.addr, "/v1/models/stump:predict", &body).await;
    refused.says(400, &["'stump'", "contributions are not to be had", "training rows"]);
    body["parameters"]["contributions"] = json!(false);
    assert_eq!(post(server.addr, "/v1/models/stump:predict", &body).await.status, 200);
    body["parameters"]["contributions"] = json!("yes");
    post(server.addr, "/v1/models/stump:predict", &body).await.says(400, &["text \"yes\" came", "true or false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metadata_and_index() {
    let (_bucket, server) = bank().await;
    let json_of = |path: &'static str| async move { get(server.addr, path).await.json() };
    assert_eq!(json_of("/v2/health/live").await, json!({"live": true, "status": "alive"}));
    assert_eq!(json_of("/v2/health/ready").await, json!({"ready": true}));
    assert_eq!(json_of("/v2").await["name"], "headgate");
    let metadata = json_of("/v2/models/bank").await;
    assert_eq!((&metadata["versions"], &metadata["platform"]), (&json!(["1"]), &json!("linear")));
    assert_eq!(metadata["inputs"][1], json!({"name": "balance", "datatype": "FP64", "shape": [-1]}));
    assert_eq!(metadata["outputs"][0]["name"], "score");
    assert_eq!(json_of("/v2/models/bank/versions/1").await, metadata);
    assert_eq!(json_of("/v2/models/bank/ready").await["ready"], true);
    let status = json_of("/v1/models/bank").await;
    assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
    let entry = json!([{"name": "bank", "version": "1", "state": "READY", "reason": ""}]);
    assert_eq!(json_of("/v2/repository/index").await, entry);
    for question in ["", "{}", r#"{"ready":true}"#] {
        assert_eq!(post(server.addr, "/v2/repository/index", question).await.json(), entry, "{question}");
    }
    get(server.addr, "/v2/models/none").await.says(404, &["'none'"]);
    get(server.addr, "/v2/models/bank/versions/7/ready").await.says(404, &["'bank'", "7"]);
    get(server.addr, "/v2/nothing").await.says(404, &["/v2/nothing"]);
    get(server.addr, "/v2/models/bank/infer").await.says(405, &["POST"]);
    post(server.addr, "/v2/models/bank", "").await.says(405, &["GET"]);
    post(server.addr, "/v2/repository/index", "{").await.says(400, &["body"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_page_counts_calls() {
    let (_bucket, server) = bank().await;
    server.answers("bank").await;
    post(server.addr, "/v1/models/bank:predict", "x").await.says(400, &[]);
    post(server.addr, "/v1/models/none:predict", "{}").await.says(404, &[]);
    let page = String::from_utf8(get(server.addr, "/metrics").await.body.to_vec()).unwrap();
    for line in [
        "headgate_requests_total{model=\"bank\",version=\"1\",code=\"200\",error=\"\"} 1",
        "headgate_requests_total{model=\"bank\",version=\"1\",code=\"400\",error=\"invalid_request\"} 1",
        "headgate_requests_total{model=\"\",version=\"\",code=\"404\",error=\"not_found\"} 1",
        "headgate_versions{state=\"ready\"} 1",
        "headgate_ready 1",
        "headgate_catalog_generation 1",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_state_tells_what_changed() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [2.0, 10.0])).await;
    let server = Server::start_with(&bucket, &[("zone", "z1")]).await;
    server.ready().await;
    let first = server.fleet_state("").await;
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!((&first["zone"], first["cores"].as_u64()), (&"z1".into(), Some(cores)));
    assert_eq!((&first["full"], &first["ready"], &first["draining"]), (&json!(true), &json!(true), &json!(false)));
    assert_eq!(first["models"][0]["versions"][0]["state"], "ready");
    assert!(first["models"][0]["versions"][0]["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(first["catalog"]["generation"], 1);
    let cursor = first["cursor"].as_str().unwrap();
    let unchanged = server.fleet_state(&format!("since={cursor}&wait=20")).await;
    assert_eq!((&unchanged["full"], unchanged["models"].as_array().unwrap().len()), (&json!(false), 0));
    let path = format!("since={cursor}&wait=20000");
    let (report, _) = tokio::join!(server.fleet_state(&path), bucket.release(linear("other", [1.0, 1.0])));
    assert!(report["cursor"] != first["cursor"] && report["full"] == false, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nudge_overtakes_the_poll() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_with(&bucket, &[("poll_interval_ms", "600000")]).await;
    server.ready().await;
    let store_id = server.fleet_state("").await["catalog"]["store_id"].as_str().unwrap().to_owned();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    let nudge = json!({"store_id": store_id, "generation": 2});
    assert_eq!(post(server.addr, "/fleet/v1/nudge", nudge).await.status, 202);
    server.until_answers("bank", 2).await;
    bucket.release(linear("bank", [0.7, -2.0])).await;
    server.fleet_state(&format!("generation=3&store={store_id}")).await;
    server.until_answers("bank", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_labels_and_the_gateways_choice() {
    let bucket = Bucket::new().await;
    let first = bucket.release(linear("bank", [0.5, -2.0])).await;
    let second = bucket.release(linear("bank", [0.6, -2.0])).await;
    headgate_registry::release::label(&bucket.store, &"bank".parse().unwrap(), "old", Some(first.version), "t")
        .await
        .unwrap();
    let server = Server::start(&bucket).await;
    server.until_state("bank", 1, "READY").await;
    let row = json!({"instances": [[1, 2]]});
    let call = |path: &'static str, headers: Vec<(&'static str, String)>| {
        let row = row.clone();
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            post_with(server.addr, path, &headers, row).await
        }
    };
    let version = |answer: crate::support::Answer| answer.header("x-headgate-version").to_owned();
    assert_eq!(version(call("/v1/models/bank:predict", vec![]).await), "2");
    assert_eq!(version(call("/v1/models/bank/versions/1:predict", vec![]).await), "1");
    assert_eq!(version(call("/v1/models/bank/labels/old:predict", vec![]).await), "1");
    call("/v1/models/bank/labels/new:predict", vec![]).await.says(404, &["'bank'", "'new'"]);
    call("/v1/models/bank/versions/9:predict", vec![]).await.says(404, &["'bank'", "9"]);
    let chosen = |version: u64, digest: String| {
        vec![("x-headgate-chosen-version", version.to_string()), ("x-headgate-chosen-digest", digest)]
    };
    assert_eq!(version(call("/v1/models/bank:predict", chosen(1, first.digest.to_string())).await), "1");
    call("/v1/models/bank:predict", chosen(1, second.version.to_string().repeat(64))).await.says(421, &["version 1"]);
    call("/v1/models/bank:predict", chosen(7, "0".repeat(64))).await.says(421, &["version 7"]);
    assert_eq!(number(2), second.version);
    let ask = |path: &'static str, headers: Vec<(&'static str, String)>| async move {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        send(server.addr, http::Method::GET, path, &headers, bytes::Bytes::new()).await.unwrap()
    };
    for (path, headers, expected) in [
        ("/v2/models/bank", vec![], "2"),
        ("/v2/models/bank", chosen(1, first.digest.to_string()), "1"),
        ("/v2/models/bank/versions/1", vec![], "1"),
    ] {
        let answer = ask(path, headers).await;
        assert_eq!(
            (answer.header("x-headgate-version"), &answer.json()["parameters"]["version"]),
            (expected, &json!(expected))
        );
    }
    ask("/v2/models/bank/ready", chosen(7, "0".repeat(64))).await.says(421, &["version 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sticky_header_always_gets_the_same_version() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let canary = bucket.publish(linear("bank", [0.6, -2.0])).await;
    bucket.promote("bank", canary.version, Some(50)).await;
    let settings = headgate_registry::release::Settings { sticky: Some(Some("x-user".into())), ..Default::default() };
    bucket.configure("bank", settings).await;
    let server = Server::start(&bucket).await;
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..20 {
        let user = format!("user {user}");
        let ask = || async {
            let headers = [("x-user", user.as_str())];
            let answer = post_with(server.addr, "/v1/models/bank:predict", &headers, r#"{"instances":[[1,2]]}"#).await;
            answer.header("x-headgate-version").to_owned()
        };
        let first = ask().await;
        assert_eq!((ask().await, ask().await), (first.clone(), first.clone()));
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scope_with_and_without_fallback() {
    let (bucket, server) = bank().await;
    let row = json!({"instances": [[1, 2]]});
    post(server.addr, "/v1/models/bank/JFK:predict", &row).await.says(404, &["'bank/JFK'", "no fallback"]);
    bucket.release(linear("all", [0.1, 0.2])).await;
    let settings =
        headgate_registry::release::Settings { fallback: Some(Some("all".parse().unwrap())), ..Default::default() };
    bucket.configure("bank", settings).await;
    crate::support::until("fallback", || async {
        post(server.addr, "/v1/models/bank/JFK:predict", &row).await.status == 200
    })
    .await;
    let answer = post(server.addr, "/v1/models/bank%2FJFK:predict", &row).await;
    assert_eq!((answer.header("x-headgate-model"), answer.header("x-headgate-version")), ("all", "1"));
    post(server.addr, "/v1/models/other/JFK:predict", &row).await.says(404, &["'other/JFK'"]);
    // A base that serves nothing itself, as where all models are of one scope or another.
    let settings =
        headgate_registry::release::Settings { fallback: Some(Some("all".parse().unwrap())), ..Default::default() };
    bucket.configure("other", settings).await;
    crate::support::until("fallback of a base without versions", || async {
        post(server.addr, "/v1/models/other/JFK:predict", &row).await.status == 200
    })
    .await;
    post(server.addr, "/v1/models/other:predict", &row).await.says(404, &["'other'"]);
    let reply: Value = post(server.addr, "/v2/models/none/infer", "{}").await.json();
    assert!(reply["error"].as_str().unwrap().contains("'none'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_bad_rows_of_a_thousand_leave_the_others_scores_to_the_bit() {
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("stump", None)).await;
    let server = Server::start(&bucket).await;
    let good = |n: usize| json!([n % 60, n]);
    let mut rows: Vec<Value> = (0..1000).map(good).collect();
    let clean = json!({"instances": rows, "parameters": {"row_status": true}});
    let clean = post(server.addr, "/v1/models/stump:predict", clean).await.json();
    assert_eq!(clean["row_status"], json!(vec![Value::Null; 1000]));
    for row in [0, 500, 999] {
        rows[row] = json!(["thirty", 1]);
    }
    let body = json!({"instances": rows, "parameters": {"row_status": true}});
    let answer = post(server.addr, "/v1/models/stump:predict", &body).await;
    assert_eq!(answer.header("x-headgate-rows"), "997");
    let answer = answer.json();
    for row in 0..1000 {
        match row {
            0 | 500 | 999 => {
                assert!(answer["predictions"][row].is_null());
                let why = answer["row_status"][row].as_str().unwrap();
                assert!(why.contains(&format!("row {row}, feature 'age'")) && why.contains("\"thirty\" came"), "{why}");
            }
            _ => assert_eq!(answer["predictions"][row], clean["predictions"][row], "row {row}"),
        }
    }
    let refused = post(server.addr, "/v1/models/stump:predict", json!({ "instances": rows })).await;
    refused.says(400, &["model 'stump'", "row 0, feature 'age'", "row 500", "row 999"]);
    let tensor = json!({"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [[], 7]}],
        "parameters": {"row_status": true, "contributions": true}});
    let v2 = post(server.addr, "/v2/models/stump/infer", tensor).await.json();
    assert_eq!(v2["outputs"][2]["name"], "row_status");
    assert_eq!(v2["outputs"][0]["data"][0], Value::Null);
    assert_eq!(v2["outputs"][1]["data"].as_array().unwrap().len(), 6);
}
