//! The first bytes of a connection: whether its caller speaks HTTP/2, as it knows beforehand, or HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What a caller who speaks HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes were read, and come again.
pub(super) struct Opening {
    stream: Stream,
    first: [u8; PREFACE.len()],
    /// Which of them come next.
    at: usize,
    len: usize,
}

impl Opening {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, first: [0; PREFACE.len()], at: 0, len: 0 }
    }

    /// Reads until it is clear whether the caller speaks HTTP/2. May be dropped and called again.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        loop {
            let came = &self.first[..self.len];
            if !PREFACE.starts_with(came) {
                return Ok(false);
            }
            if self.len == PREFACE.len() {
                return Ok(true);
            }
            match self.stream.read(&mut self.first[self.len..]).await? {
                0 => return Ok(false),
                more => self.len += more,
            }
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at < self.len {
            let bytes = (self.len - self.at).min(buf.remaining());
            buf.put_slice(&self.first[self.at..self.at + bytes]);
            self.at += bytes;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
