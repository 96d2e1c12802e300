//! Threads that stay awake for a while after something came. Some hosts take a tenth of a millisecond to wake a virtual core
//! that sleeps, and a call through the gateway waits for two such wakings: for the call, and for its reply.
//!
//! For replies of quick backends a thread looks a moment before it sleeps, as long as that mostly helps (as KVM's halt polling
//! learns it). For calls it stays only where it is told to, as HAProxy's `busy-polling` does: it looks busy all the time then.
//!
//! Without work tokio calls a hook and then sleeps in its poll, unless the hook has woken a task: then it only looks
//! whether something came, and the hook is called again.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// A thread that has looked for so long in vain lets others have the core between two looks.
const GIVES_WAY: Duration = Duration::from_micros(20);
/// Looking for replies: what one that came gains, one that did not loses, and how much can be gained.
const GAIN: u8 = 1;
const LOSS: u8 = 2;
const GAINED_MAX: u8 = 8;
/// Where there is nothing left to lose, how many times it is not tried before it is again.
const RESTS: u8 = 16;

thread_local! {
    static HERE: Awake = const {
        Awake {
            came: Cell::new(false),
            since: Cell::new(None),
            open: Cell::new(0),
            looks: Cell::new(false),
            gained: Cell::new(GAINED_MAX),
            rests: Cell::new(0),
            sleepless: RefCell::new(None),
        }
    };
}

/// For how long threads stay awake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stay {
    /// After something came.
    pub busy_poll: Duration,
    /// After something came, while calls wait for replies on links.
    pub reply_poll: Duration,
}

struct Awake {
    /// Whether something came since the hook was called last.
    came: Cell<bool>,
    /// Since when there is no work, while the thread stays awake.
    since: Cell<Option<Instant>>,
    /// Calls that wait for replies.
    open: Cell<usize>,
    /// Whether it looks for a reply.
    looks: Cell<bool>,
    gained: Cell<u8>,
    rests: Cell<u8>,
    /// Wakes the task of [`sleepless`].
    sleepless: RefCell<Option<Waker>>,
}

/// A call that waits for its reply, until it is dropped: on the thread on which it was made, as tasks of a worker stay there.
#[derive(Debug)]
pub(crate) struct Waits {
    is_counted: bool,
}

impl Waits {
    pub(crate) fn new() -> Self {
        let is_counted = super::here().is_some();
        if is_counted {
            HERE.with(|here| here.open.set(here.open.get() + 1));
        }
        Self { is_counted }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if self.is_counted {
            // Where the thread itself ends, nothing is counted any more.
            let _ = HERE.try_with(|here| here.open.set(here.open.get().saturating_sub(1)));
        }
    }
}

/// What a connection or a link of this thread is read for goes through here: something came, where it is ready.
pub(crate) fn came<T>(read: Poll<T>) -> Poll<T> {
    if read.is_ready() {
        HERE.with(|here| here.came.set(true));
    }
    read
}

/// A runtime for one thread, which stays awake for so long.
pub(super) fn runtime(stay: Stay) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if stay == Stay::default() {
        return builder.build();
    }
    let runtime = builder.on_thread_park(move || HERE.with(|here| here.before_sleep(stay, Instant::now()))).build()?;
    runtime.spawn(sleepless());
    Ok(runtime)
}

/// A task to be woken in place of sleeping. It never ends.
fn sleepless() -> impl Future<Output = ()> {
    poll_fn(|context| {
        HERE.with(|here| {
            let mut waker = here.sleepless.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
        });
        Poll::Pending
    })
}

impl Awake {
    fn before_sleep(&self, stay: Stay, now: Instant) {
        let Some(idle) = self.stays(stay, now) else { return };
        if let Some(waker) = &*self.sleepless.borrow() {
            if idle >= GIVES_WAY {
                std::thread::yield_now();
            }
            waker.wake_by_ref();
        }
    }

    /// For how long nothing has come, where it is to look again; none where it is to sleep.
    fn stays(&self, stay: Stay, now: Instant) -> Option<Duration> {
        if self.came.take() {
            self.since.set(Some(now));
            if self.looks.get() {
                self.gained.set(GAINED_MAX.min(self.gained.get() + GAIN));
            }
            self.looks.set(self.open.get() > 0 && self.may_look());
        }
        let idle = now.saturating_duration_since(self.since.get()?);
        if idle >= stay.reply_poll && self.looks.take() {
            self.gained.set(self.gained.get().saturating_sub(LOSS));
        }
        if self.looks.get() && self.open.get() > 0 || idle < stay.busy_poll {
            return Some(idle);
        }
        self.looks.set(false);
        self.since.set(None);
        None
    }

    fn may_look(&self) -> bool {
        if self.gained.get() > 0 {
            return true;
        }
        self.rests.set((self.rests.get() + 1) % RESTS);
        self.rests.get() == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn busy(busy_poll: Duration) -> Runtime {
        runtime(Stay { busy_poll, reply_poll: Duration::ZERO }).unwrap()
    }

    /// How often it sleeps within some milliseconds, where something comes at their begin.
    fn sleeps(runtime: &Runtime, comes: bool) -> u64 {
        let slept = || runtime.metrics().worker_park_count(0);
        runtime.block_on(async {
            tokio::task::yield_now().await;
            if comes {
                assert!(came(Poll::Ready(())).is_ready());
            }
            assert!(came(Poll::<()>::Pending).is_pending());
            let before = slept();
            // Timers end while it is awake too.
            tokio::time::sleep(Duration::from_millis(20)).await;
            slept() - before
        })
    }

    #[test]
    fn after_something_came_it_does_not_sleep_for_a_while() {
        let awake = busy(HOUR);
        assert!(sleeps(&awake, false) > 0, "nothing came");
        assert_eq!(sleeps(&awake, true), 0);
        assert_eq!(sleeps(&awake, false), 0, "it is not long ago");
        let brief = busy(Duration::from_nanos(1));
        assert!(sleeps(&brief, true) > 0, "the time is over at once");
        let off = busy(Duration::ZERO);
        assert!(sleeps(&off, true) > 0);
    }

    #[test]
    fn what_comes_while_it_is_awake_is_seen() {
        let awake = busy(HOUR);
        let slept = awake.metrics();
        awake.block_on(async {
            tokio::task::yield_now().await;
            assert!(came(Poll::Ready(())).is_ready());
            let before = slept.worker_park_count(0);
            let (from, to) = std::os::unix::net::UnixStream::pair().unwrap();
            to.set_nonblocking(true).unwrap();
            let to = tokio::net::UnixStream::from_std(to).unwrap();
            let sender = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                std::io::Write::write_all(&mut &from, b"x").unwrap();
            });
            to.readable().await.unwrap();
            assert_eq!(slept.worker_park_count(0), before);
            sender.join().unwrap();
        });
    }

    fn awake() -> Awake {
        Awake {
            came: Cell::new(false),
            since: Cell::new(None),
            open: Cell::new(0),
            looks: Cell::new(false),
            gained: Cell::new(GAINED_MAX),
            rests: Cell::new(0),
            sleepless: RefCell::new(None),
        }
    }

    /// How many of so many calls it looks for the replies of, where those take so long.
    fn looked_for(here: &Awake, calls: u32, took: Duration) -> u32 {
        let stay = Stay { busy_poll: Duration::ZERO, reply_poll: Duration::from_micros(100) };
        let (mut now, mut looked) = (Instant::now(), 0);
        for _ in 0..calls {
            here.came.set(true);
            here.open.set(1);
            let looks = here.stays(stay, now).is_some();
            looked += u32::from(looks);
            now += took.min(stay.reply_poll);
            if took >= stay.reply_poll {
                assert_eq!(here.stays(stay, now), None, "it looks too long");
            }
            here.came.set(true);
            here.open.set(0);
            assert_eq!(here.stays(stay, now), None, "nothing is to come");
        }
        looked
    }

    #[test]
    fn for_replies_it_looks_where_they_come_soon() {
        let here = awake();
        assert_eq!(looked_for(&here, 100, Duration::from_micros(30)), 100);
        let slow = looked_for(&here, 1_000, Duration::from_millis(5));
        assert!((1_000 / 16..100).contains(&slow), "{slow} looks for replies that come late");
        let quick = looked_for(&here, 100, Duration::from_micros(30));
        assert!(quick > 80, "only {quick} looks once they are quick again");
        assert_eq!(looked_for(&here, 1, Duration::from_micros(99)), 1);
    }

    #[test]
    fn calls_are_counted_where_they_are_made() {
        let open = || HERE.with(|here| here.open.get());
        drop(Waits::new());
        let elsewhere = Waits::new();
        assert_eq!(open(), 0, "this is none of the threads");
        super::super::HERE.set(Some(0));
        let (one, two) = (Waits::new(), Waits::new());
        drop((elsewhere, one));
        assert_eq!(open(), 1);
        drop(two);
        assert_eq!(open(), 0);
    }
}
