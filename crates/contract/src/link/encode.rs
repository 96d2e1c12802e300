//! Frames as bytes.

use super::{Answered, Call, Closed, Content, Frame, HEAD_BYTES_MAX, HeadOf, Hello, Reply};
use crate::Kind;

pub(super) const HELLO: u8 = 1;
pub(super) const HEAD: u8 = 2;
pub(super) const CALL: u8 = 3;
pub(super) const REPLY: u8 = 4;
pub(super) const CLOSED: u8 = 5;
pub(super) const CANCEL: u8 = 6;
pub(super) const PING: u8 = 7;
pub(super) const PONG: u8 = 8;
pub(super) const DRAINING: u8 = 9;

/// Instead of a head's number: it follows.
pub(super) const INLINE: u16 = u16::MAX;
/// Instead of a number of rows: there is none.
pub(super) const NO_ROWS: u32 = u32::MAX;

pub(super) const CANCELLED: u8 = 1;
pub(super) const TOO_LARGE: u8 = 2;

pub(super) const NO_VERSION: u8 = 0;
pub(super) const AS_CHOSEN: u8 = 1;
pub(super) const OTHER_VERSION: u8 = 2;

impl Frame<'_> {
    /// Writes it behind what `out` holds. Texts that are longer than their fields can say are cut.
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Frame::Hello(hello) => put_hello(hello, out),
            Frame::Head(index, head) => {
                out.push(HEAD);
                out.extend_from_slice(&index.to_le_bytes());
                out.extend_from_slice(head.block);
            }
            Frame::Call(call) => put_call(call, out),
            Frame::Reply(reply) => put_reply(reply, out),
            Frame::Closed(id, why) => {
                put_number(CLOSED, *id, out);
                out.push(match why {
                    Closed::Cancelled => CANCELLED,
                    Closed::TooLarge => TOO_LARGE,
                });
            }
            Frame::Cancel(id) => put_number(CANCEL, *id, out),
            Frame::Ping(number) => put_number(PING, *number, out),
            Frame::Pong(number) => put_number(PONG, *number, out),
            Frame::Draining => out.push(DRAINING),
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Writes a head: path and headers. False, and nothing is written, where it is too large for one.
pub fn put_head<'h>(path: &str, headers: impl Iterator<Item = (&'h [u8], &'h [u8])>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let fits = path.len() < HEAD_BYTES_MAX && {
        out.extend_from_slice(&(path.len() as u16).to_le_bytes());
        out.extend_from_slice(path.as_bytes());
        put_headers(headers, out) && out.len() - start <= HEAD_BYTES_MAX
    };
    if !fits {
        out.truncate(start);
    }
    fits
}

/// Writes a list of headers. False, and nothing is written, where it is too long for one.
pub fn put_headers<'h>(headers: impl Iterator<Item = (&'h [u8], &'h [u8])>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(0);
    let mut count = 0_u8;
    for (name, value) in headers {
        let bytes = out.len() - start + name.len() + value.len() + 3;
        let (Ok(length), 1..) = (u8::try_from(name.len()), name.len()) else {
            out.truncate(start);
            return false;
        };
        if count == u8::MAX || bytes > HEAD_BYTES_MAX {
            out.truncate(start);
            return false;
        }
        count += 1;
        out.push(length);
        out.extend_from_slice(name);
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
    }
    out[start] = count;
    true
}

fn put_hello(hello: &Hello<'_>, out: &mut Vec<u8>) {
    out.push(HELLO);
    out.extend_from_slice(&hello.version.to_le_bytes());
    out.extend_from_slice(&hello.credits.to_le_bytes());
    out.extend_from_slice(&hello.frame_bytes_max.to_le_bytes());
    out.extend_from_slice(&hello.connections.to_le_bytes());
    out.extend_from_slice(&hello.heads.to_le_bytes());
    let name: String = hello.name.chars().filter(char::is_ascii).take(usize::from(u8::MAX)).collect();
    put_short(name.as_bytes(), out);
}

fn put_call(call: &Call<'_>, out: &mut Vec<u8>) {
    out.reserve(64 + call.body.len());
    put_number(CALL, call.id, out);
    out.extend_from_slice(&call.timeout_ms.to_le_bytes());
    match &call.head {
        HeadOf::Known(index) => out.extend_from_slice(&index.to_le_bytes()),
        HeadOf::Inline(head) => {
            out.extend_from_slice(&INLINE.to_le_bytes());
            out.extend_from_slice(&(head.block.len() as u16).to_le_bytes());
            out.extend_from_slice(head.block);
        }
    }
    put_short(call.request_id, out);
    out.extend_from_slice(call.headers.as_bytes());
    out.extend_from_slice(call.body);
}

fn put_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    out.reserve(96 + reply.body.len());
    put_number(REPLY, reply.id, out);
    out.extend_from_slice(&reply.status.to_le_bytes());
    out.push(reply.error.map_or(0, code_of));
    match reply.version {
        Answered::None => out.push(NO_VERSION),
        Answered::AsChosen => out.push(AS_CHOSEN),
        Answered::Version(version, digest) => {
            out.push(OTHER_VERSION);
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&digest);
        }
    }
    out.extend_from_slice(&reply.load.to_le_bytes());
    out.extend_from_slice(&reply.rows.unwrap_or(NO_ROWS).to_le_bytes());
    out.push(Content::ALL.iter().position(|content| *content == reply.content).unwrap_or_default() as u8);
    out.extend_from_slice(reply.headers.as_bytes());
    out.extend_from_slice(reply.body);
}

fn put_number(kind: u8, number: u64, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_short(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(usize::from(u8::MAX))];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// An error kind as a number, from 1 up.
pub(super) fn code_of(kind: Kind) -> u8 {
    Kind::ALL.iter().position(|other| *other == kind).map_or(0, |at| at as u8 + 1)
}
