//! Values in every form, with the scores of JSON's door.

use headgate_contract::proto::model_infer_request::InferInputTensor;
use headgate_contract::proto::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::{bank, bytes, doubles, flag, infer, input, outputs, refused, rows, values};
use crate::support::models::lightgbm;
use crate::support::{Bucket, Server, post, send};

const AGES: [f64; 4] = [0.1, -1e-300, 9007199254740993.0, f64::NAN];
const BALANCES: [f64; 4] = [1.0 / 3.0, 5e-324, -0.0, 1.0];

#[tokio::test(flavor = "multi_thread")]
async fn typed_and_raw_give_the_bits_of_json() {
    let (_bucket, server) = bank(&[]).await;
    let tensor = |name: &str, values: &[f64]| json!({"name": name, "shape": [4], "datatype": "FP64", "data": values});
    let body = json!({"inputs": [tensor("age", &AGES), tensor("balance", &BALANCES)]});
    let reply = post(server.addr, "/v2/models/bank/infer", &body).await.json();
    let expected: Vec<f64> =
        reply["outputs"][0]["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect();
    let bits = |values: &[f64]| values.iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect::<Vec<_>>();
    for raw in [false, true] {
        let mut request = rows(raw, &AGES, &BALANCES);
        request.id = "é 7".into();
        let reply = infer(server.addr, request).await.unwrap();
        let metadata = |name: &str| reply.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((metadata("x-headgate-version"), metadata("x-headgate-rows")), ("1".into(), "4".into()));
        assert_eq!((metadata("x-headgate-digest").len(), metadata("x-request-id").len()), (64, 32));
        let reply = reply.into_inner();
        assert_eq!((reply.model_name.as_str(), reply.model_version.as_str(), reply.id.as_str()), ("bank", "1", "é 7"));
        let output = &reply.outputs[0];
        assert_eq!((output.name.as_str(), output.datatype.as_str(), &output.shape[..]), ("score", "FP64", &[4][..]));
        assert_eq!((reply.outputs.len(), reply.raw_output_contents.len()), (1, usize::from(raw)));
        assert_eq!(output.contents.is_none(), raw);
        assert_eq!(bits(&values(&reply, 0)), bits(&expected), "raw: {raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tensor_of_all_features_and_outputs_that_are_asked_for() {
    let bucket = Bucket::new().await;
    bucket.release(lightgbm("stump", None)).await;
    let server = Server::start(&bucket).await;
    let matrix = [30.0, 0.0, 31.0, 0.0, f64::NAN, f64::NAN];
    for raw in [false, true] {
        let contents = if raw { None } else { doubles(&matrix) };
        let request = ModelInferRequest {
            model_name: "stump".into(),
            inputs: vec![input("x", "FP64", &[3, 2], contents)],
            raw_input_contents: if raw { vec![bytes(&matrix)] } else { vec![] },
            outputs: outputs(&["margin", "probability"]),
            parameters: [("contributions".into(), flag(true)), ("priority".into(), flag(true))].into(),
            ..Default::default()
        };
        let reply = infer(server.addr, request).await.unwrap().into_inner();
        let names: Vec<&str> = reply.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["margin", "probability", "contributions"]);
        assert_eq!(values(&reply, 0), [-0.5, 0.25, -0.5]);
        assert_eq!((&reply.outputs[2].shape[..], values(&reply, 2).len()), (&[3, 3][..], 9));
    }
}

/// Every datatype, raw and (but for half-precision) typed: the same score as of the same values in JSON.
#[tokio::test(flavor = "multi_thread")]
async fn every_datatype() {
    let (_bucket, server) = bank(&[]).await;
    let expected = [1.0, 1.5];
    let typed = |contents: InferTensorContents| Some(contents);
    let two = |width: usize, one: &[u8]| [&vec![0; width][..], one].concat();
    let cases = [
        ("BOOL", two(1, &[1]), typed(InferTensorContents { bool_contents: vec![false, true], ..Default::default() })),
        ("INT8", two(1, &[1]), typed(InferTensorContents { int_contents: vec![0, 1], ..Default::default() })),
        ("INT16", two(2, &[1, 0]), typed(InferTensorContents { int_contents: vec![0, 1], ..Default::default() })),
        (
            "INT32",
            two(4, &1i32.to_le_bytes()),
            typed(InferTensorContents { int_contents: vec![0, 1], ..Default::default() }),
        ),
        (
            "INT64",
            two(8, &1i64.to_le_bytes()),
            typed(InferTensorContents { int64_contents: vec![0, 1], ..Default::default() }),
        ),
        ("UINT8", two(1, &[1]), typed(InferTensorContents { uint_contents: vec![0, 1], ..Default::default() })),
        ("UINT16", two(2, &[1, 0]), typed(InferTensorContents { uint_contents: vec![0, 1], ..Default::default() })),
        (
            "UINT32",
            two(4, &1u32.to_le_bytes()),
            typed(InferTensorContents { uint_contents: vec![0, 1], ..Default::default() }),
        ),
        (
            "UINT64",
            two(8, &1u64.to_le_bytes()),
            typed(InferTensorContents { uint64_contents: vec![0, 1], ..Default::default() }),
        ),
        ("FP16", two(2, &0x3c00u16.to_le_bytes()), None),
        ("BF16", two(2, &0x3f80u16.to_le_bytes()), None),
        (
            "FP32",
            two(4, &1f32.to_le_bytes()),
            typed(InferTensorContents { fp32_contents: vec![0.0, 1.0], ..Default::default() }),
        ),
        (
            "FP64",
            two(8, &1f64.to_le_bytes()),
            typed(InferTensorContents { fp64_contents: vec![0.0, 1.0], ..Default::default() }),
        ),
    ];
    for (datatype, raw, typed) in cases {
        let request = |input: InferInputTensor, raw| ModelInferRequest {
            model_name: "bank".into(),
            inputs: vec![input, self::input("balance", "FP64", &[2], if raw { None } else { doubles(&[0.0; 2]) })],
            ..Default::default()
        };
        let mut asked = request(input("age", datatype, &[2], None), true);
        asked.raw_input_contents = vec![raw, bytes(&[0.0; 2])];
        let reply = infer(server.addr, asked).await.unwrap().into_inner();
        assert_eq!(values(&reply, 0), expected, "raw {datatype}");
        let asked = infer(server.addr, request(input("age", datatype, &[2], typed.clone()), false)).await;
        match typed {
            Some(_) => assert_eq!(values(&asked.unwrap().into_inner(), 0), expected, "typed {datatype}"),
            None => refused(&asked, Code::InvalidArgument, "invalid_request", &["'age'"]),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_fail_alone_where_the_caller_asks() {
    let (_bucket, server) = bank(&[]).await;
    let texts = |texts: [&str; 4]| InferTensorContents {
        bytes_contents: texts.iter().map(|t| t.as_bytes().to_vec()).collect(),
        ..Default::default()
    };
    let matrix = input("x", "BYTES", &[2, 2], Some(texts(["NaN", "Infinity", "1", "NaN"])));
    let request = ModelInferRequest { model_name: "bank".into(), inputs: vec![matrix], ..Default::default() };
    refused(
        &infer(server.addr, request.clone()).await,
        Code::InvalidArgument,
        "invalid_request",
        &["row 1", "'age'", "text \"1\""],
    );
    let asked = ModelInferRequest { parameters: [("row_status".into(), flag(true))].into(), ..request };
    let reply = infer(server.addr, asked).await.unwrap().into_inner();
    let status = reply.outputs[1].contents.as_ref().unwrap();
    assert_eq!((reply.outputs[1].name.as_str(), reply.outputs[1].datatype.as_str()), ("row_status", "BYTES"));
    assert!(
        status.bytes_contents[0].is_empty() && String::from_utf8_lossy(&status.bytes_contents[1]).contains("'age'")
    );
    assert!(values(&reply, 0).iter().all(|score| score.is_nan()));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_takes_the_bare_message_too() {
    let (_bucket, server) = bank(&[]).await;
    let protobuf = [("content-type", "application/x-protobuf")];
    let post = |path: &'static str, body: Vec<u8>| async move {
        send(server.addr, http::Method::POST, path, &protobuf, body.into()).await.unwrap()
    };
    // The path counts, not the message.
    let request =
        ModelInferRequest { model_name: "other".into(), model_version: "9".into(), ..rows(true, &[2.0], &[3.0]) };
    let reply = post("/v2/models/bank/versions/1/infer", request.encode_to_vec()).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/x-protobuf"));
    assert_eq!(values(&ModelInferResponse::decode(reply.body.clone()).unwrap(), 0), [-4.0]);
    let broken = post("/v2/models/bank/infer", vec![0x2a, 0x7f]).await;
    broken.says(400, &["body: byte 2", "127 bytes announced"]);
    assert_eq!(broken.header("x-headgate-error"), "invalid_request");
}
