//! The admin port: what operators see and do, and where backends announce themselves.

mod report;
mod routes;

use std::net::TcpListener;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::discovery::Registry;
use crate::edge::Edge;

/// What the admin port shows and changes.
#[derive(Clone)]
pub struct Admin {
    /// The request path.
    pub edge: Edge,
    /// Who may announce itself.
    pub registry: Registry,
}

/// Serves the admin port until `stop`.
pub fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> std::io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, routes::router(admin)).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "admin port broke");
        }
    }))
}
