//! A connection of which something was read already: whether its caller speaks HTTP/2, as it knows beforehand, or HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::workers;

/// What a caller who speaks HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes were read, and come again.
pub(super) struct Opening {
    stream: TcpStream,
    read: Vec<u8>,
    /// Which of them come next.
    at: usize,
    /// Whether nothing was answered yet: HTTP/2 is spoken from the first byte on, or not at all.
    is_new: bool,
}

impl Opening {
    pub(super) fn new(stream: TcpStream, read: Vec<u8>, is_new: bool) -> Self {
        Self { stream, read, at: 0, is_new }
    }

    /// Reads until it is clear whether the caller speaks HTTP/2. May be dropped and called again.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        loop {
            let known = self.read.len().min(PREFACE.len());
            if !self.is_new || self.read[..known] != PREFACE[..known] {
                return Ok(false);
            }
            if known == PREFACE.len() {
                return Ok(true);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(false);
            }
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at < self.read.len() {
            let bytes = (self.read.len() - self.at).min(buf.remaining());
            buf.put_slice(&self.read[self.at..self.at + bytes]);
            self.at += bytes;
            if self.at == self.read.len() {
                (self.read, self.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        workers::came(Pin::new(&mut self.stream).poll_read(cx, buf))
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
