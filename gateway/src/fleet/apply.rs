//! Taking in what a backend reports.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use headgate_balance::life::Heard;
use headgate_contract::ModelName;
use headgate_contract::fleet::StateReport;

use super::snapshot::{SHARDS, Shard, Snapshot, shard_of};
use super::{Backend, Fleet, Model, lock};
use crate::metrics::NAMED_MAX;

/// Shards that are being changed; the others are shared with the snapshot before.
struct Edit<'a> {
    base: &'a [Arc<Shard>],
    changed: BTreeMap<usize, Shard>,
}

impl Fleet {
    /// A backend answered a probe.
    pub(super) fn heard(&self, backend: &Arc<Backend>, report: &StateReport) {
        let now = self.now();
        backend.rename(&report.instance);
        backend.runs_in(&report.zone, report.cores);
        backend.told_load(report.in_flight);
        backend.told_room(report.on_demand);
        let fresh = {
            let mut said = lock(&backend.said);
            let fresh = said.cursor.as_deref().is_none_or(|before| boot(before) != boot(&report.cursor));
            said.cursor = Some(report.cursor.clone());
            said.build = report.build.chars().take(64).collect();
            said.in_flight = report.in_flight;
            said.catalog = report.catalog.clone();
            said.at = Some(now);
            said.error = None;
            fresh
        };
        if fresh {
            // The process that the idle connections led to is gone.
            backend.upstream.purge();
        }
        if let Some(catalog) = &report.catalog {
            lock(&self.heads).reported(&catalog.store_id, catalog.generation);
        }
        // Models first: a backend that becomes Active is found to hold what it said.
        self.apply(backend, report);
        let heard = match (report.draining, report.ready) {
            (true, _) => Heard::Draining,
            (false, true) => Heard::Ready,
            (false, false) => Heard::Unready,
        };
        lock(&backend.life).heard(heard, fresh, now);
        self.refresh();
    }

    /// Replaces the models that a report changes.
    fn apply(&self, backend: &Backend, report: &StateReport) {
        if !brings_models(report) {
            return;
        }
        let _models = lock(&self.models);
        if backend.stop.is_cancelled() {
            // It is gone, and what it had is forgotten: a late report would bring that back for good.
            return;
        }
        let base = Arc::clone(&self.snapshot.load().shards);
        let (id, now) = (backend.id, self.now());
        let mut edit = Edit { base: &base, changed: BTreeMap::new() };
        for model in &report.models {
            let shard = edit.shard(&model.model);
            let next = match shard.get(&model.model) {
                Some(known) => known.with(id, model, report.catalog.as_ref(), now),
                None => {
                    let named = self.named.fetch_update(Relaxed, Relaxed, |n| (n < NAMED_MAX).then_some(n + 1)).is_ok();
                    Model::new(model.model.clone(), named).with(id, model, report.catalog.as_ref(), now)
                }
            };
            shard.insert(model.model.clone(), Arc::new(next));
        }
        for name in &report.gone {
            self.leave(edit.shard(name), name, id);
        }
        if report.full {
            let kept: HashSet<&ModelName> = report.models.iter().map(|model| &model.model).collect();
            self.forget(&mut edit, id, |name| kept.contains(name));
        }
        self.publish(edit);
        // Calls that were there when it began to leave may have had it load more.
        backend.is_replaced.store(false, Relaxed);
    }

    /// A backend is gone, its token cancelled: so is what it had.
    pub(super) fn forget_backend(&self, backend: u64) {
        let _models = lock(&self.models);
        let base = Arc::clone(&self.snapshot.load().shards);
        let mut edit = Edit { base: &base, changed: BTreeMap::new() };
        self.forget(&mut edit, backend, |_| false);
        self.publish(edit);
    }

    fn forget(&self, edit: &mut Edit<'_>, backend: u64, kept: impl Fn(&ModelName) -> bool) {
        for at in 0..SHARDS {
            let shard = edit.changed.get(&at).or_else(|| edit.base.get(at).map(|shard| &**shard));
            let leaves =
                |(name, model): (&ModelName, &Arc<Model>)| (model.is_on(backend) && !kept(name)).then(|| name.clone());
            let left: Vec<ModelName> = shard.into_iter().flatten().filter_map(leaves).collect();
            for name in left {
                self.leave(edit.shard(&name), &name, backend);
            }
        }
    }

    /// Takes a model off a backend, and away where it was the last one.
    fn leave(&self, shard: &mut Shard, name: &ModelName, backend: u64) {
        let Some(known) = shard.get(name) else { return };
        let next = known.without(backend);
        if next.on.is_empty() {
            if next.label.named.load(Relaxed) {
                // The busiest may be found anew meanwhile, and counted then.
                let _ = self.named.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
            }
            shard.remove(name);
        } else {
            shard.insert(name.clone(), Arc::new(next));
        }
    }

    fn publish(&self, edit: Edit<'_>) {
        let mut shards: Vec<Arc<Shard>> = edit.base.to_vec();
        for (at, shard) in edit.changed {
            if let Some(slot) = shards.get_mut(at) {
                *slot = Arc::new(shard);
            }
        }
        let _writer = lock(&self.writer);
        let before = self.snapshot.load_full();
        self.snapshot.store(Arc::new(Snapshot { shards: shards.into(), heard: true, ..(*before).clone() }));
    }
}

/// Whether a report changes models; only then is it long work to take it in.
pub(super) fn brings_models(report: &StateReport) -> bool {
    report.full || !report.models.is_empty() || !report.gone.is_empty()
}

impl Edit<'_> {
    fn shard(&mut self, name: &ModelName) -> &mut Shard {
        let at = shard_of(name);
        self.changed.entry(at).or_insert_with(|| self.base.get(at).map(|s| (**s).clone()).unwrap_or_default())
    }
}

/// The part of a cursor that names the process.
fn boot(cursor: &str) -> &str {
    cursor.split_once('.').map_or(cursor, |(boot, _)| boot)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arc_swap::ArcSwap;
    use headgate_contract::config::Sources;
    use headgate_contract::fleet::{CatalogSeen, ModelReport, VersionReport, VersionState};
    use headgate_contract::release::Serve;
    use headgate_contract::{Digest, Kind, Release, Version};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Config;
    use crate::workers::{Stay, Workers};

    fn model(name: &str) -> ModelReport {
        let digest = Digest::of(name);
        let serve = vec![Serve { version: Version::FIRST, digest, weight: 1 }];
        let state = VersionState::Ready;
        let version = VersionReport { version: Version::FIRST, digest, state, reason: String::new(), memory_bytes: 0 };
        ModelReport {
            model: name.parse().unwrap(),
            release: Release { serve, ..Release::new() },
            versions: vec![version],
        }
    }

    fn report(cursor: &str, full: bool, models: Vec<ModelReport>, gone: &[&str]) -> StateReport {
        StateReport {
            format: 1,
            instance: "b".into(),
            build: "test".into(),
            cursor: cursor.into(),
            full,
            ready: true,
            draining: false,
            in_flight: 0,
            on_demand: None,
            zone: String::new(),
            cores: 0,
            catalog: Some(CatalogSeen { store_id: "s".into(), generation: 1, error: None }),
            models,
            gone: gone.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    fn fleet() -> Arc<Fleet> {
        let config = Config::load(&Sources::default()).unwrap();
        Fleet::new(
            Arc::new(ArcSwap::from_pointee(config)),
            Workers::start(1, Stay::default()).unwrap().threads(),
            CancellationToken::new(),
        )
    }

    fn backend(id: u64) -> Arc<Backend> {
        Arc::new(Backend::new(id, "127.0.0.1:1", None, None, Arc::default(), CancellationToken::new()))
    }

    fn names(fleet: &Fleet) -> Vec<String> {
        let mut names: Vec<String> = fleet.snapshot().models().map(|model| model.name.to_string()).collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn changes_add_up_and_a_whole_report_replaces() {
        let (fleet, one, two) = (fleet(), backend(1), backend(2));
        fleet.heard(&one, &report("x.1", true, vec![model("a"), model("b")], &[]));
        fleet.heard(&two, &report("y.1", true, vec![model("a")], &[]));
        fleet.heard(&one, &report("x.2", false, vec![model("c")], &["a"]));
        assert_eq!(names(&fleet), ["a", "b", "c"], "a is still on the other backend");
        fleet.heard(&two, &report("y.2", false, vec![], &["a", "never-there"]));
        assert_eq!(names(&fleet), ["b", "c"]);
        fleet.heard(&one, &report("z.1", true, vec![model("c"), model("d")], &[]));
        assert_eq!(names(&fleet), ["c", "d"], "a new process has what it says and nothing else");
        fleet.forget_backend(1);
        assert!(names(&fleet).is_empty() && fleet.snapshot().heard);
    }

    #[tokio::test]
    async fn who_is_gone_brings_nothing_back() {
        let (fleet, one) = (fleet(), backend(1));
        fleet.heard(&one, &report("x.1", true, vec![model("a")], &[]));
        one.stop.cancel();
        fleet.forget_backend(1);
        fleet.heard(&one, &report("x.2", false, vec![model("a"), model("b")], &[]));
        assert!(names(&fleet).is_empty());
    }

    #[tokio::test]
    async fn a_refusal_is_kept_until_something_changes() {
        let (fleet, one) = (fleet(), backend(1));
        lock(&fleet.listed).backends.insert("h:1".to_owned(), Arc::clone(&one));
        let mut loading = model("a");
        loading.versions.iter_mut().for_each(|version| version.state = VersionState::Loading);
        fleet.heard(&one, &report("x.1", true, vec![loading], &[]));
        let rules = fleet.config.load().fleet.clone();
        let plan = || {
            let snapshot = fleet.snapshot();
            let found = snapshot.model(&"a".parse().unwrap()).unwrap();
            (found.plan(&snapshot, fleet.now(), &rules).map(|_| ()).map_err(|refusal| refusal.kind), Arc::clone(found))
        };
        let (refused, found) = plan();
        assert_eq!(refused, Err(Kind::Loading));
        let kept = found.plan.load_full().unwrap();
        assert_eq!(plan().0, Err(Kind::Loading));
        assert!(Arc::ptr_eq(&kept, &found.plan.load_full().unwrap()), "it was worked out again");
        fleet.heard(&one, &report("x.2", false, vec![model("a")], &[]));
        assert_eq!(plan().0, Ok(()), "a change was not seen");
    }

    #[tokio::test]
    async fn states_change_while_many_models_do() {
        let (fleet, one) = (fleet(), backend(1));
        lock(&fleet.listed).backends.insert("h:1".to_owned(), Arc::clone(&one));
        let _many = lock(&fleet.models);
        fleet.heard(&one, &report("x.1", false, vec![], &[]));
        assert_eq!(fleet.snapshot().backends.len(), 1, "a state waited for models");
    }

    #[tokio::test]
    async fn names_are_given_anew_when_models_leave() {
        let (fleet, one) = (fleet(), backend(1));
        let range = |from: usize, to: usize| (from..to).map(|n| format!("m{n}")).collect::<Vec<_>>();
        let models = |names: &[String]| names.iter().map(|name| model(name)).collect::<Vec<_>>();
        fleet.heard(&one, &report("x.1", true, models(&range(0, NAMED_MAX + 100)), &[]));
        let named = |fleet: &Fleet| fleet.snapshot().models().filter(|m| m.label.named.load(Relaxed)).count();
        assert_eq!(named(&fleet), NAMED_MAX);
        fleet.heard(&one, &report("x.2", true, models(&range(NAMED_MAX, NAMED_MAX + 100)), &[]));
        fleet.name_busiest();
        assert_eq!(named(&fleet), 100, "there is room for all");
        fleet.heard(&one, &report("x.3", true, models(&range(0, 2 * NAMED_MAX)), &[]));
        fleet.name_busiest();
        assert_eq!(named(&fleet), NAMED_MAX);
        fleet.heard(&one, &report("x.4", true, vec![], &[]));
        fleet.heard(&one, &report("x.5", true, models(&range(0, 10)), &[]));
        assert_eq!(named(&fleet), 10, "they were counted wrong");
    }

    #[tokio::test]
    async fn one_change_among_many_models_copies_one_shard() {
        let (fleet, one) = (fleet(), backend(1));
        let many = (0..20_000).map(|n| model(&format!("model-{n}"))).collect();
        fleet.heard(&one, &report("x.1", true, many, &[]));
        let before = Arc::clone(&fleet.snapshot());
        fleet.heard(&one, &report("x.2", false, vec![model("model-7")], &[]));
        let after = Arc::clone(&fleet.snapshot());
        let copied = before.shards.iter().zip(after.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!((copied, after.models_len()), (1, 20_000));
        fleet.heard(&one, &report("x.2", false, vec![], &[]));
        assert!(Arc::ptr_eq(&after.shards, &fleet.snapshot().shards), "a probe without news copied something");
        assert!(after.shards.iter().all(|shard| shard.len() < 120), "names crowd in a shard");
    }
}
