//! Threads that serve connections, each with a runtime of its own. A connection stays on its thread: with a runtime that
//! shares its work, half of what a small call takes is threads that wake each other to look for some.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::{gather, turn};

/// The threads. Dropped, they end, and with them what they still serve.
#[derive(Debug)]
pub struct Workers {
    threads: Threads,
    stopped: CancellationToken,
}

/// Where connections go: it keeps no thread alive.
#[derive(Clone, Debug)]
pub(super) struct Threads(Arc<[Worker]>);

/// One thread, and how many connections and links it has.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    links: Arc<AtomicUsize>,
}

/// A connection's place among those of its thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Workers {
    /// Starts so many threads; one at least.
    pub fn start(threads: usize) -> io::Result<Self> {
        let stopped = CancellationToken::new();
        let unless_all = stopped.clone().drop_guard();
        let mut workers = Vec::new();
        for _ in 0..threads.max(1) {
            let runtime = Builder::new_current_thread().enable_all().on_thread_unpark(turn::began).build()?;
            let handle = runtime.handle().clone();
            workers.push(Worker { runtime: handle, connections: Arc::default(), links: Arc::default() });
            let stopped = stopped.clone();
            let run = move || {
                gather::here();
                runtime.block_on(stopped.cancelled());
            };
            std::thread::Builder::new().name("headgate-door".to_owned()).spawn(run)?;
        }
        unless_all.disarm();
        Ok(Self { threads: Threads(workers.into()), stopped })
    }

    pub(super) fn threads(&self) -> Threads {
        self.threads.clone()
    }
}

impl Threads {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The thread with the fewest connections, and a place on it.
    pub(super) fn fewest(&self) -> Option<(&Handle, Place)> {
        self.fewest_of(|worker| &worker.connections)
    }

    /// The thread with the fewest links, which have many connections' work each, and a place on it.
    pub(super) fn fewest_links(&self) -> Option<(&Handle, Place)> {
        self.fewest_of(|worker| &worker.links)
    }

    /// This thread, and a place on it for a link that can't leave.
    pub(super) fn link_here(&self) -> Option<(&Handle, Place)> {
        let here = Handle::current().id();
        let worker = self.0.iter().find(|worker| worker.runtime.id() == here)?;
        Some(worker.place(&worker.links))
    }

    fn fewest_of(&self, counted: impl Fn(&Worker) -> &Arc<AtomicUsize>) -> Option<(&Handle, Place)> {
        let worker = self.0.iter().min_by_key(|worker| counted(worker).load(Ordering::Relaxed))?;
        Some(worker.place(counted(worker)))
    }
}

impl Worker {
    fn place(&self, counted: &Arc<AtomicUsize>) -> (&Handle, Place) {
        counted.fetch_add(1, Ordering::Relaxed);
        (&self.runtime, Place(Arc::clone(counted)))
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
    use super::*;

    #[test]
    fn connections_go_where_there_are_fewest_and_end_with_the_threads() {
        let workers = Workers::start(2).unwrap();
        let threads = workers.threads();
        let load = || threads.0.iter().map(|w| w.connections.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let places: Vec<Place> = (0..3).map(|_| threads.fewest().unwrap().1).collect();
        assert_eq!(load(), [2, 1]);
        drop(places);
        assert_eq!(load(), [0, 0]);
        let (runtime, place) = threads.fewest().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        runtime.spawn(async move {
            let _held = (place, sender);
            std::future::pending::<()>().await;
        });
        drop(workers);
        // What was served is dropped with its thread, and the sender in it.
        assert!(receiver.recv().is_err());
    }
}
