//! Version and backend of a call.

use std::sync::Arc;

use headgate_balance::choose::{Among, in_order, weight};
use headgate_balance::{Nanos, place};
use headgate_contract::release::{draw, sticky_draw};
use headgate_contract::route::{Choice, Target};
use headgate_contract::{Kind, Release, Version};
use http::HeaderMap;
use tokio::time::Instant;

use super::Edge;
use super::call::Call;
use super::chance::chance;
use super::predict::bounds;
use super::reply::Failed;
use crate::fleet::{Backend, Model, Plan, Planned, Seen, Snapshot};
use crate::foreign::Door;

/// What was chosen for a call.
#[derive(Clone)]
pub(super) struct Chosen {
    /// The model that answers: the one asked for, or its fallback.
    pub(super) model: Arc<Model>,
    /// The version, and where it is.
    pub(super) planned: Arc<Planned>,
}

impl Chosen {
    /// Keeps the backends that take the call in the form that it has: not every server that is none of ours takes all.
    pub(super) fn keep_takers(&mut self, call: &Call) -> Result<(), Failed> {
        if !self.planned.foreign {
            return Ok(());
        }
        let (door, _) = Door::of(call.method.as_str(), call.path.path(), &call.headers)?;
        let takes = |seen: &Seen| seen.backend.upstream.foreign().is_none_or(|foreign| foreign.takes(door));
        let taking = self.planned.backends.iter().filter(|seen| takes(seen)).count();
        if taking == 0 {
            let mut servers: Vec<&str> = self.planned.backends.iter().filter_map(Seen::server).collect();
            servers.sort_unstable();
            servers.dedup();
            let (model, servers) = (&self.model.name, servers.join(", "));
            let message = format!("model '{model}' is on servers ({servers}) that take no {}", door.words());
            return Err(Failed::new(Kind::Unsupported, message));
        }
        let opens =
            |seen: &Seen| takes(seen) && seen.backend.upstream.foreign().is_none_or(|foreign| foreign.is_open(door));
        let open = self.planned.backends.iter().filter(|seen| opens(seen)).count();
        if open == 0 {
            let message = format!("no backend that holds '{}' has a gRPC port that answers", self.model.name);
            return Err(Failed::new(Kind::Unavailable, message));
        }
        if open < self.planned.backends.len() {
            self.planned = Arc::new(self.planned.only(opens));
        }
        Ok(())
    }
}

impl Edge {
    /// Chooses the version: once, and the same for all attempts.
    pub(super) fn choose_version(&self, target: &Target, headers: &HeaderMap) -> Result<Chosen, Failed> {
        let snapshot = self.fleet.snapshot();
        let model = find(&snapshot, target)?;
        if target.choice != Choice::Any {
            let planned = Arc::new(model.named(&target.choice, &snapshot)?);
            return Ok(Chosen { model: Arc::clone(model), planned });
        }
        let config = self.config.load();
        let plan = model.plan(&snapshot, self.fleet.now(), &config.fleet)?;
        self.fleet.want(plan.wants(), &model.name);
        let planned = drawn(&plan, model, headers)?;
        Ok(Chosen { model: Arc::clone(model), planned })
    }

    /// Chooses the version that a question is about: where the release picks, the one with most weight.
    pub(super) fn choose_to_ask(&self, target: &Target, headers: &HeaderMap) -> Result<Chosen, Failed> {
        if target.choice != Choice::Any {
            return self.choose_version(target, headers);
        }
        let snapshot = self.fleet.snapshot();
        let model = find(&snapshot, target)?;
        let config = self.config.load();
        let plan = model.plan(&snapshot, self.fleet.now(), &config.fleet)?;
        let most = plan.serve.iter().zip(&plan.planned).max_by_key(|(serve, _)| serve.weight);
        let (_, planned) = most.ok_or_else(|| empty(model))?;
        Ok(Chosen { model: Arc::clone(model), planned: Arc::clone(planned) })
    }

    /// Chooses as for a prediction; where nothing can answer one, whoever knows the model can tell why.
    pub(super) fn choose_to_tell(&self, target: &Target, headers: &HeaderMap) -> Result<Chosen, Failed> {
        self.choose_version(target, headers).or_else(|failed| {
            let snapshot = self.fleet.snapshot();
            let Ok(model) = find(&snapshot, target) else { return Err(failed) };
            let planned = model.anywhere(&snapshot).ok_or(failed)?;
            Ok(Chosen { model: Arc::clone(model), planned: Arc::new(planned) })
        })
    }

    /// Chooses once more, after the backends said that the version is not there.
    pub(super) fn choose_another(
        &self,
        target: &Target,
        headers: &HeaderMap,
        missing: Version,
    ) -> Result<Chosen, Failed> {
        let snapshot = self.fleet.snapshot();
        let model = find(&snapshot, target)?;
        let config = self.config.load();
        let plan = model.plan_without(missing, &snapshot, self.fleet.now(), &config.fleet)?;
        Ok(Chosen { model: Arc::clone(model), planned: drawn(&plan, model, headers)? })
    }

    /// A call came: how much a model has to do decides how many backends load it.
    pub(super) fn demanded(&self, chosen: &Chosen, call: &Call, bytes: usize, now: Instant, rules: &place::Rules) {
        // Those that load on demand come behind the others.
        if chosen.planned.backends.last().is_some_and(|seen| seen.member.is_some()) {
            let took = chosen.expect(call, bytes as u64).took;
            chosen.model.demand.add(took, self.fleet.nanos_at(now), rules);
        }
    }

    /// Chooses a backend that was not tried and gets calls now, for an attempt beside another one; one that would have to
    /// load the model only where the other one `is_lost`.
    pub(super) fn choose_beside(
        &self,
        planned: &Planned,
        tried: &[u64],
        is_lost: bool,
        own: Nanos,
    ) -> Option<Arc<Backend>> {
        let was_tried = |seen: &Seen| tried.contains(&seen.backend.id);
        if !is_lost && planned.backends.iter().take(planned.ready).all(was_tried) {
            return None;
        }
        let backend = self.choose_backend(planned, tried, false, own)?;
        self.fleet.snapshot().backend(backend.id).is_some_and(|seen| seen.state.serves()).then_some(backend)
    }

    /// Chooses a backend that was not tried, for a call that costs `own`; or, where `again`, one that was, if there is no
    /// other.
    pub(super) fn choose_backend(
        &self,
        planned: &Planned,
        tried: &[u64],
        again: bool,
        own: Nanos,
    ) -> Option<Arc<Backend>> {
        let config = self.config.load();
        let rules = &config.fleet;
        let bounds = bounds(&config);
        let (seen, now, now_ms) = (&planned.backends, Instant::now(), self.fleet.now());
        let candidate = |at: usize| {
            let seen = &seen[at];
            let weight = seen.warms_since.map_or(1.0, |since| weight(Some(since), now_ms, rules.life.slow_start_ms));
            seen.backend.candidate(weight, now, &rules.load)
        };
        let choose_first = |may: &dyn Fn(usize) -> bool| {
            let open = |at: usize| may(at) && seen[at].backend.has_room(now, &bounds);
            self.chooser.choose(planned.first, open, candidate, own, &rules.choose, chance)
        };
        // Where its places fail a model, the next one in its order.
        let choose = |may: &dyn Fn(usize) -> bool| {
            let open = |at: &usize| may(*at) && seen[*at].backend.has_room(now, &bounds);
            choose_first(may).or_else(|| (planned.first..seen.len()).find(open))
        };
        let chosen = self
            .fleet
            .preferred(planned, !tried.is_empty(), &rules.zone, chance)
            .and_then(|preferred| choose_first(&|at| seen[at].state.serves() && preferred.takes(&seen[at])));
        let chosen = chosen.or_else(|| {
            in_order(!tried.is_empty(), again, |among| match among {
                Among::UntriedThatServe => {
                    choose(&|at| seen[at].state.serves() && !tried.contains(&seen[at].backend.id))
                }
                Among::Untried => choose(&|at| !tried.contains(&seen[at].backend.id)),
                Among::All => choose(&|_| true),
            })
        });
        seen.get(chosen?).map(|seen| Arc::clone(&seen.backend))
    }
}

/// The model that answers for a target.
pub(super) fn find<'a>(snapshot: &'a Snapshot, target: &Target) -> Result<&'a Arc<Model>, Failed> {
    let name = &target.model;
    if let Some(model) = snapshot.model(name) {
        return Ok(model);
    }
    if !snapshot.heard {
        return Err(Failed::new(
            Kind::Unavailable,
            format!("model '{name}' can't be looked up: no backend was heard yet"),
        ));
    }
    // A version's number means nothing in another model.
    let may_fall_back = name.scope().is_some() && !matches!(target.choice, Choice::Version(_));
    let base = may_fall_back.then(|| snapshot.model(&name.base_name())).flatten();
    let fallback = base.and_then(|base| base.release.fallback.as_ref()).and_then(|name| snapshot.model(name));
    fallback.ok_or_else(|| Failed::new(Kind::NotFound, format!("model '{name}' is unknown")))
}

fn drawn(plan: &Plan, model: &Model, headers: &HeaderMap) -> Result<Arc<Planned>, Failed> {
    let chosen = draw(&plan.serve, lot(&model.release, model, headers));
    let at = chosen.and_then(|chosen| plan.serve.iter().position(|serve| serve == chosen));
    let planned = at.and_then(|at| plan.planned.get(at)).cloned();
    planned.ok_or_else(|| empty(model))
}

fn empty(model: &Model) -> Failed {
    Failed::new(Kind::Internal, format!("model '{}' has an empty serve list", model.name))
}

/// A random number, or the hash of the header that the release names.
fn lot(release: &Release, model: &Model, headers: &HeaderMap) -> u64 {
    match release.sticky.as_deref().and_then(|name| headers.get(name)) {
        Some(value) => sticky_draw(&model.name, value.as_bytes()),
        None => chance(),
    }
}
