//! Virtual time: what happens, in order. Backends are here; what gateways do is in [`super::call`] and [`super::attempt`].

use headgate_balance::budget::Budget;
use headgate_balance::choose::Chooser;
use headgate_balance::cost::Cost;
use headgate_balance::quantile::Quantile;
use headgate_balance::share::Shares;
use headgate_balance::{Millis, Nanos, SECOND, nanos};

use super::attempt::Attempt;
use super::call::Call;
use super::chance::Chance;
use super::plan::{Demand, Plan, Policy, What};
use super::prequal::Prequal;
use super::queue::Queue;
use super::server::{Server, Taken};
use super::slab::{Id, Slab};
use super::tally::Tally;
use super::view::View;

/// When it begins: what was before is long past.
const BEGINS: Nanos = 100 * SECOND;
/// How often gateways look at time alone, and at what is due to be probed.
const TICK_MS: Millis = 100;
const PROBES_MS: Millis = 50;
/// How soon a caller that was refused calls again, where it waits for each reply.
const AGAIN: Nanos = 10_000_000;

/// The world.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: Nanos,
    pub(super) queue: Queue<Event>,
    pub(super) servers: Vec<Server>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) calls: Slab<Call>,
    pub(super) attempts: Slab<Attempt>,
    pub(super) tally: Tally,
    demand: Chance,
    chance: Chance,
    /// Between two calls, on average.
    gap: f64,
    ends: Nanos,
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    pub(super) view: View,
    pub(super) chooser: Chooser,
    pub(super) prequal: Prequal,
    pub(super) cost: Cost,
    pub(super) paces: Quantile,
    pub(super) budget: Budget,
    pub(super) shares: Shares,
    pub(super) chance: Chance,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The next call.
    Arrives,
    /// The next call of one that waits for each reply.
    Client(u32),
    /// An attempt is at its backend.
    There(Id),
    /// A backend is done with it.
    Done(Id),
    /// Its reply is at its gateway.
    Reply(Id, Reply),
    /// It has been waited for long enough.
    Impatience(Id),
    /// A call's time is up.
    Deadline(Id),
    /// A gateway's clockwork.
    Tick(u32),
    /// A gateway probes those that are due.
    Probe(u32),
    /// A probe of Prequal's is answered: gateway, backend.
    Prequal(u32, u32),
    /// Something goes wrong.
    Goes(u32),
    /// It is over.
    Mends(u32),
}

/// What a backend replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer, with the calls in flight there.
    Good(u32),
    /// It failed.
    Fault(u32),
    /// There is no room.
    Overloaded(u32),
    /// The connection broke.
    Lost,
    /// There was none to be had.
    Unreached,
}

impl World {
    /// As planned.
    pub fn new(plan: Plan) -> Self {
        let rate = match plan.demand {
            Demand::Open(load) => load * plan.capacity(),
            Demand::Closed(_) => 1.0,
        };
        let ends = BEGINS + plan.length;
        let gateway = |at: usize| Gateway {
            view: View::new(plan.backends, BEGINS / nanos(1), &plan.rules),
            chooser: Chooser::default(),
            prequal: Prequal::default(),
            cost: Cost::default(),
            paces: Quantile::default(),
            budget: Budget::new(BEGINS / nanos(1), &plan.rules.budget),
            shares: Shares::default(),
            chance: Chance::new(plan.seed, 1_000 + at as u64),
        };
        Self {
            now: BEGINS,
            queue: Queue::new(),
            servers: (0..plan.backends).map(|_| Server::new(plan.cores, plan.queue_max)).collect(),
            gateways: (0..plan.gateways).map(gateway).collect(),
            calls: Slab::new(),
            attempts: Slab::new(),
            tally: Tally::new(plan.backends, plan.gateways, BEGINS, BEGINS + plan.warm_up, ends),
            demand: Chance::new(plan.seed, 1),
            chance: Chance::new(plan.seed, 2),
            gap: SECOND as f64 / rate.max(f64::MIN_POSITIVE),
            ends,
            plan,
        }
    }

    /// Runs to the end, and lets what is in flight end. How many events there were.
    pub fn run(&mut self, mut progress: impl FnMut(f64)) -> u64 {
        self.begin();
        let (mut told, step) = (BEGINS, (self.plan.length / 20).max(1));
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            if at >= told + step && at <= self.ends {
                told = at;
                progress((at - BEGINS) as f64 / self.plan.length as f64);
            }
            self.happens(event);
        }
        self.queue.planned()
    }

    fn begin(&mut self) {
        match self.plan.demand {
            Demand::Open(_) => self.plan_arrival(),
            // They come within a tenth of a second.
            Demand::Closed(clients) => (0..clients as u32).for_each(|client| {
                let at = BEGINS + self.chance.below((SECOND / 10) as usize) as Nanos;
                self.queue.push(at, Event::Client(client));
            }),
        }
        let gateways = self.gateways.len() as u64;
        for gateway in 0..gateways {
            let late = nanos(TICK_MS) * gateway / gateways;
            self.queue.push(BEGINS + late, Event::Tick(gateway as u32));
            self.queue.push(BEGINS + late / 2, Event::Probe(gateway as u32));
        }
        for (at, fault) in self.plan.faults.iter().enumerate() {
            self.queue.push(BEGINS + fault.from, Event::Goes(at as u32));
            self.queue.push(BEGINS + fault.to, Event::Mends(at as u32));
        }
    }

    fn plan_arrival(&mut self) {
        let at = self.now + self.demand.exponential(self.gap) as Nanos;
        if at < self.ends {
            self.queue.push(at, Event::Arrives);
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives => {
                self.plan_arrival();
                let gateway = self.demand.below(self.gateways.len());
                self.arrives(gateway, None);
            }
            Event::Client(client) => self.arrives(client as usize % self.gateways.len(), Some(client)),
            Event::There(id) => self.there(id),
            Event::Done(id) => self.done(id),
            Event::Reply(id, reply) => self.replied(id, reply),
            Event::Impatience(id) => self.impatience(id),
            Event::Deadline(id) => self.deadline(id),
            Event::Tick(at) => self.tick(at),
            Event::Probe(at) => self.probe(at),
            Event::Prequal(gateway, backend) => self.prequal_answer(gateway, backend),
            Event::Goes(at) => self.goes(at as usize),
            Event::Mends(at) => self.mends(at as usize),
        }
    }

    /// The next call that comes in: what it asks, and of whom it is.
    pub(super) fn asked(&mut self) -> (super::plan::Asked, u64) {
        let asked = self.plan.work.ask(&mut self.demand);
        let busy = self.plan.busy_caller > 0.0 && self.demand.unit() < self.plan.busy_caller;
        let caller = if busy { 0 } else { 1 + self.demand.below(self.plan.callers) as u64 };
        (asked, caller.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20)
    }

    /// A caller that waits for each reply has one.
    pub(super) fn calls_again(&mut self, client: u32, good: bool) {
        let at = self.now + if good { 1_000 } else { AGAIN };
        if at < self.ends {
            self.queue.push(at, Event::Client(client));
        }
    }

    fn there(&mut self, id: Id) {
        let Some(attempt) = self.attempts.get(id) else { return };
        let at = attempt.backend as usize;
        let chance = if self.plan.faults.is_empty() { 1.0 } else { self.chance.unit() };
        let refusal = self.refusal();
        let server = &mut self.servers[at];
        let reply = match server.take(id, chance, refusal) {
            Taken::Unreached => Reply::Unreached,
            Taken::Fails => Reply::Fault(server.in_flight),
            Taken::Refused => Reply::Overloaded(server.in_flight),
            Taken::In(begins) => {
                let found = server.in_flight;
                if let Some(attempt) = self.attempts.get_mut(id) {
                    attempt.found = found;
                    attempt.came = self.now;
                }
                if begins {
                    self.works(id);
                }
                return;
            }
        };
        self.leaves(id, reply);
    }

    fn refusal(&self) -> Nanos {
        (self.plan.work.mean as f64 * self.plan.work.refusal) as Nanos
    }

    fn works(&mut self, id: Id) {
        let hiccup = self.plan.work.hiccup(&mut self.chance);
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.works = true;
        let took = self.servers[attempt.backend as usize].begin(attempt.work + hiccup, self.now);
        self.queue.push(self.now + took, Event::Done(id));
    }

    fn done(&mut self, id: Id) {
        let Some(attempt) = self.attempts.get(id).filter(|attempt| attempt.there) else { return };
        let (at, found, took) = (attempt.backend as usize, attempt.found, self.now - attempt.came);
        let load = self.servers[at].in_flight;
        if !self.servers[at].done(id) {
            return;
        }
        if self.plan.rules.policy == Policy::Prequal {
            self.servers[at].recent.add(found, took);
        }
        self.leaves(id, Reply::Good(load));
        self.works_on(at);
    }

    /// Begins what waits, as far as cores are free.
    fn works_on(&mut self, at: usize) {
        let refusal = self.refusal();
        while let Some(id) = self.servers[at].take_up() {
            let waits = self.attempts.get(id).is_some_and(|attempt| attempt.held && self.now < attempt.deadline);
            if waits {
                self.works(id);
            } else {
                self.servers[at].drop_late(refusal);
                self.gone(id);
            }
        }
    }

    /// A backend has nothing more to do with an attempt: its reply goes out, where anybody waits for it.
    fn leaves(&mut self, id: Id, reply: Reply) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        if attempt.held {
            attempt.there = false;
            attempt.replied = true;
            self.queue.push(self.now + self.plan.network, Event::Reply(id, reply));
        } else {
            self.attempts.remove(id);
        }
    }

    /// The same without a reply.
    fn gone(&mut self, id: Id) {
        let held = self.attempts.get_mut(id).is_some_and(|attempt| {
            attempt.there = false;
            attempt.held
        });
        if !held {
            self.attempts.remove(id);
        }
    }

    fn tick(&mut self, at: u32) {
        let (gateway, rules) = (&mut self.gateways[at as usize], &self.plan.rules);
        gateway.view.tick(self.now / nanos(1), rules);
        self.deal_out(at as usize);
        self.again(TICK_MS, Event::Tick(at));
    }

    fn probe(&mut self, at: u32) {
        let gateway = &mut self.gateways[at as usize];
        gateway.view.probe(&self.servers, self.now / nanos(1), &self.plan.rules);
        self.deal_out(at as usize);
        self.again(PROBES_MS, Event::Probe(at));
    }

    /// Gateways run on as long as calls do.
    fn again(&mut self, after: Millis, event: Event) {
        if self.now < self.ends + self.plan.deadline {
            self.queue.push(self.now + nanos(after), event);
        }
    }

    fn prequal_answer(&mut self, gateway: u32, backend: u32) {
        let server = &self.servers[backend as usize];
        if server.state() == super::server::State::Up {
            let (load, took) = (server.in_flight, server.recent.about(server.in_flight));
            self.gateways[gateway as usize].prequal.hears(backend, load, took, self.servers.len(), self.now);
        }
    }

    fn goes(&mut self, at: usize) {
        let fault = self.plan.faults[at];
        self.servers[fault.backend].goes(fault.what);
        if fault.what == What::Restarts {
            let there =
                |attempt: &Attempt| attempt.there && attempt.came > 0 && attempt.backend as usize == fault.backend;
            let lost: Vec<Id> = self.attempts.iter().filter(|(_, a)| there(a)).map(|(id, _)| id).collect();
            lost.into_iter().for_each(|id| self.leaves(id, Reply::Lost));
        }
    }

    fn mends(&mut self, at: usize) {
        let fault = self.plan.faults[at];
        for id in self.servers[fault.backend].mends(fault.what, self.now) {
            self.done(id);
        }
        self.works_on(fault.backend);
    }

    /// Seconds that are counted.
    pub fn counted_s(&self) -> f64 {
        (self.plan.length - self.plan.warm_up) as f64 / SECOND as f64
    }
}
