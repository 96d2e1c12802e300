//! A gateway's view of the fleet: what it knows of each backend, and where each is in its life.
//!
//! As `gateway/src/fleet` has it, with the same pure parts in the same order.

use headgate_balance::choose::{Candidate, weight};
use headgate_balance::life::{self, Heard, Life, Missed, State};
use headgate_balance::limit::Limit;
use headgate_balance::load::Load;
use headgate_balance::outlier::{self, Counts, Rate, Reason};
use headgate_balance::{Millis, Nanos, nanos};

use super::plan::Rules;
use super::server::{self, Server};

/// How soon a missed probe is repeated.
const AGAIN_MS: Millis = 50;

/// What is known of one backend.
#[derive(Debug, Default)]
pub struct Peer {
    /// From calls that were sent there.
    pub load: Load,
    /// How many it is given at once.
    pub limit: Limit,
    counts: Counts,
    failures: u32,
    life: Life,
    boot: Option<u64>,
    /// When the probe was sent that was not answered yet.
    asked: Option<Millis>,
}

/// A backend as calls see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Where it is in its life.
    pub state: State,
    round: Option<u8>,
    hangs: bool,
    warms_since: Option<Millis>,
}

/// All that one gateway knows of the backends.
#[derive(Debug)]
pub struct View {
    /// By backend.
    pub peers: Vec<Peer>,
    seen: Vec<Seen>,
    /// Backends that calls may go to.
    planned: Vec<u32>,
    /// When each is probed next.
    due: Vec<Millis>,
    warms: bool,
    rates_since: Millis,
    /// The calls for which there is room.
    pub room: u32,
    /// Ejections so far.
    pub ejections: u64,
    /// Those that have fallen silent or were ejected, until that was dealt with.
    pub out: Vec<u32>,
}

impl View {
    /// Of so many backends, all of which have been ready since long before `now`.
    pub fn new(backends: usize, now: Millis, rules: &Rules) -> Self {
        let mut peers: Vec<Peer> = (0..backends).map(|_| Peer::default()).collect();
        peers.iter_mut().for_each(|peer| {
            peer.boot = Some(0);
            peer.life.heard(Heard::Ready, true, 0);
        });
        let seen = Seen { state: State::Pending, round: None, hangs: false, warms_since: None };
        let mut view = Self {
            peers,
            seen: vec![seen; backends],
            planned: Vec::new(),
            // Not all at once.
            due: (0..backends as u64).map(|at| now + at % rules.probe_ms.max(1)).collect(),
            warms: false,
            rates_since: now,
            room: u32::MAX,
            ejections: 0,
            out: Vec::new(),
        };
        view.refresh(now, rules);
        view.measure_room(now, rules);
        view
    }

    /// Backends that calls may go to.
    pub fn planned(&self) -> &[u32] {
        &self.planned
    }

    /// A backend as calls see it.
    pub fn seen(&self, at: u32) -> &Seen {
        &self.seen[at as usize]
    }

    /// What a choice needs to know.
    pub fn candidate(&self, at: u32, now: Nanos, rules: &Rules) -> Candidate {
        let since = self.seen[at as usize].warms_since;
        let weight = since.map_or(1.0, |since| weight(Some(since), now / nanos(1), rules.life.slow_start_ms));
        self.peers[at as usize].load.candidate(weight, now, &rules.load)
    }

    /// Whether a backend may be given another call.
    pub fn has_room(&self, at: u32, now: Nanos, rules: &Rules) -> bool {
        let peer = &self.peers[at as usize];
        peer.limit.has_room(|| peer.load.others(now, &rules.load), &rules.limit)
    }

    /// A call to a backend succeeded.
    pub fn succeeded(&mut self, at: u32) {
        let peer = &mut self.peers[at as usize];
        peer.counts.add(true);
        peer.failures = 0;
    }

    /// A call to a backend failed by its fault. Too many in a row eject it.
    pub fn failed(&mut self, at: u32, now: Millis, rules: &Rules) {
        let peer = &mut self.peers[at as usize];
        peer.counts.add(false);
        peer.failures += 1;
        self.due[at as usize] = now;
        let too_many = rules.outlier.failures > 0 && peer.failures >= rules.outlier.failures;
        if too_many && self.may_eject(at, &rules.outlier) {
            self.eject(at, Reason::Failures, now, rules);
        }
    }

    /// Time passes: as a gateway's clockwork, every 100 ms.
    pub fn tick(&mut self, now: Millis, rules: &Rules) {
        self.compare_rates(now, rules);
        if self.warms {
            self.refresh(now, rules);
        }
        self.measure_room(now, rules);
    }

    fn measure_room(&mut self, now: Millis, rules: &Rules) {
        let serving = self.peers.iter().zip(&self.seen).filter(|(_, seen)| seen.round == Some(0));
        let others = |peer: &Peer| peer.load.others(nanos(now), &rules.load);
        let left = serving.map(|(peer, _)| peer.limit.left_by(|| others(peer), &rules.limit));
        let room = left.fold(0, u32::saturating_add);
        self.room = if room == 0 { u32::MAX } else { room };
    }

    fn compare_rates(&mut self, now: Millis, rules: &Rules) {
        let window = rules.outlier.rate_window_ms;
        if window == 0 || now.saturating_sub(self.rates_since) < window {
            return;
        }
        self.rates_since = now;
        let serving: Vec<u32> =
            (0..self.seen.len() as u32).filter(|&at| self.seen[at as usize].state.serves()).collect();
        let rates: Vec<Rate> = serving.iter().map(|&at| self.peers[at as usize].counts.take()).collect();
        for low in outlier::too_low(&rates, &rules.outlier) {
            if self.may_eject(serving[low], &rules.outlier) {
                self.eject(serving[low], Reason::SuccessRate, now, rules);
            }
        }
    }

    fn may_eject(&self, at: u32, rules: &outlier::Rules) -> bool {
        let count = |is: fn(State) -> bool| self.seen.iter().filter(|seen| is(seen.state)).count();
        let (out, serving) = (count(|state| state == State::Ejected), count(State::serves));
        self.seen[at as usize].state.serves() && outlier::room(out, out + serving, rules)
    }

    fn eject(&mut self, at: u32, reason: Reason, now: Millis, rules: &Rules) {
        let peer = &mut self.peers[at as usize];
        peer.life.outlier.eject(reason, now, &rules.outlier);
        peer.failures = 0;
        self.ejections += 1;
        self.out.push(at);
        self.refresh(now, rules);
    }

    /// Probes those that are due.
    pub fn probe(&mut self, servers: &[Server], now: Millis, rules: &Rules) {
        let mut changed = false;
        for (at, server) in servers.iter().enumerate() {
            if self.due[at] <= now {
                changed |= self.probe_one(at, server, now, rules);
            }
        }
        if changed {
            self.refresh(now, rules);
        }
    }

    /// Probes one; whether its state may have changed.
    fn probe_one(&mut self, at: usize, server: &Server, now: Millis, rules: &Rules) -> bool {
        let peer = &mut self.peers[at];
        let before = peer.life.state(now, &rules.life);
        let missed = match server.state() {
            server::State::Up => {
                peer.load.heard(u64::from(server.in_flight), nanos(now));
                let fresh = peer.boot.replace(server.boot) != Some(server.boot);
                peer.life.heard(Heard::Ready, fresh, now);
                peer.asked = None;
                self.due[at] = now + rules.probe_ms;
                return before != peer.life.state(now, &rules.life);
            }
            server::State::Down => Missed::Unreached,
            server::State::Hangs => {
                let since = *peer.asked.get_or_insert(now);
                let until = since + rules.probe_ms + rules.probe_timeout_ms;
                if now < until {
                    self.due[at] = until;
                    return false;
                }
                Missed::Unanswered
            }
        };
        peer.asked = None;
        self.due[at] = now + if peer.life.misses() < 1 { AGAIN_MS } else { rules.probe_ms };
        if peer.life.missed(missed, &rules.life) {
            self.out.push(at as u32);
        }
        true
    }

    fn refresh(&mut self, now: Millis, rules: &Rules) {
        self.warms = false;
        for (peer, seen) in self.peers.iter().zip(&mut self.seen) {
            let state = peer.life.state(now, &rules.life);
            let warms_since = if state == State::Warming { peer.life.ready_since() } else { None };
            self.warms |= state == State::Warming;
            *seen =
                Seen { state, round: state.round(), hangs: state == State::Pending && peer.life.hangs(), warms_since };
        }
        let count = |is: fn(&Seen) -> bool| self.seen.iter().filter(|seen| is(seen)).count();
        let (serving, ejected) = (count(|seen| seen.state.serves()), count(|seen| seen.state == State::Ejected));
        if life::panics(serving, ejected, count(|seen| seen.hangs), &rules.life) {
            let alive = self.seen.iter_mut().filter(|seen| seen.hangs || seen.state == State::Ejected);
            alive.for_each(|seen| seen.round = Some(0));
        }
        let round = self.seen.iter().filter_map(|seen| seen.round).min();
        self.planned.clear();
        let in_round = (0..self.seen.len()).filter(|&at| round.is_some() && self.seen[at].round == round);
        self.planned.extend(in_round.map(|at| at as u32));
    }
}
