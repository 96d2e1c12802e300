//! The calls in flight of one connection: futures in places that are used again, so that a call costs no task of its own
//! and, once as many were in flight before, no memory but its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio_util::sync::ReusableBoxFuture;

/// The calls in flight, each with its id.
pub(super) struct Calls<'a, T> {
    places: Vec<Place<'a, T>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
    /// Places that are looked at.
    looked: Vec<usize>,
}

struct Place<'a, T> {
    /// None: no call is here.
    id: Option<u64>,
    future: Option<ReusableBoxFuture<'a, T>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The places that can go on, and the connection's task.
#[derive(Debug, Default)]
struct Woken {
    places: Mutex<Vec<usize>>,
    task: AtomicWaker,
}

#[derive(Debug)]
struct Wakes {
    at: usize,
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl<'a, T> Calls<'a, T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), woken: Arc::default(), looked: Vec::new() }
    }

    /// Calls in flight.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Begins a call: what it can do at once is done; the rest in [`Calls::poll`].
    pub(super) fn begin(&mut self, id: u64, call: impl Future<Output = T> + Send + 'a) -> Option<T> {
        let at = self.free.pop().unwrap_or_else(|| {
            let at = self.places.len();
            let wakes = Arc::new(Wakes { at, is_woken: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
            let waker = Waker::from(Arc::clone(&wakes));
            self.places.push(Place { id: None, future: None, wakes, waker });
            at
        });
        let place = &mut self.places[at];
        place.id = Some(id);
        match &mut place.future {
            Some(future) => future.set(call),
            none => *none = Some(ReusableBoxFuture::new(call)),
        }
        self.go_on(at).map(|(_, done)| done)
    }

    /// Drops a call; answers whether it was in flight.
    pub(super) fn drop(&mut self, id: u64) -> bool {
        let Some(at) = self.places.iter().position(|place| place.id == Some(id)) else { return false };
        self.places[at].id = None;
        self.places[at].future = None;
        self.free.push(at);
        true
    }

    /// Lets all calls go on that can; `done` gets those that are done.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, mut done: impl FnMut(u64, T)) {
        self.woken.task.register(context.waker());
        std::mem::swap(&mut *self.woken.places(), &mut self.looked);
        let looked = std::mem::take(&mut self.looked);
        for at in &looked {
            self.places[*at].wakes.is_woken.store(false, Ordering::Release);
            if let Some((id, answer)) = self.go_on(*at) {
                done(id, answer);
            }
        }
        self.looked = looked;
        self.looked.clear();
    }

    fn go_on(&mut self, at: usize) -> Option<(u64, T)> {
        let place = &mut self.places[at];
        // One that was dropped may have been woken before.
        let (Some(id), Some(future)) = (place.id, &mut place.future) else { return None };
        match Pin::new(future).poll(&mut Context::from_waker(&place.waker)) {
            Poll::Pending => None,
            Poll::Ready(answer) => {
                place.id = None;
                self.free.push(at);
                Some((id, answer))
            }
        }
    }
}

impl Woken {
    fn places(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.woken.places().push(self.at);
            self.woken.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn calls_end_in_any_order_and_their_places_are_used_again() {
        let mut calls = Calls::<u64>::new();
        for round in 0..3 {
            let first = round * 10;
            assert_eq!(calls.begin(first + 9, async move { first }), Some(first), "one that is done at once");
            let mut ends: Vec<_> = (0..4)
                .map(|n| {
                    let (end, ended) = oneshot::channel::<u64>();
                    assert_eq!(calls.begin(first + n, async { ended.await.unwrap() }), None);
                    end
                })
                .collect();
            assert_eq!(calls.len(), 4);
            // Woken, then dropped.
            ends.remove(1).send(1).unwrap();
            assert!(calls.drop(first + 1) && !calls.drop(first + 1));
            let wanted = [first, first + 2, first + 3];
            tokio::spawn(async move {
                for (n, end) in ends.into_iter().enumerate().rev() {
                    tokio::task::yield_now().await;
                    end.send(n as u64).unwrap();
                }
            });
            let mut came = Vec::new();
            poll_fn(|context| {
                calls.poll(context, |id, answer| came.push((id, answer)));
                if came.len() == 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            came.sort_unstable();
            assert_eq!(came, [(wanted[0], 0), (wanted[1], 1), (wanted[2], 2)]);
            assert_eq!((calls.len(), calls.places.len() <= 5), (0, true));
        }
    }
}
