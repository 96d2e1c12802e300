//! One attempt on its way, and what its gateway takes in of it: as `gateway/src/fleet/backend.rs` has it.

use headgate_balance::cost::{Expected, Sample};
use headgate_balance::limit;
use headgate_balance::load::{Ended, Observed};
use headgate_balance::patience::Patience;
use headgate_balance::{Nanos, nanos};

use super::plan::Asked;
use super::slab::Id;
use super::world::World;

/// An attempt.
#[derive(Debug)]
pub struct Attempt {
    pub(super) call: Id,
    pub(super) gateway: u32,
    pub(super) backend: u32,
    pub(super) began: Nanos,
    pub(super) deadline: Nanos,
    pub(super) work: Nanos,
    pub(super) expected: Expected,
    pub(super) patience: Patience,
    /// Its gateway has told what became of it.
    pub(super) told: bool,
    /// Its gateway waits for it.
    pub(super) held: bool,
    /// Its backend has it, or will.
    pub(super) there: bool,
    /// It is being worked on, or was.
    pub(super) works: bool,
    /// A reply is on its way.
    pub(super) replied: bool,
    /// When it came to its backend, and how many others it found there.
    pub(super) came: Nanos,
    pub(super) found: u32,
}

impl World {
    fn took(&self, id: Id) -> Nanos {
        self.attempts.get(id).map_or(0, |attempt| self.now - attempt.began)
    }

    /// It was answered: what that says of its backend, and of what calls cost.
    pub(super) fn learn(&mut self, id: Id, asked: Asked, load: u32) {
        let took = self.took(id);
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let gateway = &self.gateways[attempt.gateway as usize];
        let expected = gateway.cost.expect_rows(asked.bytes, Some(asked.rows));
        attempt.expected.known = expected.known;
        let at = attempt.backend as usize;
        if expected.known {
            self.count(id, limit::Ended::Answered(expected.took), Some(load));
        }
        self.tell(id, Ended::Good, took, expected.took, Some(load));
        let (gateway, rules) = (&self.gateways[self.gateway_of(id)], &self.plan.rules);
        if expected.known {
            gateway.paces.add(took as f32 / expected.took as f32, rules.hedge_quantile as f32);
        }
        let crowded = gateway.view.peers[at].limit.is_crowded(Some(load.into()), &rules.limit);
        gateway.cost.learn(&Sample { bytes: asked.bytes, rows: Some(asked.rows), took, crowded }, self.now);
    }

    fn gateway_of(&self, id: Id) -> usize {
        self.attempts.get(id).map_or(0, |attempt| attempt.gateway as usize)
    }

    /// Its backend failed or refused it.
    pub(super) fn failed(&mut self, id: Id, load: Option<u32>) {
        let expected = self.attempts.get(id).map_or(1, |attempt| attempt.expected.took);
        self.tell(id, Ended::Failed, self.took(id), expected, load);
    }

    /// Its backend had no room for it, or did not come to it in time.
    pub(super) fn choked(&mut self, id: Id, load: Option<u32>) {
        self.count(id, limit::Ended::Choked, load);
        self.failed(id, load);
    }

    fn count(&mut self, id: Id, ended: limit::Ended, load: Option<u32>) {
        let took = self.took(id);
        let Some(attempt) = self.attempts.get(id) else { return };
        let peer = &self.gateways[attempt.gateway as usize].view.peers[attempt.backend as usize];
        let load = load.map_or_else(|| peer.load.in_flight(self.now, &self.plan.rules.load), u64::from);
        peer.limit.observe(ended, took, load, self.now, &self.plan.rules.limit);
    }

    fn tell(&mut self, id: Id, ended: Ended, took: Nanos, expected: Nanos, load: Option<u32>) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        if !std::mem::replace(&mut attempt.told, true) {
            let expected = attempt.expected.known.then_some(expected);
            let seen = Observed { took, expected, ended, load: load.map(u64::from) };
            let peer = &self.gateways[attempt.gateway as usize].view.peers[attempt.backend as usize];
            peer.load.observe(&seen, self.now, &self.plan.rules.load);
        }
    }

    /// Its gateway waits for it no longer.
    pub(super) fn let_go(&mut self, id: Id) {
        let Some(attempt) = self.attempts.get(id).filter(|attempt| attempt.held) else { return };
        let (gateway, backend, expected) = (attempt.gateway as usize, attempt.backend as usize, attempt.expected.took);
        self.tell(id, Ended::Left, self.took(id), expected, None);
        let peer = &self.gateways[gateway].view.peers[backend];
        peer.load.end(expected);
        peer.limit.end();
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.held = false;
        if !attempt.there && !attempt.replied {
            self.attempts.remove(id);
        }
    }

    /// Its backend failed it, by its own fault.
    pub(super) fn blame(&mut self, id: Id) {
        let Some(attempt) = self.attempts.get(id) else { return };
        let gateway = &mut self.gateways[attempt.gateway as usize];
        gateway.view.failed(attempt.backend, self.now / nanos(1), &self.plan.rules);
        gateway.prequal.failed(attempt.backend);
    }

    /// The same where its backend has answered nothing since it was sent.
    pub(super) fn blame_if_silent(&mut self, id: Id) {
        let took = self.took(id);
        let answers = self.attempts.get(id).is_some_and(|attempt| {
            let peer = &self.gateways[attempt.gateway as usize].view.peers[attempt.backend as usize];
            peer.load.has_answered_within(took, self.now)
        });
        if !answers {
            self.blame(id);
        }
    }

    /// Its backend did its part.
    pub(super) fn praise(&mut self, id: Id) {
        if let Some(attempt) = self.attempts.get(id) {
            self.gateways[attempt.gateway as usize].view.succeeded(attempt.backend);
        }
    }
}
