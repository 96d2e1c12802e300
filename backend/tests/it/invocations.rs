//! `/ping` and `/invocations`, as SageMaker's and MLflow's callers use them.

use serde_json::{Value, json};

use crate::support::models::{lightgbm, score};
use crate::support::{Answer, Bucket, Server, get, linear, post_with};

const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn bank() -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    bucket.release(lightgbm("stump", None)).await;
    let server = Server::start_with(&bucket, &[("default_model", "bank")]).await;
    server.ready().await;
    (bucket, server)
}

async fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: impl ToString) -> Answer {
    post_with(server.addr, path, headers, body).await
}

const CSV: (&str, &str) = ("content-type", "text/csv; charset=utf-8");

#[tokio::test(flavor = "multi_thread")]
async fn every_form_gives_the_scores_of_v1() {
    let (_bucket, server) = bank().await;
    let expected = json!({"predictions": [score(WEIGHTS, [30.0, 7.5]), score(WEIGHTS, [0.1, -0.2])]});
    let rows = json!([[30, 7.5], [0.1, -0.2]]);
    let split = json!({"columns": ["balance", "age"], "data": [[7.5, 30], [-0.2, 0.1]]});
    for body in [
        json!({"dataframe_split": split}),
        json!({"dataframe_records": [{"age": 30, "balance": 7.5}, {"age": 0.1, "balance": -0.2}], "params": {}}),
        json!({"inputs": {"age": [30, 0.1], "balance": [7.5, -0.2]}}),
        json!({ "instances": rows }),
        split,
        rows,
    ] {
        for path in ["/invocations", "/endpoints/bank/invocations", "/endpoints/bank/versions/1/invocations"] {
            let answer = send(&server, path, &[("content-type", "application/json; format=pandas-split")], &body).await;
            assert_eq!((answer.json(), answer.header("x-headgate-version")), (expected.clone(), "1"), "{path} {body}");
        }
    }
    for text in ["30,7.5\n0.1,-0.2\n", "\u{feff}balance,age\r\n7.5,30\r\n-0.2,0.1"] {
        assert_eq!(send(&server, "/invocations", &[CSV], text).await.json(), expected, "{text}");
        let answer = send(&server, "/invocations", &[CSV, ("accept", "text/csv; q=1")], text).await;
        let numbers: Vec<Value> =
            std::str::from_utf8(&answer.body).unwrap().lines().map(|l| l.parse::<f64>().unwrap().into()).collect();
        assert_eq!((&json!({ "predictions": numbers }), answer.header("content-type")), (&expected, "text/csv"));
    }
    let answer = send(&server, "/endpoints/stump/invocations", &[("accept", "text/csv")], r#"{"age": 31}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-rows")), (200, "1"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_fail_alone_where_that_is_asked_for() {
    let (_bucket, server) = bank().await;
    let text = "30,7.5\n1\nx,2\n,3\n";
    let wrong = send(&server, "/invocations", &[CSV], text).await;
    wrong.says(400, &["'bank'", "row 1: 1 cells came, 2 expected", "row 2, feature 'age'", "text \"x\" came"]);
    let status = ("x-amzn-sagemaker-custom-attributes", "trace=7, row_status=true");
    let answer = send(&server, "/invocations", &[CSV, status], text).await.json();
    let why = ["row 1: 1 cells came, 2 expected", "row 2, feature 'age': text \"x\" came, a number expected"];
    assert_eq!(
        answer,
        json!({"predictions": [score(WEIGHTS, [30.0, 7.5]), null, null, null], "row_status": [null, why[0], why[1], null]})
    );
    let answer = send(&server, "/invocations", &[CSV, status, ("accept", "text/csv")], text).await;
    let why = why.map(|why| format!("\"{}\"", why.replace('"', "\"\"")));
    let first = score(WEIGHTS, [30.0, 7.5]);
    assert_eq!(std::str::from_utf8(&answer.body).unwrap(), format!("{first:?},\n,{}\n,{}\n,\n", why[0], why[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_says_whether_it_is_ready() {
    let (_bucket, server) = bank().await;
    assert_eq!(get(server.addr, "/ping").await.status, 200);
    // A store that is not there and nothing in the cache.
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    std::fs::rename(bucket.path(""), bucket.dir.path().join("away")).unwrap();
    let waiting = Server::start_with(&bucket, &[]).await;
    let answer = get(waiting.addr, "/ping").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["ready"]), (503, &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_had_is_named() {
    let (bucket, server) = bank().await;
    let none = Server::start(&bucket).await;
    let row = r#"{"age": 1, "balance": 2}"#;
    send(&none, "/invocations", &[], row).await.says(404, &["'default_model' is not set", "/endpoints/"]);
    assert_eq!(send(&none, "/endpoints/bank/invocations", &[], row).await.status, 200);
    send(&none, "/endpoints/none/invocations", &[], row).await.says(404, &["'none'"]);
    send(&none, "/endpoints/bank", &[], row).await.says(404, &["/endpoints/bank"]);
    get(server.addr, "/invocations").await.says(405, &["POST"]);
    send(&server, "/ping", &[], "").await.says(405, &["GET"]);
    let unknown = Server::start_with(&bucket, &[("default_model", "gone")]).await;
    unknown.ready().await;
    send(&unknown, "/invocations", &[], row).await.says(404, &["'gone'"]);
}
