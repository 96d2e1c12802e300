//! Bytes that no client sends: each is named, and the connection goes on.

use bytes::Bytes;
use headgate_contract::proto::model_infer_request::InferInputTensor;
use headgate_contract::proto::{InferTensorContents, ModelInferRequest, SERVICE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::Code;

use super::{bank, bytes, doubles, flag, infer, input, outputs, refused, rows, values};
use crate::support::{Server, send};

/// Sends bytes as the body of a call; the status and the words that come back.
pub(super) async fn raw(server: &Server, headers: &[(&str, &str)], body: Vec<u8>) -> (String, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let uri = format!("http://{}/{SERVICE}/ModelInfer", server.addr);
    let mut request = Request::builder().method("POST").uri(uri).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let (parts, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let found = |map: &HeaderMap, name: &str| map.get(name).map(|v| v.to_str().unwrap().to_owned());
    let header = |name| found(&parts.headers, name).or_else(|| found(&trailers, name)).unwrap_or_default();
    (header("grpc-status"), header("grpc-message"))
}

pub(super) fn framed(flag: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_lie() {
    let (_bucket, server) = bank(&[]).await;
    let good = rows(true, &[1.0], &[1.0]).encode_to_vec();
    let length = good.len() as u32;
    assert_eq!(raw(&server, &[], framed(0, length, &good)).await.0, "0");
    for (body, status, words) in [
        (vec![], "3", "no message came"),
        (vec![0, 0], "3", "2 bytes came"),
        (framed(0, length + 1, &good), "3", "was announced"),
        (framed(0, u32::MAX, &good), "8", "bytes are the most"),
        (framed(7, length, &good), "3", "byte 7: 0 or 1 expected"),
        (framed(1, length, &good), "3", "grpc-encoding"),
        (framed(0, length - 3, &good), "3", "announced"),
        (framed(0, 0, &[]), "3", "no model_name"),
    ] {
        let (came, message) = raw(&server, &[], body).await;
        assert!(came == status && message.contains(words), "{words}: {came} {message}");
    }
    let (came, message) = raw(&server, &[("grpc-encoding", "gzip")], framed(1, length, &good)).await;
    assert!(came == "3" && message.contains("gzip"), "{came} {message}");
    let (came, message) = raw(&server, &[("grpc-encoding", "snappy")], framed(1, length, &good)).await;
    assert!(came == "12" && message.contains("snappy"), "{came} {message}");
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_that_lie() {
    let (_bucket, server) = bank(&[]).await;
    let of = |inputs: Vec<InferInputTensor>, raw: Vec<Vec<u8>>| ModelInferRequest {
        model_name: "bank".into(),
        inputs,
        raw_input_contents: raw,
        ..Default::default()
    };
    let one = |datatype, shape: &[i64]| vec![input("age", datatype, shape, None)];
    let singles = InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
    let cases = [
        (of(one("FP64", &[2]), vec![bytes(&[1.0])]), "8 bytes came, 2 values of FP64 take 16"),
        (of(one("FP64", &[1]), vec![bytes(&[1.0]), bytes(&[1.0])]), "2 raw_input_contents came for 1 inputs"),
        (of(one("FP64", &[1]), vec![]), "'age' has no 'contents'"),
        (of(vec![input("age", "FP64", &[1], doubles(&[1.0]))], vec![bytes(&[1.0])]), "beside raw_input_contents"),
        (of(vec![input("age", "FP64", &[2], doubles(&[1.0]))], vec![]), "'age' has 1 values, its shape [2] says 2"),
        (of(vec![input("age", "FP64", &[1], doubles(&[1.0; 9]))], vec![]), "more than 1 values"),
        (of(vec![input("age", "FP64", &[1], Some(singles))], vec![]), "fp32_contents: fp64_contents expected"),
        (of(one("FP64", &[-1]), vec![bytes(&[1.0])]), "'shape'"),
        (of(one("FP64", &[1; 9]), vec![bytes(&[1.0])]), "'shape'"),
        (of(one("FP64", &[1, 7]), vec![bytes(&[1.0])]), "[n, 2] for all expected"),
        (of(one("FP65", &[1]), vec![bytes(&[1.0])]), "'FP65'"),
        (of(one("BYTES", &[1]), vec![b"\x01\0\0\0a".to_vec()]), "has datatype BYTES, FP64 expected"),
        (of(vec![input("x", "BYTES", &[1, 2], None)], vec![b"\xff\xff\xff\x7fa\0\0\0".to_vec()]), "value 0 of BYTES"),
        (of(vec![], vec![]), "'inputs' is missing"),
        (of(vec![input("none", "FP64", &[1], None)], vec![bytes(&[1.0])]), "none of the features sent (none)"),
        (ModelInferRequest { outputs: outputs(&["none"]), ..rows(true, &[1.0], &[1.0]) }, "output 'none'"),
    ];
    for (request, words) in cases {
        refused(&infer(server.addr, request).await, Code::InvalidArgument, "invalid_request", &["'bank'", words]);
    }
    let huge = of(one("FP64", &[1 << 40]), vec![bytes(&[1.0])]);
    refused(&infer(server.addr, huge).await, Code::ResourceExhausted, "too_large", &["'bank'", "rows"]);
    let mut request = rows(true, &[1.0], &[1.0]);
    request.parameters = [("row_status".into(), flag(true))].into();
    request.parameters.get_mut("row_status").unwrap().parameter_choice = None;
    refused(
        &infer(server.addr, request).await,
        Code::InvalidArgument,
        "invalid_request",
        &["'row_status'", "bool_param"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_that_is_not_known_is_ignored_and_named() {
    let (_bucket, server) = bank(&[]).await;
    let mut request = rows(true, &[2.0], &[3.0]);
    request.inputs.push(input("new", "BYTES", &[1], None));
    request.raw_input_contents.push(b"\x02\0\0\0ab".to_vec());
    let reply = infer(server.addr, request).await.unwrap();
    assert_eq!(reply.metadata().get("x-headgate-ignored").unwrap(), "new");
    assert_eq!(values(reply.get_ref(), 0), [-4.0]);
}

/// The port speaks HTTP/2 to those that ask for JSON too, and HTTP/1.1 to those that send their first line slowly.
#[tokio::test(flavor = "multi_thread")]
async fn one_port_for_both_versions_of_http() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_bucket, server) = bank(&[]).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let body = Full::new(r#"{"instances": [[2, 3]]}"#.into());
    let uri = format!("http://{}/v1/models/bank:predict", server.addr);
    let reply = client.request(Request::post(uri).body(body).unwrap()).await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.version()), (200, http::Version::HTTP_2));
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    for part in ["P", "R", "OPFIND /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"] {
        stream.write_all(part.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
    // Over HTTP/1.1 there are no trailers to end a call with.
    let grpc = [("content-type", "application/grpc")];
    let path = "/inference.GRPCInferenceService/ModelInfer";
    assert_eq!(send(server.addr, http::Method::POST, path, &grpc, Bytes::new()).await.unwrap().status, 404);
}
