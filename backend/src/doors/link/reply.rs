//! Answers as frames.

use headgate_contract::error::ErrorBody;
use headgate_contract::header::{DIGEST, IGNORED, JSON_LENGTH, LOAD, MODEL, ROWS, VERSION};
use headgate_contract::link::{Answered, Closed, Content, Frame, Headers, Reply, put_headers};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::super::coding::Packing;
use super::super::names::ERROR;
use super::super::reply::refusal_of;
use super::heads::Read;
use crate::dispatch::{self, Chosen};
use crate::encode;
use crate::refusal::Refusal;
use crate::servable::Servable;

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
    let mut list = Vec::new();
    let is_usual = answer.body.json_bytes.is_none()
        && reply.fallback.is_none()
        && answer.ignored.is_empty()
        && packing == Packing::default();
    if !is_usual {
        let mut more = HeaderMap::new();
        packing.say(&mut more);
        let json_bytes = answer.body.json_bytes.map(|bytes| (JSON_LENGTH, HeaderValue::from(bytes)));
        let model = reply.fallback.as_ref().map(|model| (MODEL, HeaderValue::from_str(model.as_str())));
        let ignored = (!answer.ignored.is_empty()).then(|| HeaderValue::from_str(&answer.ignored.to_string()));
        let texts = [model, ignored.map(|ignored| (IGNORED, ignored))].into_iter().flatten();
        for (name, value) in json_bytes.into_iter().chain(texts.filter_map(|(name, text)| Some((name, text.ok()?)))) {
            more.insert(name, value);
        }
        put_list(&more, &mut list);
    }
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
        headers: Headers::read(&list).unwrap_or(Headers::NONE),
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
    put_list(&parts.headers, &mut list);
    let frame = Reply {
        id,
        status: parts.status.as_u16(),
        error: Some(refusal.kind),
        version: Answered::None,
        load,
        rows: None,
        content,
        headers: Headers::read(&list).unwrap_or(Headers::NONE),
        body: &body,
    };
    Frame::Reply(frame).put(out);
}

fn put_list(headers: &HeaderMap, list: &mut Vec<u8>) {
    debug_assert!([VERSION, DIGEST, ROWS, LOAD].iter().all(|name| !headers.contains_key(*name)), "the frame says it");
    put_headers(headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())), list);
}

/// The version that answered: the one that the call names, nearly always.
fn version(chosen: Option<Chosen>, servable: &Servable) -> Answered {
    let (version, digest) = (servable.schema.version, servable.schema.digest);
    match chosen {
        Some(chosen) if chosen.version == version && chosen.digest == Some(digest) => Answered::AsChosen,
        _ => Answered::Version(version.get(), *digest.as_bytes()),
    }
}
