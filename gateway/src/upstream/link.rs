//! Calls as frames on a few connections to a backend that takes them so (`docs/LINK.md`): one system call carries many,
//! and nobody parses HTTP behind the gateway.

mod answer;
mod call;
mod driver;
mod opening;
mod state;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use tokio::time::Instant;

use crate::workers::{Threads, here};
pub use answer::Answer;
use call::Terms;
pub(super) use call::fits;
pub(super) use state::Ended;
pub use state::Left;
use state::State;

use super::stream::Stream;
use super::tls::Tls;

/// How soon a link is asked for again: where there was none to be had, as from an older backend, or it is about to stop;
/// and where the connection failed.
const AGAIN_LATE: Duration = Duration::from_secs(10);
const AGAIN_SOON: Duration = Duration::from_millis(500);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The links to one backend.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Calls that were cancelled and are not closed.
    pub(super) left: Arc<Left>,
    open: ArcSwap<Vec<Arc<Link>>>,
    /// Changes with every purge: what was asked for before is not taken after it.
    purges: AtomicU64,
    opening: Mutex<Opening>,
}

/// Where a link leads, and how.
#[derive(Debug)]
pub(super) struct To {
    pub(super) address: Arc<str>,
    /// The gateway's name.
    pub(super) name: Arc<str>,
    pub(super) tls: Arc<Tls>,
}

/// What is known of opening more.
#[derive(Debug, Default)]
struct Opening {
    is_on: bool,
    /// How many serve the backend best, where it said so.
    wanted: Option<usize>,
    not_before: Option<Instant>,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    /// Never used again.
    id: u64,
    address: Arc<str>,
    /// The thread that it lives on.
    thread: usize,
    terms: Terms,
    /// Calls that hold a credit.
    in_flight: AtomicUsize,
    state: Mutex<State>,
}

/// A link that was granted.
#[derive(Debug)]
struct Granted {
    stream: Stream,
    read: BytesMut,
    terms: Terms,
    /// How many serve the backend best.
    wanted: usize,
    /// The backend's name for itself.
    name: String,
}

/// Why a link was not opened, or ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// There is none to be had, now: an older backend, or none of ours.
    #[error("no link: {0}")]
    Refused(String),
    /// The backend broke the protocol.
    #[error("{0}")]
    Broken(String),
    /// It was not heard for so long.
    #[error("no answer to a ping for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Links {
    /// The link for a call: of this thread's, of which nobody else has to be woken, the one with the fewest in flight;
    /// where they have no room, of all.
    pub(super) fn pick(&self) -> Option<Arc<Link>> {
        let (open, here) = (self.open.load(), here());
        let fewest = |own: bool| {
            let links = open.iter().filter(|link| link.has_room() && (!own || Some(link.thread) == here));
            links.min_by_key(|link| link.in_flight.load(Relaxed))
        };
        fewest(true).or_else(|| fewest(false)).map(Arc::clone)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.load().len()
    }

    /// Opens one more, on the thread that has the fewest, where there are fewer than `most` and than one for each thread or
    /// serve the backend best.
    pub(super) fn tend(self: &Arc<Self>, threads: &Threads, to: To, most: usize, timeout: Duration) {
        let open = self.count();
        {
            let mut opening = self.opening();
            let waits = opening.not_before.is_some_and(|at| Instant::now() < at);
            if opening.is_on || waits || open >= most.min(opening.wanted.unwrap_or(1).max(threads.count())) {
                return;
            }
            opening.is_on = true;
        }
        let (links, address, purges) = (Arc::clone(self), Arc::clone(&to.address), self.purges.load(Relaxed));
        let on = |thread: &usize| self.open.load().iter().filter(|link| link.thread == *thread).count();
        let thread = (0..threads.count()).min_by_key(on).unwrap_or_default();
        threads.spawn_on(thread, async move {
            let granted = opening::open(&to, timeout).await;
            links.opened(granted, address, thread, purges);
        });
    }

    /// Takes no more calls on those that are open; they are closed when theirs are answered.
    pub(super) fn purge(&self) {
        self.purges.fetch_add(1, Relaxed);
        for link in self.open.swap(Arc::default()).iter() {
            link.retire();
        }
        let mut opening = self.opening();
        (opening.wanted, opening.not_before) = (None, None);
    }

    fn opened(self: &Arc<Self>, granted: Result<Granted, LinkError>, address: Arc<str>, thread: usize, purges: u64) {
        let mut opening = self.opening();
        opening.is_on = false;
        let granted = match granted {
            Ok(granted) if purges == self.purges.load(Relaxed) => granted,
            Ok(_) => return,
            Err(error) => {
                let again = if matches!(error, LinkError::Io(_)) { AGAIN_SOON } else { AGAIN_LATE };
                opening.not_before = Some(Instant::now() + again);
                match error {
                    LinkError::Broken(_) => tracing::warn!(backend = %address, %error, "link not opened"),
                    _ => tracing::debug!(backend = %address, %error, "link not opened"),
                }
                return;
            }
        };
        opening.wanted = Some(granted.wanted);
        let Granted { stream, read, terms, name, .. } = granted;
        tracing::debug!(backend = %address, name, "link opened");
        let link = Arc::new(Link {
            id: NEXT_ID.fetch_add(1, Relaxed),
            address,
            thread,
            terms,
            in_flight: AtomicUsize::new(0),
            state: Mutex::new(State::new(terms, Arc::clone(&self.left))),
        });
        self.open.rcu(|open| open.iter().chain([&link]).map(Arc::clone).collect::<Vec<_>>());
        let links = Arc::clone(self);
        tokio::spawn(async move {
            let ended = driver::Driver::new(&link, stream, read).run(|| links.remove(&link, AGAIN_LATE)).await;
            links.ended(&link, ended);
        });
    }

    /// A link has ended.
    fn ended(&self, link: &Arc<Link>, ended: Result<(), LinkError>) {
        let why = match &ended {
            Ok(()) => "the backend closed the link".to_owned(),
            Err(error) => error.to_string(),
        };
        let lost = link.lose(&why);
        self.remove(link, if ended.is_ok() { Duration::ZERO } else { AGAIN_SOON });
        match ended {
            Err(error @ LinkError::Broken(_)) => {
                tracing::warn!(backend = %link.address, lost, %error, "link closed: its backend broke the protocol");
            }
            Err(error) => tracing::warn!(backend = %link.address, lost, %error, "link lost"),
            Ok(()) if lost > 0 => tracing::warn!(backend = %link.address, lost, "link lost: the backend closed it"),
            Ok(()) => tracing::debug!(backend = %link.address, "link closed"),
        }
    }

    /// Takes a link out, and asks for another not before so long.
    fn remove(&self, link: &Arc<Link>, again: Duration) {
        let before = self
            .open
            .rcu(|open| open.iter().filter(|other| !Arc::ptr_eq(other, link)).map(Arc::clone).collect::<Vec<_>>());
        if before.iter().any(|other| Arc::ptr_eq(other, link)) {
            self.opening().not_before = Some(Instant::now() + again);
        }
    }

    fn opening(&self) -> std::sync::MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    fn has_room(&self) -> bool {
        self.in_flight.load(Relaxed) < self.terms.credits
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more calls: it is closed when those that are open are answered.
    fn retire(&self) {
        let waker = {
            let mut state = self.state();
            state.retires = true;
            state.driver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fails all open calls; how many there were.
    fn lose(&self, why: &str) -> usize {
        let (lost, wakers) = self.state().lose(why);
        self.in_flight.store(0, Relaxed);
        wakers.into_iter().for_each(std::task::Waker::wake);
        lost
    }
}
