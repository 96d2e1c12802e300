//! A caller's connection: hyper on pingora's stream.

use std::convert::Infallible;
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
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, sleep_until, timeout};

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
        let limits = self.config.load().limits.clone();
        let Some(_connected) = self.gate.connect(limits.connections_max) else {
            tracing::debug!(max = limits.connections_max, "connection refused: too many");
            return None;
        };
        let caller = stream.get_socket_digest().and_then(|digest| digest.peer_addr().map(ToString::to_string));
        let caller: Arc<str> = caller.unwrap_or_default().into();
        let doing = Doing::new();
        let mut stream = Opening::new(stream);
        let mut shutdown = shutdown.clone();
        let opened = tokio::select! {
            opened = timeout(limits.head_timeout, stream.is_http2()) => opened,
            _ = shutdown.wait_for(|stop| *stop) => return None,
        };
        match opened {
            Ok(Ok(false)) => self.serve_http1(stream, doing, caller, &limits, shutdown).await,
            Ok(Ok(true)) => self.serve_http2(stream, caller, &limits, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "caller's connection broke"),
            Err(_) => tracing::debug!("caller's connection closed: it said nothing"),
        }
        None
    }
}

impl Edge {
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
            let (edge, doing) = (Arc::clone(self), Arc::clone(&doing));
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
                ended = connection.as_mut() => return told(ended),
                what = &mut overdue => {
                    tracing::debug!(what, "caller's connection closed: it took too long");
                    return;
                }
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
            let (edge, streams, headers_max) = (Arc::clone(self), Arc::clone(&streams), limits.headers_max);
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
                ended = connection.as_mut() => return told(ended),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    tracing::debug!("caller's connection closed: it did not go");
                    return;
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

fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "caller's connection broke");
    }
}
