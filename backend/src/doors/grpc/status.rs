//! How a call ended, as gRPC says it: the code and the words of HTTP's door, and the kind in `x-headgate-error`.

use headgate_contract::Kind;
use headgate_contract::grpc::{ACCEPT_ENCODING, CONTENT_TYPE, MESSAGE, STATUS, percent_encoded};
use headgate_contract::header::ERROR;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{Either, Full};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::super::reply::ReplyBody;
use crate::refusal::{Refusal, shorten};

/// The most characters of an error that tonic sends: callers bound what they take of headers.
const WORDS_MAX: usize = 1000;

/// How messages may be packed.
pub(super) const CODINGS: &str = "identity, gzip, deflate";

/// The headers that end a call; none: it went well.
pub(super) fn trailers(refusal: Option<&Refusal>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let Some(refusal) = refusal else {
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        return trailers;
    };
    trailers.insert(STATUS, HeaderValue::from(u16::from(refusal.kind.grpc())));
    if let Ok(words) = HeaderValue::from_str(&percent_encoded(&refusal.message)) {
        trailers.insert(MESSAGE, words);
    }
    trailers.insert(ERROR, HeaderValue::from_static(refusal.kind.as_str()));
    trailers
}

/// A reply that is an error and nothing else.
pub(super) fn refused(refusal: &Refusal) -> Response<ReplyBody> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.headers_mut() = trailers(Some(refusal));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if refusal.kind == Kind::Unsupported {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
    }
    response
}

/// The same, for what goes through tonic.
pub(super) fn status(refusal: &Refusal) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(ERROR, tonic::metadata::MetadataValue::from_static(refusal.kind.as_str()));
    let code = Code::from(i32::from(refusal.kind.grpc()));
    Status::with_metadata(code, shorten(&refusal.message, WORDS_MAX), metadata)
}
