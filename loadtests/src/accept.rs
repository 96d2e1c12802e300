//! Connections as they come, each served on this thread.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves each until it is dropped. How one ends, its peer sees.
pub(crate) async fn each<S: Future<Output = io::Result<()>> + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> S,
) -> io::Result<()> {
    let connections = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(serve(stream))),
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    LocalSet::new().run_until(connections).await
}
