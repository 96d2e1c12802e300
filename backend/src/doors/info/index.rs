//! The repository's index: one message, from which the JSON is written too.

use headgate_contract::fleet::VersionState;
use headgate_contract::proto::RepositoryIndexResponse;
use headgate_contract::proto::repository_index_response::ModelIndex;
use serde_json::{Value, json};

use super::super::App;

/// All versions, their states, and why they failed, by model; or those that can answer. Takes a while where there are
/// many models.
pub(in crate::doors) fn index(app: &App, only_ready: bool) -> RepositoryIndexResponse {
    let mut models = app.shared.board.models();
    models.sort_by(|a, b| a.model.cmp(&b.model));
    let entries = models.iter().flat_map(|model| {
        let versions = model.versions.iter().filter(|v| !only_ready || v.state == VersionState::Ready);
        versions.map(|v| ModelIndex {
            name: model.model.to_string(),
            version: v.version.to_string(),
            state: v.state.as_index().to_owned(),
            reason: v.reason.clone(),
        })
    });
    RepositoryIndexResponse { models: entries.collect() }
}

/// The same in JSON.
pub(super) fn document(index: &RepositoryIndexResponse) -> Value {
    let entry = |m: &ModelIndex| json!({"name": m.name, "version": m.version, "state": m.state, "reason": m.reason});
    index.models.iter().map(entry).collect()
}
