//! Which backends there are, and in what state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_balance::life::State;
use headgate_balance::outlier;

use super::snapshot::{Seen, Snapshot};
use super::{Backend, Fleet, lock, watch};
use crate::discovery::Endpoint;

/// How often time alone is looked at: warm-ups that end, drains that are done, connections that idled too long.
const TICK: Duration = Duration::from_millis(100);

impl Fleet {
    /// A provider's answer: all that it lists. Backends that nobody lists any more drain and go.
    pub fn list(self: &Arc<Self>, provider: &'static str, endpoints: Vec<Endpoint>) {
        let now = self.now();
        {
            let mut listed = lock(&self.listed);
            listed.by_provider.insert(provider, endpoints);
            let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
            for endpoint in listed.by_provider.values().flatten() {
                let name = wanted.entry(endpoint.address.clone()).or_default();
                *name = name.take().or_else(|| endpoint.name.clone());
            }
            for (address, backend) in &listed.backends {
                lock(&backend.life).list(wanted.contains_key(address), now);
            }
            for (address, name) in wanted {
                listed.backends.entry(address).or_insert_with_key(|address| self.add(address, name.as_deref()));
            }
        }
        self.refresh();
    }

    fn add(self: &Arc<Self>, address: &str, name: Option<&str>) -> Arc<Backend> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let backend = Arc::new(Backend::new(id, address, name, self.stop.child_token()));
        tracing::info!(backend = name.unwrap_or(address), address, "backend listed");
        self.tasks.spawn(watch::run(Arc::clone(self), Arc::clone(&backend)));
        backend
    }

    /// Starts the fleet's clockwork.
    pub fn start(self: &Arc<Self>) {
        let fleet = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while fleet.stop.run_until_cancelled(ticks.tick()).await.is_some() {
                fleet.tick();
            }
        });
    }

    fn tick(self: &Arc<Self>) {
        let config = self.config.load();
        let now = self.now();
        let mut gone = Vec::new();
        lock(&self.listed).backends.retain(|_, backend| {
            let mut life = lock(&backend.life);
            life.settle(backend.in_flight(), now, &config.fleet.life);
            let is_gone = life.state(now, &config.fleet.life) == State::Gone;
            if is_gone {
                gone.push(Arc::clone(backend));
            }
            !is_gone
        });
        for backend in &gone {
            tracing::info!(backend = backend.name(), address = backend.address, "backend gone");
            backend.stop.cancel();
            backend.out.notify_waiters();
            backend.upstream.purge();
        }
        self.refresh();
        for seen in self.snapshot().backends.iter() {
            seen.backend.upstream.sweep(config.fleet.idle);
        }
        if !gone.is_empty() {
            // Its models may be many.
            let fleet = Arc::clone(self);
            self.tasks.spawn_blocking(move || gone.iter().for_each(|backend| fleet.forget_backend(backend.id)));
        }
    }

    /// Publishes the backends' states where one changed.
    pub(super) fn refresh(&self) {
        let config = self.config.load();
        let _writer = lock(&self.writer);
        let now = self.now();
        let mut backends: Vec<Seen> = lock(&self.listed)
            .backends
            .values()
            .map(|backend| {
                let life = lock(&backend.life);
                let state = life.state(now, &config.fleet.life);
                let warms_since = if state == State::Warming { life.ready_since() } else { None };
                drop(life);
                Seen { backend: Arc::clone(backend), state, warms_since }
            })
            .collect();
        backends.sort_unstable_by_key(|seen| seen.backend.id);
        let before = self.snapshot.load_full();
        let same =
            |a: &Seen, b: &Seen| (a.backend.id, a.state, a.warms_since) == (b.backend.id, b.state, b.warms_since);
        if backends.len() == before.backends.len()
            && backends.iter().zip(before.backends.iter()).all(|(a, b)| same(a, b))
        {
            return;
        }
        tell(&before, &backends);
        let heard = before.heard || backends.iter().any(|seen| seen.state != State::Pending);
        self.snapshot.store(Arc::new(Snapshot {
            epoch: before.epoch + 1,
            backends: backends.into(),
            heard,
            shards: Arc::clone(&before.shards),
        }));
    }

    /// A call to a backend succeeded.
    pub fn succeeded(&self, backend: &Backend) {
        backend.succeeded();
    }

    /// A call to a backend failed by its fault. Too many in a row eject it.
    pub fn failed(&self, backend: &Backend) {
        let rules = &self.config.load().fleet.outlier;
        let failures = backend.failed();
        backend.poke.notify_one();
        if rules.failures == 0 || failures < rules.failures || !self.may_eject(backend, rules) {
            return;
        }
        let now = self.now();
        lock(&backend.life).outlier.eject(now, rules);
        backend.succeeded();
        self.ejections.fetch_add(1, Relaxed);
        tracing::warn!(backend = backend.name(), failures, "backend ejected: too many calls failed in a row");
        self.refresh();
        backend.out.notify_waiters();
    }

    fn may_eject(&self, backend: &Backend, rules: &outlier::Rules) -> bool {
        let snapshot = self.snapshot();
        let mut out = 0;
        let mut of = 0;
        for seen in snapshot.backends.iter() {
            out += usize::from(seen.state == State::Ejected);
            of += usize::from(seen.state == State::Ejected || seen.state.serves());
        }
        snapshot.backend(backend.id).is_some_and(|seen| seen.state.serves()) && outlier::room(out, of, rules)
    }

    /// Orders a backend to drain, or takes that back; by name or address. Whether there is such a backend.
    pub fn order_drain(&self, name: &str, drain: bool) -> bool {
        let found: Vec<Arc<Backend>> = lock(&self.listed)
            .backends
            .values()
            .filter(|backend| backend.address == name || backend.name() == name)
            .cloned()
            .collect();
        for backend in &found {
            lock(&backend.life).order_drain(drain);
            tracing::info!(backend = name, drain, "drain ordered");
        }
        self.refresh();
        !found.is_empty()
    }
}

fn tell(before: &Snapshot, after: &[Seen]) {
    for seen in after {
        let was = before.backend(seen.backend.id).map_or("unlisted", |before| before.state.as_str());
        if was != seen.state.as_str() {
            tracing::info!(backend = seen.backend.name(), from = was, to = seen.state.as_str(), "backend state");
        }
    }
}
