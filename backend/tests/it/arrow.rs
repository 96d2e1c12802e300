//! Arrow IPC streams in and out, at every path of a prediction.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray, TimestampSecondArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::models::score;
use crate::support::{Answer, Bucket, Server, linear, post, send};

const WEIGHTS: [f64; 2] = [0.5, -2.0];
const ARROW: &str = "application/vnd.apache.arrow.stream";

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, &[&[("default_model", "bank")], flags].concat()).await;
    server.ready().await;
    (bucket, server)
}

fn stream(columns: Vec<(&str, ArrayRef)>, parameters: Value) -> Bytes {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let metadata = HashMap::from([("headgate.parameters".to_owned(), parameters.to_string())]);
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    writer.into_inner().unwrap().into()
}

async fn ask(server: &Server, path: &str, body: Bytes) -> Answer {
    send(server.addr, Method::POST, path, &[("content-type", ARROW)], body).await.unwrap()
}

fn batch(answer: &Answer) -> RecordBatch {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, ARROW), "{answer:?}");
    StreamReader::try_new(answer.body.as_ref(), None).unwrap().next().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_arrow_get_the_scores_of_rows_in_json() {
    let (_bucket, server) = bank(&[]).await;
    let balance: ArrayRef = Arc::new(Float64Array::from(vec![7.5, -0.2]));
    let age: ArrayRef = Arc::new(Float32Array::from(vec![30.0, 0.5]));
    let body = stream(vec![("balance", balance), ("new", Arc::clone(&age)), ("age", age)], json!({}));
    for path in [
        "/v2/models/bank/infer",
        "/v2/models/bank/versions/1/infer",
        "/v1/models/bank:predict",
        "/endpoints/bank/invocations",
        "/invocations",
    ] {
        let answer = ask(&server, path, body.clone()).await;
        let scores = batch(&answer);
        assert_eq!(scores.schema().field(0).name(), "score");
        let expected = [score(WEIGHTS, [30.0, 7.5]), score(WEIGHTS, [0.5, -0.2])];
        assert_eq!(scores.column(0).as_primitive::<Float64Type>().values(), &expected, "{path}");
        let headers = ["x-headgate-rows", "x-headgate-version", "x-headgate-ignored"].map(|name| answer.header(name));
        assert_eq!(headers, ["2", "1", "new"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_rows_that_fail_alone() {
    let (_bucket, server) = bank(&[]).await;
    let columns = || -> Vec<(&str, ArrayRef)> {
        let balance = StringArray::from(vec![Some("NaN"), Some("x"), None]);
        vec![("age", Arc::new(Float64Array::from(vec![2.0, 3.0, 4.0]))), ("balance", Arc::new(balance))]
    };
    let asked = json!({"row_status": true, "contributions": true, "outputs": ["margin", "score"]});
    let reply = batch(&ask(&server, "/v2/models/bank/infer", stream(columns(), asked)).await);
    let names: Vec<_> = reply.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["margin", "score", "contributions", "row_status"]);
    assert!(reply.column(0).is_null(1) && reply.column(1).is_valid(2) && reply.column(2).is_null(1));
    let why = reply.column(3).as_string::<i32>();
    assert_eq!((why.is_null(0), why.value(1)), (true, "row 1, feature 'balance': text \"x\" came, a number expected"));
    let refused = ask(&server, "/v2/models/bank/infer", stream(columns(), json!({}))).await;
    refused.says(400, &["'bank'", "row 1, feature 'balance'", "text \"x\" came"]);
    assert_eq!(refused.header("content-type"), "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let (_bucket, server) = bank(&[("limits.rows_max", "1000")]).await;
    let ask = |body: Bytes| ask(&server, "/v2/models/bank/infer", body);
    let one = |name: &'static str, column: ArrayRef| stream(vec![(name, column)], json!({}));
    ask(Bytes::new()).await.says(400, &["'bank'", "begins with a schema"]);
    ask("{\"inputs\": []}".into()).await.says(400, &["message 0 of the stream"]);
    let times = || Arc::new(TimestampSecondArray::from(vec![1]));
    ask(one("age", times())).await.says(400, &["column 'age' has type timestamp"]);
    ask(one("balance", Arc::new(Float64Array::from(vec![1.0])))).await.says(400, &["'age' is required and absent"]);
    let good = one("age", Arc::new(Float64Array::from(vec![1.0; 1000])));
    assert_eq!(ask(good.clone()).await.status, 200);
    ask(one("age", Arc::new(Float64Array::from(vec![1.0; 1001])))).await.says(413, &["more than 1000 rows"]);
    ask(good.slice(..good.len() - 100)).await.says(400, &["message 1 of the stream", "are left"]);
    // Says that it has 2^30 times as many bytes as it has.
    let mut lying = good.to_vec();
    lying[4..8].copy_from_slice(&(1u32 << 30).to_le_bytes());
    ask(lying.into()).await.says(400, &["message 0 of the stream says that its metadata has 1073741824 bytes"]);
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_stream_is_read_beside_the_calls_of_others() {
    let (_bucket, server) = bank(&[]).await;
    let rows = 100_000;
    let column = |seed: usize| -> Vec<f64> { (0..rows).map(|row| ((row * 31 + seed) % 977) as f64 / 7.0).collect() };
    let (age, balance) = (column(1), column(2));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("balance", Arc::new(Float64Array::from(balance.clone()))),
        ("age", Arc::new(Float64Array::from(age.clone()))),
    ];
    let reply = batch(&ask(&server, "/v2/models/bank/infer", stream(columns, json!({}))).await);
    let scores = reply.column(0).as_primitive::<Float64Type>();
    for row in (0..rows).step_by(9973) {
        assert_eq!(scores.value(row), score(WEIGHTS, [age[row], balance[row]]));
    }
    let json = post(server.addr, "/v1/models/bank:predict", json!({"instances": [[age[7], balance[7]]]})).await.json();
    assert_eq!(json["predictions"][0].as_f64().unwrap(), scores.value(7));
}
