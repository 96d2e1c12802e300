//! The doors: HTTP, gRPC and the link in front of [`crate::dispatch`], on one port.
//!
//! Predictions take a plain hyper service; everything else goes through axum, or tonic.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use headgate_contract::ModelName;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Shared;
use http1::Then;
use idle::Idle;
use socket::Socket;
pub use tls::{Tls, TlsError};
use workers::Threads;
pub use workers::Workers;

mod body;
mod coding;
mod fleet;
mod form;
mod grpc;
mod http1;
mod http2;
mod idle;
mod info;
mod link;
mod names;
mod predict;
mod reply;
mod socket;
mod tls;
mod workers;

/// Everything that a door may touch.
#[derive(Clone, Debug)]
pub struct App {
    /// Calls.
    pub shared: Arc<Shared>,
    /// The catalog's watcher.
    pub watcher: headgate_registry::watch::Handle,
    /// The model that answers `/invocations`.
    pub default_model: Option<ModelName>,
    /// Bytes of all bodies that are being read or answered.
    pub bodies_bytes: Arc<AtomicU64>,
    /// Memory of all loaded models, in bytes.
    pub memory_used: Arc<AtomicU64>,
    /// Ends what waits for changes, once nothing new is accepted.
    pub stopping: CancellationToken,
}

/// What a connection needs.
struct Server {
    app: App,
    threads: Threads,
    tls: Option<Arc<Tls>>,
    router: axum::Router,
    grpc: grpc::Door,
    http1: hyper::server::conn::http1::Builder,
    http2: hyper::server::conn::http2::Builder<TokioExecutor>,
}

/// A connection's place among all; it counts until it is dropped.
struct Open {
    app: App,
    _room: OwnedSemaphorePermit,
}

/// A link that was granted, and what waits for its end.
type Opened = (link::Opened, Watcher);

/// Accepts and serves connections until `stop`, then waits for calls in flight, at most `deadline`. Returns how many
/// connections were cut off.
pub async fn serve(
    app: App,
    workers: Workers,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
    deadline: Duration,
) -> usize {
    let limits = &app.shared.limits;
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let patience = limits.idle_timeout;
    let server = Arc::new(Server::new(app.clone(), workers.threads(), tls));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let next = accept(&listener, &room, patience);
        let (stream, peer, permit) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        // Each runtime knows the sockets that were made in it.
        let (Some((runtime, place)), Ok(stream)) = (server.threads.fewest(), stream.into_std()) else { continue };
        let (served, watcher) = (Arc::clone(&server), graceful.watcher());
        let open = Open::new(&app, permit);
        runtime.spawn(async move {
            let _place = place;
            let ended = match TcpStream::from_std(stream) {
                Ok(stream) => served.connection(stream, peer, watcher).await,
                Err(error) => Err(error.into()),
            };
            match ended {
                Ok(Some(opened)) => served.link(opened, peer, open),
                Ok(None) => {}
                Err(error) => tracing::debug!(%peer, %error, "connection"),
            }
        });
    }
    drop(listener);
    app.stopping.cancel();
    let count = graceful.count();
    match tokio::time::timeout(deadline, graceful.shutdown()).await {
        Ok(()) => 0,
        Err(_) => count,
    }
}

impl Server {
    fn new(app: App, threads: Threads, tls: Option<Arc<Tls>>) -> Self {
        let patience = app.shared.limits.idle_timeout;
        let mut http1 = hyper::server::conn::http1::Builder::new();
        // The time of a head is watched by `Idle`.
        http1.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(64 << 10).writev(false);
        let (router, grpc) = (info::router(app.clone()), grpc::Door::new(app.clone()));
        Self { app, threads, tls, router, grpc, http1, http2: http2::builder(patience) }
    }

    /// Serves a connection to its end, or until it is a link.
    async fn connection(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: Watcher,
    ) -> Result<Option<Opened>, Box<dyn Error + Send + Sync>> {
        let stopping = &self.app.stopping;
        let (stream, is_http2) = match &self.tls {
            None => {
                let is_http2 = tokio::select! {
                    spoken = http2::is_spoken(&stream, peer, self.app.shared.limits.idle_timeout) => spoken,
                    () = stopping.cancelled() => Some(false),
                };
                (Socket::Plain(stream), is_http2)
            }
            Some(tls) => {
                let accepted = tls.accept(stream, peer, self.app.shared.limits.idle_timeout);
                match stopping.run_until_cancelled(accepted).await.flatten() {
                    Some(agreed) => (agreed.socket, Some(agreed.is_http2)),
                    None => return Ok(None),
                }
            }
        };
        match is_http2 {
            None => Ok(None),
            Some(false) => self.http1(stream, peer, watcher).await,
            Some(true) => {
                let server = Arc::clone(self);
                let service = service_fn(move |request: Request<Incoming>| {
                    let server = Arc::clone(&server);
                    async move {
                        Ok::<_, Infallible>(match grpc::is(request.headers()) {
                            true => server.grpc.answer(peer, request).await,
                            false => predict::answer(&server.app, &server.router, peer, request).await,
                        })
                    }
                });
                watcher.watch(self.http2.serve_connection(TokioIo::new(stream), service)).await?;
                Ok(None)
            }
        }
    }

    async fn http1(
        &self,
        stream: Socket,
        peer: SocketAddr,
        watcher: Watcher,
    ) -> Result<Option<Opened>, Box<dyn Error + Send + Sync>> {
        let (idle, patience) = (Idle::new(), self.app.shared.limits.idle_timeout);
        let then = tokio::select! {
            biased;
            then = http1::serve(&self.app, stream, peer, &idle) => then?,
            () = idle.overdue(patience) => Then::Ended,
            () = idle.stopped(&self.app.stopping) => Then::Ended,
        };
        let begun = match then {
            Then::Ended => return Ok(None),
            Then::Hyper(begun) => begun,
            Then::Link(asked) => return Ok(asked.answer().await?.map(|opened| (opened, watcher))),
        };
        let watched = &idle;
        let service = service_fn(move |request| async move {
            let _busy = watched.busy();
            Ok::<_, Infallible>(predict::answer(&self.app, &self.router, peer, request).await)
        });
        tokio::select! {
            ended = watcher.watch(self.http1.serve_connection(TokioIo::new(begun), service)) => ended?,
            () = idle.overdue(patience) => {}
        }
        Ok(None)
    }

    /// Serves a link on the thread that has the fewest, if it can go there: gateways open as many as there are threads.
    fn link(self: Arc<Self>, (opened, watcher): Opened, peer: SocketAddr, open: Open) {
        let threads = self.threads.clone();
        let place = if opened.stays() { threads.link_here() } else { threads.fewest_links() };
        if let Some((runtime, place)) = place {
            runtime.spawn(async move {
                let _held = (open, place, watcher);
                opened.serve(&self.app, peer, self.threads.count()).await;
            });
        }
    }
}

impl Open {
    fn new(app: &App, room: OwnedSemaphorePermit) -> Self {
        app.shared.metrics.connections.increment(1.0);
        Self { app: app.clone(), _room: room }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.shared.metrics.connections.decrement(1.0);
    }
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    patience: Duration,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A reply is written whole: there is nothing to gather.
                let _ = stream.set_nodelay(true);
                limit_silence(&stream, patience);
                return (stream, peer, permit);
            }
            Err(error) => {
                // Out of file descriptors, mostly: some will be closed in a moment.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Closes a connection whose other side takes none of a reply for so long: hyper has no bound on that.
fn limit_silence(stream: &TcpStream, patience: Duration) {
    let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    // Where the system knows no such bound, the number of connections is the only one.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, patience_ms);
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, patience_ms);
}
