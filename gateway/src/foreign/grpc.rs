//! Calls by gRPC: a few connections of HTTP/2, each shared by many calls.
//!
//! A message goes on as it came. Model and version are written behind it where they are others: of a field that comes
//! twice the last counts (Protocol Buffers, "Encoding").

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Iter};
use headgate_contract::Kind;
use headgate_contract::grpc::{self, Address, HEAD_BYTES, Head};
use headgate_contract::proto::SERVICE;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Door;
use super::call::{refusal, strip_ours, time_left};
use crate::upstream::{Body, BodyError, BoxError, CallError, Options, Reply};

mod reply;

/// Connections to one server.
const CONNECTIONS: usize = 2;
/// How often a call is begun that finds its connection gone.
const TRIES_MAX: u32 = 8;
/// What a reply may send before we have read it: of one call, and of a connection.
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Messages up to this many bytes are copied into one frame.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A request's body: the frame's head, the message, what is written behind it.
type Parts = StreamBody<Iter<std::vec::IntoIter<Result<Frame<Bytes>, BodyError>>>>;
type Sender = http2::SendRequest<Parts>;

/// The way to one server's gRPC port.
#[derive(Debug)]
pub(super) struct Grpc {
    address: String,
    slots: [Mutex<Slot>; CONNECTIONS],
    next: AtomicUsize,
}

/// A connection's place.
#[derive(Debug, Default)]
struct Slot {
    sender: Option<Sender>,
    /// When it last failed to open, and why.
    failed: Option<(Instant, String)>,
}

/// What is asked, and of whom.
pub(super) struct Asked<'a> {
    pub(super) door: Door,
    pub(super) model: &'a str,
    /// Empty: the one that the server chooses.
    pub(super) version: &'a str,
}

impl Grpc {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), slots: Default::default(), next: AtomicUsize::new(0) }
    }

    /// Sends a call whose body is a message, or that is a question for one; the reply is a message, or an error in
    /// JSON, as a backend of ours answers by HTTP.
    pub(super) async fn call(
        &self,
        asked: &Asked<'_>,
        request: Request<Body>,
        options: &Options,
    ) -> Result<Reply, CallError> {
        let (head, body) = request.into_parts();
        let Body::Whole(message) = body else {
            let message = "a message that is too large to be held can't be sent on by gRPC".to_owned();
            return Ok(refusal(Kind::TooLarge, message));
        };
        let frames = asked.frames(message.unwrap_or_default());
        let headers = metadata(head.headers);
        let made = || request_of(&self.address, asked.method(), headers.clone(), frames.clone());
        let (response, reused) = self.send(made, options).await?;
        let lost = |source| CallError::Lost { address: self.address.clone(), reused, source };
        reply::read(response, asked.door, options).await.map_err(lost)
    }

    /// Whether the server says that it is there.
    pub(super) async fn is_live(&self, options: &Options) -> Result<(), BoxError> {
        let made = || request_of(&self.address, "ServerLive", metadata(HeaderMap::new()), vec![framed(&[])]);
        let (response, _) = self.send(made, options).await.map_err(|error| error.to_string())?;
        let reply = reply::read(response, Door::ReadyMessage, options).await?;
        match reply.head.status {
            StatusCode::OK => Ok(()),
            status => Err(format!("ServerLive answered {status}").into()),
        }
    }

    /// Sends a call, again where the server did nothing with it; the reply's head, and whether the connection was used
    /// before.
    async fn send(
        &self,
        made: impl Fn() -> Request<Parts>,
        options: &Options,
    ) -> Result<(Response<Incoming>, bool), CallError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (mut sender, reused) = self.sender(options.connect_timeout).await?;
            let mut error = match sender.try_send_request(made()).await {
                Ok(response) => return Ok((response, reused)),
                Err(error) => error,
            };
            let is_unsent = error.take_message().is_some();
            let error = error.into_error();
            let address = || self.address.clone();
            match is_unsent || is_unread(&error) {
                false => return Err(CallError::Lost { address: address(), reused, source: error.into() }),
                // Servers let go of old connections, and say so.
                true if tries < TRIES_MAX => {}
                true => return Err(CallError::Unreached { address: address(), unsent: None, source: error.into() }),
            }
        }
    }

    /// Lets go of all connections; those in use end with their calls.
    pub(super) fn purge(&self) {
        for slot in &self.slots {
            // One that is being opened is new.
            if let Ok(mut slot) = slot.try_lock() {
                slot.sender = None;
            }
        }
    }

    /// A connection, and whether it was used before.
    async fn sender(&self, connect_timeout: Duration) -> Result<(Sender, bool), CallError> {
        let at = self.next.fetch_add(1, Relaxed) % CONNECTIONS;
        let asked = Instant::now();
        let mut slot = self.slots[at].lock().await;
        if let Some(sender) = slot.sender.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), true));
        }
        let unreached = |source| CallError::Unreached { address: self.address.clone(), unsent: None, source };
        if let Some((_, why)) = slot.failed.as_ref().filter(|(at, _)| *at >= asked) {
            // Those who waited for one that failed do not try one by one.
            return Err(unreached(why.as_str().into()));
        }
        let opened = tokio::time::timeout(connect_timeout, open(&self.address)).await;
        let opened = opened.unwrap_or_else(|elapsed| Err(elapsed.into()));
        match opened {
            Ok(sender) => {
                *slot = Slot { sender: Some(sender.clone()), failed: None };
                Ok((sender, false))
            }
            Err(source) => {
                *slot = Slot { sender: None, failed: Some((Instant::now(), source.to_string())) };
                Err(unreached(source))
            }
        }
    }
}

/// Whether the server says that it did nothing with a call (RFC 9113, section 8.7).
fn is_unread(error: &hyper::Error) -> bool {
    let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    said.is_some_and(|said| match said.reason() {
        // Calls that it still answers do not end with this.
        Some(h2::Reason::NO_ERROR) => said.is_go_away() && said.is_remote(),
        reason => reason == Some(h2::Reason::REFUSED_STREAM) && said.is_reset(),
    })
}

async fn open(address: &str) -> Result<Sender, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let (sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection to a gRPC port broke");
        }
    });
    Ok(sender)
}

impl Asked<'_> {
    fn method(&self) -> &'static str {
        match self.door {
            Door::MetadataMessage => "ModelMetadata",
            Door::ReadyMessage => "ModelReady",
            Door::Statistics => "ModelStatistics",
            _ => "ModelInfer",
        }
    }

    /// The message in its frame. Questions, which come without one, name model and version alone.
    fn frames(&self, message: Bytes) -> Vec<Bytes> {
        let said = Address::of(&message).0;
        let mut behind = BytesMut::new();
        if said.model != self.model {
            field(&mut behind, 1, self.model);
        }
        if said.version != self.version {
            field(&mut behind, 2, self.version);
        }
        let length = message.len() + behind.len();
        let mut start = BytesMut::with_capacity(HEAD_BYTES + length.min(COPIED_BYTES_MAX));
        let head = Head { compressed: false, length: u32::try_from(length).unwrap_or(u32::MAX) };
        start.put_slice(&head.write());
        if length <= COPIED_BYTES_MAX {
            start.put_slice(&message);
            start.put_slice(&behind);
            return vec![start.freeze()];
        }
        vec![start.freeze(), message, behind.freeze()]
    }
}

fn framed(message: &[u8]) -> Bytes {
    let head = Head { compressed: false, length: u32::try_from(message.len()).unwrap_or(u32::MAX) };
    [&head.write(), message].concat().into()
}

/// A field of text, by its number.
fn field(into: &mut BytesMut, number: u8, text: &str) {
    into.put_u8(number << 3 | 2);
    prost::encoding::encode_varint(text.len() as u64, into);
    into.put_slice(text.as_bytes());
}

fn request_of(address: &str, method: &str, headers: HeaderMap, frames: Vec<Bytes>) -> Request<Parts> {
    let frames: Vec<_> = frames.into_iter().filter(|part| !part.is_empty()).map(|part| Ok(Frame::data(part))).collect();
    let mut request = Request::new(StreamBody::new(stream::iter(frames)));
    *request.method_mut() = Method::POST;
    // Both were read as such.
    if let Ok(uri) = format!("http://{address}/{SERVICE}/{method}").parse() {
        *request.uri_mut() = uri;
    }
    *request.headers_mut() = headers;
    request
}

/// The headers of a call by HTTP as metadata.
fn metadata(mut headers: HeaderMap) -> HeaderMap {
    let left = time_left(&headers);
    strip_ours(&mut headers);
    const OF_HTTP: [HeaderName; 5] =
        [header::ACCEPT, header::ACCEPT_ENCODING, header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::HOST];
    for name in OF_HTTP {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(left) =
        left.and_then(|left| HeaderValue::try_from(format!("{}m", left.as_millis().min(99_999_999))).ok())
    {
        headers.insert(grpc::TIMEOUT, left);
    }
    headers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::header as ours;
    use headgate_contract::proto::{ModelInferRequest, ModelMetadataRequest};
    use prost::Message as _;

    use super::*;

    fn sent(asked: &Asked<'_>, message: Vec<u8>) -> Vec<u8> {
        let bytes = asked.frames(message.into()).concat();
        let head = Head::read(bytes[..HEAD_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(head.length as usize, bytes.len() - HEAD_BYTES);
        bytes[HEAD_BYTES..].to_vec()
    }

    #[test]
    fn a_message_names_what_was_chosen() {
        let asked = |version: &'static str| Asked { door: Door::Message, model: "m", version };
        for (model, version, chosen) in [("m", "", "3"), ("m/labels/a", "", "v1.2"), ("m", "7", ""), ("m", "3", "3")] {
            for bytes in [4, COPIED_BYTES_MAX] {
                let raw = vec![7; bytes];
                let request = ModelInferRequest {
                    model_name: model.into(),
                    model_version: version.into(),
                    raw_input_contents: vec![raw.clone()],
                    ..Default::default()
                };
                let read = ModelInferRequest::decode(&*sent(&asked(chosen), request.encode_to_vec())).unwrap();
                assert_eq!((read.model_name.as_str(), read.model_version.as_str()), ("m", chosen));
                assert_eq!(read.raw_input_contents, [raw]);
            }
        }
        let question = Asked { door: Door::MetadataMessage, model: "m", version: "3" };
        let read = ModelMetadataRequest::decode(&*sent(&question, Vec::new())).unwrap();
        assert_eq!((read.name.as_str(), read.version.as_str()), ("m", "3"));
    }

    #[test]
    fn headers_become_metadata() {
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static(ours::TIMEOUT_MS), HeaderValue::from_static("250")),
            (HeaderName::from_static(ours::CHOSEN_VERSION), HeaderValue::from_static("3")),
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer x")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        ]);
        let metadata = metadata(headers);
        let of = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (of(grpc::TIMEOUT), of("authorization"), of("te")),
            (Some("250m"), Some("Bearer x"), Some("trailers"))
        );
        assert_eq!((of("content-type"), of(ours::CHOSEN_VERSION)), (Some(grpc::CONTENT_TYPE), None));
    }
}
