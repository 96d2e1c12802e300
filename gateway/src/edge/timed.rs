//! What an HTTP/1.1 connection is doing, and since when: waiting for a request, reading a head, or busy. One timer per
//! connection looks at it, where a timer per request would cost each request.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::offences::Offence;
use super::opening::Opening;
use super::streams;
use crate::config::Limits;

/// How often the timer looks, at most.
const LOOK_MAX: Duration = Duration::from_secs(5);

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;
/// Nothing has come yet.
const NEW: u64 = 3;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Doing {
    started: Instant,
    /// Milliseconds since the start, times four, plus what.
    since: AtomicU64,
}

/// A stream that notes when a head begins to come.
pub(super) struct Timed {
    stream: Opening,
    doing: Arc<Doing>,
}

/// A request that keeps its connection busy; it ends when it is dropped.
#[derive(Debug)]
pub(super) enum Busy {
    /// The one request of an HTTP/1.1 connection.
    One(#[expect(dead_code, reason = "it ends when it is dropped")] One),
    /// One of an HTTP/2 connection's.
    OfMany(streams::Stream),
}

/// What keeps an HTTP/1.1 connection busy.
#[derive(Debug)]
pub(super) struct One(Arc<Doing>);

impl Doing {
    pub(super) fn new() -> Arc<Self> {
        // A connection on which nothing comes at all is a head that does not come.
        Arc::new(Self { started: Instant::now(), since: AtomicU64::new(NEW) })
    }

    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.set(BUSY);
        Busy::One(One(Arc::clone(self)))
    }

    /// Something came.
    pub(super) fn reads_head(&self) {
        match self.get() {
            (IDLE, _) => self.set(HEAD),
            (NEW, since) => self.since.store(millis(since) * 4 + HEAD, Relaxed),
            _ => {}
        }
    }

    /// Waits until the gateway is about to stop while nothing has come of a next request.
    pub(super) async fn closing(&self, shutdown: &mut ShutdownWatch) {
        // Where nobody can tell any more, it does not stop.
        let told = shutdown.wait_for(|stop| *stop).await.is_ok();
        if !told || matches!(self.get().0, HEAD | BUSY) {
            pending().await
        }
    }

    /// Waits until the connection has done one thing for longer than it may; says whether that is its caller's fault.
    pub(super) async fn overdue(&self, limits: &Limits) -> Option<Offence> {
        loop {
            let (what, since) = self.get();
            let (limit, offence) = match what {
                IDLE => (limits.keep_alive, None),
                // Clients open some before they need them.
                NEW => (limits.head_timeout, None),
                HEAD => (limits.head_timeout, Some(Offence::SlowHead)),
                _ => (limits.request_max, Some(Offence::Overlong)),
            };
            let left = (since + limit).saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return offence;
            }
            let shortest = limits.head_timeout.min(limits.keep_alive) / 4;
            tokio::time::sleep(left.min(LOOK_MAX).min(shortest).max(Duration::from_millis(10))).await;
        }
    }

    fn set(&self, what: u64) {
        self.since.store(millis(self.started.elapsed()) * 4 + what, Relaxed);
    }

    fn get(&self) -> (u64, Duration) {
        let since = self.since.load(Relaxed);
        (since % 4, Duration::from_millis(since / 4))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 8)
}

impl Busy {
    /// One of many may last as long as its caller wants.
    pub(super) fn stay(mut self) -> Self {
        if let Busy::OfMany(stream) = &mut self {
            stream.stay();
        }
        self
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.set(IDLE);
    }
}

impl Timed {
    pub(super) fn new(stream: Opening, doing: Arc<Doing>) -> Self {
        Self { stream, doing }
    }
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.doing.reads_head();
        }
        polled
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
