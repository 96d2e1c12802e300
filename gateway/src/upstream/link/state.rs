//! What a link's callers and its driver share: what is to be written, and who waits for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};

use headgate_balance::Nanos;
use headgate_contract::link::{Frame, Heads};

use super::{Answer, Terms};

/// An id's low bits: the place of its call.
const PLACE_BITS: u32 = 16;

/// A link's state.
#[derive(Debug)]
pub(super) struct State {
    /// Frames that are to be written.
    pub(super) out: Vec<u8>,
    pub(super) heads: Heads,
    /// Memory for the head that is looked up.
    pub(super) block: Vec<u8>,
    pub(super) own: Vec<u8>,
    /// The driver, where it waits.
    pub(super) driver: Option<Waker>,
    /// No more calls: close it once those that are open are answered.
    pub(super) retires: bool,
    /// Why it has ended, once it has.
    lost: Option<Arc<str>>,
    places: Vec<Place>,
    free: Vec<usize>,
    /// Counts calls.
    next: u64,
    /// Those before it were given to the connection to be written.
    taken: u64,
    /// Cancelled calls of all links of the backend.
    left: Arc<Left>,
}

/// Calls that nobody waits for any more and that the backend has not closed: it may still work on them.
#[derive(Debug, Default)]
pub struct Left {
    calls: AtomicU32,
    cost: AtomicU64,
}

impl Left {
    /// How many there are.
    pub fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// What they cost, in nanoseconds of undisturbed work.
    pub fn cost(&self) -> Nanos {
        self.cost.load(Relaxed)
    }

    fn begin(&self, cost: Nanos) {
        self.calls.fetch_add(1, Relaxed);
        self.cost.fetch_add(cost, Relaxed);
    }

    fn end(&self, cost: Nanos) {
        self.calls.fetch_sub(1, Relaxed);
        self.cost.fetch_sub(cost, Relaxed);
    }
}

/// A place for a call.
#[derive(Debug)]
struct Place {
    id: u64,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    Nothing,
    /// A call, and who waits for it.
    Open(Option<Waker>),
    /// A call that nobody waits for any more, and what it costs.
    Cancelled(Nanos),
    /// What became of it.
    Ended(Ended),
}

/// What became of a call.
#[derive(Debug)]
pub(in super::super) enum Ended {
    /// Its reply.
    Reply(Answer),
    /// It ended without one: it is to be made by HTTP.
    Closed,
    /// The link was lost.
    Lost(Arc<str>),
}

impl State {
    pub(super) fn new(terms: Terms, left: Arc<Left>) -> Self {
        Self {
            out: Vec::new(),
            heads: Heads::new(terms.heads),
            block: Vec::new(),
            own: Vec::new(),
            driver: None,
            retires: false,
            lost: None,
            places: Vec::new(),
            free: Vec::new(),
            next: 1,
            taken: 1,
            left,
        }
    }

    /// Whether it takes calls.
    pub(super) fn takes_calls(&self) -> bool {
        !self.retires && self.lost.is_none()
    }

    /// Calls that hold a credit.
    pub(super) fn open(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// A place for a new call: its id. It grows from call to call, and says where the place is.
    pub(super) fn begin(&mut self) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { id: 0, holds: Holds::Nothing });
            self.places.len() - 1
        });
        let id = (self.next << PLACE_BITS) | at as u64;
        self.next += 1;
        self.places[at] = Place { id, holds: Holds::Open(None) };
        id
    }

    /// What became of a call, once something has; its place is free then.
    pub(super) fn poll(&mut self, id: u64, waker: &Waker) -> Poll<Ended> {
        let at = place_of(id);
        let Some(place) = self.places.get_mut(at).filter(|place| place.id == id) else {
            return Poll::Ready(Ended::Lost("it is not open".into()));
        };
        match &mut place.holds {
            Holds::Open(waits) => {
                match waits {
                    Some(before) => before.clone_from(waker),
                    None => *waits = Some(waker.clone()),
                }
                Poll::Pending
            }
            _ => {
                let ended = self.end(at);
                Poll::Ready(ended.unwrap_or_else(|| Ended::Lost("it was cancelled".into())))
            }
        }
    }

    /// All that is to be written is taken to be written.
    pub(super) fn take_out(&mut self, into: &mut Vec<u8>) {
        std::mem::swap(&mut self.out, into);
        self.taken = self.next;
    }

    /// Nobody waits for a call any more. It holds its credit and its cost until the backend has closed it. Whether that
    /// frees a place.
    pub(super) fn cancel(&mut self, id: u64, cost: Nanos) -> bool {
        let at = place_of(id);
        let Some(place) = self.places.get_mut(at).filter(|place| place.id == id) else { return false };
        if matches!(place.holds, Holds::Open(_)) {
            place.holds = Holds::Cancelled(cost);
            self.left.begin(cost);
            Frame::Cancel(id).put(&mut self.out);
            return false;
        }
        self.end(at);
        true
    }

    /// A frame that closes a call came. False where it is not open: the backend's fault. `Some` is who waits for it.
    pub(super) fn closes(&mut self, id: u64, ended: impl FnOnce() -> Ended) -> Option<Closes> {
        let at = place_of(id);
        let place = self.places.get_mut(at).filter(|place| place.id == id)?;
        match &mut place.holds {
            Holds::Open(waits) => {
                let waits = waits.take();
                place.holds = Holds::Ended(ended());
                Some(Closes::Answered(waits))
            }
            Holds::Cancelled(_) => {
                self.end(at);
                Some(Closes::Freed)
            }
            Holds::Nothing | Holds::Ended(_) => None,
        }
    }

    /// The link has ended: how many calls were lost with it, and who waits for any. Those that were never written are not:
    /// they are made by HTTP, and cost no attempt.
    pub(super) fn lose(&mut self, why: &str) -> (usize, Vec<Waker>) {
        let why = Arc::<str>::from(why);
        let (mut lost, mut wakers) = (0, Vec::new());
        for at in 0..self.places.len() {
            let was_written = self.places[at].id >> PLACE_BITS < self.taken;
            match &mut self.places[at].holds {
                Holds::Open(waits) => {
                    wakers.extend(waits.take());
                    let ended = if was_written { Ended::Lost(Arc::clone(&why)) } else { Ended::Closed };
                    self.places[at].holds = Holds::Ended(ended);
                    lost += usize::from(was_written);
                }
                Holds::Cancelled(_) => drop(self.end(at)),
                Holds::Nothing | Holds::Ended(_) => {}
            }
        }
        self.lost = Some(why);
        self.out = Vec::new();
        (lost, wakers)
    }

    fn end(&mut self, at: usize) -> Option<Ended> {
        self.free.push(at);
        match std::mem::replace(&mut self.places[at], Place { id: 0, holds: Holds::Nothing }).holds {
            Holds::Ended(ended) => Some(ended),
            Holds::Cancelled(cost) => {
                self.left.end(cost);
                None
            }
            _ => None,
        }
    }
}

/// What a closing frame did.
#[derive(Debug)]
pub(super) enum Closes {
    /// Somebody may wait for it.
    Answered(Option<Waker>),
    /// Nobody did: its place is free.
    Freed,
}

fn place_of(id: u64) -> usize {
    (id & ((1 << PLACE_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_an_id_never() {
        let left = Arc::<Left>::default();
        let mut state = State::new(Terms { credits: 8, frame_bytes_max: 1 << 16, heads: 0 }, Arc::clone(&left));
        let waker = Waker::noop();
        let closed = || Ended::Closed;
        let mut last = 0;
        for _ in 0..100 {
            let (first, second) = (state.begin(), state.begin());
            assert!(last < first && first < second && state.places.len() == 2);
            last = second;
            assert!(state.poll(first, waker).is_pending());
            assert!(matches!(state.closes(first, closed), Some(Closes::Answered(Some(_)))));
            assert!(state.closes(first, closed).is_none(), "a call that was closed");
            assert!(matches!(state.poll(first, waker), Poll::Ready(Ended::Closed)));
            assert!(state.closes(first, closed).is_none(), "a call that is gone");
            // One that nobody waits for holds its place until it is closed.
            assert!(!state.cancel(second, 7));
            assert_eq!((state.open(), left.calls(), left.cost()), (1, 1, 7));
            assert!(matches!(state.closes(second, closed), Some(Closes::Freed)));
            assert!(state.closes(second, closed).is_none());
            assert_eq!(state.open(), 0);
        }
        assert!(state.closes(u64::MAX, closed).is_none());
        let (open, cancelled) = (state.begin(), state.begin());
        state.cancel(cancelled, 7);
        state.take_out(&mut Vec::new());
        let unwritten = state.begin();
        assert_eq!((left.calls(), state.lose("gone").0), (1, 1));
        assert!(matches!(state.poll(unwritten, waker), Poll::Ready(Ended::Closed)), "it costs no attempt");
        assert_eq!((left.calls(), left.cost()), (0, 0));
        assert!(!state.takes_calls());
        assert!(matches!(state.poll(open, waker), Poll::Ready(Ended::Lost(why)) if &*why == "gone"));
        assert_eq!(state.open(), 0);
    }
}
