//! Connections on which nothing comes: one timer a connection, where hyper's own would be one a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What stands for a request that is being answered.
const BUSY: u64 = u64::MAX;

/// Since when a connection waits for a request, whether for its first byte or for the rest of its head.
#[derive(Debug)]
pub(super) struct Idle {
    opened: Instant,
    /// Milliseconds after that, or [`BUSY`].
    since_ms: AtomicU64,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy<'i>(&'i Idle);

impl Idle {
    /// A connection that was opened now.
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), since_ms: AtomicU64::new(0) }
    }

    /// A request came.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.since_ms.store(BUSY, Relaxed);
        Busy(self)
    }

    /// Waits until the connection has idled for `patience`.
    pub(super) async fn overdue(&self, patience: Duration) {
        loop {
            let left = match self.since_ms.load(Relaxed) {
                // A reply that nobody takes ends with the socket's own bound.
                BUSY => patience,
                since => (Duration::from_millis(since) + patience).saturating_sub(self.opened.elapsed()),
            };
            if left.is_zero() {
                return;
            }
            // Looked at now and then, so that one that has just begun to idle does not get all of a second time.
            tokio::time::sleep(left.min(patience / 4).max(Duration::from_millis(1))).await;
        }
    }

    /// Waits until the connection is to end and idles. One that is busy then ends by itself.
    pub(super) async fn stopped(&self, stopping: &CancellationToken) {
        stopping.cancelled().await;
        if self.since_ms.load(Relaxed) == BUSY {
            std::future::pending().await
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.since_ms.store(self.0.opened.elapsed().as_millis() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_idle_so_long_after_each_request() {
        let idle = Idle::new();
        let started = Instant::now();
        let requests = async {
            for _ in 0..3 {
                tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                let busy = idle.busy();
                tokio::time::sleep(2 * PATIENCE).await;
                drop(busy);
            }
        };
        tokio::join!(requests, idle.overdue(PATIENCE));
        let idled = started.elapsed() - 3 * (3 * PATIENCE - Duration::from_secs(1));
        assert!((PATIENCE..PATIENCE * 3 / 2).contains(&idled), "{idled:?}");
    }
}
