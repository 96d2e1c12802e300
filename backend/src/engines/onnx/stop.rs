//! Runs that nobody waits for any more, and how they end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends a run early.
#[derive(Default)]
pub(super) struct Stop {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Calls that wait for the run.
    callers: AtomicUsize,
    asked: AtomicBool,
    how: Mutex<Option<Box<dyn Fn() + Send>>>,
}

/// A call's place in a line and in a run.
#[derive(Default)]
pub(super) struct Ticket {
    place: Mutex<Place>,
}

#[derive(Default)]
enum Place {
    #[default]
    Waiting,
    Running(Arc<Inner>),
    Dropped,
}

/// Gives its ticket up when it is dropped.
pub(super) struct Held {
    ticket: Arc<Ticket>,
}

// === impl Stop ===

impl Stop {
    /// For a run of these calls: it is asked to end when the last of them was given up.
    pub(super) fn of<'a>(tickets: impl Iterator<Item = &'a Ticket>) -> Self {
        let stop = Self::default();
        // One more while they are counted, so that it does not end before it is complete.
        stop.inner.callers.store(1, Ordering::Release);
        for ticket in tickets {
            let mut place = ticket.place.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(*place, Place::Dropped) {
                stop.inner.callers.fetch_add(1, Ordering::AcqRel);
                *place = Place::Running(Arc::clone(&stop.inner));
            }
        }
        stop.inner.leave();
        stop
    }

    /// Whether it is to end.
    pub(super) fn is_asked(&self) -> bool {
        self.inner.asked.load(Ordering::Acquire)
    }

    /// Says how the run that now begins is ended; at once, where it is to end already.
    pub(super) fn by(&self, how: impl Fn() + Send + 'static) {
        *self.inner.how.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(how));
        if self.is_asked() {
            self.inner.end();
        }
    }
}

impl Inner {
    fn leave(&self) {
        if self.callers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.asked.store(true, Ordering::Release);
            self.end();
        }
    }

    fn end(&self) {
        if let Some(how) = &*self.how.lock().unwrap_or_else(PoisonError::into_inner) {
            how();
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// Held by the caller.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held { ticket: Arc::clone(self) }
    }

    /// Whether the caller has gone.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(*self.place.lock().unwrap_or_else(PoisonError::into_inner), Place::Dropped)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let place =
            std::mem::replace(&mut *self.ticket.place.lock().unwrap_or_else(PoisonError::into_inner), Place::Dropped);
        if let Place::Running(run) = place {
            run.leave();
        }
    }
}
