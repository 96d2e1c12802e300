//! One backend: its way, its load, its life.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};
use headgate_balance::choose::Candidate;
use headgate_balance::cost::Expected;
use headgate_balance::life::Life;
use headgate_balance::limit::{self, Limit};
use headgate_balance::load::{self, Ended, Load, Observed};
use headgate_balance::place::Member;
use headgate_balance::{Millis, Nanos, outlier};
use headgate_contract::fleet::{CatalogSeen, OnDemand, is_zone};
use http::HeaderValue;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lock;
use crate::foreign::{Foreign, Spec};
use crate::upstream::Upstream;
use crate::upstream::tls::Tls;

/// The longest instance name that is taken.
const NAME_BYTES_MAX: usize = 128;

/// A backend. One that leaves and comes back is another one, with connections and counts of its own.
#[derive(Debug)]
pub struct Backend {
    /// Never used again.
    pub id: u64,
    /// `host:port`.
    pub address: String,
    /// What it is told from others by in every gateway: the name that discovery has for it, else its address.
    pub(super) key: String,
    /// Whether it is none of those that this gateway keeps connections open to.
    pub(super) outside: AtomicBool,
    /// The way there.
    pub upstream: Upstream,
    name: ArcSwap<Name>,
    /// Where it runs; empty: it did not say.
    zone: ArcSwap<String>,
    /// Calls that it works on at once; 0: it did not say.
    pub(super) cores: AtomicU32,
    /// What its clock counts from.
    born: Instant,
    load: Load,
    limit: Limit,
    total: AtomicU64,
    /// Those that were counted by zone.
    pub(super) counted: AtomicU64,
    failures: AtomicU32,
    pub(super) counts: outlier::Counts,
    pub(super) life: Mutex<Life>,
    pub(super) said: Mutex<Said>,
    /// Probe now, do not wait.
    pub(super) poke: Notify,
    /// It fell silent, was ejected or is gone: what is in flight there may be lost.
    pub(super) out: Notify,
    pub(super) stop: CancellationToken,
    /// Its part in placing models, where it loads them on demand.
    member: ArcSwapOption<Member>,
    /// Whether all models that it is known to have were given other places, while it drains.
    pub(super) is_replaced: AtomicBool,
}

/// What it said of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The cursor of its last report.
    pub cursor: Option<String>,
    /// Which build it is.
    pub build: String,
    /// Calls in flight there, from whomever.
    pub in_flight: u64,
    /// The catalog that it serves.
    pub catalog: Option<CatalogSeen>,
    /// When it was heard last.
    pub at: Option<Millis>,
    /// Why the last probe failed.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Name {
    text: String,
    header: HeaderValue,
}

/// A call in flight: it counts until it is dropped. One that is dropped before anything is said of it was taken back.
#[derive(Debug)]
pub struct InFlight {
    /// Where it is.
    pub backend: Arc<Backend>,
    /// When it was sent.
    pub began: Instant,
    expected: Expected,
    rules: Bounds,
    /// Whether it counts under the backend's limit.
    limited: bool,
    /// What the backend said to be in flight there.
    load: Option<u64>,
    told: bool,
}

/// By what rules a call is counted.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What replies say about a backend's load.
    pub load: load::Rules,
    /// How many calls a backend is given at once.
    pub limit: limit::Rules,
}

impl Backend {
    pub(super) fn new(
        id: u64,
        address: &str,
        name: Option<&str>,
        foreign: Option<Spec>,
        tls: Arc<Tls>,
        stop: CancellationToken,
    ) -> Self {
        let upstream = match foreign {
            Some(spec) => Upstream::to_foreign(Arc::new(Foreign::new(spec))),
            None => Upstream::new(address, tls),
        };
        let backend = Self {
            id,
            address: address.to_owned(),
            key: name.unwrap_or(address).to_owned(),
            outside: AtomicBool::new(false),
            upstream,
            name: ArcSwap::from_pointee(Name::of(address)),
            zone: ArcSwap::default(),
            cores: AtomicU32::new(0),
            born: Instant::now(),
            load: Load::default(),
            limit: Limit::default(),
            total: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            counts: outlier::Counts::default(),
            life: Mutex::default(),
            said: Mutex::default(),
            poke: Notify::new(),
            out: Notify::new(),
            stop,
            member: ArcSwapOption::empty(),
            is_replaced: AtomicBool::new(false),
        };
        if let Some(name) = name {
            backend.rename(name);
        }
        backend
    }

    /// Whether it is none of ours.
    pub fn is_foreign(&self) -> bool {
        self.upstream.foreign().is_some()
    }

    /// Its stable name; its address until it has told one.
    pub fn name(&self) -> String {
        self.name.load().text.clone()
    }

    /// Its name as a header's value.
    pub fn header(&self) -> HeaderValue {
        self.name.load().header.clone()
    }

    /// Takes the name that it gives itself, where that is one.
    pub(super) fn rename(&self, name: &str) {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        if fits && self.name.load().text != name {
            self.name.store(Arc::new(Name::of(name)));
        }
    }

    /// Where it runs; empty where it did not say.
    pub fn zone(&self) -> Arc<String> {
        self.zone.load_full()
    }

    /// Takes the zone and the cores that it tells.
    pub(super) fn runs_in(&self, zone: &str, cores: u32) {
        self.cores.store(cores, Relaxed);
        if is_zone(zone) && **self.zone.load() != zone {
            self.zone.store(Arc::new(zone.to_owned()));
        }
    }

    /// Whether it runs in another zone than this one; where one of them is not known, it does not.
    pub(super) fn is_far(&self, own: &str) -> bool {
        let zone = self.zone.load();
        !own.is_empty() && !zone.is_empty() && **zone != own
    }

    /// It said whether it loads models on demand, under the name that it has now.
    pub(super) fn told_room(&self, room: Option<OnDemand>) {
        let member = room.map(|room| Member::new(&self.name.load().text, room.memory_bytes_max as f64));
        if member != self.member() {
            self.member.store(member.map(Arc::new));
        }
    }

    /// Its part in placing models, where it loads them on demand.
    pub fn member(&self) -> Option<Member> {
        self.member.load().as_deref().copied()
    }

    /// What it said of itself.
    pub fn said(&self) -> Said {
        lock(&self.said).clone()
    }

    /// What is known of its life.
    pub fn life(&self) -> Life {
        lock(&self.life).clone()
    }

    /// A call begins now; `limited`: one that a backend is given only so many of at once.
    pub fn begin(self: &Arc<Self>, now: Instant, expected: Expected, limited: bool, rules: Bounds) -> InFlight {
        self.total.fetch_add(1, Relaxed);
        self.load.begin(expected.took);
        if limited {
            self.limit.begin();
        }
        InFlight { backend: Arc::clone(self), began: now, expected, rules, limited, load: None, told: false }
    }

    /// Whether it may be given another call.
    pub fn has_room(&self, now: Instant, rules: &Bounds) -> bool {
        // What was left there is among what others have, as far as it was heard.
        let own = self.limit.calls().saturating_add(self.upstream.left().calls());
        let others = || self.load.others(self.clock(now), &rules.load);
        own < self.limit.get(&rules.limit) && self.limit.has_room(others, &rules.limit)
    }

    /// How many of them are left for this gateway.
    pub(super) fn room(&self, now: Instant, rules: &Bounds) -> u32 {
        self.limit.left_by(|| self.load.others(self.clock(now), &rules.load), &rules.limit)
    }

    /// How many calls it is given at once, by all gateways.
    pub fn limit(&self, rules: &limit::Rules) -> u32 {
        self.limit.get(rules)
    }

    /// What a choice needs to know.
    pub fn candidate(&self, weight: f32, now: Instant, rules: &load::Rules) -> Candidate {
        let candidate = self.load.candidate(weight, self.clock(now), rules);
        // What was cancelled is worked on until the backend says otherwise.
        let left = self.upstream.left();
        let (calls, cost) = (candidate.calls.saturating_add(left.calls()), candidate.cost.saturating_add(left.cost()));
        Candidate { calls, cost, ..candidate }
    }

    /// It said how many calls are in flight there.
    pub(super) fn told_load(&self, load: u64) {
        self.load.heard(load, self.clock(Instant::now()));
    }

    /// Calls of ours in flight there.
    pub fn in_flight(&self) -> u64 {
        self.load.calls().into()
    }

    /// The cost of the calls of ours in flight there, and of those that were cancelled and not closed, in nanoseconds of undisturbed work.
    pub fn cost(&self) -> Nanos {
        self.load.cost().saturating_add(self.upstream.left().cost())
    }

    /// How much longer than expected its replies take.
    pub fn pace(&self, rules: &load::Rules) -> f32 {
        self.load.pace(self.clock(Instant::now()), rules)
    }

    /// The moving average of its replies' times.
    pub fn latency(&self) -> Option<Nanos> {
        self.load.latency(self.clock(Instant::now()))
    }

    fn clock(&self, now: Instant) -> Nanos {
        u64::try_from(now.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Calls that were sent there since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Something is odd: probe it now.
    pub fn suspect(&self) {
        self.poke.notify_one();
    }

    /// Waits until it falls silent, is ejected or goes, where it had not before.
    pub async fn goes_out(&self) {
        self.out.notified().await;
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        self.counts.add(true);
        self.forgive();
    }

    /// What it failed does not count any more.
    pub(super) fn forgive(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A call failed, and it can't be told by whose fault: other backends' calls of the kind do, too, or do not.
    pub(super) fn faltered(&self) {
        self.counts.add(false);
    }

    /// A call failed: how many have in a row.
    pub(super) fn failed(&self) -> u32 {
        self.counts.add(false);
        self.failures.fetch_add(1, Relaxed).saturating_add(1)
    }
}

impl Name {
    fn of(text: &str) -> Self {
        let header = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        Self { text: text.to_owned(), header }
    }
}

impl InFlight {
    /// What it is expected to cost.
    pub fn cost(&self) -> Nanos {
        self.expected.took
    }

    /// How long it has been in flight by now.
    pub fn took(&self, now: Instant) -> Nanos {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// It was answered now, where that was expected, with what the backend said of its load.
    pub fn answered(&mut self, now: Instant, expected: Expected, load: Option<u64>) {
        self.expected.known = expected.known;
        if expected.known {
            self.count(now, limit::Ended::Answered(expected.took), load);
        }
        self.load = load;
        self.tell(now, Ended::Good, expected.took, load);
    }

    /// The backend failed or refused it.
    pub fn failed(&mut self, load: Option<u64>) {
        self.tell(Instant::now(), Ended::Failed, self.expected.took, load);
    }

    /// The backend had no room for it, or did not come to it in time.
    pub fn choked(&mut self, load: Option<u64>) {
        self.count(Instant::now(), limit::Ended::Choked, load);
        self.failed(load);
    }

    /// Whether its backend has answered nothing since it was sent: it hangs, and has not merely too much to do.
    pub fn is_met_with_silence(&self) -> bool {
        let now = Instant::now();
        !self.backend.load.has_answered_within(self.took(now), self.backend.clock(now))
    }

    /// Whether it was one of too many where it was sent.
    pub fn is_crowded(&self) -> bool {
        self.backend.limit.is_crowded(self.load, &self.rules.limit)
    }

    fn count(&self, now: Instant, ended: limit::Ended, load: Option<u64>) {
        if self.limited {
            let (limit, clock) = (&self.backend.limit, self.backend.clock(now));
            // Where no reply tells, what was heard before does.
            let load = load.unwrap_or_else(|| self.backend.load.in_flight(clock, &self.rules.load));
            limit.observe(ended, self.took(now), load, clock, &self.rules.limit);
        }
    }

    /// It says nothing about its backend.
    pub fn forget(&mut self) {
        self.told = true;
    }

    fn tell(&mut self, now: Instant, ended: Ended, expected: Nanos, load: Option<u64>) {
        if !std::mem::replace(&mut self.told, true) {
            let took = self.took(now);
            let seen = Observed { took, expected: self.expected.known.then_some(expected), ended, load };
            self.backend.load.observe(&seen, self.backend.clock(now), &self.rules.load);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Instant::now(), Ended::Left, self.expected.took, None);
        }
        self.backend.load.end(self.expected.took);
        if self.limited {
            self.backend.limit.end();
        }
    }
}
