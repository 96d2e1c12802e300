//! Who is in: connections and requests counted exactly, and whether the gateway is about to stop.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts connections and requests.
#[derive(Debug, Default)]
pub struct Gate {
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    buffered: AtomicU64,
    lame_duck: AtomicBool,
    going: Notify,
    left: Notify,
}

/// A connection; it counts until it is dropped.
#[derive(Debug)]
pub struct Connected(Arc<Gate>);

/// A request; it counts until it is dropped.
#[derive(Debug)]
pub struct Entered(Arc<Gate>);

/// What is held of a body that is read whole; it counts until it is dropped.
#[derive(Debug)]
pub struct Buffered<G: Deref<Target = Gate>> {
    gate: G,
    bytes: u64,
    counted: u64,
}

/// Bodies up to this many bytes are not counted: the bound on requests bounds them.
const UNCOUNTED_BYTES: u64 = 16 << 10;

impl Gate {
    /// A body is about to be read whole.
    pub fn buffer(&self) -> Buffered<&Self> {
        Buffered { gate: self, bytes: 0, counted: 0 }
    }

    /// The same, for what outlives this borrow.
    pub fn buffer_owned(self: &Arc<Self>) -> Buffered<Arc<Self>> {
        Buffered { gate: Arc::clone(self), bytes: 0, counted: 0 }
    }

    /// Bytes of all larger bodies that are held whole.
    pub fn buffered(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }

    /// A connection comes in, unless `max` are there.
    pub fn connect(self: &Arc<Self>, max: usize) -> Option<Connected> {
        let connected = Connected(Arc::clone(self));
        (self.connections.fetch_add(1, Ordering::Relaxed) < max).then_some(connected)
    }

    /// A request comes in, unless `max` are there.
    pub fn enter(self: &Arc<Self>, max: usize) -> Option<Entered> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let entered = Entered(Arc::clone(self));
        (self.in_flight.fetch_add(1, Ordering::Relaxed) < max).then_some(entered)
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests since the start.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// From now on every reply closes its connection, and readiness says no.
    pub fn begin_lame_duck(&self) {
        self.lame_duck.store(true, Ordering::Release);
        self.going.notify_waiters();
    }

    /// Whether the gateway is about to stop.
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.load(Ordering::Acquire)
    }

    /// Waits until the gateway is about to stop.
    pub async fn goes(&self) {
        loop {
            let going = self.going.notified();
            if self.is_lame_duck() {
                return;
            }
            going.await;
        }
    }

    /// Waits until no connection is open.
    pub async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.connections() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl<G: Deref<Target = Gate>> Buffered<G> {
    /// So many bytes more; whether all bodies together still hold at most `max`.
    pub fn take(&mut self, bytes: u64, max: u64) -> bool {
        self.bytes += bytes;
        if self.bytes <= UNCOUNTED_BYTES {
            return true;
        }
        let more = self.bytes - std::mem::replace(&mut self.counted, self.bytes);
        self.gate.buffered.fetch_add(more, Ordering::Relaxed) + more <= max
    }
}

impl<G: Deref<Target = Gate>> Drop for Buffered<G> {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.gate.buffered.fetch_sub(self.counted, Ordering::Relaxed);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bounds_hold_and_what_is_dropped_makes_room() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(1);
        assert!(first.is_some() && gate.enter(1).is_none());
        drop(first);
        assert!(gate.enter(1).is_some());
        assert_eq!((gate.in_flight(), gate.requests()), (0, 3));
        let connected = gate.connect(5);
        let waits = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(connected);
        assert!(waits.await.is_ok());
    }
}
