//! One model as the backends report it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwapOption;
use headgate_balance::Millis;
use headgate_balance::place::Demand;
use headgate_contract::fleet::{CatalogSeen, ModelReport, VersionReport, VersionState};
use headgate_contract::{Digest, ModelName, Release, Version};

use super::costs::Costs;
use super::plan::Kept;
use crate::foreign::release;

/// A model: its newest release, and what each backend has of it.
pub struct Model {
    /// Its name.
    pub name: ModelName,
    /// The release of the newest catalog that was reported.
    pub release: Arc<Release>,
    /// What each backend has, by the backend's id.
    pub on: Vec<Held>,
    /// How it is called in metrics.
    pub label: Arc<Label>,
    /// What its calls cost.
    pub costs: Arc<Costs>,
    /// What it has to do, and how many backends that load on demand are to hold it for that.
    pub demand: Arc<Demand>,
    from: Option<(String, u64)>,
    /// Since when each version has been ready anywhere.
    pub(super) ready_since: Vec<(Version, Digest, Millis)>,
    pub(super) plan: ArcSwapOption<Kept>,
}

/// What one backend has of a model.
#[derive(Clone, Debug)]
pub struct Held {
    /// The backend's id.
    pub backend: u64,
    /// Its versions there.
    pub versions: Arc<[VersionReport]>,
    /// What is released there, where no catalog says so.
    alone: Option<Arc<Release>>,
}

/// A model's name in metrics: its own for the busiest, `other` for the rest.
#[derive(Debug)]
pub struct Label {
    /// Requests since the busiest were found last.
    pub requests: AtomicU64,
    /// Whether it is among them.
    pub named: AtomicBool,
    /// The name.
    pub name: Arc<str>,
}

impl Model {
    /// A model of which nothing is known yet.
    pub(super) fn new(name: ModelName, named: bool) -> Self {
        let label = Label { requests: AtomicU64::new(0), named: AtomicBool::new(named), name: name.as_str().into() };
        Self {
            name,
            release: Arc::default(),
            on: Vec::new(),
            label: Arc::new(label),
            costs: Arc::default(),
            demand: Arc::default(),
            from: None,
            ready_since: Vec::new(),
            plan: ArcSwapOption::empty(),
        }
    }

    /// The same with what a backend reports now. An older catalog's release does not replace a newer one's.
    pub(super) fn with(&self, backend: u64, report: &ModelReport, catalog: Option<&CatalogSeen>, now: Millis) -> Self {
        let older = match (&self.from, catalog) {
            (Some((store, generation)), Some(seen)) => *store == seen.store_id && seen.generation < *generation,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut next = self.without(backend);
        if !older && catalog.is_some() {
            if *next.release != report.release {
                next.release = Arc::new(report.release.clone());
            }
            next.from = catalog.map(|seen| (seen.store_id.clone(), seen.generation));
        }
        let alone = catalog.is_none().then(|| Arc::new(report.release.clone()));
        next.on.push(Held { backend, versions: report.versions.clone().into(), alone });
        next.agree();
        next.remember_ready(&self.ready_since, now);
        next
    }

    /// The same without a backend.
    pub(super) fn without(&self, backend: u64) -> Self {
        let mut next = Self {
            name: self.name.clone(),
            release: Arc::clone(&self.release),
            on: self.on.iter().filter(|held| held.backend != backend).cloned().collect(),
            label: Arc::clone(&self.label),
            costs: Arc::clone(&self.costs),
            demand: Arc::clone(&self.demand),
            from: self.from.clone(),
            ready_since: Vec::new(),
            plan: ArcSwapOption::empty(),
        };
        next.agree();
        next.remember_ready(&self.ready_since, 0);
        next
    }

    /// Where no backend has a catalog, what all of them have together is released.
    fn agree(&mut self) {
        if !self.is_foreign() {
            return;
        }
        self.from = None;
        let alone = self.on.iter().filter_map(|held| held.alone.as_deref());
        let release = release(alone, self.on.iter().flat_map(|held| held.versions.iter()));
        if *self.release != release {
            self.release = Arc::new(release);
        }
    }

    /// Whether none of the backends that have it has a catalog.
    pub(super) fn is_foreign(&self) -> bool {
        !self.on.is_empty() && self.on.iter().all(|held| held.alone.is_some())
    }

    /// Whether a backend has anything of it.
    pub fn is_on(&self, backend: u64) -> bool {
        self.on.iter().any(|held| held.backend == backend)
    }

    /// Where a version is on a backend that reported it.
    pub(super) fn state_on(&self, backend: u64, version: Version, digest: Digest) -> Option<VersionState> {
        let held = self.on.iter().find(|held| held.backend == backend)?;
        let report = held.versions.iter().find(|report| report.version == version && report.digest == digest)?;
        Some(report.state)
    }

    /// A version's reports, with the backends' ids.
    pub fn reports(&self, version: Version) -> impl Iterator<Item = (u64, &VersionReport)> {
        let all = self.on.iter().flat_map(|held| held.versions.iter().map(|report| (held.backend, report)));
        all.filter(move |(_, report)| report.version == version)
    }

    fn remember_ready(&mut self, before: &[(Version, Digest, Millis)], now: Millis) {
        let ready = self.on.iter().flat_map(|held| held.versions.iter()).filter(|v| v.state == VersionState::Ready);
        let mut since: Vec<(Version, Digest, Millis)> = Vec::new();
        for report in ready {
            if !since.iter().any(|(v, d, _)| (*v, *d) == (report.version, report.digest)) {
                let known = before.iter().find(|(v, d, _)| (*v, *d) == (report.version, report.digest));
                since.push((report.version, report.digest, known.map_or(now, |known| known.2)));
            }
        }
        self.ready_since = since;
    }
}
