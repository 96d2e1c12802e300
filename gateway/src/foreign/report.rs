//! From what a server says that it has to what a backend of ours would report.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use headgate_contract::fleet::{ModelReport, VersionReport, VersionState};
use headgate_contract::release::{Action, Entry as Released, HISTORY_MAX, Labelled, Serve};
use headgate_contract::{ModelName, Release, Version};

use super::listing::Entry;
use super::version::{digest, number};

/// The versions of one model that are taken.
const VERSIONS_MAX: usize = 64;
/// Reasons that are kept of what is left out.
const LEFT_OUT_MAX: usize = 4;

/// A server's models, in our words.
#[derive(Debug, Default)]
pub(super) struct Models {
    pub(super) reports: BTreeMap<ModelName, ModelReport>,
    /// What the server calls the versions.
    pub(super) names: HashMap<(ModelName, Version), Arc<str>>,
    /// What can't be called here, and why: a few of them.
    pub(super) left_out: Vec<String>,
}

/// Reports what was listed; `astray` tells what is listed and not there.
pub(super) fn make(entries: &[Entry], astray: impl Fn(&ModelName, Version) -> bool) -> Models {
    let mut models = Models::default();
    let mut listed: BTreeMap<ModelName, Vec<(Version, &Entry)>> = BTreeMap::new();
    for entry in entries {
        match entry.model.parse() {
            Ok(model) => listed.entry(model).or_default().push((number(&entry.version), entry)),
            Err(error) => models.leave_out(format!("{error}")),
        }
    }
    for (model, mut versions) in listed {
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let mut report = ModelReport { model: model.clone(), release: Release::new(), versions: Vec::new() };
        for (version, entry) in versions {
            let name = &entry.version;
            let key = (model.clone(), version);
            if let Some(other) = models.names.get(&key) {
                models.leave_out(format!("version '{name}' of '{model}': '{other}' has its number, {version}"));
            } else if report.versions.len() >= VERSIONS_MAX {
                models.leave_out(format!("version '{name}' of '{model}': the newest {VERSIONS_MAX} are taken"));
            } else {
                add(&mut report, version, entry, astray(&model, version));
                models.names.insert(key, name.as_str().into());
            }
        }
        report.release = release([&report.release], &report.versions);
        models.reports.insert(model, report);
    }
    models
}

impl Models {
    fn leave_out(&mut self, why: String) {
        if self.left_out.len() < LEFT_OUT_MAX {
            self.left_out.push(why);
        }
    }
}

fn add(report: &mut ModelReport, version: Version, entry: &Entry, astray: bool) {
    let (state, reason) = match astray && entry.state == VersionState::Ready {
        true => (VersionState::Failed, "listed as ready, and not there when it was called".to_owned()),
        false => (entry.state, entry.reason.clone()),
    };
    let digest = digest(&report.model, version);
    report.versions.push(VersionReport { version, digest, state, reason, memory_bytes: 0 });
    if entry.version != version.to_string() && !entry.version.is_empty() {
        report.release.labels.insert(entry.version.clone(), Labelled { version, digest });
    }
}

/// What is served of a model that no catalog releases: the newest version, and where that can't answer, the one before.
/// `others` say which names versions have.
pub(crate) fn release<'a>(
    others: impl IntoIterator<Item = &'a Release>,
    versions: impl IntoIterator<Item = &'a VersionReport>,
) -> Release {
    let mut lists: BTreeMap<Version, Serve> = BTreeMap::new();
    for report in versions {
        let serve = Serve { version: report.version, digest: report.digest, weight: 1 };
        lists.insert(report.version, serve);
    }
    let mut release =
        Release { serve: lists.pop_last().map(|(_, newest)| newest).into_iter().collect(), ..Release::new() };
    let skipped = lists.len().saturating_sub(HISTORY_MAX);
    release.history = lists.into_values().skip(skipped).map(before).collect();
    for other in others {
        release.labels.extend(other.labels.iter().map(|(name, labelled)| (name.clone(), labelled.clone())));
    }
    release
}

fn before(serve: Serve) -> Released {
    Released {
        change_id: String::new(),
        at: Default::default(),
        who: String::new(),
        action: Action::Promote,
        why: String::new(),
        serve: vec![serve],
        rolled_back: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::release::pick;

    use super::*;

    fn entry(model: &str, version: &str, state: VersionState) -> Entry {
        Entry { model: model.into(), version: version.into(), state, reason: String::new() }
    }

    fn picked(models: &Models, model: &str) -> Option<u64> {
        let report = &models.reports[&model.parse().unwrap()];
        let ready = |serve: &Serve| {
            report.versions.iter().any(|v| v.version == serve.version && v.state == VersionState::Ready)
        };
        Some(pick(&report.release, |serve| f64::from(u8::from(ready(serve))))?.serve[0].version.get())
    }

    #[test]
    fn the_newest_ready_version_is_served() {
        let ready = VersionState::Ready;
        let listed = [
            entry("m", "2", ready),
            entry("m", "10", ready),
            entry("m", "11", VersionState::Loading),
            entry("n", "", ready),
            entry("o", "v1.2", ready),
            entry("o", "v1.10", ready),
        ];
        let models = make(&listed, |_, _| false);
        assert_eq!((picked(&models, "m"), picked(&models, "n")), (Some(10), Some(1)));
        assert_eq!(picked(&models, "o"), Some(1_010_000));
        let named =
            |model: &str, version: u64| &*models.names[&(model.parse().unwrap(), Version::new(version).unwrap())];
        assert_eq!((named("m", 10), named("n", 1), named("o", 1_010_000)), ("10", "", "v1.10"));
        let labels: Vec<_> = models.reports[&"o".parse().unwrap()].release.labels.keys().cloned().collect();
        assert_eq!(labels, ["v1.10", "v1.2"]);
        let models = make(&listed, |model, version| model.as_str() == "m" && version.get() == 10);
        assert_eq!(picked(&models, "m"), Some(2), "a version that is not there was picked");
    }

    #[test]
    fn what_can_not_be_called_is_left_out_by_name() {
        let ready = VersionState::Ready;
        let listed =
            [entry("a b", "1", ready), entry("m", "1", ready), entry("m", "v1", ready), entry("infer", "1", ready)];
        let models = make(&listed, |_, _| false);
        assert_eq!(models.reports.len(), 1);
        assert_eq!(models.left_out.len(), 3, "{:?}", models.left_out);
        let many: Vec<Entry> = (1..200).map(|n| entry("m", &n.to_string(), ready)).collect();
        let models = make(&many, |_, _| false);
        assert_eq!(models.reports[&"m".parse().unwrap()].versions.len(), VERSIONS_MAX);
    }
}
