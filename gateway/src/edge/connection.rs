//! A caller's connection: pingora takes it in, and one of our threads serves it; hyper does what is no plain prediction.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::gate::Connected;
use super::http1::{self as plain, Then};
use super::offences::Offence;
use super::opening::Opening;
use super::streams::{Overdue, Streams};
use super::timed::{Busy, Doing, Timed};
use super::{Edge, grpc};
use crate::config::Limits;
use crate::upstream::Body;

/// hyper's own bound, which costs less than the same one set.
const HEADERS_MAX: usize = 100;
/// Requests that a caller may have taken back before they were looked at: with more, the connection is closed (the
/// "rapid reset" attack, CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Bytes of bodies that may come unasked on an HTTP/2 connection, all of its requests together.
const WINDOW_BYTES: u32 = 1 << 20;

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let max = self.config.load().limits.connections_max;
        match self.gate.connect(max) {
            Some(connected) => {
                if let Err(error) = self.hand_over(&stream, connected, shutdown.clone()) {
                    tracing::warn!(%error, "connection refused");
                }
            }
            None => self.offences.closed(&caller_of(&stream), Offence::TooMany, max),
        }
        None
    }
}

impl Edge {
    /// Gives a connection to the thread with the fewest, where it stays.
    fn hand_over(self: &Arc<Self>, stream: &Stream, connected: Connected, shutdown: ShutdownWatch) -> io::Result<()> {
        let socket = socket(stream)?;
        let Some((runtime, place)) = self.threads.fewest() else { return Ok(()) };
        let edge = Arc::clone(self);
        runtime.spawn(async move {
            let _held = (connected, place);
            match TcpStream::from_std(socket) {
                Ok(stream) => edge.serve(stream, shutdown).await,
                Err(error) => tracing::warn!(%error, "connection refused"),
            }
        });
        Ok(())
    }

    async fn serve(self: &Arc<Self>, stream: TcpStream, mut shutdown: ShutdownWatch) {
        let limits = self.config.load().limits.clone();
        let caller: Arc<str> = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default().into();
        let doing = Doing::new();
        let then = {
            let stopping = shutdown.clone();
            let plain = plain::serve(self, stream, &caller, &limits, &doing, || *stopping.borrow());
            tokio::select! {
                biased;
                then = plain => then,
                what = doing.overdue(&limits) => return self.overdue(&caller, what),
                () = doing.closing(&mut shutdown) => return,
            }
        };
        match then {
            Ok(Then::Ended) => {}
            Ok(Then::Hyper(stream)) => Box::pin(self.serve_by_hyper(stream, doing, caller, &limits, shutdown)).await,
            Err(error) => tracing::debug!(%error, "caller's connection broke"),
        }
    }

    async fn serve_by_hyper(
        self: &Arc<Self>,
        mut stream: Opening,
        doing: Arc<Doing>,
        caller: Arc<str>,
        limits: &Limits,
        mut shutdown: ShutdownWatch,
    ) {
        let opened = tokio::select! {
            opened = timeout(limits.head_timeout, stream.is_http2()) => opened,
            () = doing.closing(&mut shutdown) => return,
        };
        match opened {
            Ok(Ok(false)) => self.serve_http1(stream, doing, caller, limits, shutdown).await,
            Ok(Ok(true)) => self.serve_http2(stream, caller, limits, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "caller's connection broke"),
            Err(_) => self.overdue(&caller, Some(Offence::SlowHead)),
        }
    }

    async fn serve_http1(
        self: &Arc<Self>,
        stream: Opening,
        doing: Arc<Doing>,
        caller: Arc<str>,
        limits: &Limits,
        mut shutdown: ShutdownWatch,
    ) {
        let io = TokioIo::new(Timed::new(stream, Arc::clone(&doing)));
        let service = {
            let (edge, caller, doing) = (Arc::clone(self), Arc::clone(&caller), Arc::clone(&doing));
            service_fn(move |request: Request<Incoming>| {
                let (edge, caller, busy) = (Arc::clone(&edge), Arc::clone(&caller), doing.busy());
                async move { Ok::<_, Infallible>(edge.handle(request, &caller, busy).await) }
            })
        };
        let mut builder = http1::Builder::new();
        // The head's time is watched by `Doing`: hyper's own timer would be one more per request.
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // Not `pipeline_flush`: with it, hyper closes on a head that it can't parse without sending its 400.
            .max_buf_size(limits.head_bytes_max);
        if limits.headers_max != HEADERS_MAX {
            builder.max_headers(limits.headers_max);
        }
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut overdue = pin!(doing.overdue(limits));
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return self.ended(&caller, ended),
                what = &mut overdue => return self.overdue(&caller, what),
                changed = shutdown.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    if changed.is_ok() {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }

    async fn serve_http2(
        self: &Arc<Self>,
        stream: Opening,
        caller: Arc<str>,
        limits: &Limits,
        mut shutdown: ShutdownWatch,
    ) {
        let streams = Streams::new();
        let service = {
            let (edge, caller) = (Arc::clone(self), Arc::clone(&caller));
            let (streams, headers_max) = (Arc::clone(&streams), limits.headers_max);
            service_fn(move |request: Request<Incoming>| {
                if edge.gate.is_lame_duck() {
                    streams.close();
                }
                let (edge, caller, busy) = (Arc::clone(&edge), Arc::clone(&caller), Busy::OfMany(streams.begin()));
                async move { Ok::<_, Infallible>(edge.handle_stream(request, &caller, busy, headers_max).await) }
            })
        };
        let mut connection = pin!(http2(limits).serve_connection(TokioIo::new(stream), service));
        let mut overdue = pin!(streams.overdue(limits));
        // Once it is told to go, a connection gets so much time for what it has begun.
        let mut until: Option<Instant> = None;
        loop {
            let grace = tokio::select! {
                ended = connection.as_mut() => return self.ended(&caller, ended),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return self.offences.closed(&caller, Offence::Overlong, "it was told to go");
                }
                what = &mut overdue, if until.is_none() => match what {
                    Overdue::Idle => limits.head_timeout,
                    Overdue::Busy => limits.stream_deadline,
                },
                () = streams.closing(), if until.is_none() => limits.request_max,
                _ = shutdown.wait_for(|stop| *stop), if until.is_none() => limits.request_max,
            };
            until = Some(Instant::now() + grace);
            connection.as_mut().graceful_shutdown();
        }
    }

    fn overdue(&self, caller: &str, offence: Option<Offence>) {
        match offence {
            Some(offence) => self.offences.closed(caller, offence, ""),
            None => tracing::debug!(caller, "caller's connection closed: it idled"),
        }
    }

    fn ended(&self, caller: &str, ended: hyper::Result<()>) {
        match ended {
            Err(error) if is_offence(&error) => self.offences.closed(caller, Offence::Protocol, told(&error)),
            Err(error) => tracing::debug!(caller, error = told(&error), "caller's connection broke"),
            Ok(()) => {}
        }
    }

    async fn handle_stream(
        self: &Arc<Self>,
        request: Request<Incoming>,
        caller: &Arc<str>,
        busy: Busy,
        headers_max: usize,
    ) -> Response<Body> {
        if request.headers().len() > headers_max {
            let mut response = Response::new(Body::whole(Default::default()));
            *response.status_mut() = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return response;
        }
        if grpc::is(request.headers()) {
            return self.handle_grpc(request, caller, busy).await;
        }
        let mut response = self.handle(request, caller, busy).await;
        // HTTP/2 says it by GOAWAY.
        response.headers_mut().remove(header::CONNECTION);
        response
    }
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        // A caller that is gone without a word does not answer.
        .keep_alive_interval((limits.keep_alive / 2).max(Duration::from_millis(10)))
        .keep_alive_timeout(limits.head_timeout);
    builder
}

/// The socket of pingora's stream, which is dropped with all that pingora keeps for it.
#[allow(unsafe_code)]
fn socket(stream: &Stream) -> io::Result<std::net::TcpStream> {
    let Some(stream) = stream.as_any().downcast_ref::<L4Stream>() else {
        return Err(io::Error::other("it is no plain one"));
    };
    // SAFETY: the descriptor is the stream's own, which is borrowed for longer than the borrow made of it here lives.
    let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    Ok(socket.try_clone_to_owned()?.into())
}

fn caller_of(stream: &Stream) -> String {
    let digest = stream.get_socket_digest();
    digest.and_then(|digest| digest.peer_addr().map(ToString::to_string)).unwrap_or_default()
}

/// Whether it is the caller who broke a connection, and not the network or somebody who left.
fn is_offence(error: &hyper::Error) -> bool {
    let left =
        error.is_canceled() || error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted();
    let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
    !left && !is_io && !error.is_shutdown() && !error.is_user()
}

/// An error with what is behind it: hyper's own words say less than half.
fn told(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
