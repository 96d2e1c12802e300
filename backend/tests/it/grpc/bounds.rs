//! Sizes, times, compression.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headgate_contract::proto::{ModelInferRequest, ModelInferResponse, SERVICE};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};

use super::frames::{framed, raw};
use super::{bank, channel, infer, refused, rows, unary, values};
use crate::support::{Server, until};

async fn compressed(server: &Server, request: ModelInferRequest) -> Result<Response<ModelInferResponse>, Status> {
    let grpc = Grpc::new(channel(server.addr).await)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    unary(grpc, SERVICE, "ModelInfer", Request::new(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_compressed_where_the_caller_does_it() {
    let (_bucket, server) = bank(&[("limits.body_bytes_max", "100000")]).await;
    let (few, many) = (vec![1.0; 3], vec![2.0; 3000]);
    for (rows_of, encoding) in [(&few, None), (&many, Some("gzip"))] {
        let reply = compressed(&server, rows(true, rows_of, rows_of)).await.unwrap();
        let came = reply.metadata().get("grpc-encoding").map(|e| e.to_str().unwrap().to_owned());
        assert_eq!(came.as_deref(), encoding, "{} rows", rows_of.len());
        assert_eq!(values(reply.get_ref(), 0).len(), rows_of.len());
    }
    let plain = infer(server.addr, rows(true, &many, &many)).await.unwrap();
    assert!(plain.metadata().get("grpc-encoding").is_none());
    // A megabyte of zeros is a kilobyte on its way.
    let bomb = compressed(&server, rows(true, &vec![0.0; 100_000], &[])).await;
    refused(&bomb, Code::ResourceExhausted, "too_large", &["100000 bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_bound_names_it() {
    let (_bucket, server) = bank(&[("limits.body_bytes_max", "10000")]).await;
    let large = vec![1.0; 1000];
    refused(
        &infer(server.addr, rows(true, &large, &large)).await,
        Code::ResourceExhausted,
        "too_large",
        &["10000 bytes"],
    );
    assert_eq!(
        values(infer(server.addr, rows(true, &large[..100], &large[..100])).await.unwrap().get_ref(), 0).len(),
        100
    );
    until("all is given back", || async { server.metric("headgate_in_flight").await == "0" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes() {
    let (_bucket, server) = bank(&[]).await;
    let call = |name: &'static str, value: &'static str| {
        let server = &server;
        async move {
            let mut request = Request::new(rows(true, &[1.0], &[1.0]));
            request.metadata_mut().insert(name, value.parse().unwrap());
            let grpc = Grpc::new(channel(server.addr).await);
            unary::<_, ModelInferResponse>(grpc, SERVICE, "ModelInfer", request).await
        }
    };
    assert!(call("grpc-timeout", "10S").await.is_ok());
    // Without a client that cuts it off by itself.
    let message = rows(true, &[1.0], &[1.0]).encode_to_vec();
    let body = framed(0, message.len() as u32, &message);
    assert_eq!(raw(&server, &[("grpc-timeout", "1n")], body).await.0, "4");
    refused(&call("grpc-timeout", "soon").await, Code::InvalidArgument, "invalid_request", &["grpc-timeout", "'soon'"]);
    refused(
        &call("x-headgate-timeout-ms", "0").await,
        Code::InvalidArgument,
        "invalid_request",
        &["x-headgate-timeout-ms"],
    );
}

/// A gateway names the version, and callers their request.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_counts_as_headers_do() {
    let (_bucket, server) = bank(&[]).await;
    let call = |name: &'static str, value: &'static str| {
        let server = &server;
        async move {
            let mut request = Request::new(rows(true, &[1.0], &[1.0]));
            request.metadata_mut().insert(name, value.parse().unwrap());
            request.set_timeout(Duration::from_secs(10));
            let grpc = Grpc::new(channel(server.addr).await);
            unary::<_, ModelInferResponse>(grpc, SERVICE, "ModelInfer", request).await
        }
    };
    assert_eq!(call("x-request-id", "abc").await.unwrap().metadata().get("x-request-id").unwrap(), "abc");
    assert!(call("x-headgate-chosen-version", "1").await.is_ok());
    refused(&call("x-headgate-chosen-version", "7").await, Code::Unavailable, "not_here", &["version 7"]);
}

/// Half a message, and nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_arrive() {
    let (_bucket, server) = bank(&[("limits.timeout_ms", "300")]).await;
    let message = rows(true, &[1.0], &[1.0]).encode_to_vec();
    let half = framed(0, message.len() as u32, &message[..message.len() / 2]);
    let half = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(half)))]).chain(stream::pending());
    let client: Client<_, StreamBody<_>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = http::Request::post(format!("http://{}/{SERVICE}/ModelInfer", server.addr));
    let request = request.header("content-type", "application/grpc").body(StreamBody::new(half)).unwrap();
    let reply = client.request(request).await.unwrap();
    let header = |name| reply.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("grpc-status"), header("x-headgate-error")), (Some("4"), Some("deadline_exceeded")));
    until("its place is free", || async { server.metric("headgate_in_flight").await == "0" }).await;
}
