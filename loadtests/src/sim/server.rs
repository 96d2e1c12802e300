//! A backend: so many cores, a queue before them, and what may go wrong.
//!
//! First come, first served. A call that nobody waits for any more, that is late or that the queue has no room for, takes
//! a part of what it would have: it was read, and is answered.
//!
//! For [`super::prequal`] it remembers how long calls took that found so many others there.

use std::collections::VecDeque;

use headgate_balance::{Nanos, SECOND};

use super::plan::What;
use super::prequal::Recent;
use super::slab::Id;

/// For how long a new process is cold, and how much longer everything takes at first.
const COLD: Nanos = 2 * SECOND;
const COLD_FACTOR: f64 = 4.0;

/// A backend.
#[derive(Debug)]
pub struct Server {
    cores: u32,
    queue_max: usize,
    busy: u32,
    queue: VecDeque<Id>,
    /// Done while it hung.
    frozen: Vec<Id>,
    /// Work of refusals that the next call waits for.
    debt: Nanos,
    state: State,
    slow: f64,
    fails: f64,
    cold_until: Nanos,
    /// Processes before this one.
    pub boot: u64,
    /// Attempts that are there.
    pub in_flight: u32,
    /// What Prequal's probes ask.
    pub recent: Recent,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Up,
    /// It takes everything and answers nothing.
    Hangs,
    /// Nobody is there.
    Down,
}

/// What becomes of a call that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nobody is there.
    Unreached,
    /// It fails at once.
    Fails,
    /// There is no room.
    Refused,
    /// It is there; whether it may begin.
    In(bool),
}

impl Server {
    /// One that idles.
    pub fn new(cores: u32, queue_max: usize) -> Self {
        Self {
            cores,
            queue_max,
            busy: 0,
            queue: VecDeque::new(),
            frozen: Vec::new(),
            debt: 0,
            state: State::Up,
            slow: 1.0,
            fails: 0.0,
            cold_until: 0,
            boot: 0,
            in_flight: 0,
            recent: Recent::default(),
        }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// An attempt comes in. `chance` is from 0 to below 1, `refusal` what a refusal takes.
    pub fn take(&mut self, id: Id, chance: f64, refusal: Nanos) -> Taken {
        if self.state == State::Down {
            return Taken::Unreached;
        }
        if self.state == State::Up && chance < self.fails {
            return Taken::Fails;
        }
        if self.queue.len() >= self.queue_max {
            self.debt += refusal;
            return Taken::Refused;
        }
        self.in_flight += 1;
        let begins = self.state == State::Up && self.busy < self.cores && self.queue.is_empty();
        if !begins {
            self.queue.push_back(id);
        }
        Taken::In(begins)
    }

    /// The next that may begin, while a core is free.
    pub fn take_up(&mut self) -> Option<Id> {
        if self.state != State::Up || self.busy >= self.cores {
            return None;
        }
        self.queue.pop_front()
    }

    /// One begins, that takes `work` where all is well: how long it takes.
    pub fn begin(&mut self, work: Nanos, now: Nanos) -> Nanos {
        self.busy += 1;
        let left = self.cold_until.saturating_sub(now) as f64 / COLD as f64;
        let cold = 1.0 + (COLD_FACTOR - 1.0) * left;
        (work as f64 * self.slow * cold) as Nanos + std::mem::take(&mut self.debt)
    }

    /// One that waited is late, or nobody waits for it.
    pub fn drop_late(&mut self, refusal: Nanos) {
        self.debt += refusal;
        self.in_flight -= 1;
    }

    /// One is done; whether its reply goes out.
    pub fn done(&mut self, id: Id) -> bool {
        if self.state == State::Hangs {
            self.frozen.push(id);
            return false;
        }
        self.busy -= 1;
        self.in_flight -= 1;
        true
    }

    /// Something goes wrong. A process that dies takes along what is there.
    pub fn goes(&mut self, what: What) {
        match what {
            What::Slow(factor) => self.slow = factor,
            What::Fails(part) => self.fails = part,
            What::Hangs => self.state = State::Hangs,
            What::Restarts => {
                self.state = State::Down;
                (self.busy, self.in_flight, self.debt) = (0, 0, 0);
                self.boot += 1;
                self.frozen.clear();
                self.queue.clear();
            }
        }
    }

    /// It is over: those that were done while it hung.
    pub fn mends(&mut self, what: What, now: Nanos) -> Vec<Id> {
        match what {
            What::Slow(_) => self.slow = 1.0,
            What::Fails(_) => self.fails = 0.0,
            What::Hangs => self.state = State::Up,
            What::Restarts => {
                self.state = State::Up;
                self.cold_until = now + COLD;
            }
        }
        std::mem::take(&mut self.frozen)
    }
}
