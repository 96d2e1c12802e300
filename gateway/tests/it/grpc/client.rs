//! A caller who speaks gRPC, and can write frames that no library would.

use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use headgate_contract::grpc::{HEAD_BYTES, Head};
use headgate_contract::proto::{ModelInferRequest, ModelInferResponse};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::TcpStream;

use crate::gateway::Gateway;

/// A connection.
pub(crate) struct Client {
    pub(crate) sender: SendRequest<Bytes>,
    /// Ends with the connection, and says why.
    pub(crate) ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Answer {
    /// gRPC's code.
    pub(crate) code: u8,
    pub(crate) words: String,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Bytes>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The only message of a call that went well.
    pub(crate) fn message<M: Message + Default>(&self) -> M {
        assert_eq!((self.code, self.words.as_str(), self.messages.len()), (0, "", 1));
        M::decode(self.messages[0].clone()).unwrap()
    }

    pub(crate) fn inferred(&self) -> ModelInferResponse {
        self.message()
    }
}

/// A message in its frame.
pub(crate) fn frame(message: &[u8], compressed: bool) -> Bytes {
    let head = Head { compressed, length: message.len().try_into().unwrap() };
    [&head.write()[..], message].concat().into()
}

/// A question to model `m` that carries these bytes.
pub(crate) fn question(model: &str, version: &str, bytes: &[u8]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.into(),
        model_version: version.into(),
        id: "q".into(),
        raw_input_contents: vec![bytes.to_vec()],
        ..Default::default()
    }
}

/// The path of a method.
pub(crate) fn path(method: &str) -> String {
    format!("/inference.GRPCInferenceService/{method}")
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::at(&gateway.address).await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self { sender, ended: tokio::spawn(connection) }
    }

    /// Opens a call.
    pub(crate) async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://gateway{path}"))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut ready = self.sender.clone().ready().await.unwrap();
        ready.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Sends bytes as the body of a call.
    pub(crate) async fn send(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let (reply, mut stream) = self.open(path, headers).await;
        // One that is refused may have been reset.
        let _ = pour(&mut stream, body, true).await;
        tokio::time::timeout(Duration::from_secs(20), read(reply)).await.unwrap().unwrap()
    }

    /// Calls a method of the service.
    pub(crate) async fn call(&mut self, method: &str, headers: &[(&str, &str)], message: &impl Message) -> Answer {
        self.send(&path(method), headers, frame(&message.encode_to_vec(), false)).await
    }

    /// Asks model `m`.
    pub(crate) async fn infer(&mut self, headers: &[(&str, &str)]) -> Answer {
        self.call("ModelInfer", headers, &question("m", "", b"four")).await
    }
}

/// Sends as the window allows.
pub(crate) async fn pour(stream: &mut SendStream<Bytes>, mut body: Bytes, end: bool) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let part = body.split_to(room?.min(body.len()));
        stream.send_data(part, false)?;
    }
    if end { stream.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Reads a reply to its end.
pub(crate) async fn read(reply: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = reply.await?.into_parts();
    assert_eq!((head.status.as_u16(), head.headers["content-type"].as_bytes()), (200, &b"application/grpc"[..]));
    let mut bytes = bytes::BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or_else(|| head.headers.clone());
    let (mut bytes, mut messages) = (bytes.freeze(), Vec::new());
    while bytes.has_remaining() {
        messages.push(take(&mut bytes));
    }
    let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    Ok(Answer {
        code: text("grpc-status").parse().unwrap(),
        words: text("grpc-message"),
        headers: head.headers,
        messages,
    })
}

fn take(bytes: &mut Bytes) -> Bytes {
    let mut head = [0; HEAD_BYTES];
    bytes.copy_to_slice(&mut head);
    let head = Head::read(head).unwrap();
    assert!(!head.compressed);
    bytes.split_to(head.length as usize)
}

/// Answers that come one by one.
pub(crate) struct Incoming {
    body: RecvStream,
    bytes: Bytes,
}

impl Incoming {
    pub(crate) async fn of(reply: ResponseFuture) -> Self {
        Self { body: reply.await.unwrap().into_body(), bytes: Bytes::new() }
    }

    /// The next message, within ten seconds; at the end, the code and the words.
    pub(crate) async fn next(&mut self) -> Result<Bytes, (u8, String)> {
        tokio::time::timeout(Duration::from_secs(10), self.more()).await.unwrap()
    }

    async fn more(&mut self) -> Result<Bytes, (u8, String)> {
        loop {
            if let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>().and_then(|head| Head::read(*head))
                && self.bytes.len() >= HEAD_BYTES + head.length as usize
            {
                return Ok(take(&mut self.bytes));
            }
            let Some(data) = self.body.data().await else { break };
            let data = data.unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.bytes = [&self.bytes[..], &data].concat().into();
        }
        let trailers = self.body.trailers().await.unwrap().unwrap();
        let words = trailers.get("grpc-message").map(|words| words.to_str().unwrap().to_owned());
        Err((trailers["grpc-status"].to_str().unwrap().parse().unwrap(), words.unwrap_or_default()))
    }
}
