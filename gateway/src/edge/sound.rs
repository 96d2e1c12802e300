//! Whether a request's head is one that every server on its way reads alike, beyond what hyper holds it to.

use headgate_contract::{Kind, host};
use http::header::{HOST, HeaderValue};
use http::{Method, Version, request};

use super::reply::Failed;

/// Refuses a head that another server may read otherwise, or that asks for a tunnel: its connection is to be closed.
pub(super) fn check(head: &request::Parts) -> Result<(), Failed> {
    if head.method == Method::CONNECT {
        let message = "CONNECT asks for a tunnel, and there is none here";
        return Err(Failed { allow: Some(""), ..Failed::new(Kind::MethodNotAllowed, message) });
    }
    let hosts = head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    host::check(head.version == Version::HTTP_11, hosts).map_err(|words| Failed::new(Kind::InvalidRequest, words))
}
