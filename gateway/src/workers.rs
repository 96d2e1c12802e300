//! Threads that serve connections and links, each with a runtime of its own. A connection stays on its thread, and its
//! calls go over that thread's links: with a runtime that shares its work, much of what a small call takes is threads that
//! wake each other.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod awake;

pub use awake::Stay;
pub(crate) use awake::{Waits, came};

thread_local! {
    static HERE: Cell<Option<usize>> = const { Cell::new(None) };
    /// When this thread's runtime wakes anyway, at the latest: see [`wakes_by`].
    static WAKES: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The threads. Dropped, they end, and with them what they still serve.
#[derive(Debug)]
pub struct Workers {
    threads: Threads,
    stopped: CancellationToken,
}

/// Where connections and links go: it keeps no thread alive.
#[derive(Clone, Debug)]
pub struct Threads(Arc<[Worker]>);

/// One thread, and how many connections it has.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place among those of its thread, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

/// Which of the threads this one is, where it is one.
pub fn here() -> Option<usize> {
    HERE.get()
}

/// To be told before a timer is set that in most cases nobody will wait for. Where a timer ends before all others, tokio
/// interrupts its own poll, though it is this very thread that sets it: two system calls more for each call that comes alone.
/// So of those that end at about the same time one stays set, for nothing, and the others come after it.
pub fn wakes_by(at: Instant, now: Instant) {
    let is_near = |wakes: Instant| wakes > now && wakes <= at;
    if HERE.get().is_some() && !WAKES.get().is_some_and(is_near) {
        WAKES.set(Some(at));
        tokio::spawn(tokio::time::sleep_until(at));
    }
}

impl Workers {
    /// Starts so many threads; one at least. They stay awake for so long.
    pub fn start(threads: usize, stay: Stay) -> io::Result<Self> {
        let stopped = CancellationToken::new();
        let unless_all = stopped.clone().drop_guard();
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let runtime = awake::runtime(stay)?;
            workers.push(Worker { runtime: runtime.handle().clone(), connections: Arc::default() });
            let stopped = stopped.clone();
            let run = move || {
                HERE.set(Some(number));
                runtime.block_on(stopped.cancelled());
                runtime.shutdown_background();
            };
            std::thread::Builder::new().name(format!("edge-{number}")).spawn(run)?;
        }
        unless_all.disarm();
        Ok(Self { threads: Threads(workers.into()), stopped })
    }

    /// Where they are.
    pub fn threads(&self) -> Threads {
        self.threads.clone()
    }
}

impl Threads {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The thread with the fewest connections, and a place on it.
    pub fn fewest(&self) -> Option<(&Handle, Place)> {
        let worker = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed))?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Some((&worker.runtime, Place(Arc::clone(&worker.connections))))
    }

    /// Runs a task on a thread. None where there is no such thread.
    pub fn spawn_on(&self, number: usize, task: impl Future<Output = ()> + Send + 'static) -> Option<()> {
        self.0.get(number)?.runtime.spawn(task);
        Some(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_timers_that_end_together_one_is_enough() {
        let workers = Workers::start(1, Stay::default()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let told = async move {
            let now = Instant::now();
            let at = |ms| now + Duration::from_millis(ms);
            for (asked, from, wakes) in [(50, 0, 50), (60, 10, 50), (40, 10, 40), (90, 45, 90)] {
                wakes_by(at(asked), at(from));
                sender.send(WAKES.get() == Some(at(wakes))).unwrap();
            }
        };
        workers.threads().spawn_on(0, told).unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [true; 4]);
        // Elsewhere it is nobody's matter, with or without a runtime.
        wakes_by(Instant::now(), Instant::now());
        assert_eq!(WAKES.get(), None);
    }

    #[test]
    fn connections_go_where_there_are_fewest_and_end_with_the_threads() {
        let workers = Workers::start(2, Stay { busy_poll: Duration::from_millis(1), ..Stay::default() }).unwrap();
        let threads = workers.threads();
        let load = || threads.0.iter().map(|w| w.connections.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let places: Vec<Place> = (0..3).map(|_| threads.fewest().unwrap().1).collect();
        assert_eq!(load(), [2, 1]);
        drop(places);
        assert_eq!(load(), [0, 0]);
        let (sender, receiver) = std::sync::mpsc::channel();
        for number in 0..2 {
            let sender = sender.clone();
            threads.spawn_on(number, async move { sender.send(here()).unwrap() }).unwrap();
        }
        let mut numbers = [receiver.recv().unwrap(), receiver.recv().unwrap()];
        numbers.sort_unstable();
        assert_eq!(numbers, [Some(0), Some(1)]);
        assert!(here().is_none() && threads.spawn_on(2, async {}).is_none());
        threads.spawn_on(0, async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        drop(workers);
        // What was served is dropped with its thread, and the sender in it.
        assert!(receiver.recv().is_err());
    }
}
