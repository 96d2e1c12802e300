//! A reply as it goes out.

use std::time::SystemTime;

use bytes::Bytes;
use headgate_contract::header;
use headgate_contract::http1::{line, rest, status_line};
use http::{HeaderValue, Response, StatusCode};

use crate::dispatch::Reply;
use crate::doors::coding::Packing;
use crate::doors::reply::{self, Id, Value};

/// Room for the head of a reply that says no more than usual.
const HEAD_BYTES: usize = 512;

/// Writes a prediction behind what `out` holds.
pub(super) fn prediction(reply: &Reply, packing: Packing, load: usize, id: &Id<'_>, closes: bool, out: &mut Vec<u8>) {
    let body = &reply.answer.body.bytes;
    out.reserve(HEAD_BYTES + body.len());
    status_line(StatusCode::OK, out);
    reply::said(reply, load, |name, value| match value {
        Value::Static(text) => line(name.as_str(), text.as_bytes(), out),
        Value::Held(value) => line(name.as_str(), value.as_bytes(), out),
        Value::Number(value) => line(name.as_str(), itoa::Buffer::new().format(value).as_bytes(), out),
        Value::Text(text) if HeaderValue::from_str(&text).is_ok() => line(name.as_str(), text.as_bytes(), out),
        Value::Text(_) => {}
    });
    packing.said().for_each(|(name, text)| line(name.as_str(), text.as_bytes(), out));
    line(header::REQUEST_ID, id.as_bytes(), out);
    if closes {
        line("connection", b"close", out);
    }
    rest(Some(body.len() as u64), SystemTime::now(), out);
    out.extend_from_slice(body);
}

/// Writes a reply of any status.
pub(super) fn any(response: &Response<Bytes>, out: &mut Vec<u8>) {
    out.reserve(HEAD_BYTES + response.body().len());
    status_line(response.status(), out);
    for (name, value) in response.headers() {
        line(name.as_str(), value.as_bytes(), out);
    }
    rest(Some(response.body().len() as u64), SystemTime::now(), out);
    out.extend_from_slice(response.body());
}
