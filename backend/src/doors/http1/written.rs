//! A reply as it goes out.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headgate_contract::header;
use http::{HeaderValue, Response};

use crate::dispatch::Reply;
use crate::doors::coding::Packing;
use crate::doors::reply::{self, Id, Value};

/// Room for the head of a reply that says no more than usual.
const HEAD_BYTES: usize = 512;

thread_local! {
    /// The second since 1970, and how it is written.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes a prediction behind what `out` holds.
pub(super) fn prediction(reply: &Reply, packing: Packing, load: usize, id: &Id<'_>, closes: bool, out: &mut Vec<u8>) {
    let body = &reply.answer.body.bytes;
    out.reserve(HEAD_BYTES + body.len());
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    reply::said(reply, load, |name, value| match value {
        Value::Static(text) => line(name.as_str(), text.as_bytes(), out),
        Value::Held(value) => line(name.as_str(), value.as_bytes(), out),
        Value::Number(value) => {
            named(name.as_str(), out);
            number(value, out);
            out.extend_from_slice(b"\r\n");
        }
        Value::Text(text) if HeaderValue::from_str(&text).is_ok() => line(name.as_str(), text.as_bytes(), out),
        Value::Text(_) => {}
    });
    packing.said().for_each(|(name, text)| line(name.as_str(), text.as_bytes(), out));
    line(header::REQUEST_ID, id.as_bytes(), out);
    if closes {
        line("connection", b"close", out);
    }
    rest(body, out);
}

/// Writes a reply of any status.
pub(super) fn any(response: &Response<Bytes>, out: &mut Vec<u8>) {
    out.reserve(HEAD_BYTES + response.body().len());
    let status = response.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        line(name.as_str(), value.as_bytes(), out);
    }
    rest(response.body(), out);
}

fn named(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    named(name, out);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What comes last in every head, and the body.
fn rest(body: &[u8], out: &mut Vec<u8>) {
    named("content-length", out);
    number(body.len(), out);
    out.extend_from_slice(b"\r\n");
    named("date", out);
    date(out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

fn number(value: usize, out: &mut Vec<u8>) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, value);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// The time as HTTP has it, which is written once a second.
fn date(out: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(written, text)| {
        if *written != second || text.is_empty() {
            (*written, *text) = (second, httpdate::fmt_http_date(now));
        }
        out.extend_from_slice(text.as_bytes());
    });
}
