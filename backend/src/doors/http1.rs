//! Predictions over HTTP/1.1 as nearly all of them come: a plain head and a small body, read and answered without hyper,
//! which takes a third of a small call's time. What is anything else is left to hyper with all that was read of it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, Bytes, BytesMut};
use headgate_contract::error::ErrorBody;
use headgate_contract::http1::{Head, Seen};
use headgate_contract::route;
use http::header::CONNECTION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::body::{self, Held, Source};
use super::idle::Idle;
use super::link::{self, Asked, Opening};
use super::reply;
use super::socket::Socket;
use super::{App, predict};
use crate::refusal::Refusal;
pub(super) use begun::Begun;

mod begun;
mod written;

/// What is read at once, unless more is known to come.
const READ_BYTES: usize = 8 << 10;
/// What a connection keeps of its buffers while it waits for the next request.
const KEPT_BYTES: usize = 16 << 10;

/// A connection and what it uses again.
struct Connection<'a> {
    app: &'a App,
    peer: SocketAddr,
    stream: Socket,
    /// What came and was not looked at.
    read: BytesMut,
    /// How much the last request had.
    last_bytes: usize,
    out: Vec<u8>,
    head: Head,
    /// What the head asks for, where that was read.
    asks: Option<predict::Asks>,
}

/// What becomes of a connection.
pub(super) enum Then {
    /// It has ended.
    Ended,
    /// hyper goes on with it.
    Hyper(Begun),
    /// It is to be a link.
    Link(Asked),
}

/// Answers requests until one comes that hyper has to answer, or that asks for a link, or the connection ends.
pub(super) async fn serve(app: &App, stream: Socket, peer: SocketAddr, idle: &Idle) -> io::Result<Then> {
    let (read, out, head) = (BytesMut::new(), Vec::new(), Head::default());
    let mut connection = Connection { app, peer, stream, read, last_bytes: 0, out, head, asks: None };
    loop {
        let (seen, again) = connection.head.read(&connection.read);
        if !again && matches!(seen, Seen::Request { .. }) {
            connection.asks = None;
        }
        match seen {
            Seen::Request { head_bytes, body_bytes } if route::is_prediction(&connection.head.path) => {
                let _busy = idle.busy();
                if !connection.answer(head_bytes, body_bytes).await? || app.stopping.is_cancelled() {
                    return Ok(Then::Ended);
                }
            }
            Seen::Request { .. } => return Ok(connection.left()),
            Seen::Part if connection.more(READ_BYTES).await? => {}
            Seen::Part => return Ok(Then::Ended),
            Seen::Other => match link::opening(&connection.read) {
                Opening::Part if connection.more(READ_BYTES).await? => {}
                Opening::Part => return Ok(Then::Ended),
                Opening::Asked { head_bytes, versions } => {
                    drop(connection.read.split_to(head_bytes));
                    return Ok(Then::Link(Asked { versions, stream: connection.stream, read: connection.read }));
                }
                Opening::Other => return Ok(connection.left()),
            },
        }
    }
}

impl Connection<'_> {
    /// Leaves it to hyper.
    fn left(self) -> Then {
        Then::Hyper(Begun::new(self.read.freeze(), self.stream))
    }

    /// Reads what comes next; answers whether anything does.
    async fn more(&mut self, bytes: usize) -> io::Result<bool> {
        if self.read.is_empty() {
            if self.read.capacity() > KEPT_BYTES {
                self.read = BytesMut::new();
            }
            // Connections that idle hold no buffer.
            self.stream.readable().await?;
        }
        self.read.reserve(bytes.max(self.last_bytes));
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    /// Answers a request whose head is there; answers whether the connection goes on.
    async fn answer(&mut self, head_bytes: usize, body_bytes: usize) -> io::Result<bool> {
        let started = Instant::now();
        self.read.advance(head_bytes);
        self.last_bytes = head_bytes + body_bytes + 1;
        let Some(read) = self.body(body_bytes, started).await? else { return Ok(false) };
        // What is left of a body that can't be had is in the way of the next request.
        let mut closes = read.is_err();
        let (app, path, headers) = (self.app, &self.head.path, &self.head.headers);
        let asks = self.asks.get_or_insert_with(|| predict::Asks::read(app, path, headers));
        let id = asks.id(headers);
        let answer = asks.answer(app, headers, Source::Read(read), started);
        let answered = tokio::select! {
            biased;
            answered = answer => answered,
            () = self.stream.gone() => return Ok(false),
        };
        predict::note(&answered, self.peer, path, &id, started);
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        match answered {
            Ok((reply, packing)) => {
                closes |= app.shared.board.is_draining();
                let load = app.shared.in_flight.load(Relaxed);
                written::prediction(&reply, packing, load, &id, closes, &mut self.out);
            }
            Err(refusal) => {
                let mut response = reply::refusal_of(&refusal, ErrorBody::is_twice_at(path));
                predict::finish(app, response.headers_mut(), &id);
                closes |= response.headers().get(CONNECTION).is_some_and(|value| value == "close");
                written::any(&response, &mut self.out);
            }
        }
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        if closes {
            self.stream.shutdown().await?;
        }
        Ok(!closes)
    }

    /// The body, or why it is not to be had; none where the caller went away.
    async fn body(&mut self, bytes: usize, started: Instant) -> io::Result<Option<Result<(Bytes, Held), Refusal>>> {
        let held = match body::announced(self.app, bytes as u64) {
            Ok(held) => held,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        if self.read.len() < bytes {
            let until = started + self.app.shared.limits.body_timeout;
            let rest = async {
                while self.read.len() < bytes {
                    if !self.more(bytes - self.read.len()).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            match timeout_at(until, rest).await {
                Ok(Ok(true)) => {}
                Ok(ended) => return ended.map(|_| None),
                Err(_) => return Ok(Some(Err(body::late()))),
            }
        }
        Ok(Some(Ok((self.read.split_to(bytes).freeze(), held))))
    }
}
