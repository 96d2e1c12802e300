//! What scikit-learn's exporter writes gives what scikit-learn gives.

use serde_json::{Value, json};

use super::{Kit, kit};
use crate::support::{Bucket, Server, post};

/// Scores what a case has, in calls of one row and in one of all.
async fn predictions(server: &Server, model: &str, case: &Value) -> Vec<Value> {
    let rows = case["rows"].as_array().unwrap();
    let path = format!("/v1/models/{model}:predict");
    let all = post(server.addr, &path, json!({ "instances": rows })).await;
    assert_eq!(all.status, 200, "{all:?}");
    let all = all.json()["predictions"].as_array().unwrap().clone();
    for (row, expected) in rows.iter().zip(&all).take(10) {
        let one = post(server.addr, &path, json!({ "instances": [row] })).await;
        assert_close(&one.json()["predictions"][0], expected);
    }
    assert_eq!(all.len(), rows.len());
    all
}

/// Numbers agree within 1e-5, all else wholly.
#[track_caller]
pub(super) fn assert_close(got: &Value, expected: &Value) {
    match (got, expected) {
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len());
            got.iter().zip(expected).for_each(|(got, expected)| assert_close(got, expected));
        }
        (Value::Object(got), Value::Object(expected)) => {
            assert!(got.keys().eq(expected.keys()), "{got:?} {expected:?}");
            got.values().zip(expected.values()).for_each(|(got, expected)| assert_close(got, expected));
        }
        (Value::Number(got), Value::Number(expected)) => {
            let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{got} {expected}");
        }
        (got, expected) => assert_eq!(got, expected),
    }
}

async fn served(kit: &Kit, models: &[&str]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    for model in models {
        bucket.release(kit.version(model, model)).await;
    }
    let server = kit.serve(&bucket, &[]).await;
    (bucket, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_of_texts_and_numbers_score_as_scikit_learn_does() {
    let Some(kit) = kit("pipelines") else { return };
    let models = ["logistic", "boosting", "forest", "zipped"];
    let (_bucket, server) = served(kit, &models).await;
    for model in models {
        let case = &kit.cases[model];
        let [label, probabilities] =
            if model == "zipped" { ["output_label", "output_probability"] } else { ["label", "probabilities"] };
        for (row, got) in predictions(&server, model, case).await.iter().enumerate() {
            assert_close(&got[probabilities], &case["probabilities"][row]);
            assert_eq!(got[label], case["labels"][row], "{model}, row {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matrices_of_single_and_double_precision_score_as_scikit_learn_does() {
    let Some(kit) = kit("matrices") else { return };
    let (_bucket, server) = served(kit, &["matrix", "double"]).await;
    let case = &kit.cases["matrix"];
    for (row, got) in predictions(&server, "matrix", case).await.iter().enumerate() {
        assert_close(&got["output_probability"], &case["probabilities"][row]);
        assert_eq!(got["output_label"], case["labels"][row]);
    }
    let case = &kit.cases["double"];
    for (row, got) in predictions(&server, "double", case).await.iter().enumerate() {
        assert_close(got, &case["values"][row]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_and_comes_out() {
    let Some(kit) = kit("types") else { return };
    let (_bucket, server) = served(kit, &["mixed"]).await;
    let ask = |row: Value| post(server.addr, "/v1/models/mixed:predict", json!({ "instances": [row] }));
    let row = json!({"flag": true, "small": -7, "big": 1234567890123i64, "text": "é\"\n"});
    let answer = ask(row).await.json();
    assert_eq!(answer["predictions"][0], json!({"sum": -6.0, "echo": "é\"\n", "same": 1234567890123i64}));
    // A missing text is an empty one.
    let answer = ask(json!({"flag": 0, "small": 2, "big": 3})).await.json();
    assert_eq!(answer["predictions"][0], json!({"sum": 2.0, "echo": "", "same": 3}));
    for (row, words) in [
        (json!({"flag": true, "small": 1.5, "big": 1}), ["row 0", "'small'", "1.5 came", "int32"]),
        (json!({"flag": true, "big": 1}), ["row 0", "'small'", "no value came", "int32"]),
        (json!({"flag": 2, "small": 1, "big": 1}), ["row 0", "'flag'", "2 came", "bool"]),
        (json!({"flag": 1, "small": 1, "big": 1e300}), ["row 0", "'big'", "came", "int64"]),
        (json!({"flag": 1, "small": 1, "big": 1, "text": "a\u{0}b"}), ["row 0", "'text'", "NUL", "string"]),
        (json!({"flag": 1, "small": 1, "big": 1, "text": 5}), ["row 0", "'text'", "5 came", "a text"]),
    ] {
        ask(row).await.says(400, &words);
    }
    let tensors = json!({"inputs": [
        {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "flag", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "small", "shape": [2], "datatype": "INT32", "data": [1, 2]},
        {"name": "big", "shape": [2], "datatype": "INT64", "data": [3, 4]},
    ]});
    let answer = post(server.addr, "/v2/models/mixed/infer", tensors).await.json();
    let echo = answer["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "echo").unwrap();
    assert_eq!((&echo["datatype"], &echo["data"]), (&json!("BYTES"), &json!(["a", "b"])));
}
