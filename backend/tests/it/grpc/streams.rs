//! `ModelStreamInfer`.

use std::time::Duration;

use futures_util::stream;
use headgate_contract::proto::{ModelInferRequest, ModelStreamInferResponse, SERVICE};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::{Code, Request, Streaming};
use tonic_prost::ProstCodec;

use super::{bank, channel, rows, values};
use crate::support::Server;

/// An open stream: what is sent here is asked.
async fn open(server: &Server) -> (mpsc::Sender<ModelInferRequest>, Streaming<ModelStreamInferResponse>) {
    let (send, receive) = mpsc::channel(100);
    let asked = stream::unfold(receive, |mut receive| async { receive.recv().await.map(|request| (request, receive)) });
    let mut grpc = Grpc::new(channel(server.addr).await);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{SERVICE}/ModelStreamInfer")).unwrap();
    let codec = ProstCodec::<ModelInferRequest, ModelStreamInferResponse>::default();
    (send, grpc.streaming(Request::new(asked), path, codec).await.unwrap().into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_in_order_and_errors_do_not_end_the_stream() {
    let (_bucket, server) = bank(&[]).await;
    let (send, mut replies) = open(&server).await;
    for n in 0..50 {
        let mut request = rows(n % 2 == 0, &[f64::from(n)], &[0.0]);
        request.id = n.to_string();
        if n % 10 == 7 {
            request.inputs[0].datatype = "FP65".into();
        }
        send.send(request).await.unwrap();
    }
    for n in 0..50 {
        let reply = replies.message().await.unwrap().unwrap();
        let response = reply.infer_response.unwrap();
        assert_eq!(response.id, n.to_string());
        if n % 10 == 7 {
            assert!(reply.error_message.contains("'FP65'"), "{}", reply.error_message);
            continue;
        }
        assert_eq!((reply.error_message.as_str(), values(&response, 0)), ("", vec![1.0 + 0.5 * f64::from(n)]));
    }
    drop(send);
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_does_not_keep_the_server_from_stopping() {
    let (_bucket, mut server) = bank(&[]).await;
    let (send, mut replies) = open(&server).await;
    send.send(rows(true, &[1.0], &[1.0])).await.unwrap();
    assert!(replies.message().await.unwrap().unwrap().error_message.is_empty());
    server.terminate();
    let end = replies.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the backend stops"));
    tokio::time::timeout(Duration::from_secs(30), server.running).await.unwrap().unwrap().unwrap();
}
