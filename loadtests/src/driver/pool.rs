//! The line of requests that wait for a connection, and the connections that serve it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::Plan;
use super::bare;
use super::connection::serve;
use super::control::{Change, Control};
use super::failure::Failure;
use super::scores::Scores;
use super::tally::{Ended, Tally};

/// How many requests may wait for a connection; more fail at once.
const LINE_MAX: usize = 100_000;

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// When it is due.
    pub(super) due: Instant,
    /// Which of the plan's bodies it sends.
    pub(super) body: usize,
    /// The phase that it belongs to.
    pub(super) phase: usize,
}

/// What the tasks of a load share; all run on one thread.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) plan: Plan,
    pub(super) control: Control,
    /// The plan's requests as bytes, where they go so.
    pub(super) requests: Vec<Vec<u8>>,
    started: Instant,
    tally: RefCell<Tally>,
    line: RefCell<VecDeque<Call>>,
    /// Connections that wait for a request, and all that there are.
    idle: Cell<usize>,
    connections: Cell<usize>,
    peak: Cell<usize>,
    next_body: Cell<usize>,
    closed: Cell<bool>,
    wake: Notify,
    gone: Notify,
    served: RefCell<HashMap<String, u64>>,
    changes: mpsc::Sender<Change>,
}

impl Pool {
    pub(super) fn new(plan: Plan, control: Control, started: Instant, changes: mpsc::Sender<Change>) -> Rc<Self> {
        Rc::new(Self {
            tally: RefCell::new(Tally::new(&plan.phases, plan.keep)),
            requests: if plan.bare { bare::requests(&plan) } else { Vec::new() },
            plan,
            control,
            started,
            line: RefCell::default(),
            idle: Cell::new(0),
            connections: Cell::new(0),
            peak: Cell::new(0),
            next_body: Cell::new(0),
            closed: Cell::new(false),
            wake: Notify::new(),
            gone: Notify::new(),
            served: RefCell::default(),
            changes,
        })
    }

    /// A request that is due at `due`, with the next of the plan's bodies.
    pub(super) fn call(&self, due: Instant) -> Call {
        let body = self.next_body.get();
        self.next_body.set((body + 1) % self.plan.bodies.len().max(1));
        Call { due, body, phase: self.control.current_phase() }
    }

    /// Takes a request in: an idle connection serves it, else a new one where the bound allows, else it waits in line.
    pub(super) fn arrive(self: &Rc<Self>, call: Call) {
        self.tally.borrow_mut().lag.saturating_record(super::tally::micros(call.due.elapsed()));
        if self.line.borrow().len() >= LINE_MAX {
            return self.end(call, Err((Failure::LineFull, format!("{LINE_MAX} requests wait for a connection"))));
        }
        self.line.borrow_mut().push_back(call);
        if self.idle.get() > 0 {
            self.idle.set(self.idle.get() - 1);
            // The one that went idle last: few connections stay busy, and their caches warm.
            self.wake.notify_last();
        } else if self.connections.get() < self.plan.connections {
            self.connect();
        }
    }

    /// Adds a connection.
    pub(super) fn connect(self: &Rc<Self>) {
        self.connections.set(self.connections.get() + 1);
        self.peak.set(self.peak.get().max(self.connections.get()));
        tokio::task::spawn_local(serve(Rc::clone(self)));
    }

    /// The next request for a connection; none when the load has ended. Waits in open loop; in closed loop there always
    /// is one.
    pub(super) async fn next(&self) -> Option<Call> {
        loop {
            if self.plan.load.is_closed() && !self.closed.get() {
                return Some(self.call(Instant::now()));
            }
            if let Some(call) = self.line.borrow_mut().pop_front() {
                return Some(call);
            }
            if self.closed.get() {
                return None;
            }
            // Whoever wakes it takes it off the idle ones.
            self.idle.set(self.idle.get() + 1);
            self.wake.notified().await;
        }
    }

    /// The scores that the next reply must carry, where it is one of those that are looked at.
    pub(super) fn looked_at(&self) -> Option<&Scores> {
        self.plan.scores.as_ref().filter(|scores| self.control.progress().0.is_multiple_of(scores.every.max(1)))
    }

    /// Counts how a request ended.
    pub(super) fn end(&self, call: Call, result: Result<super::tally::Answer, (Failure, String)>) {
        let now = Instant::now();
        if let Ok(answer) = &result
            && let (Some(backend), Some(version)) = (&answer.backend, answer.version)
        {
            self.note_version(now, backend, version);
        }
        let due = call.due.saturating_duration_since(self.started);
        let latency = now.saturating_duration_since(call.due);
        let failed = self.tally.borrow_mut().record(Ended { due, latency, phase: call.phase, result });
        self.control.count(failed);
    }

    fn note_version(&self, at: Instant, backend: &str, version: u64) {
        let mut served = self.served.borrow_mut();
        if served.get(backend) == Some(&version) || (served.len() >= 1024 && !served.contains_key(backend)) {
            return;
        }
        served.insert(backend.to_owned(), version);
        // A full channel means that nobody listens.
        let _ = self.changes.try_send(Change { at, backend: backend.to_owned(), version });
    }

    /// One connection is gone for good.
    pub(super) fn leave(&self) {
        self.connections.set(self.connections.get() - 1);
        self.gone.notify_one();
    }

    /// Takes no more requests and waits until those that it has have ended; each ends by its own timeout.
    pub(super) async fn close(&self) -> (Duration, usize) {
        let end = self.started.elapsed();
        self.closed.set(true);
        self.wake.notify_waiters();
        while self.connections.get() > 0 {
            self.gone.notified().await;
        }
        (end, self.peak.get())
    }

    /// What was measured, taken out.
    pub(super) fn take_tally(&self) -> Tally {
        self.tally.replace(Tally::new(&[], false))
    }
}
