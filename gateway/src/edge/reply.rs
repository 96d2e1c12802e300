//! Replies: errors in words, and what passes of a backend's headers.

use bytes::Bytes;
use headgate_contract::error::ErrorBody;
use headgate_contract::{Kind, header as ours};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, response};

use crate::fleet::Refusal;
use crate::upstream::Body;

/// A request that failed, in words for its caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failed {
    pub(super) kind: Kind,
    pub(super) message: String,
    /// The methods that a path takes, where the call's is not among them.
    pub(super) allow: Option<&'static str>,
}

impl Failed {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), allow: None }
    }

    /// The reply to a request for this path.
    pub(super) fn response(&self, path: &str) -> Response<Body> {
        let body = ErrorBody::new(self.message.clone(), ErrorBody::is_twice_at(path));
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &body);
        response.headers_mut().insert(ours::ERROR, HeaderValue::from_static(self.kind.as_str()));
        if matches!(self.kind, Kind::Overloaded | Kind::Unavailable | Kind::Loading | Kind::RateLimited) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.message)
    }
}

impl From<headgate_contract::route::RouteError> for Failed {
    fn from(error: headgate_contract::route::RouteError) -> Self {
        Self { kind: error.kind, message: error.message, allow: error.allow }
    }
}

/// A reply of our own.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Response<Body> {
    whole(status, serde_json::to_vec(body).unwrap_or_default().into())
}

/// A reply of our own, as JSON text.
pub(super) fn whole(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The media type of a bare protocol buffers message.
pub(super) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Whether a media type, or a list of those that are accepted, names [`PROTOBUF`].
pub(super) fn is_protobuf(value: &HeaderValue) -> bool {
    let types = value.to_str().unwrap_or_default().split(',');
    let bare =
        |of: &str| of.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-protobuf");
    types.into_iter().any(bare)
}

/// What a backend's error says, in whatever form it comes.
pub(super) fn error_of(head: &response::Parts, body: &[u8]) -> Failed {
    let named = head.headers.get(ours::ERROR).and_then(|name| Kind::from_name(name.to_str().ok()?));
    let like = || Kind::ALL.into_iter().find(|kind| kind.status() == head.status.as_u16());
    let kind = named.or_else(like).unwrap_or(if head.status.is_client_error() {
        Kind::InvalidRequest
    } else {
        Kind::BadGateway
    });
    let message = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => format!("a backend answered with status {}", head.status.as_u16()),
    };
    Failed::new(kind, message)
}

/// Takes away the headers that are for one connection only (RFC 9110, section 7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // As nearly all that come over a link.
    if headers.is_empty() {
        return;
    }
    // The header may come more than once, and each names more.
    let values = headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let named: Vec<HeaderName> = values.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    headers.remove(header::CONNECTION);
    for name in named {
        headers.remove(name);
    }
    const HOP: [HeaderName; 9] = [
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    for name in HOP {
        headers.remove(name);
    }
}
