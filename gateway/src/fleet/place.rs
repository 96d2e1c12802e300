//! Which backends are to hold a model, where some load models on demand: see [`headgate_balance::place`].
//!
//! Those that hold all models count as always. Of those that load on demand a model has its places: the first in its order
//! of those that serve and have not failed it, as many as its work needs. Where none of them has it, whoever else does
//! answers meanwhile, and they are told to load it; where nobody has it, the first of them loads it while the call waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use headgate_balance::life::State;
use headgate_balance::place::{self, Member};
use headgate_balance::{Millis, admit};
use headgate_contract::fleet::{VersionState, WANT_PATH, WANTED_MAX, Want};
use headgate_contract::{Digest, ModelName, Version};
use http::{Method, Request, header};

use super::plan::Planned;
use super::{Backend, Fleet, Model, Seen, Snapshot, lock};
use crate::upstream::{Body, Options};

/// Backends that a call may go to where its model's places fail it.
const SPARES: usize = 4;
/// What counts as capacity of a version that is ready somewhere, but in none of its places: more than [`COLD`], less than
/// any part of a fleet.
const ELSEWHERE: f64 = 1e-6;
/// And of one that can be loaded and is ready nowhere.
const COLD: f64 = 1e-9;
/// Models that a backend is told of at a time, at most.
const WANTS_MAX: usize = 10_000;

/// Models that backends are to be told to load, by the backend's id.
#[derive(Default)]
pub(super) struct Wants(HashMap<u64, BTreeSet<ModelName>>);

/// The backends of a round, as far as a model is concerned.
pub(super) struct Field<'a> {
    model: &'a Model,
    /// Those that do not load on demand.
    hold_all: Vec<&'a Seen>,
    /// How many of these should hold it: ours should hold what is released, others hold what they want.
    should_hold: usize,
    /// Those that load on demand, in the model's order.
    ordered: Vec<&'a Seen>,
    /// How many of these are to hold it.
    replicas: usize,
}

/// How a version stands in a round.
pub(super) struct Standing {
    /// On how many of the backends it is ready that should hold it.
    pub(super) ready: usize,
    /// How many those are.
    pub(super) of: usize,
    /// Whether it is ready on another one.
    elsewhere: bool,
    /// Whether one could load it.
    loadable: bool,
}

impl<'a> Field<'a> {
    pub(super) fn new(model: &'a Model, snapshot: &'a Snapshot, round: u8, replicas: u32) -> Self {
        let in_round = snapshot.backends.iter().filter(|seen| seen.round == Some(round));
        let (on_demand, hold_all): (Vec<&Seen>, Vec<&Seen>) = in_round.partition(|seen| seen.member.is_some());
        let members: Vec<Member> = on_demand.iter().filter_map(|seen| seen.member).collect();
        let ordered = match members.len() {
            0 | 1 => on_demand,
            _ => {
                let order = place::order(place::key(model.name.as_str()), &members);
                order.into_iter().filter_map(|at| on_demand.get(at).copied()).collect()
            }
        };
        let is_foreign = model.is_foreign();
        let should_hold = |seen: &&&Seen| match is_foreign {
            true => model.is_on(seen.backend.id),
            false => !seen.backend.is_foreign(),
        };
        let should_hold = hold_all.iter().filter(should_hold).count();
        Self { model, hold_all, should_hold, ordered, replicas: replicas as usize }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.should_hold == 0 && self.ordered.is_empty()
    }

    /// Those that load on demand and have the version or could load it, in order.
    fn able(&self, version: Version, digest: Digest) -> impl Iterator<Item = (&'a Seen, bool)> {
        self.ordered.iter().filter_map(move |seen| {
            let state = self.model.state_on(seen.backend.id, version, digest);
            let knows = state.is_some() || self.model.is_on(seen.backend.id);
            (knows && state != Some(VersionState::Failed)).then_some((*seen, state == Some(VersionState::Ready)))
        })
    }

    /// Those that hold all models and this version.
    fn holding(&self, version: Version, digest: Digest) -> impl Iterator<Item = &'a Seen> {
        let ready =
            move |seen: &&&Seen| self.model.state_on(seen.backend.id, version, digest) == Some(VersionState::Ready);
        self.hold_all.iter().filter(ready).copied()
    }

    /// How a version stands here.
    pub(super) fn standing(&self, version: Version, digest: Digest) -> Standing {
        let holding = self.holding(version, digest).count();
        let able: Vec<bool> = self.able(version, digest).map(|(_, ready)| ready).collect();
        let (placed, others) = able.split_at(self.replicas.min(able.len()));
        Standing {
            ready: holding + placed.iter().filter(|ready| **ready).count(),
            of: self.should_hold + placed.len(),
            elsewhere: others.contains(&true),
            loadable: !able.is_empty(),
        }
    }

    /// The version with the backends to try for it, and those that are to be told to load it. No backends where none can
    /// answer.
    pub(super) fn planned(&self, version: Version, digest: Digest) -> (Planned, Vec<u64>) {
        let mut backends: Vec<Seen> = self.holding(version, digest).cloned().collect();
        let (mut others, mut cold, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (seen, ready)) in self.able(version, digest).enumerate() {
            let is_placed = at < self.replicas;
            match (is_placed, ready) {
                (true, true) => backends.push(seen.clone()),
                (false, true) => others.push(seen),
                (_, false) => cold.push(seen),
            }
            if is_placed && !ready {
                missing.push(seen.backend.id);
            }
        }
        let placed = backends.len();
        others.truncate(SPARES);
        let ready = placed + others.len();
        cold.truncate(SPARES - others.len().min(SPARES - 1));
        backends.extend(others.into_iter().chain(cold).cloned());
        let first = placed.max(1).min(backends.len());
        // Where nobody has it, the call itself loads it.
        let wants = if ready > 0 { missing } else { Vec::new() };
        (Planned::among(version, digest, backends, first, ready), wants)
    }
}

impl Standing {
    /// The part of the capacity that can serve it, as picking a version needs it; `since` is how long it has been ready.
    pub(super) fn usable(&self, since: Millis, rules: &admit::Rules) -> f64 {
        match (self.ready, self.elsewhere, self.loadable) {
            (0, true, _) => ELSEWHERE,
            (0, false, true) => COLD,
            _ => admit::usable(self.ready, self.of, since, rules),
        }
    }
}

impl Fleet {
    /// Backends are to load a model. They are told in a moment.
    pub fn want(&self, backends: &[u64], model: &ModelName) {
        let mut wants = lock(&self.wants);
        for backend in backends {
            let of = wants.0.entry(*backend).or_default();
            if of.len() < WANTS_MAX {
                of.insert(model.clone());
            }
        }
    }

    /// Tells backends what they are to load.
    pub(super) fn tell_wants(self: &Arc<Self>) {
        let wants = std::mem::take(&mut *lock(&self.wants));
        if wants.0.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        for (id, models) in wants.0 {
            let Some(seen) = snapshot.backend(id) else { continue };
            let (fleet, backend) = (Arc::clone(self), Arc::clone(&seen.backend));
            self.tasks.spawn(async move { fleet.tell(&backend, models.into_iter().collect()).await });
        }
    }

    /// One that misses it is told again, or loads the models when they are called. Those of a backend that leaves are not
    /// called there before that: they are looked for anew.
    async fn tell(&self, backend: &Backend, models: Vec<ModelName>) {
        let config = self.config.load_full();
        let options = Options {
            connect_timeout: config.fleet.connect_timeout,
            whole_bytes_max: 1 << 16,
            pool_max: config.fleet.pool_max,
        };
        for models in models.chunks(WANTED_MAX) {
            let body = serde_json::to_vec(&Want { models: models.to_vec() }).unwrap_or_default();
            let Ok(request) = request(body.into()) else { return };
            let call = backend.upstream.call(request, &options);
            let error = match tokio::time::timeout(config.fleet.probe_timeout, call).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(late) => late.to_string(),
            };
            tracing::debug!(backend = backend.name(), error, "wanted models were not told");
            self.snapshot().backends.iter().for_each(|seen| seen.backend.is_replaced.store(false, Relaxed));
            return;
        }
    }

    /// Has the models of backends that are about to go loaded where they will be called.
    pub(super) fn replace_leaving(self: &Arc<Self>) {
        for seen in self.snapshot().backends.iter() {
            let leaves = seen.state == State::Draining && seen.member.is_some();
            if leaves && !seen.backend.is_replaced.swap(true, Relaxed) {
                let (fleet, id) = (Arc::clone(self), seen.backend.id);
                // Its models may be many.
                self.tasks.spawn_blocking(move || fleet.replace(id));
            } else if !leaves && seen.backend.is_replaced.load(Relaxed) {
                seen.backend.is_replaced.store(false, Relaxed);
            }
        }
    }

    fn replace(&self, leaving: u64) {
        let (snapshot, config) = (Arc::clone(&self.snapshot()), self.config.load());
        let is_there = |model: &&Arc<Model>| {
            let there = model.on.iter().filter(|held| held.backend == leaving).flat_map(|held| held.versions.iter());
            there.into_iter().any(|report| report.state == VersionState::Ready)
        };
        for model in snapshot.models().filter(is_there) {
            let Ok(plan) = model.plan(&snapshot, self.now(), &config.fleet) else { continue };
            for planned in plan.planned.iter().filter(|planned| planned.ready == 0) {
                let first = planned.backends.first().map(|seen| seen.backend.id).filter(|id| *id != leaving);
                self.want(first.as_slice(), &model.name);
            }
        }
    }
}

fn request(body: Bytes) -> Result<Request<Body>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(WANT_PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::whole(body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::fleet::{ModelReport, VersionReport};
    use headgate_contract::{Release, release::Serve};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use VersionState::{Absent, Failed, Ready};

    fn digest(version: u64) -> Digest {
        Digest::of(version.to_le_bytes())
    }

    fn number(version: u64) -> Version {
        Version::new(version).unwrap()
    }

    /// Backends 1, 2, ... in these states, the first `on_demand` of them in the order of a model, and what each has of
    /// version 1.
    fn fleet(on_demand: usize, has: &[(State, VersionState)]) -> (Snapshot, Model) {
        let name: ModelName = "m".parse().unwrap();
        // Names in the model's order.
        let names: Vec<String> = (0..on_demand).map(|n| format!("b{n}")).collect();
        let members: Vec<Member> = names.iter().map(|name| Member::new(name, 1.0)).collect();
        let order = place::order(place::key(name.as_str()), &members);
        let mut model = Model::new(name.clone(), false);
        let release =
            Release { serve: vec![Serve { version: number(1), digest: digest(1), weight: 1 }], ..Release::new() };
        let mut backends = Vec::new();
        for (at, &(state, has)) in has.iter().enumerate() {
            let backend = Arc::new(Backend::new(
                at as u64 + 1,
                "127.0.0.1:1",
                None,
                None,
                Arc::default(),
                CancellationToken::new(),
            ));
            let member = order.get(at).map(|at| members[*at]);
            let round = state.round();
            backends.push(Seen {
                backend,
                state,
                round,
                hangs: false,
                far: false,
                outside: false,
                warms_since: None,
                member,
            });
            let version = VersionReport {
                version: number(1),
                digest: digest(1),
                state: has,
                reason: String::new(),
                memory_bytes: 0,
            };
            let report = ModelReport { model: name.clone(), release: release.clone(), versions: vec![version] };
            model = model.with(at as u64 + 1, &report, None, 0);
        }
        (Snapshot { backends: backends.into(), ..Snapshot::default() }, model)
    }

    /// Whom a call is sent to: those among which is chosen, those after them, and who is told to load it.
    fn planned(snapshot: &Snapshot, model: &Model, replicas: u32) -> (Vec<u64>, Vec<u64>, Vec<u64>, usize) {
        let (planned, wants) = Field::new(model, snapshot, 0, replicas).planned(number(1), digest(1));
        let mut ids: Vec<u64> = planned.backends.iter().map(|seen| seen.backend.id).collect();
        let spares = ids.split_off(planned.first);
        (ids, spares, wants, planned.ready)
    }

    fn usable(snapshot: &Snapshot, model: &Model, replicas: u32) -> f64 {
        Field::new(model, snapshot, 0, replicas).standing(number(1), digest(1)).usable(0, &admit::Rules::default())
    }

    const ACTIVE: State = State::Active;

    #[tokio::test]
    async fn a_cold_model_is_loaded_by_the_first_and_one_only() {
        let (snapshot, model) = fleet(4, &[(ACTIVE, Absent); 4]);
        for replicas in [1, 3] {
            assert_eq!(planned(&snapshot, &model, replicas), (vec![1], vec![2, 3, 4], vec![], 0));
            assert_eq!(usable(&snapshot, &model, replicas), COLD);
        }
    }

    #[tokio::test]
    async fn who_has_it_answers_until_its_places_do() {
        let (snapshot, model) = fleet(4, &[(ACTIVE, Absent), (ACTIVE, Absent), (ACTIVE, Ready), (ACTIVE, Absent)]);
        assert_eq!(planned(&snapshot, &model, 1), (vec![3], vec![1, 2, 4], vec![1], 1));
        assert_eq!(usable(&snapshot, &model, 1), ELSEWHERE);
        assert_eq!(planned(&snapshot, &model, 3), (vec![3], vec![1, 2, 4], vec![1, 2], 1));
        let (snapshot, model) = fleet(4, &[(ACTIVE, Ready), (ACTIVE, Ready), (ACTIVE, Ready), (ACTIVE, Absent)]);
        assert_eq!(planned(&snapshot, &model, 2), (vec![1, 2], vec![3, 4], vec![], 3));
        assert_eq!(usable(&snapshot, &model, 2), 1.0);
    }

    #[tokio::test]
    async fn who_does_not_serve_or_has_failed_it_is_passed_by() {
        let (snapshot, model) =
            fleet(4, &[(State::Ejected, Ready), (ACTIVE, Failed), (State::Draining, Ready), (ACTIVE, Absent)]);
        assert_eq!(planned(&snapshot, &model, 2), (vec![4], vec![], vec![], 0));
        let (snapshot, model) = fleet(2, &[(ACTIVE, Failed); 2]);
        assert_eq!((planned(&snapshot, &model, 2).0, usable(&snapshot, &model, 2)), (vec![], 0.0));
    }

    #[tokio::test]
    async fn those_that_hold_all_count_as_always() {
        let (snapshot, model) = fleet(2, &[(ACTIVE, Absent), (ACTIVE, Absent), (ACTIVE, Ready), (ACTIVE, Absent)]);
        assert_eq!(planned(&snapshot, &model, 1), (vec![3], vec![1, 2], vec![1], 1));
        assert_eq!(usable(&snapshot, &model, 1), 1.0 / 3.0);
        let (snapshot, model) = fleet(0, &[(ACTIVE, Ready), (ACTIVE, Absent)]);
        assert_eq!(planned(&snapshot, &model, 1), (vec![1], vec![], vec![], 1));
        assert_eq!(usable(&snapshot, &model, 1), 0.5);
    }
}
