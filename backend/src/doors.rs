//! The doors: HTTP in front of [`crate::dispatch`].
//!
//! Predictions take a plain hyper service; everything else goes through axum.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use headgate_contract::ModelName;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Shared;

mod body;
mod fleet;
mod form;
mod info;
mod predict;
mod reply;

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

/// Accepts and serves connections until `stop`, then waits for calls in flight, at most `deadline`. Returns how many
/// connections were cut off.
pub async fn serve(app: App, listener: TcpListener, stop: impl Future<Output = ()>, deadline: Duration) -> usize {
    let limits = &app.shared.limits;
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle_timeout).max_buf_size(64 << 10);
    let router = info::router(app.clone());
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let next = accept(&listener, &room, limits.idle_timeout);
        let (stream, peer, permit) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        let (app, router, open) = (app.clone(), router.clone(), app.shared.metrics.connections.clone());
        let service = service_fn(move |request| {
            let (app, router) = (app.clone(), router.clone());
            async move { Ok::<_, Infallible>(predict::answer(&app, router, peer, request).await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            open.increment(1.0);
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection");
            }
            open.decrement(1.0);
            drop(permit);
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
