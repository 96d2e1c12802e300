//! The loop: polls at an interval, and at once when somebody has seen a newer generation.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::catalog::Catalog;
use super::{WatchError, Watcher};

/// How far the interval varies, so that a fleet's polls spread.
const JITTER: f64 = 0.2;
/// The least time between two polls that were asked for.
const NUDGE_EVERY: Duration = Duration::from_secs(1);

/// What a watcher knows.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The newest whole catalog; none until one was read.
    pub catalog: Option<Arc<Catalog>>,
    /// Why the last poll failed; none when it did not. [`WatchError::NoCatalog`] says that the store was read, and that
    /// nothing was ever promoted there.
    pub error: Option<Arc<WatchError>>,
    /// How many polls there were, failed ones too.
    pub polls: u64,
}

/// Another part's hold on a running watcher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    seen: watch::Receiver<Seen>,
    nudge: Arc<Notify>,
}

impl Handle {
    /// What the watcher knows, as it changes; [`Catalog::changes_since`] tells what differs from an earlier one.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Tells that somebody has seen `generation` of the store `store_id` (none: of this one): a watcher that is behind
    /// polls at once, at most once a second so.
    pub fn heard_of(&self, store_id: Option<&str>, generation: u64) {
        let seen = self.seen.borrow();
        let behind = seen.catalog.as_ref().is_none_or(|catalog| {
            let head = catalog.head();
            store_id.is_none_or(|store_id| store_id == head.store_id) && generation > head.generation
        });
        if behind {
            self.nudge.notify_one();
        }
    }
}

impl Watcher {
    /// Polls every `interval` +-20 % until `shutdown`; the handle sees each catalog, and can ask for a poll at once.
    /// The first poll is at once.
    pub fn run(
        self,
        interval: Duration,
        shutdown: impl Future<Output = ()> + Send,
    ) -> (Handle, impl Future<Output = ()> + Send) {
        let (tell, seen) = watch::channel(Seen { catalog: self.catalog().cloned(), ..Seen::default() });
        let nudge = Arc::new(Notify::new());
        let handle = Handle { seen, nudge: Arc::clone(&nudge) };
        let polls = poll_for_ever(self, interval, tell, nudge);
        let until = async move {
            tokio::select! {
                () = shutdown => {}
                () = polls => {}
            }
        };
        (handle, until)
    }
}

async fn poll_for_ever(mut watcher: Watcher, interval: Duration, tell: watch::Sender<Seen>, nudge: Arc<Notify>) {
    let mut next_nudged = Instant::now();
    loop {
        let result = watcher.poll().await;
        if let Err(error) = &result {
            let again = tell.borrow().error.as_ref().is_some_and(|before| before.to_string() == error.to_string());
            if !again {
                tracing::warn!(%error, "the catalog can't be read: what was known stands");
            }
        }
        tell.send_modify(|seen| {
            seen.polls += 1;
            seen.catalog = watcher.catalog().cloned();
            seen.error = result.err().map(Arc::new);
        });
        let factor = rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER);
        let asked = async {
            nudge.notified().await;
            sleep_until(next_nudged).await;
        };
        tokio::select! {
            () = sleep_until(Instant::now() + interval.mul_f64(factor)) => {}
            () = asked => next_nudged = Instant::now() + NUDGE_EVERY,
        }
    }
}
