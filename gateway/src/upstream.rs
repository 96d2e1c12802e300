//! One call to one backend: the only place that knows how calls travel.
//!
//! Small predictions as frames on links, where the backend takes them so; all else, and to all others, as HTTP/1.1 on
//! pooled connections. Each [`Upstream`] has links and a pool of its own and dies with its backend, so that an address
//! that is used again never meets an old connection.

mod body;
mod connection;
mod link;
mod small;
mod stream;
pub mod tls;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header, response};
use tokio::time::Instant;

use crate::foreign::Foreign;
use crate::workers::Threads;
use connection::Connection;
use link::{Ended, Links, To};
use tls::Tls;

pub use link::{Answer, Left};
pub use small::{SentHeads, Small};

pub use body::{Body, BodyError, Streaming};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The way to one backend.
#[derive(Debug)]
pub struct Upstream {
    address: String,
    /// What it is, where it is none of ours.
    foreign: Option<Arc<Foreign>>,
    host: HeaderValue,
    idle: Mutex<VecDeque<Idle>>,
    links: Arc<Links>,
    tls: Arc<Tls>,
}

/// Bounds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Replies up to this many bytes are read whole, larger ones stream.
    pub whole_bytes_max: u64,
    /// Idle connections that are kept.
    pub pool_max: usize,
}

/// A backend's reply.
#[derive(Debug)]
pub struct Reply {
    /// Status and headers.
    pub head: response::Parts,
    /// The body; a whole one has arrived to its last byte.
    pub body: Body,
}

/// A reply to a small call.
#[derive(Debug)]
pub enum Came {
    /// By HTTP.
    Http(Reply),
    /// Over a link.
    Link(Answer),
}

/// Why there is no reply. Never the caller's fault; another backend may answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent.
    #[error("no connection to {address}: {source}")]
    Unreached {
        /// Where to.
        address: String,
        /// The call, to be sent elsewhere.
        unsent: Option<Box<Request<Body>>>,
        /// Why.
        source: BoxError,
    },
    /// The connection broke before the whole reply was here.
    #[error("connection to {address} broke: {source}")]
    Lost {
        /// Where to.
        address: String,
        /// Whether the connection had been used before: it may have broken while it idled.
        reused: bool,
        /// Why.
        source: BoxError,
    },
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Upstream {
    /// The way to `host:port`; nothing is connected yet.
    pub fn new(address: &str, tls: Arc<Tls>) -> Self {
        let host = HeaderValue::from_str(address).unwrap_or_else(|_| HeaderValue::from_static("backend"));
        Self { address: address.to_owned(), foreign: None, host, idle: Mutex::default(), links: Arc::default(), tls }
    }

    /// The way to a server that is none of ours; without TLS.
    pub fn to_foreign(foreign: Arc<Foreign>) -> Self {
        let mut upstream = Self::new(&foreign.spec.address, Arc::default());
        upstream.foreign = Some(foreign);
        upstream
    }

    /// What it is, where it is none of ours.
    pub fn foreign(&self) -> Option<&Arc<Foreign>> {
        self.foreign.as_ref()
    }

    /// Sends a small call and waits for the reply: no longer than its caller does, by dropping the future.
    pub async fn send(&self, call: &Small<'_>, body: &Bytes, options: &Options) -> Result<Came, CallError> {
        if let Some(reply) = self.by_link(call, body) {
            match reply.await {
                Ended::Reply(answer) => return Ok(Came::Link(answer)),
                Ended::Lost(why) => {
                    let (address, source) = (self.address.clone(), why.as_ref().into());
                    return Err(CallError::Lost { address, reused: false, source });
                }
                // Too large for a frame.
                Ended::Closed => {}
            }
        }
        Box::pin(self.call(call.request(Body::whole(body.clone())), options)).await.map(Came::Http)
    }

    /// Sends a call by HTTP, or as a server that is none of ours takes it, and waits for the reply.
    pub async fn call(&self, request: Request<Body>, options: &Options) -> Result<Reply, CallError> {
        match &self.foreign {
            Some(foreign) => foreign.call(self, request, options).await,
            None => self.by_http(request, options).await,
        }
    }

    /// Sends a call as HTTP/1.1 and waits for the reply.
    ///
    /// A pooled connection that turns out to be closed before anything was sent is replaced without a word.
    pub(crate) async fn by_http(&self, mut request: Request<Body>, options: &Options) -> Result<Reply, CallError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        loop {
            let pooled = self.take_idle().await;
            let reused = pooled.is_some();
            let opened = match pooled {
                Some(connection) => Ok(connection),
                None => Connection::open(&self.address, options.connect_timeout, &self.tls).await,
            };
            let mut connection = match opened {
                Ok(connection) => connection,
                Err(source) => return Err(self.unreached(request, source)),
            };
            let lost = |source| CallError::Lost { address: self.address.clone(), reused, source };
            let response = match connection.send(request).await {
                Ok(response) => response,
                Err((Some(unsent), _)) if reused => {
                    request = unsent;
                    continue;
                }
                Err((Some(unsent), source)) => return Err(self.unreached(unsent, source)),
                Err((None, source)) => return Err(lost(source)),
            };
            let (head, incoming) = response.into_parts();
            if head.status.is_informational() {
                // Another protocol, which nobody asked for: passed on, it would be spoken with the caller.
                return Err(lost(format!("status {} came", head.status.as_u16()).into()));
            }
            let (body, connection) = connection.read(&head, incoming, options.whole_bytes_max).await.map_err(lost)?;
            if let Some(connection) = connection {
                self.give_back(connection, options.pool_max);
            }
            return Ok(Reply { head, body });
        }
    }

    /// Sends a call over a link, where it fits and one has room; what is to be waited for.
    fn by_link(&self, call: &Small<'_>, body: &Bytes) -> Option<impl Future<Output = Ended> + use<>> {
        let link = if link::fits(call, body) { self.links.pick() } else { None };
        Some(link?.begin(call, body)?.ended())
    }

    fn unreached(&self, request: Request<Body>, source: BoxError) -> CallError {
        CallError::Unreached { address: self.address.clone(), unsent: Some(Box::new(request)), source }
    }

    /// Closes all idle connections; links once their calls are answered.
    pub fn purge(&self) {
        self.lock().clear();
        self.links.purge();
        if let Some(foreign) = &self.foreign {
            foreign.purge();
        }
    }

    /// Keeps links open: one for each of our threads and as many as serve the backend best, `most` at most; one more
    /// each time. Only ours take them.
    /// The gateway's name is told there.
    pub fn tend(&self, threads: &Threads, name: &Arc<str>, most: usize, connect_timeout: Duration) {
        if self.foreign.is_none() {
            let to =
                To { address: Arc::from(self.address.as_str()), name: Arc::clone(name), tls: Arc::clone(&self.tls) };
            self.links.tend(threads, to, most, connect_timeout);
        }
    }

    /// Calls that were cancelled, and may still be worked on.
    pub fn left(&self) -> &Left {
        &self.links.left
    }

    /// Links that are open.
    pub fn links(&self) -> usize {
        self.links.count()
    }

    /// Closes the connections that have idled for longer than `idle`: less than a backend keeps them.
    pub fn sweep(&self, idle: Duration) {
        let mut pool = self.lock();
        while pool.front().is_some_and(|oldest| oldest.since.elapsed() >= idle) {
            pool.pop_front();
        }
    }

    /// Idle connections.
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    /// The connection used last that is still open.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.lock().pop_back()?.connection;
            if connection.is_open().await {
                return Some(connection);
            }
        }
    }

    fn give_back(&self, connection: Connection, pool_max: usize) {
        let mut pool = self.lock();
        pool.push_back(Idle { connection, since: Instant::now() });
        if pool.len() > pool_max {
            pool.pop_front();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.links.purge();
    }
}
