//! What the origin tells gateways of itself.

use headgate_contract::fleet::{CatalogSeen, ModelReport, StateReport, VersionReport, VersionState};
use headgate_contract::release::{Action, Entry, Serve};
use headgate_contract::{Digest, ModelName, Release, Version};

/// The only version.
pub(super) const VERSION: Version = Version::FIRST;
/// The only state.
pub(super) const CURSOR: &str = "origin.1";

/// The state report, as JSON: one version of a model, ready.
pub(super) fn of(model: &ModelName, digest: Digest) -> String {
    let serve = vec![Serve { version: VERSION, digest, weight: 1 }];
    let entry = Entry {
        change_id: String::new(),
        at: jiff::Timestamp::now(),
        who: "loadtests".to_owned(),
        action: Action::Promote,
        why: String::new(),
        serve: serve.clone(),
        rolled_back: false,
    };
    let version =
        VersionReport { version: VERSION, digest, state: VersionState::Ready, reason: String::new(), memory_bytes: 1 };
    let report = StateReport {
        format: 1,
        instance: "origin".to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        cursor: CURSOR.to_owned(),
        full: true,
        ready: true,
        draining: false,
        in_flight: 0,
        on_demand: None,
        zone: String::new(),
        cores: 0,
        catalog: Some(CatalogSeen { store_id: "origin".to_owned(), generation: 1, error: None }),
        models: vec![ModelReport {
            model: model.clone(),
            release: Release { serve, history: vec![entry], ..Release::new() },
            versions: vec![version],
        }],
        gone: Vec::new(),
    };
    // Strings, numbers and lists always have a form in JSON.
    serde_json::to_string(&report).unwrap_or_default()
}
