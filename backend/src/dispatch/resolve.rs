//! Which version answers a call: a pure function of the snapshot, the call and chance.

use std::sync::Arc;

use headgate_contract::fleet::VersionState;
use headgate_contract::release::{draw, sticky_draw};
use headgate_contract::route::{Choice, Target};
use headgate_contract::{Kind, ModelName, Version};
use http::HeaderMap;

use super::Chosen;
use crate::refusal::{Refusal, shorten};
use crate::servable::Servable;
use crate::snapshot::{Known, Model, Snapshot};

/// A version that is to answer.
#[derive(Debug)]
pub struct Resolved {
    /// The version.
    pub servable: Arc<Servable>,
    /// Whether unknown features are refused.
    pub strict: bool,
    /// The model that answers, where it is not the one asked for.
    pub fallback: Option<ModelName>,
}

/// Finds the version that is to answer.
pub fn resolve(
    snapshot: &Snapshot,
    target: &Target,
    chosen: Option<Chosen>,
    headers: &HeaderMap,
) -> Result<Resolved, Refusal> {
    let (model, fallback) = match find(snapshot, &target.model) {
        // The gateway knows of a release that has not come here yet.
        Err(refusal) if chosen.is_some() => return Err(Refusal::new(Kind::NotHere, refusal.message)),
        found => found?,
    };
    let servable = match chosen {
        Some(chosen) => named_by_gateway(model, chosen)?,
        None => match &target.choice {
            Choice::Any => picked(model, headers)?,
            Choice::Version(version) => named(model, *version)?,
            Choice::Label(label) => match model.release.labels.get(label) {
                Some(labelled) => named(model, labelled.version)?,
                None => {
                    let label = shorten(label, 80);
                    return Err(Refusal::new(Kind::NotFound, format!("model '{}' has no label '{label}'", model.name)));
                }
            },
        },
    };
    let fallback = fallback.then(|| model.name.clone());
    Ok(Resolved { servable: Arc::clone(servable), strict: model.release.strict, fallback })
}

/// The model, or the one that answers for unknown scopes of its base.
pub fn find<'s>(snapshot: &'s Snapshot, name: &ModelName) -> Result<(&'s Arc<Model>, bool), Refusal> {
    if let Some(model) = snapshot.get(name) {
        return Ok((model, false));
    }
    let unknown = |what: String| Err(Refusal::new(Kind::NotFound, what));
    if name.scope().is_none() {
        return unknown(format!("model '{name}' is not known"));
    }
    let base = snapshot.get(&name.base_name());
    match base.and_then(|base| base.release.fallback.as_ref()) {
        None => {
            unknown(format!("model '{name}' is not known, and '{}' has no fallback for unknown scopes", name.base()))
        }
        Some(fallback) => match snapshot.get(fallback) {
            Some(model) => Ok((model, true)),
            None => unknown(format!("model '{name}' is not known, nor is its fallback '{fallback}'")),
        },
    }
}

fn named_by_gateway(model: &Model, chosen: Chosen) -> Result<&Arc<Servable>, Refusal> {
    let held = match &chosen.digest {
        Some(digest) => model.held_digest(digest),
        None => model.held(chosen.version),
    };
    held.ok_or_else(|| {
        let words = format!("model '{}' version {} is not on this backend", model.name, chosen.version);
        Refusal::new(Kind::NotHere, words)
    })
}

fn picked<'m>(model: &'m Model, headers: &HeaderMap) -> Result<&'m Arc<Servable>, Refusal> {
    let sticky = model.release.sticky.as_ref().and_then(|name| headers.get(name.as_str()));
    let chance = match sticky {
        Some(value) => sticky_draw(&model.name, value.as_bytes()),
        None => rand::random(),
    };
    let drawn = draw(&model.serving, chance).and_then(|serve| model.held_digest(&serve.digest));
    drawn.ok_or_else(|| not_served(model))
}

fn named(model: &Model, version: Version) -> Result<&Arc<Servable>, Refusal> {
    model.held(version).ok_or_else(|| match model.states.iter().find(|k| k.version == version) {
        Some(known) => not_yet(model, known),
        None => {
            let words = format!("model '{}' has no version {version} here", model.name);
            Refusal::new(Kind::NotFound, words)
        }
    })
}

/// Why nothing of a model can answer: in the words of what is still on its way, else of what failed.
pub fn not_served(model: &Model) -> Refusal {
    let newest = model.release.lists().first().and_then(|list| list.first()).map(|s| s.digest);
    let idle = [VersionState::Ready, VersionState::Retiring, VersionState::Failed];
    let on_its_way = |k: &&Known| !idle.contains(&k.state) || k.retried;
    let known = model.states.iter().find(on_its_way);
    let known = known.or_else(|| model.states.iter().find(|k| Some(k.digest) == newest)).or(model.states.first());
    match known {
        Some(known) if !matches!(known.state, VersionState::Ready | VersionState::Retiring) => not_yet(model, known),
        _ => Refusal::new(Kind::NotFound, format!("model '{}' has no version that is released", model.name)),
    }
}

fn not_yet(model: &Model, known: &Known) -> Refusal {
    let (name, version) = (&model.name, known.version);
    match known.state {
        VersionState::Failed if known.retried => {
            let words = format!("model '{name}' version {version} could not be loaded yet: {}", known.reason);
            Refusal::new(Kind::Unavailable, words)
        }
        VersionState::Failed => {
            let words = format!("model '{name}' version {version} is refused: {}", known.reason);
            Refusal::new(Kind::NotFound, words)
        }
        _ => Refusal::new(Kind::Loading, format!("model '{name}' version {version} is being loaded")),
    }
}
