//! A gRPC port that answers what it is told to.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server;
use headgate_contract::proto::ModelInferResponse;
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};

use crate::grpc::client::frame;

/// How predictions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    /// Well, and a connection is let go of after some calls: those that are on their way find it going.
    Leave,
    /// With this status and these words.
    Refuse(u8, &'static str),
    /// By resetting the stream.
    Reset,
    /// With a good message and no status.
    Statusless,
    /// With a message that ends before its length.
    Short,
    /// With more than a message.
    Long,
    /// With something that is no frame.
    Garbage,
    /// With another media type.
    Page,
}

/// A running one.
pub(crate) struct Port {
    pub(crate) address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    manner: Mutex<Manner>,
    connections: Mutex<usize>,
    /// The metadata of the last call.
    metadata: Mutex<HeaderMap>,
}

impl Port {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::Well),
            connections: Mutex::default(),
            metadata: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                connections.spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { address, shared, server }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Connections since the start.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// The metadata of the last prediction.
    pub(crate) fn metadata(&self) -> HeaderMap {
        self.shared.metadata.lock().unwrap().clone()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = server::handshake(stream).await.unwrap();
    let mut calls = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let is_prediction = request.uri().path().ends_with("/ModelInfer");
        let manner = if is_prediction { *shared.manner.lock().unwrap() } else { Manner::Well };
        if is_prediction {
            *shared.metadata.lock().unwrap() = request.headers().clone();
        }
        tokio::spawn(answer(request, respond, manner));
        calls += 1;
        if manner == Manner::Leave && calls % 10 == 0 {
            connection.graceful_shutdown();
        }
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>, manner: Manner) {
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    let head = |media_type: &str| Response::builder().header("content-type", media_type);
    if manner == Manner::Reset {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        return;
    }
    if manner == Manner::Page {
        let mut stream = respond.send_response(head("text/html").body(()).unwrap(), false).unwrap();
        let _ = stream.send_data(Bytes::from_static(b"<html>"), true);
        return;
    }
    if let Manner::Refuse(code, words) = manner {
        let refused = head("application/grpc").header("grpc-status", code.to_string()).header("grpc-message", words);
        let _ = respond.send_response(refused.body(()).unwrap(), true);
        return;
    }
    let mut stream = respond.send_response(head("application/grpc").body(()).unwrap(), false).unwrap();
    let response = ModelInferResponse { model_name: "m".into(), model_version: "1".into(), ..Default::default() };
    let whole = frame(&response.encode_to_vec(), false);
    let _ = stream.send_data(
        match manner {
            Manner::Short => whole.slice(..whole.len() - 1),
            Manner::Long => [&whole[..], b"x"].concat().into(),
            Manner::Garbage => Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
            _ => whole,
        },
        manner == Manner::Statusless,
    );
    if manner != Manner::Statusless {
        let _ = stream.send_trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]));
    }
}
