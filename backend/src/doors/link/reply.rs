//! Answers as frames.

use headgate_contract::error::ErrorBody;
use headgate_contract::link::{Answered, Closed, Content, Frame, Headers, Reply, put_headers};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use super::super::coding::Packing;
use super::super::names::{DIGEST, ERROR, LOAD, ROWS, VERSION};
use super::super::reply::{Value, refusal_of, said};
use super::heads::Read;
use crate::dispatch::{self, Chosen};
use crate::encode;
use crate::refusal::Refusal;
use crate::servable::Servable;

/// What a frame has fields for.
const IN_FRAME: [HeaderName; 5] = [CONTENT_TYPE, VERSION, DIGEST, ROWS, LOAD];

/// A call's answer.
pub(super) type Answer = Result<(dispatch::Reply, Packing), Refusal>;

/// Writes the answer of a call behind what `out` holds, in a frame of `most` bytes at most.
pub(super) fn put(id: u64, head: &Read, answer: Answer, load: u32, most: usize, out: &mut Vec<u8>) {
    let start = out.len();
    match answer {
        Ok((reply, packing)) => put_reply(id, head, &reply, packing, load, out),
        Err(refusal) => put_refusal(id, head, &refusal, load, out),
    }
    // Its length aside.
    if out.len() - start > most + 4 {
        out.truncate(start);
        Frame::Closed(id, Closed::TooLarge).put(out);
    }
}

fn put_reply(id: u64, head: &Read, reply: &dispatch::Reply, packing: Packing, load: u32, out: &mut Vec<u8>) {
    let (answer, servable) = (&reply.answer, &reply.servable);
    let chosen = head.asks.as_ref().ok().and_then(|asks| asks.chosen);
    let mut more: Vec<(HeaderName, HeaderValue)> = Vec::new();
    said(reply, 0, |name, value| {
        let value = match value {
            _ if IN_FRAME.contains(&name) => return,
            Value::Static(text) => Ok(HeaderValue::from_static(text)),
            Value::Held(value) => Ok(value.clone()),
            Value::Number(number) => Ok(HeaderValue::from(number)),
            Value::Text(text) => HeaderValue::try_from(text),
        };
        more.extend(value.ok().map(|value| (name, value)));
    });
    more.extend(packing.said().map(|(name, text)| (name, HeaderValue::from_static(text))));
    let mut list = Vec::new();
    let headers = match more.is_empty() {
        true => Headers::NONE,
        false => listed(more.iter().map(|(name, value)| (name, value)), &mut list),
    };
    let frame = Reply {
        id,
        status: 200,
        error: None,
        version: version(chosen, servable),
        load,
        rows: u32::try_from(answer.rows).ok(),
        content: match answer.body.content {
            encode::Content::Json => Content::Json,
            encode::Content::Binary => Content::Binary,
            encode::Content::Csv => Content::Csv,
            encode::Content::Protobuf => Content::Protobuf,
            encode::Content::Arrow => Content::Arrow,
        },
        headers,
        body: &answer.body.bytes,
    };
    Frame::Reply(frame).put(out);
}

fn put_refusal(id: u64, head: &Read, refusal: &Refusal, load: u32, out: &mut Vec<u8>) {
    let (mut parts, body) = refusal_of(refusal, ErrorBody::is_twice_at(&head.path)).into_parts();
    let content = parts.headers.get(CONTENT_TYPE).map_or(Content::Other, |value| Content::of(value.as_bytes()));
    // What the frame says, and what is of a connection of HTTP.
    for name in [CONTENT_TYPE, CONNECTION, ERROR] {
        parts.headers.remove(name);
    }
    let mut list = Vec::new();
    let frame = Reply {
        id,
        status: parts.status.as_u16(),
        error: Some(refusal.kind),
        version: Answered::None,
        load,
        rows: None,
        content,
        headers: listed(parts.headers.iter(), &mut list),
        body: &body,
    };
    Frame::Reply(frame).put(out);
}

/// Writes headers to a list; none of them where they are more than fit one.
fn listed<'h, 'l>(
    headers: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>,
    list: &'l mut Vec<u8>,
) -> Headers<'l> {
    put_headers(headers.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())), list);
    Headers::read(list).unwrap_or(Headers::NONE)
}

/// The version that answered: the one that the call names, nearly always.
fn version(chosen: Option<Chosen>, servable: &Servable) -> Answered {
    let (version, digest) = (servable.schema.version, servable.schema.digest);
    match chosen {
        Some(chosen) if chosen.version == version && chosen.digest == Some(digest) => Answered::AsChosen,
        _ => Answered::Version(version.get(), *digest.as_bytes()),
    }
}
