//! A caller's connection: hyper on pingora's stream.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;

use super::Edge;
use super::timed::{Doing, Timed};

/// hyper's own bound, which costs less than the same one set.
const HEADERS_MAX: usize = 100;

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
        let io = TokioIo::new(Timed::new(stream, Arc::clone(&doing)));
        let service = {
            let (edge, doing) = (Arc::clone(self), Arc::clone(&doing));
            service_fn(move |request: hyper::Request<Incoming>| {
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
        let mut overdue = pin!(doing.overdue(&limits));
        let mut shutdown = shutdown.clone();
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "caller's connection broke");
                    }
                    return None;
                }
                what = &mut overdue => {
                    tracing::debug!(what, "caller's connection closed: it took too long");
                    return None;
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
}
