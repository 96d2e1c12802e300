//! What the origin tells gateways of itself.

use headgate_contract::fleet::{CatalogSeen, ModelReport, StateReport, VersionReport, VersionState};
use headgate_contract::release::{Action, Entry, Serve};
use headgate_contract::{Digest, ModelName, Release, Version};

/// The only version.
pub(super) const VERSION: Version = Version::FIRST;
/// The state: one version of a model, ready. It is the only one of this process.
pub(super) fn of(model: &ModelName, digest: Digest, name: &str) -> StateReport {
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
    StateReport {
        format: 1,
        instance: name.to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        cursor: format!("{:016x}.1", rand::random::<u64>()),
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
    }
}
