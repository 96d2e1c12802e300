//! `GET /state`: the fleet as the gateway sees it.

use std::collections::{BTreeMap, HashMap};

use headgate_balance::life::State;
use headgate_balance::outlier::Reason;
use headgate_contract::{Digest, Version};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::edge::Edge;
use crate::fleet::{Model, Seen, Snapshot};

/// Models that are listed where the asker sets no limit.
const LIMIT: usize = 1_000;

/// `?model=<prefix>&limit=<n>`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StateQuery {
    #[serde(default)]
    model: String,
    limit: Option<usize>,
}

/// The whole state.
#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    lame_duck: bool,
    /// Whether so few backends serve that others are tried beside them.
    panic: bool,
    uptime_ms: u64,
    in_flight: usize,
    /// Callers with calls in flight.
    callers: u32,
    connections: usize,
    requests: u64,
    ejections: u64,
    /// Where the gateway runs.
    zone: String,
    /// The part of its calls that stays there.
    zone_kept: f32,
    zone_utilisation: f32,
    spilled: u64,
    retry_tokens: i64,
    retry_reserve: i64,
    retry_hedges: i64,
    generations: HashMap<String, u64>,
    backends: Vec<BackendState>,
    models_total: usize,
    models: Vec<ModelState>,
}

#[derive(Serialize)]
struct BackendState {
    name: String,
    address: String,
    state: &'static str,
    /// Which server it is, where it is none of ours.
    server: Option<&'static str>,
    build: String,
    /// Where it runs; empty: it did not say.
    zone: String,
    /// Whether connections are kept open to it.
    in_subset: bool,
    in_flight: u64,
    /// In microseconds of undisturbed work.
    cost_us: u64,
    calls: u64,
    /// The moving average of its replies' times.
    latency_us: Option<u64>,
    /// Calls that it is given at once.
    limit: u32,
    /// How much longer than expected they take.
    pace: f32,
    idle_connections: usize,
    links: usize,
    reported_in_flight: u64,
    drain_ordered: bool,
    missed_probes: u32,
    ejected_for_ms: Option<u64>,
    ejected_for: Option<&'static str>,
    heard_ms_ago: Option<u64>,
    store_id: Option<String>,
    generation: Option<u64>,
    error: Option<String>,
}

#[derive(Serialize)]
struct ModelState {
    model: String,
    /// What is served, with weights and the backends that hold it.
    serves: Vec<Served>,
    /// Whether that is what the release says.
    current: bool,
    /// Why nothing is, or something else than the release says.
    why: String,
    versions: Vec<VersionsState>,
}

#[derive(Serialize)]
struct Served {
    version: Version,
    digest: Digest,
    weight: u32,
    backends: Vec<String>,
}

#[derive(Serialize)]
struct VersionsState {
    version: Version,
    /// How many backends have it in each state.
    states: BTreeMap<&'static str, usize>,
    /// The first reason that any gives.
    reason: String,
}

/// The state now.
pub(super) fn state(edge: &Edge, query: &StateQuery) -> Report {
    let (snapshot, config) = (edge.fleet.snapshot(), edge.config.load());
    let now = edge.fleet.now();
    let left = edge.budget.left();
    let mut models: Vec<_> = snapshot.models().filter(|m| m.name.as_str().starts_with(&query.model)).collect();
    models.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    models.truncate(query.limit.unwrap_or(LIMIT));
    Report {
        version: env!("CARGO_PKG_VERSION"),
        lame_duck: edge.gate.is_lame_duck(),
        panic: snapshot.panic,
        uptime_ms: now,
        in_flight: edge.gate.in_flight(),
        callers: edge.shares.callers(),
        connections: edge.gate.connections(),
        requests: edge.gate.requests(),
        ejections: edge.fleet.ejections(),
        zone: config.server.zone.clone(),
        zone_kept: edge.fleet.kept(),
        zone_utilisation: edge.fleet.zone_utilisation(),
        spilled: edge.fleet.spilled(),
        retry_tokens: left.tokens,
        retry_reserve: left.reserve,
        retry_hedges: left.hedges,
        generations: edge.fleet.highest(),
        backends: snapshot.backends.iter().map(|seen| backend(seen, &config, now)).collect(),
        models_total: snapshot.models_len(),
        models: models.into_iter().map(|found| model(edge, &snapshot, found, now)).collect(),
    }
}

fn backend(seen: &Seen, config: &Config, now: u64) -> BackendState {
    let backend = &seen.backend;
    let said = backend.said();
    let life = backend.life();
    let is_ejected = seen.state == State::Ejected;
    BackendState {
        name: backend.name(),
        address: backend.address.clone(),
        state: seen.state.as_str(),
        server: seen.server(),
        build: said.build,
        zone: backend.zone().to_string(),
        in_subset: !seen.outside,
        in_flight: backend.in_flight(),
        cost_us: backend.cost() / 1_000,
        latency_us: backend.latency().map(|latency| latency / 1_000),
        limit: backend.limit(&config.fleet.limit),
        pace: backend.pace(&config.fleet.load),
        calls: backend.total(),
        idle_connections: backend.upstream.idle(),
        links: backend.upstream.links(),
        reported_in_flight: said.in_flight,
        drain_ordered: life.drain_ordered(),
        missed_probes: life.misses(),
        ejected_for_ms: life.outlier.until().filter(|_| is_ejected).map(|at| at.saturating_sub(now)),
        ejected_for: life.outlier.reason().filter(|_| is_ejected).map(Reason::as_str),
        heard_ms_ago: said.at.map(|at| now.saturating_sub(at)),
        store_id: said.catalog.as_ref().map(|catalog| catalog.store_id.clone()),
        generation: said.catalog.as_ref().map(|catalog| catalog.generation),
        error: said.error.or_else(|| said.catalog.and_then(|catalog| catalog.error)),
    }
}

fn model(edge: &Edge, snapshot: &Snapshot, model: &Model, now: u64) -> ModelState {
    let plan = model.plan(snapshot, now, &edge.config.load().fleet);
    let (serves, current, why) = match plan {
        Err(refusal) => (Vec::new(), false, refusal.message),
        Ok(plan) => {
            let served = plan.serve.iter().zip(&plan.planned).map(|(serve, planned)| Served {
                version: serve.version,
                digest: serve.digest,
                weight: serve.weight,
                backends: planned.backends.iter().take(planned.first).map(|seen| seen.backend.name()).collect(),
            });
            let why = match (plan.current, plan.panic) {
                (_, true) => "too few backends serve: ejected, silent or draining backends are tried",
                (false, _) => "the release is not ready on enough backends: an earlier one stands in",
                (true, false) => "",
            };
            (served.collect(), plan.current, why.to_owned())
        }
    };
    ModelState { model: model.name.to_string(), serves, current, why, versions: versions(model) }
}

fn versions(model: &Model) -> Vec<VersionsState> {
    let mut versions: BTreeMap<Version, VersionsState> = BTreeMap::new();
    for report in model.on.iter().flat_map(|held| held.versions.iter()) {
        let entry = versions.entry(report.version).or_insert_with(|| VersionsState {
            version: report.version,
            states: BTreeMap::new(),
            reason: String::new(),
        });
        *entry.states.entry(report.state.as_str()).or_default() += 1;
        if entry.reason.is_empty() {
            entry.reason.clone_from(&report.reason);
        }
    }
    versions.into_values().collect()
}
