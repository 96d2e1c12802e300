//! Replies, good and bad.

use axum::body::Body;
use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::error::ErrorBody;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};

use super::names::{DIGEST, ERROR, IGNORED, JSON_LENGTH, LOAD, MODEL, REQUEST_ID, ROWS, VERSION, WAITED_MS};
use crate::dispatch::Reply;
use crate::encode::Content;
use crate::refusal::Refusal;
use crate::servable::Servable;

/// A reply's body: whole bytes on the hot path, whatever axum makes elsewhere.
pub(super) type ReplyBody = Either<Full<Bytes>, Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The value of a header that a reply says.
pub(super) enum Value<'r> {
    Static(&'static str),
    Held(&'r HeaderValue),
    Number(usize),
    Text(String),
}

/// Says all headers of a prediction. `load` is the number of calls in flight.
pub(super) fn said(reply: &Reply, load: usize, mut say: impl FnMut(HeaderName, Value<'_>)) {
    let Reply { servable, answer, fallback, waited } = reply;
    say(CONTENT_TYPE, Value::Static(answer.body.content.media_type()));
    if let Some(length) = answer.body.json_bytes {
        say(JSON_LENGTH, Value::Number(length));
    }
    say(VERSION, Value::Held(&servable.version_header));
    say(DIGEST, Value::Held(&servable.digest_header));
    say(ROWS, Value::Number(answer.rows));
    say(LOAD, Value::Number(load));
    if let Some(model) = fallback {
        say(MODEL, Value::Text(model.to_string()));
    }
    if let Some(waited) = waited {
        say(WAITED_MS, Value::Number(waited.as_millis() as usize));
    }
    if !answer.ignored.is_empty() {
        say(IGNORED, Value::Text(answer.ignored.to_string()));
    }
}

/// A prediction.
pub(super) fn prediction(reply: Reply, load: usize) -> Response<Bytes> {
    // Room for all that follow, at once.
    let mut headers = HeaderMap::with_capacity(12);
    said(&reply, load, |name, value| {
        let value = match value {
            Value::Static(text) => HeaderValue::from_static(text),
            Value::Held(value) => value.clone(),
            Value::Number(value) => number(value),
            Value::Text(text) => match HeaderValue::try_from(text) {
                Ok(value) => value,
                Err(_) => return,
            },
        };
        headers.insert(name, value);
    });
    let mut response = Response::new(Bytes::from(reply.answer.body.bytes));
    *response.headers_mut() = headers;
    response
}

/// An error.
pub(super) fn refusal(refusal: &Refusal) -> Response<ReplyBody> {
    refusal_of(refusal, false).map(|body| Either::Left(Full::new(body)))
}

/// An error; `twice`: as SageMaker's clients read it.
pub(super) fn refusal_of(refusal: &Refusal, twice: bool) -> Response<Bytes> {
    let body = serde_json::to_vec(&ErrorBody::new(refusal.message.clone(), twice)).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ERROR, HeaderValue::from_static(refusal.kind.as_str()));
    if matches!(refusal.kind, Kind::Overloaded | Kind::Unavailable | Kind::Loading) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(allow) = refusal.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.kind == Kind::TooLarge {
        // What is left of the body is not worth reading.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &impl serde::Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(document).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A JSON document that is written already.
pub(super) fn written(document: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A message of gRPC, by itself.
pub(super) fn message(message: &impl prost::Message) -> Response<Body> {
    let mut response = Response::new(Body::from(message.encode_to_vec()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Content::Protobuf.media_type()));
    response
}

/// A reply that is about a version, which it names.
pub(super) fn of_version(servable: &Servable, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(VERSION, servable.version_header.clone());
    response.headers_mut().insert(DIGEST, servable.digest_header.clone());
    response
}

/// What a request is called.
pub(super) enum Id<'h> {
    /// As its caller calls it.
    Given(&'h HeaderValue),
    /// A new name.
    New([u8; 32]),
}

impl<'h> Id<'h> {
    /// The caller's request id, or a new one. One that is long or no visible ASCII is replaced.
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| id.len() <= 128 && id.to_str().is_ok_and(|id| !id.is_empty()));
        given.map_or_else(Self::new, Id::Given)
    }

    /// A new name.
    pub(super) fn new() -> Self {
        let mut id = [0; 32];
        // Twice as long as what is encoded: it can't fail.
        let _ = hex::encode_to_slice(rand::random::<[u8; 16]>(), &mut id);
        Id::New(id)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Id::Given(value) => value.as_bytes(),
            Id::New(id) => id,
        }
    }

    pub(super) fn header(&self) -> HeaderValue {
        match self {
            Id::Given(value) => (*value).clone(),
            Id::New(id) => HeaderValue::from_bytes(id).unwrap_or(HeaderValue::from_static("0")),
        }
    }
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A number as a header's value; the small ones, as most are, without an allocation.
fn number(value: usize) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    match DIGITS.get(value..=value) {
        Some(digit) => HeaderValue::from_static(digit),
        None => HeaderValue::from(value),
    }
}
