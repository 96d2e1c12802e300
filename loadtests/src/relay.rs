//! A proxy that passes bytes on and does nothing else, each connection over one of its own. What it adds to a call is what the
//! machine takes from any proxy that sleeps between calls: the least that a bench of proxies can find there.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::accept;

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where it listens
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Where it passes everything on to
    #[arg(long, value_name = "IP:PORT")]
    pub to: SocketAddr,
}

/// Listens and passes on until it is dropped.
pub async fn run(options: &Options) -> io::Result<()> {
    serve(TcpListener::bind(options.listen).await?, options.to).await
}

/// The same, on a listener that is bound.
pub async fn serve(listener: TcpListener, to: SocketAddr) -> io::Result<()> {
    accept::each(listener, |near| pass(near, to)).await
}

async fn pass(mut near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
