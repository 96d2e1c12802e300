//! Replies, good and bad.

use axum::body::Body;
use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::error::ErrorBody;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};

use super::names::{DIGEST, ERROR, IGNORED, JSON_LENGTH, LOAD, MODEL, REQUEST_ID, ROWS, VERSION};
use crate::dispatch::Reply;
use crate::encode::Content;
use crate::refusal::Refusal;
use crate::servable::Servable;

/// A reply's body: whole bytes on the hot path, whatever axum makes elsewhere.
pub(super) type ReplyBody = Either<Full<Bytes>, Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A prediction. `load` is the number of calls in flight.
pub(super) fn prediction(reply: Reply, load: usize) -> Response<Bytes> {
    let Reply { servable, answer, fallback } = reply;
    let mut response = Response::new(Bytes::from(answer.body.bytes));
    // Room for all that follow, at once.
    *response.headers_mut() = HeaderMap::with_capacity(12);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.body.content.media_type()));
    if let Some(length) = answer.body.json_bytes {
        headers.insert(JSON_LENGTH, HeaderValue::from(length));
    }
    headers.insert(VERSION, servable.version_header.clone());
    headers.insert(DIGEST, servable.digest_header.clone());
    headers.insert(ROWS, number(answer.rows));
    headers.insert(LOAD, number(load));
    if let Some(value) = fallback.and_then(|model| HeaderValue::from_str(model.as_str()).ok()) {
        headers.insert(MODEL, value);
    }
    if !answer.ignored.is_empty()
        && let Ok(value) = HeaderValue::from_str(&answer.ignored.to_string())
    {
        headers.insert(IGNORED, value);
    }
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

/// The caller's request id, or a new one. One that is long or no visible ASCII is replaced.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| id.len() <= 128 && id.to_str().is_ok_and(|id| !id.is_empty()));
    given.cloned().unwrap_or_else(|| {
        let mut id = [0; 32];
        // Twice as long as what is encoded: it can't fail.
        let _ = hex::encode_to_slice(rand::random::<[u8; 16]>(), &mut id);
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("0"))
    })
}

/// A number as a header's value; the small ones, as most are, without an allocation.
fn number(value: usize) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    match DIGITS.get(value..=value) {
        Some(digit) => HeaderValue::from_static(digit),
        None => HeaderValue::from(value),
    }
}
