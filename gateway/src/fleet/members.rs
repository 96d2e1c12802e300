//! Which backends there are, and in what state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_balance::Millis;
use headgate_balance::life::{self, State};
use headgate_balance::outlier::{self, Rate, Reason};

use tokio::time::Instant;

use super::snapshot::{Seen, Snapshot};
use super::{Backend, Bounds, Fleet, lock, watch};
use crate::config::Config;
use crate::discovery::Endpoint;

/// How often time alone is looked at: warm-ups that end, drains that are done, connections that idled too long.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether certificates changed.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at whom the gateway keeps connections to, for zones that backends tell of and for reloads.
const SETTLE_MS: Millis = 1_000;

impl Fleet {
    /// A provider's answer: all that it lists. Backends that nobody lists any more drain and go.
    pub fn list(self: &Arc<Self>, provider: &'static str, endpoints: Vec<Endpoint>) {
        let now = self.now();
        {
            let mut listed = lock(&self.listed);
            listed.by_provider.insert(provider, endpoints);
            let mut wanted: BTreeMap<String, Endpoint> = BTreeMap::new();
            for endpoint in listed.by_provider.values().flatten() {
                let known = wanted.entry(endpoint.key()).or_insert_with(|| endpoint.clone());
                known.name = known.name.take().or_else(|| endpoint.name.clone());
            }
            for (key, backend) in &listed.backends {
                lock(&backend.life).list(wanted.contains_key(key), now);
            }
            for (key, endpoint) in wanted {
                listed.backends.entry(key).or_insert_with(|| self.add(endpoint));
            }
        }
        self.settle_subset(&self.config.load());
        self.refresh();
    }

    fn add(self: &Arc<Self>, endpoint: Endpoint) -> Arc<Backend> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let Endpoint { address, name, foreign } = endpoint;
        let backend = Arc::new(Backend::new(
            id,
            &address,
            name.as_deref(),
            foreign,
            Arc::clone(&self.tls),
            self.stop.child_token(),
        ));
        tracing::info!(backend = backend.name(), address, "backend listed");
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
        let fleet = Arc::clone(self);
        self.tasks.spawn(async move {
            while fleet.stop.run_until_cancelled(tokio::time::sleep(FILES_EVERY)).await.is_some() {
                fleet.follow_files().await;
            }
        });
    }

    /// Takes in certificates that changed; connections are made anew then.
    async fn follow_files(&self) {
        let (tls, config) = (Arc::clone(&self.tls), self.config.load_full());
        let followed = tokio::task::spawn_blocking(move || tls.follow(config.fleet.tls.as_ref())).await;
        if followed.unwrap_or(false) {
            self.snapshot().backends.iter().for_each(|seen| seen.backend.upstream.purge());
        }
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
        if now.saturating_sub(self.settled.load(Relaxed)) >= SETTLE_MS {
            self.settle_subset(&config);
        }
        self.measure_zones(&config.fleet);
        self.compare_rates(now, &config.fleet.outlier);
        self.refresh();
        self.measure_room(&Bounds { load: config.fleet.load, limit: config.fleet.limit });
        for seen in self.snapshot().backends.iter() {
            let upstream = &seen.backend.upstream;
            upstream.sweep(config.fleet.idle);
            if seen.state.serves() && !seen.outside {
                upstream.tend(&self.threads, &self.name, config.fleet.link_connections, config.fleet.connect_timeout);
            }
        }
        self.replace_leaving();
        self.tell_wants();
        if !gone.is_empty() {
            // Its models may be many.
            let fleet = Arc::clone(self);
            self.tasks.spawn_blocking(move || gone.iter().for_each(|backend| fleet.forget_backend(backend.id)));
        }
    }

    /// Adds up what the backends' limits leave for this gateway.
    fn measure_room(&self, rules: &Bounds) {
        let (snapshot, now) = (self.snapshot(), Instant::now());
        let serving = snapshot.backends.iter().filter(|seen| seen.round == Some(0));
        let room = serving.map(|seen| seen.backend.room(now, rules)).fold(0, u32::saturating_add);
        // Where none serves, whoever may answer in panic is asked.
        self.room.store(if room == 0 { u32::MAX } else { room }, Relaxed);
    }

    /// Publishes the backends' states where one changed.
    pub(super) fn refresh(&self) {
        let config = self.config.load();
        let _writer = lock(&self.writer);
        let now = self.now();
        let mut backends: Vec<Seen> =
            lock(&self.listed).backends.values().map(|backend| see(backend, now, &config)).collect();
        backends.sort_unstable_by_key(|seen| seen.backend.id);
        let panic = panic(&mut backends, &config.fleet.life);
        let before = self.snapshot.load_full();
        let same = |a: &Seen, b: &Seen| {
            (a.backend.id, a.state, a.round, a.far, a.outside, a.warms_since, a.member)
                == (b.backend.id, b.state, b.round, b.far, b.outside, b.warms_since, b.member)
        };
        if backends.len() == before.backends.len()
            && backends.iter().zip(before.backends.iter()).all(|(a, b)| same(a, b))
        {
            return;
        }
        tell(&before, &backends);
        if panic != before.panic {
            tracing::warn!(panic, "too few backends serve: those that are ejected or hang are used beside them");
        }
        self.look_at_zone(&backends);
        let heard = before.heard || backends.iter().any(|seen| seen.state != State::Pending);
        self.snapshot.store(Arc::new(Snapshot {
            epoch: before.epoch + 1,
            panic,
            backends: backends.into(),
            heard,
            shards: Arc::clone(&before.shards),
        }));
    }

    /// A call to a backend succeeded.
    pub fn succeeded(&self, backend: &Backend) {
        backend.succeeded();
    }

    /// A call to a backend failed, and it can't be told by whose fault: it counts where success rates are compared.
    pub fn faltered(&self, backend: &Backend) {
        backend.faltered();
    }

    /// A call to a backend failed by its fault. Too many in a row eject it.
    pub fn failed(&self, backend: &Backend) {
        let rules = &self.config.load().fleet.outlier;
        let failures = backend.failed();
        backend.poke.notify_one();
        if rules.failures == 0 || failures < rules.failures || !self.may_eject(backend, rules) {
            return;
        }
        self.eject(backend, Reason::Failures, rules);
        tracing::warn!(backend = backend.name(), failures, "backend ejected: too many calls failed in a row");
    }

    /// Ejects backends whose calls succeed less often than the others', at the end of each window.
    fn compare_rates(&self, now: Millis, rules: &outlier::Rules) {
        let since = self.rates_since.load(Relaxed);
        if rules.rate_window_ms == 0 || now.saturating_sub(since) < rules.rate_window_ms {
            return;
        }
        self.rates_since.store(now, Relaxed);
        let snapshot = self.snapshot();
        let seen: Vec<&Seen> = snapshot.backends.iter().filter(|seen| seen.state.serves()).collect();
        let rates: Vec<Rate> = seen.iter().map(|seen| seen.backend.counts.take()).collect();
        for at in outlier::too_low(&rates, rules) {
            let (Some(seen), Some(rate)) = (seen.get(at), rates.get(at)) else { continue };
            if self.may_eject(&seen.backend, rules) {
                self.eject(&seen.backend, Reason::SuccessRate, rules);
                let (calls, rate) = (rate.calls(), rate.share());
                tracing::warn!(
                    backend = seen.backend.name(),
                    calls,
                    rate,
                    "backend ejected: fewer calls succeed than elsewhere"
                );
            }
        }
    }

    fn eject(&self, backend: &Backend, reason: Reason, rules: &outlier::Rules) {
        lock(&backend.life).outlier.eject(reason, self.now(), rules);
        backend.forgive();
        self.ejections.fetch_add(1, Relaxed);
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

fn see(backend: &Arc<Backend>, now: Millis, config: &Config) -> Seen {
    let (far, outside) = (backend.is_far(&config.server.zone), backend.outside.load(Relaxed));
    let life = lock(&backend.life);
    let state = life.state(now, &config.fleet.life);
    let warms_since = if state == State::Warming { life.ready_since() } else { None };
    let hangs = state == State::Pending && life.hangs();
    drop(life);
    let (backend, member) = (Arc::clone(backend), backend.member());
    Seen { backend, state, round: state.round(), hangs, far, outside, warms_since, member }
}

/// Whether too few serve; then the others that may be alive are tried in the first round, too.
fn panic(backends: &mut [Seen], rules: &life::Rules) -> bool {
    let count = |is: fn(&Seen) -> bool| backends.iter().filter(|seen| is(seen)).count();
    let serving = count(|seen| seen.state.serves());
    let panics = life::panics(serving, count(|seen| seen.state == State::Ejected), count(|seen| seen.hangs), rules);
    if panics {
        let alive = backends.iter_mut().filter(|seen| seen.hangs || seen.state == State::Ejected);
        alive.for_each(|seen| seen.round = Some(0));
    }
    panics
}

fn tell(before: &Snapshot, after: &[Seen]) {
    for seen in after {
        let was = before.backend(seen.backend.id).map_or("unlisted", |before| before.state.as_str());
        if was != seen.state.as_str() {
            tracing::info!(backend = seen.backend.name(), from = was, to = seen.state.as_str(), "backend state");
        }
    }
}
