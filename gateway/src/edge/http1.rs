//! Predictions over HTTP/1.1 as nearly all of them come: a plain head and a small body, read and answered without hyper,
//! which would take as long as all that the gateway itself does for them. The head is read by the parser that hyper has,
//! and by stricter rules; whatever is anything else goes to hyper, with all that was read of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::http1::{Head, Seen};
use headgate_contract::route::{self, Route};
use http::Method;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Edge;
use super::answer::Answer;
use super::body::late;
use super::call::Call;
use super::gate::{Buffered, Gate};
use super::handle::full;
use super::id::Id;
use super::log::Entry;
use super::opening::Opening;
use super::reply::Failed;
use super::timed::Doing;
use crate::config::{Config, Limits};
use crate::workers;

mod written;

/// What is kept of a connection's buffer while nothing comes.
const KEPT_BYTES: usize = 2 << 10;
/// What is read at once.
const SCRATCH_BYTES: usize = 32 << 10;

/// A connection and what it uses again.
struct Connection<'a> {
    edge: &'a Edge,
    caller: &'a Arc<str>,
    limits: &'a Limits,
    doing: &'a Arc<Doing>,
    stream: TcpStream,
    /// What came and was not taken.
    read: Vec<u8>,
    head: Head,
    /// The call that the head makes, and by which configuration.
    asked: Option<(Call, Arc<Config>)>,
}

/// What becomes of a connection.
pub(super) enum Then {
    /// It has ended.
    Ended,
    /// hyper goes on with it.
    Hyper(Opening),
}

/// Answers requests until one comes that hyper has to answer, or the connection ends.
pub(super) async fn serve(
    edge: &Edge,
    stream: TcpStream,
    caller: &Arc<str>,
    limits: &Limits,
    doing: &Arc<Doing>,
    is_closing: impl Fn() -> bool,
) -> io::Result<Then> {
    let (read, head, asked) = (Vec::new(), Head::default(), None);
    let mut connection = Connection { edge, caller, limits, doing, stream, read, head, asked };
    let mut is_new = true;
    loop {
        let (seen, again) = connection.head.read(&connection.read);
        if !again && matches!(seen, Seen::Request { .. }) {
            connection.asked = None;
        }
        match seen {
            Seen::Request { head_bytes, body_bytes } if let Some(_held) = connection.takes(head_bytes, body_bytes) => {
                let _busy = doing.busy();
                is_new = false;
                if !connection.answer(head_bytes, body_bytes).await? || is_closing() {
                    return Ok(Then::Ended);
                }
            }
            Seen::Part => {
                if !connection.more().await? {
                    return Ok(Then::Ended);
                }
            }
            Seen::Request { .. } | Seen::Other => {
                return Ok(Then::Hyper(Opening::new(connection.stream, connection.read, is_new)));
            }
        }
    }
}

impl<'a> Connection<'a> {
    /// Takes a request that is a prediction, and that can be held whole: makes a call of it.
    fn takes(&mut self, head_bytes: usize, body_bytes: usize) -> Option<Buffered<&'a Gate>> {
        let config = self.edge.config.load();
        let limits = &config.limits;
        let mut held = self.edge.gate.buffer();
        let fits = head_bytes <= self.limits.head_bytes_max
            && self.head.headers.len() < self.limits.headers_max
            && body_bytes as u64 <= limits.buffer_bytes_max.min(limits.body_bytes_max)
            && held.take(body_bytes as u64, limits.buffers_bytes_max);
        if !fits || !route::is_prediction(&self.head.path) {
            return None;
        }
        if !self.asked.as_ref().is_some_and(|(_, by)| Arc::ptr_eq(by, &config)) {
            // Whatever is wrong with it, hyper's side says so.
            let call = self.edge.plain_call(&self.head, &config);
            self.asked = call.ok().map(|call| (call, Arc::clone(&config)));
        }
        self.asked.is_some().then_some(held)
    }

    /// Reads what comes next; answers whether anything does.
    async fn more(&mut self) -> io::Result<bool> {
        if self.read.is_empty() {
            // What may idle holds little memory.
            self.read.shrink_to(KEPT_BYTES);
        }
        let came = poll_fn(|context| poll_read(&mut self.stream, context, &mut self.read)).await?;
        self.doing.reads_head();
        Ok(came > 0)
    }

    /// Answers a request whose head is there; answers whether the connection goes on.
    async fn answer(&mut self, head_bytes: usize, body_bytes: usize) -> io::Result<bool> {
        let edge = self.edge;
        let Some((mut call, config)) = self.asked.take() else { return Ok(false) };
        // The caller's own comes again only with the same head.
        if matches!(call.id, Id::Made(_)) {
            call.id = Id::make();
        }
        let path = Some(call.path.clone());
        let mut entry = Entry::at(path, call.id.clone(), Arc::clone(self.caller), Method::POST);
        entry.body_bytes = body_bytes as u64;
        let entered = edge.gate.enter(config.limits.in_flight_max);
        let read = self.body(head_bytes, body_bytes).await?;
        // What is left of a body that did not come is in the way of the next request.
        let closes = matches!(read, Some(Err(_)));
        let answered = match (&entered, read) {
            (_, None) => return Ok(false),
            (None, _) => Err(full(config.limits.in_flight_max)),
            (_, Some(Err(failed))) => Err(failed),
            (_, Some(Ok(body))) => tokio::select! {
                biased;
                answered = edge.predict(&call, body, &mut entry) => answered,
                () = gone(&self.stream) => return Ok(false),
            },
        };
        self.asked = Some((call, config));
        match answered {
            Ok(Answer::Link(linked)) => {
                let closes = closes || edge.gate.is_lame_duck();
                let goes_on = written::linked(&linked, entry.id.as_bytes(), closes, &mut self.stream).await?;
                let kind = linked.answer.error.map(Kind::as_str);
                entry.done(linked.answer.status, kind, &edge.sampler, edge.config.load().log.access_every);
                Ok(goes_on)
            }
            other => {
                let config = edge.config.load_full();
                let response = edge.finish(other.map(Answer::into_response), &entry, closes, &config);
                written::whole(response, &mut self.stream).await
            }
        }
    }

    /// The body, or why it did not come; none where the caller went away.
    async fn body(&mut self, head_bytes: usize, body_bytes: usize) -> io::Result<Option<Result<Bytes, Failed>>> {
        let end = head_bytes + body_bytes;
        if self.read.len() < end {
            let until = Instant::now() + self.limits.body_timeout;
            self.read.reserve(end - self.read.len());
            let rest = async {
                while self.read.len() < end {
                    if poll_fn(|context| poll_read(&mut self.stream, context, &mut self.read)).await? == 0 {
                        return Ok::<_, io::Error>(false);
                    }
                }
                Ok(true)
            };
            match timeout_at(until, rest).await {
                Ok(Ok(true)) => {}
                Ok(ended) => return ended.map(|_| None),
                Err(_) => return Ok(Some(Err(late(self.limits)))),
            }
        }
        let body = Bytes::copy_from_slice(&self.read[head_bytes..end]);
        self.read.drain(..end);
        Ok(Some(Ok(body)))
    }
}

impl Edge {
    /// The call that a plain head makes.
    fn plain_call(&self, head: &Head, config: &Config) -> Result<Call, Failed> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = Method::POST;
        let refuse = || Failed::new(Kind::InvalidRequest, format!("path '{}' can't be read", head.path));
        parts.uri = head.path.parse().map_err(|_| refuse())?;
        parts.headers = head.headers.clone();
        let id = Id::of(&parts.headers);
        match route::parse("POST", &head.path)? {
            Route::Predict(_, target) => Call::new(parts, target, &id, &config.limits),
            Route::Invocations => Ok(Call::new(parts, self.default_target()?, &id, &config.limits)?.at_invocations()),
            _ => Err(refuse()),
        }
    }
}

/// Reads what is there behind what `into` holds: by a buffer of the thread's, so that a connection has none while nothing
/// comes.
fn poll_read(stream: &mut TcpStream, context: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut came = ReadBuf::new(scratch);
        ready!(workers::came(Pin::new(stream).poll_read(context, &mut came)))?;
        into.extend_from_slice(came.filled());
        Poll::Ready(Ok(came.filled().len()))
    })
}

/// Waits until the caller closes the connection: nobody needs the answer then.
async fn gone(stream: &TcpStream) {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    match poll_fn(|context| stream.poll_peek(context, &mut byte)).await {
        Ok(0) | Err(_) => {}
        // The next request.
        Ok(_) => std::future::pending().await,
    }
}
