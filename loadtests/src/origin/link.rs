//! The origin's end of a link: every call is answered with the same reply, as soon as it is read or was worked on.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use bytes::{Buf as _, BytesMut};
use headgate_contract::link::{
    Answered, CREDITS, Call, Closed, Content, FRAME_BYTES_MAX, Frame, HEADER, HEADS_MAX, Headers, Hello, Next,
    PROTOCOL, Reply, VERSIONS, next,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use super::desk::Done;
use super::{Answers, kind_of};

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The answer to the request that opens a link.
pub(super) fn opened() -> Vec<u8> {
    let version = VERSIONS.max;
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{HEADER}: {version}\r\n\r\n"
    )
    .into()
}

/// The answer where none is to be opened.
pub(super) fn refused() -> Vec<u8> {
    b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n".into()
}

/// What a call that was worked on ends with: its number, and what became of it.
type Ended = (u64, Done);

/// Answers the calls of a link until it is closed; `bytes` is what came behind its request.
pub(super) async fn answer(mut stream: TcpStream, mut bytes: BytesMut, answers: &Rc<Answers>) -> io::Result<()> {
    let garbled = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut out = Vec::with_capacity(READ_BYTES);
    // Dropped with the connection, which cancels them.
    let mut calls = JoinSet::new();
    let mut open = HashMap::new();
    hello(&answers.name).put(&mut out);
    loop {
        while let Next::Frame(frame, length) = next(&bytes, FRAME_BYTES_MAX).map_err(garbled)? {
            match frame {
                Frame::Call(call) if answers.desk.is_idle() => reply(call.id, &answers.body).put(&mut out),
                Frame::Call(call) => drop(open.insert(call.id, begin(&mut calls, answers, &call))),
                Frame::Cancel(id) => {
                    // One that was answered meanwhile is not open any more.
                    if let Some(call) = open.remove(&id) {
                        call.abort();
                        Frame::Closed(id, Closed::Cancelled).put(&mut out);
                    }
                }
                Frame::Ping(number) => Frame::Pong(number).put(&mut out),
                // Heads are not looked at.
                _ => {}
            }
            bytes.advance(length);
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        bytes.reserve(READ_BYTES);
        tokio::select! {
            read = stream.read_buf(&mut bytes) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            Some(ended) = calls.join_next(), if !calls.is_empty() => {
                let mut next = Some(ended);
                while let Some(ended) = next {
                    // One that was aborted was told when it was cancelled.
                    let told = ended.ok().filter(|(id, _)| open.remove(id).is_some());
                    match told {
                        Some((_, Done::Reset)) => return stream.set_zero_linger(),
                        Some((id, done)) => put(id, done, answers, &mut out),
                        None => {}
                    }
                    next = calls.try_join_next();
                }
            }
        }
    }
}

/// Begins to work on a call.
fn begin(calls: &mut JoinSet<Ended>, answers: &Rc<Answers>, call: &Call<'_>) -> AbortHandle {
    let (answers, id, timeout_ms) = (Rc::clone(answers), call.id, u64::from(call.timeout_ms));
    calls.spawn_local(async move { (id, answers.desk.serve(timeout_ms).await) })
}

/// Writes what became of a call.
fn put(id: u64, done: Done, answers: &Answers, out: &mut Vec<u8>) {
    let load = u32::try_from(answers.desk.in_flight() + 1).unwrap_or(u32::MAX);
    match kind_of(done) {
        None => Frame::Reply(Reply { load, ..answered(id, &answers.body) }).put(out),
        Some(kind) => {
            let words = answers.words(kind);
            let body = words.as_bytes();
            let (version, rows) = (Answered::None, None);
            let failed =
                Reply { status: kind.status(), error: Some(kind), version, load, rows, body, ..answered(id, "") };
            Frame::Reply(failed).put(out);
        }
    }
}

fn hello(name: &str) -> Frame<'_> {
    Frame::Hello(Hello {
        version: VERSIONS.max,
        credits: CREDITS,
        frame_bytes_max: u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX),
        connections: 1,
        heads: HEADS_MAX,
        name,
    })
}

fn reply(id: u64, body: &str) -> Frame<'_> {
    Frame::Reply(answered(id, body))
}

fn answered(id: u64, body: &str) -> Reply<'_> {
    Reply {
        id,
        status: 200,
        error: None,
        version: Answered::AsChosen,
        load: 1,
        rows: Some(1),
        content: Content::Json,
        headers: Headers::NONE,
        body: body.as_bytes(),
    }
}
