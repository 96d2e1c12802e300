//! A connection to a backend, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::{self, Tls};
use crate::workers;

/// How many times as long as a connection TLS may take to be agreed on: it is work for both sides.
const AGREEMENT: u32 = 8;

/// A connection. Plain ones cost a comparison, and no allocation.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects to `host:port`; TLS may take longer than `within`.
    pub(super) async fn open(address: &str, within: Duration, tls: &Tls) -> io::Result<Self> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(within, TcpStream::connect(address)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        let Some(spoken) = tls.spoken() else { return Ok(Self::Plain(stream)) };
        let config = spoken.config.clone().map_err(io::Error::other)?;
        let name = spoken.name(address).map_err(io::Error::other)?;
        let agreed = timeout(within * AGREEMENT, TlsConnector::from(config).connect(name, stream)).await;
        match agreed {
            Ok(Ok(stream)) => Ok(Self::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), tls::words(&error))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "TLS was not agreed on in time")),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        workers::came(match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => match Pin::new(stream.as_mut()).poll_read(context, into) {
                // The backend looks at the gateway's certificate when the gateway thinks that all is agreed on.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    Poll::Ready(Err(io::Error::new(error.kind(), tls::words(&error))))
                }
                // As where a plain connection ends: what is missing is seen from the frames and lengths inside.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => read,
            },
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
