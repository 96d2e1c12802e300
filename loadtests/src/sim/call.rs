//! A call's way through its gateway: as `gateway/src/edge/{choose,predict,patience,room}.rs` have it, with the same pure
//! parts in the same order.

use headgate_balance::attempts::{Attempts, Failure, Next};
use headgate_balance::budget::Reason;
use headgate_balance::choose::{Among, in_order};
use headgate_balance::patience::{self, Patience};
use headgate_balance::share::Place;
use headgate_balance::{Nanos, nanos};

use super::attempt::Attempt;
use super::plan::{Asked, Policy};
use super::prequal::PROBES;
use super::slab::Id;
use super::tally::End;
use super::world::{Event, Reply, World};

/// Attempts that a call may have at most.
pub const ATTEMPTS_MAX: usize = 8;

/// A call.
#[derive(Debug)]
pub struct Call {
    gateway: u32,
    client: Option<u32>,
    asked: Asked,
    at: Nanos,
    place: Place,
    attempts: Attempts,
    tried: [u32; ATTEMPTS_MAX],
    tries: usize,
    /// Where the next attempt goes, where that is chosen already.
    next: Option<u32>,
    /// Whether a backend that was tried may be tried again.
    again: bool,
    current: Option<Id>,
    /// The attempt that was given up, while nothing came of it.
    earlier: Option<Id>,
    /// What the caller gets if nothing better comes.
    last: End,
}

impl Call {
    fn tried(&self) -> &[u32] {
        &self.tried[..self.tries]
    }
}

impl World {
    /// A call comes in.
    pub(super) fn arrives(&mut self, at: usize, client: Option<u32>) {
        let (asked, caller) = self.asked();
        let (gateway, rules) = (&mut self.gateways[at], &self.plan.rules);
        let Ok(place) = gateway.shares.enter(caller, gateway.view.room, &rules.share) else {
            self.tally.ended(End::Share, self.now, 0);
            if let Some(client) = client {
                self.calls_again(client, false);
            }
            return;
        };
        gateway.budget.request(&rules.budget);
        if rules.policy == Policy::Prequal {
            for _ in 0..PROBES {
                let backend = gateway.chance.below(self.servers.len()) as u32;
                self.queue.push(self.now + 2 * self.plan.network, Event::Prequal(at as u32, backend));
            }
        }
        let id = self.calls.add(Call {
            gateway: at as u32,
            client,
            asked,
            at: self.now,
            place,
            attempts: Attempts::default(),
            tried: [0; ATTEMPTS_MAX],
            tries: 0,
            next: None,
            again: false,
            current: None,
            earlier: None,
            last: End::Failed,
        });
        self.queue.push(self.now + self.plan.deadline, Event::Deadline(id));
        self.go(id);
    }

    /// Chooses a backend that was not tried; or, where `again`, one that was, if there is no other.
    fn choose(&mut self, id: Id, again: bool) -> Option<u32> {
        let call = self.calls.get(id)?;
        let gateway = &mut self.gateways[call.gateway as usize];
        let (rules, now, tried) = (&self.plan.rules, self.now, call.tried());
        let own = gateway.cost.expect(call.asked.bytes).took;
        let (view, prequal, chance) = (&gateway.view, &mut gateway.prequal, &mut gateway.chance);
        let planned = view.planned();
        let is_open = |among: Among, at: u32| {
            let may = match among {
                Among::UntriedThatServe => view.seen(at).state.serves() && !tried.contains(&at),
                Among::Untried => !tried.contains(&at),
                Among::All => true,
            };
            may && view.has_room(at, now, rules)
        };
        let mut choose = rules.choose;
        if let Policy::Own(policy) = rules.policy {
            choose.policy = policy;
        }
        let chosen = in_order(!tried.is_empty(), again, |among| {
            if rules.policy == Policy::Prequal {
                let may = |at: u32| planned.binary_search(&at).is_ok() && is_open(among, at);
                if let Some(at) = prequal.choose(may, now, chance) {
                    return planned.binary_search(&at).ok();
                }
                choose.policy = headgate_balance::choose::Policy::Random;
            }
            let open = |at: usize| is_open(among, planned[at]);
            let candidate = |at: usize| view.candidate(planned[at], now, rules);
            gateway.chooser.choose(planned.len(), open, candidate, own, &choose, || chance.bits())
        });
        chosen.map(|at| planned[at])
    }

    /// Sends a call to a backend, where there is one.
    fn go(&mut self, id: Id) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let again = call.again;
        let next = call.next.take().or_else(|| self.choose(id, again));
        let Some(backend) = next else {
            if let Some(call) = self.calls.get_mut(id).filter(|call| call.tries == 0) {
                call.last = End::NoRoom;
            }
            return self.rest(id);
        };
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.tries >= ATTEMPTS_MAX {
            return self.rest(id);
        }
        call.tried[call.tries] = backend;
        call.tries += 1;
        let (gateway, rules) = (&self.gateways[call.gateway as usize], &self.plan.rules);
        let expected = gateway.cost.expect(call.asked.bytes);
        let peer = &gateway.view.peers[backend as usize];
        peer.load.begin(expected.took);
        peer.limit.begin();
        let may_hedge = rules.budget.hedge_ratio > 0.0;
        let hedge_after = patience::hedge_after(expected, gateway.paces.get().filter(|_| may_hedge));
        let deadline = call.at + self.plan.deadline;
        let patience = Patience::new(deadline.saturating_sub(self.now), hedge_after);
        let attempt = self.attempts.add(Attempt {
            call: id,
            gateway: call.gateway,
            backend,
            began: self.now,
            deadline,
            work: call.asked.work,
            expected,
            patience,
            told: false,
            held: true,
            there: true,
            works: false,
            replied: false,
            came: 0,
            found: 0,
        });
        call.current = Some(attempt);
        let may_give_up = call.attempts.may_give_up();
        self.tally.sent(backend, self.now);
        self.queue.push(self.now + self.plan.network, Event::There(attempt));
        if may_give_up {
            self.plan_impatience(attempt, patience);
        }
    }

    fn plan_impatience(&mut self, attempt: Id, patience: Patience) {
        let began = self.attempts.get(attempt).map_or(self.now, |attempt| attempt.began);
        if let Some(after) = patience.after() {
            self.queue.push(began + after, Event::Impatience(attempt));
        }
    }

    /// A reply is here.
    pub(super) fn replied(&mut self, id: Id, reply: Reply) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.replied = false;
        let (call, held) = (attempt.call, attempt.held);
        if !held {
            self.attempts.remove(id);
            return;
        }
        let again = self.judge(id, call, reply);
        let gateway = self.attempts.get(id).map_or(0, |attempt| attempt.gateway as usize);
        self.outcome(id, call, again);
        self.deal_out(gateway);
    }

    /// What a reply means: an answer, or a reason to ask another backend, and what the caller gets if there is none.
    fn judge(&mut self, id: Id, call: Id, reply: Reply) -> Option<(Failure, End)> {
        match reply {
            Reply::Good(load) => {
                let asked = self.calls.get(call)?.asked;
                self.praise(id);
                self.learn(id, asked, load);
                None
            }
            Reply::Fault(load) => {
                self.tally.failed(self.attempts.get(id)?.backend);
                self.blame(id);
                self.failed(id, Some(load));
                Some((Failure::Refused, End::Failed))
            }
            Reply::Overloaded(load) => {
                self.praise(id);
                self.choked(id, Some(load));
                Some((Failure::Overloaded, End::Overloaded))
            }
            Reply::Lost | Reply::Unreached => {
                self.failed(id, None);
                self.blame(id);
                let failure = if reply == Reply::Lost { Failure::Lost } else { Failure::Unreached };
                Some((failure, End::Failed))
            }
        }
    }

    /// An attempt of a call is over.
    fn outcome(&mut self, id: Id, of: Id, again: Option<(Failure, End)>) {
        let Some(call) = self.calls.get_mut(of) else { return };
        let is_current = call.current == Some(id);
        if is_current {
            call.current = None;
        } else {
            call.earlier = None;
        }
        let (earlier, rests) = (call.earlier, call.current.is_none());
        self.let_go(id);
        match again {
            None => {
                if let Some(slow) = earlier.filter(|_| is_current) {
                    self.overtaken(slow);
                }
                self.finish(of, End::Good);
            }
            Some((failure, last)) if is_current => self.again_elsewhere(of, failure, last),
            // Of an attempt that was given up: the later one is waited for, where there is one.
            Some(_) if rests => self.finish_with_last(of),
            Some(_) => {}
        }
    }

    /// Another backend has answered a call that came to it later.
    fn overtaken(&mut self, slow: Id) {
        let took = self.attempts.get(slow).map_or(0, |slow| self.now - slow.began);
        if patience::is_overtaken(took, self.plan.deadline) {
            self.blame(slow);
        }
    }

    fn again_elsewhere(&mut self, id: Id, failure: Failure, last: End) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.last = last;
        call.again = matches!(failure, Failure::Lost | Failure::Unreached) && call.earlier.is_none();
        let (again, earlier) = (call.again, call.earlier.is_some());
        let others = self.choose(id, again).is_some();
        let refused = matches!(failure, Failure::Refused | Failure::Overloaded);
        if !others && (refused || earlier) {
            return self.rest(id);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        let (gateway, rules) = (&self.gateways[call.gateway as usize], &self.plan.rules);
        let tight = failure == Failure::Overloaded && gateway.shares.is_tight(gateway.view.room, &rules.share);
        let now = self.now / nanos(1);
        let take = |reason| !tight && gateway.budget.take(reason, now, &rules.budget);
        if call.attempts.after(failure, rules.attempts_max, true, others, take) != Next::Elsewhere {
            return self.rest(id);
        }
        self.tally.retries += u64::from(self.tally.counts(self.now));
        if self.now >= call.at + self.plan.deadline {
            return self.finish(id, End::Late);
        }
        self.go(id);
    }

    /// An attempt has been waited for long enough.
    pub(super) fn impatience(&mut self, id: Id) {
        let Some(attempt) = self.attempts.get(id).filter(|attempt| attempt.held) else { return };
        let is_due = attempt.patience.after().is_some_and(|after| attempt.began + after <= self.now);
        let reason = attempt.patience.reason();
        if is_due {
            self.gives_up(id, reason);
        }
    }

    fn gives_up(&mut self, id: Id, reason: Reason) {
        let Some(of) = self.attempts.get(id).map(|attempt| attempt.call) else { return };
        let waits = |call: &&Call| call.current == Some(id) && call.attempts.may_give_up();
        if self.calls.get(of).filter(waits).is_none() {
            return;
        }
        let next = self.choose(of, false);
        let Some(call) = self.calls.get_mut(of) else { return };
        let (gateway, rules) = (&self.gateways[call.gateway as usize], &self.plan.rules);
        let next = next.filter(|&at| gateway.view.seen(at).state.serves());
        let now = self.now / nanos(1);
        // Backends that have too much to do are not given the same call twice.
        let take = |reason| {
            (reason == Reason::Lost || !gateway.shares.is_tight(gateway.view.room, &rules.share))
                && gateway.budget.take(reason, now, &rules.budget)
        };
        if next.is_some() && call.attempts.give_up(reason, rules.attempts_max, take) {
            if self.tally.counts(self.now) {
                *if reason == Reason::Hedge { &mut self.tally.hedges } else { &mut self.tally.given_up } += 1;
            }
            call.next = next;
            call.earlier = call.current.take();
            return self.go(of);
        }
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.patience.goes_on(reason);
            let patience = attempt.patience;
            self.plan_impatience(id, patience);
        }
    }

    /// Gives up what waits for backends that have fallen silent or were ejected.
    pub(super) fn deal_out(&mut self, gateway: usize) {
        if self.gateways[gateway].view.out.is_empty() {
            return;
        }
        let out = std::mem::take(&mut self.gateways[gateway].view.out);
        let waits =
            |attempt: &Attempt| attempt.held && attempt.gateway as usize == gateway && out.contains(&attempt.backend);
        let waiting: Vec<Id> = self.attempts.iter().filter(|(_, attempt)| waits(attempt)).map(|(id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.gives_up(id, Reason::Lost));
    }

    /// A call's time is up.
    pub(super) fn deadline(&mut self, id: Id) {
        let Some(call) = self.calls.get(id) else { return };
        let (gateway, waits) = (call.gateway as usize, call.current.or(call.earlier));
        if let Some(attempt) = waits {
            let took = self.attempts.get(attempt).map_or(0, |attempt| self.now - attempt.began);
            if patience::is_too_late(took, self.plan.deadline) {
                self.choked(attempt, None);
                self.blame_if_silent(attempt);
            }
        }
        self.finish(id, End::Late);
        self.deal_out(gateway);
    }

    /// Nothing more is tried: an answer of the attempt that was given up, or what there is.
    fn rest(&mut self, id: Id) {
        if self.calls.get(id).is_some_and(|call| call.earlier.is_none()) {
            self.finish_with_last(id);
        }
    }

    fn finish_with_last(&mut self, id: Id) {
        let last = self.calls.get(id).map_or(End::Failed, |call| call.last);
        self.finish(id, last);
    }

    fn finish(&mut self, id: Id, end: End) {
        let Some(call) = self.calls.remove(id) else { return };
        call.current.into_iter().chain(call.earlier).for_each(|attempt| self.let_go(attempt));
        self.gateways[call.gateway as usize].shares.leave(call.place);
        self.tally.ended(end, call.at, self.now - call.at);
        if let Some(client) = call.client {
            self.calls_again(client, end == End::Good);
        }
    }
}
