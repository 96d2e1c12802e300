//! Threads that stay awake for a while after something came, as HAProxy's `busy-polling` does. Some hosts take a tenth of a
//! millisecond to wake a virtual core that sleeps, and a call through the gateway waits for two such wakings.
//!
//! Without work tokio calls a hook and then sleeps in its poll, unless the hook has woken a task: then it only looks
//! whether something came, and the hook is called again.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

thread_local! {
    static HERE: Awake = const {
        Awake { came: Cell::new(false), since: Cell::new(None), sleepless: RefCell::new(None) }
    };
}

struct Awake {
    /// Whether something came since the hook was called last.
    came: Cell<bool>,
    /// Since when there is no work, while the thread stays awake.
    since: Cell<Option<Instant>>,
    /// Wakes the task of [`sleepless`].
    sleepless: RefCell<Option<Waker>>,
}

/// What a connection or a link of this thread is read for goes through here: something came, where it is ready.
pub(crate) fn came<T>(read: Poll<T>) -> Poll<T> {
    if read.is_ready() {
        HERE.with(|here| here.came.set(true));
    }
    read
}

/// A runtime for one thread, which stays awake for so long after something came.
pub(super) fn runtime(stay: Duration) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if stay.is_zero() {
        return builder.build();
    }
    let runtime = builder.on_thread_park(move || before_sleep(stay)).build()?;
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

fn before_sleep(stay: Duration) {
    HERE.with(|here| {
        let now = Instant::now();
        if here.came.take() {
            here.since.set(Some(now));
        }
        let stays = here.since.get().is_some_and(|since| now.saturating_duration_since(since) < stay);
        match &*here.sleepless.borrow() {
            Some(waker) if stays => {
                // Whoever else wants the core gets it.
                std::thread::yield_now();
                waker.wake_by_ref();
            }
            _ => here.since.set(None),
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        let awake = runtime(Duration::from_secs(3_600)).unwrap();
        assert!(sleeps(&awake, false) > 0, "nothing came");
        assert_eq!(sleeps(&awake, true), 0);
        assert_eq!(sleeps(&awake, false), 0, "it is not long ago");
        let brief = runtime(Duration::from_nanos(1)).unwrap();
        assert!(sleeps(&brief, true) > 0, "the time is over at once");
        let off = runtime(Duration::ZERO).unwrap();
        assert!(sleeps(&off, true) > 0);
    }

    #[test]
    fn what_comes_while_it_is_awake_is_seen() {
        let awake = runtime(Duration::from_secs(3_600)).unwrap();
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
}
