//! Connections on which nothing comes: one timer a connection, where hyper's own would be one a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often a connection is looked at in the time that it may idle: it gets this part more at most.
const LOOKS: u32 = 8;

/// Whether a connection waits for a request, be it for its first byte or for the rest of its head. Without a clock, which
/// would be read for every request.
#[derive(Debug)]
pub(super) struct Idle {
    /// Counts requests that came and that were answered: odd while one is being answered.
    changes: AtomicU64,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy<'i>(&'i Idle);

impl Idle {
    /// A connection that was opened now.
    pub(super) fn new() -> Self {
        Self { changes: AtomicU64::new(0) }
    }

    /// A request came.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.changes.fetch_add(1, Relaxed);
        Busy(self)
    }

    fn is_busy(&self) -> bool {
        !self.changes.load(Relaxed).is_multiple_of(2)
    }

    /// Waits until the connection has idled for `patience`. A reply that nobody takes ends with the socket's own bound.
    pub(super) async fn overdue(&self, patience: Duration) {
        let (mut seen, mut looks) = (self.changes.load(Relaxed), 0);
        while looks < LOOKS {
            tokio::time::sleep((patience / LOOKS).max(Duration::from_millis(1))).await;
            let now = self.changes.load(Relaxed);
            looks = if now == seen && !self.is_busy() { looks + 1 } else { 0 };
            seen = now;
        }
    }

    /// Waits until the connection is to end and idles. One that is busy then ends by itself.
    pub(super) async fn stopped(&self, stopping: &CancellationToken) {
        stopping.cancelled().await;
        if self.is_busy() {
            std::future::pending().await
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

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
