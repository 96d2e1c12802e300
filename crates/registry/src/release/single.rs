//! Changes of one model's release, and of the frozen flag.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use headgate_contract::catalog::Frozen;
use headgate_contract::release::{Labelled, SERVE_MAX, Shadow};
use headgate_contract::{ModelName, Release, Version};

use super::edit::{self, CANARY, STABLE};
use super::swap::{Edit, Note, Plan};
use super::today::Today;
use super::{ReleaseError, Settings};

/// The most labels of a model.
const LABELS_MAX: usize = 64;

/// A change of one model's release.
pub(super) struct Single {
    pub(super) model: ModelName,
    pub(super) act: Act,
}

/// What is to be done to a release.
pub(super) enum Act {
    Rollback {
        why: String,
    },
    /// Let a label name a version, or nothing.
    Label {
        label: String,
        version: Option<Labelled>,
    },
    /// Give a version a copy of some traffic, or none.
    Shadow {
        version: Version,
        shadow: Option<Shadow>,
    },
    Configure(Settings),
}

#[async_trait]
impl Edit for Single {
    fn models(&self) -> Option<BTreeSet<ModelName>> {
        let fallback = match &self.act {
            Act::Configure(settings) => settings.fallback.clone().flatten(),
            _ => None,
        };
        Some(fallback.into_iter().chain([self.model.clone()]).collect())
    }

    fn thaws(&self) -> bool {
        matches!(self.act, Act::Rollback { .. })
    }

    async fn apply(&mut self, today: &Today, note: &Note) -> Result<Plan, ReleaseError> {
        let model = &self.model;
        let nothing = |why: String| ReleaseError::Nothing { model: model.clone(), why };
        let release = match (today.release(model), &self.act) {
            (Some(release), _) => release.clone(),
            (None, Act::Configure(_)) => Release::new(),
            (None, _) => return Err(nothing("it has no release: nothing was promoted".to_owned())),
        };
        let mut next = release.clone();
        let what = match &self.act {
            Act::Rollback { why } => {
                next = edit::rollback(&release, note, why).map_err(nothing)?;
                let versions: Vec<String> = next.serve.iter().map(|serve| serve.version.to_string()).collect();
                format!("roll {model} back to {}", versions.join(" and "))
            }
            Act::Label { label, version } => set_label(model, &mut next, label, version.as_ref())?,
            Act::Shadow { version, shadow } => set_shadow(model, &mut next, *version, shadow.as_ref())?,
            Act::Configure(settings) => configure(model, today, &mut next, settings)?,
        };
        match next == release {
            true => Ok(Plan::Nothing),
            false => Ok(Plan::Releases { what, releases: BTreeMap::from([(model.clone(), next)]) }),
        }
    }
}

/// Sets or clears the frozen flag.
pub(super) struct Freeze {
    /// The reason; none to let changes go on.
    pub(super) why: Option<String>,
}

#[async_trait]
impl Edit for Freeze {
    fn models(&self) -> Option<BTreeSet<ModelName>> {
        Some(BTreeSet::new())
    }

    fn thaws(&self) -> bool {
        true
    }

    async fn apply(&mut self, today: &Today, note: &Note) -> Result<Plan, ReleaseError> {
        let is = today.head.as_ref().is_some_and(|head| head.head.frozen.is_some());
        let frozen = self.why.clone().map(|why| Frozen { who: note.who.clone(), since: note.at, why });
        let what = if frozen.is_some() { "freeze" } else { "unfreeze" };
        match is == frozen.is_some() {
            true => Ok(Plan::Nothing),
            false => Ok(Plan::Frozen { what: what.to_owned(), frozen }),
        }
    }
}

/// Checks a label's name.
pub(super) fn check_label(label: &str) -> Result<(), ReleaseError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if label.is_empty() || label.len() > 64 || !label.bytes().all(plain) {
        let why = format!("'{}' is no label: 1 to 64 of letters, digits, '.', '_', '-'", label.escape_default());
        return Err(ReleaseError::Invalid(why));
    }
    match label {
        STABLE | CANARY => Err(ReleaseError::Invalid(format!("label '{label}' is kept by promotions and rollbacks"))),
        _ => Ok(()),
    }
}

fn set_label(
    model: &ModelName,
    release: &mut Release,
    label: &str,
    version: Option<&Labelled>,
) -> Result<String, ReleaseError> {
    let Some(version) = version else {
        release.labels.remove(label);
        return Ok(format!("take label {label} of {model} away"));
    };
    refuse_dead(model, release, version.version)?;
    release.labels.insert(label.to_owned(), version.clone());
    match release.labels.len() > LABELS_MAX {
        true => Err(ReleaseError::Invalid(format!("model {model} has {LABELS_MAX} labels already"))),
        false => Ok(format!("label {} of {model} as {label}", version.version)),
    }
}

fn set_shadow(
    model: &ModelName,
    release: &mut Release,
    version: Version,
    shadow: Option<&Shadow>,
) -> Result<String, ReleaseError> {
    release.shadow.retain(|shadow| shadow.version != version);
    let Some(shadow) = shadow else { return Ok(format!("take shadow {version} of {model} away")) };
    refuse_dead(model, release, version)?;
    release.shadow.push(shadow.clone());
    match release.shadow.len() > SERVE_MAX {
        true => Err(ReleaseError::Invalid(format!("model {model} has {SERVE_MAX} shadows already"))),
        false => Ok(format!("shadow {model} with {version} at {}", shadow.fraction)),
    }
}

fn configure(
    model: &ModelName,
    today: &Today,
    release: &mut Release,
    settings: &Settings,
) -> Result<String, ReleaseError> {
    if let Some(Some(fallback)) = &settings.fallback {
        let serves = today.release(fallback).is_some_and(|release| !release.serve.is_empty());
        if !serves {
            let why = format!("{fallback} can't be the fallback of {model}'s scopes: it serves nothing");
            return Err(ReleaseError::Invalid(why));
        }
    }
    release.keep = settings.keep.unwrap_or(release.keep);
    release.strict = settings.strict.unwrap_or(release.strict);
    release.sticky = settings.sticky.clone().unwrap_or(release.sticky.take());
    release.fallback = settings.fallback.clone().unwrap_or(release.fallback.take());
    Ok(format!("configure {model}"))
}

fn refuse_dead(model: &ModelName, release: &Release, version: Version) -> Result<(), ReleaseError> {
    match release.dead.contains(&version) {
        true => Err(ReleaseError::Dead { model: model.clone(), version }),
        false => Ok(()),
    }
}
