//! Replies: messages in frames, and trailers that say how it went.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use headgate_contract::grpc::{self, HEAD_BYTES, Head};
use headgate_contract::{Kind, header as ours};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Frame};

use super::message::Coding;
use crate::config::Limits;
use crate::edge::reply::{Failed, error_of, is_protobuf};
use crate::upstream::{Body, BodyError, Streaming};

const OK: HeaderValue = HeaderValue::from_static("0");
/// Messages up to this many bytes are copied behind their head, as one frame of HTTP/2 carries them.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A message on its way: its head, itself, and how it went.
struct Framed {
    start: Option<Bytes>,
    rest: Body,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            polled => polled,
        }
    }
}

/// A message in its frame.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + message.len());
    bytes.put_slice(&head(message.len()));
    bytes.put_slice(message);
    bytes.freeze()
}

/// A message of our own.
pub(super) fn message(message: &impl prost::Message) -> Response<Body> {
    whole(message.encode_to_vec().into())
}

/// A call that failed, told in the head alone.
pub(super) fn failed(failed: &Failed) -> Response<Body> {
    let mut response = empty();
    let headers = response.headers_mut();
    headers.extend(trailers(Some(failed)));
    headers.insert(ours::ERROR, HeaderValue::from_static(failed.kind.as_str()));
    if failed.kind == Kind::Unsupported {
        headers.insert(grpc::ACCEPT_ENCODING, Coding::ACCEPTED);
    }
    response
}

/// What is said at the end.
pub(super) fn trailers(failed: Option<&Failed>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(grpc::STATUS, failed.map_or(OK, |failed| u16::from(failed.kind.grpc()).into()));
    if let Some(failed) = failed
        && let Ok(words) = HeaderValue::try_from(grpc::percent_encoded(&failed.message))
    {
        trailers.insert(grpc::MESSAGE, words);
    }
    trailers
}

/// The HTTP status that says the same, for logs and metrics.
pub(super) fn status(error: Option<&HeaderValue>) -> StatusCode {
    let kind = error.and_then(|kind| Kind::from_name(kind.to_str().ok()?));
    kind.and_then(|kind| StatusCode::from_u16(kind.status()).ok()).unwrap_or_default()
}

/// A reply with nothing in it yet.
pub(super) fn empty() -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

/// What a backend answered by HTTP.
pub(super) async fn of(response: Response<Body>, limits: &Limits) -> Result<Response<Body>, Failed> {
    let (head, body) = response.into_parts();
    let is_message = head.headers.get(header::CONTENT_TYPE).is_some_and(is_protobuf);
    let mut reply = match (head.status, body) {
        (StatusCode::OK, Body::Whole(bytes)) if is_message => whole(bytes.unwrap_or_default()),
        (StatusCode::OK, Body::Streaming(body)) if is_message => streaming(body, limits).await?,
        (StatusCode::OK, _) => failed(&Failed::new(Kind::BadGateway, "a backend's answer is no message of gRPC")),
        (_, Body::Whole(bytes)) => failed(&error_of(&head, &bytes.unwrap_or_default())),
        (_, Body::Streaming(_)) => failed(&error_of(&head, b"")),
    };
    let of_http = |name: &header::HeaderName| {
        matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH | header::CONTENT_ENCODING)
    };
    for (name, value) in &head.headers {
        if !of_http(name) {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    Ok(reply)
}

/// What a backend answered by HTTP, as a message and nothing else.
pub(super) async fn message_of(response: Response<Body>, limits: &Limits) -> Result<Bytes, Failed> {
    let (head, body) = response.into_parts();
    let is_message = head.headers.get(header::CONTENT_TYPE).is_some_and(is_protobuf);
    match (head.status, body) {
        (StatusCode::OK, Body::Whole(bytes)) if is_message => Ok(bytes.unwrap_or_default()),
        (StatusCode::OK, Body::Streaming(body)) if is_message => gathered(body, limits).await,
        (StatusCode::OK, _) => Err(Failed::new(Kind::BadGateway, "a backend's answer is no message of gRPC")),
        (_, Body::Whole(bytes)) => Err(error_of(&head, &bytes.unwrap_or_default())),
        (_, Body::Streaming(_)) => Err(error_of(&head, b"")),
    }
}

fn head(length: usize) -> [u8; HEAD_BYTES] {
    Head { compressed: false, length: u32::try_from(length).unwrap_or(u32::MAX) }.write()
}

fn whole(message: Bytes) -> Response<Body> {
    if message.len() <= COPIED_BYTES_MAX {
        return with(framed(&message), Body::whole(Bytes::new()));
    }
    with(Bytes::copy_from_slice(&head(message.len())), Body::whole(message))
}

/// A large message passes as it comes, where its length is known.
async fn streaming(body: Streaming, limits: &Limits) -> Result<Response<Body>, Failed> {
    match body.size_hint().exact().and_then(|length| u32::try_from(length).ok()) {
        Some(length) => Ok(with(Bytes::copy_from_slice(&head(length as usize)), Body::Streaming(body))),
        None => Ok(whole(gathered(body, limits).await?)),
    }
}

async fn gathered(body: Streaming, limits: &Limits) -> Result<Bytes, Failed> {
    let max = usize::try_from(limits.body_bytes_max).unwrap_or(usize::MAX);
    let gathered = tokio::time::timeout(limits.stream_deadline, Limited::new(body, max).collect()).await;
    match gathered {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Failed::new(Kind::BadGateway, format!("a backend's answer broke off: {error}"))),
        Err(_) => Err(Failed::new(Kind::DeadlineExceeded, "a backend's answer did not end")),
    }
}

fn with(start: Bytes, rest: Body) -> Response<Body> {
    let framed = Framed { start: Some(start), rest, trailers: Some(trailers(None)) };
    empty().map(|_| Body::Streaming(framed.boxed_unsync()))
}
