//! What the gateway answers itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use headgate_contract::fleet::VersionState;
use headgate_contract::{Kind, Version};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::Edge;
use super::reply::{Failed, json, whole};
use crate::fleet::{Model, Snapshot};
use crate::upstream::Body;

/// Backends that a reason names.
const REASONS_MAX: usize = 4;

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

/// The body of `POST /v2/repository/index`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct IndexQuery {
    ready: bool,
}

/// An entry of the repository index.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Indexed<'a> {
    name: &'a str,
    version: String,
    state: &'static str,
    reason: String,
}

pub(super) fn live() -> Response<Body> {
    whole(StatusCode::OK, Bytes::from_static(b"{\"live\":true}"))
}

pub(super) fn metadata() -> Response<Body> {
    let extensions = ["model_repository"];
    json(StatusCode::OK, &Metadata { name: "headgate", version: env!("CARGO_PKG_VERSION"), extensions })
}

impl Edge {
    /// Whether callers should come here.
    pub fn is_ready(&self) -> Result<(), &'static str> {
        if self.gate.is_lame_duck() {
            return Err("the gateway is about to stop");
        }
        match self.fleet.snapshot().serving() {
            0 => Err("no backend is ready"),
            _ => Ok(()),
        }
    }

    pub(super) fn ready(&self) -> Result<Response<Body>, Failed> {
        self.is_ready().map_err(|why| Failed::new(Kind::Unavailable, why))?;
        Ok(whole(StatusCode::OK, Bytes::from_static(b"{\"ready\":true}")))
    }

    /// All models, versions, states and reasons, of all backends together.
    pub(super) async fn index(&self, body: &[u8]) -> Result<Response<Body>, Failed> {
        let query: IndexQuery = match body.trim_ascii() {
            [] => IndexQuery::default(),
            body => serde_json::from_slice(body)
                .map_err(|e| Failed::new(Kind::InvalidRequest, format!("the body is no index query: {e}")))?,
        };
        let snapshot = Arc::clone(&self.fleet.snapshot());
        // With many models this is long work.
        let made = tokio::task::spawn_blocking(move || serde_json::to_vec(&index(&snapshot, query.ready)));
        match made.await {
            Ok(Ok(body)) => Ok(whole(StatusCode::OK, body.into())),
            _ => Err(Failed::new(Kind::Internal, "the index can't be written")),
        }
    }
}

fn index(snapshot: &Snapshot, ready_only: bool) -> Vec<Indexed<'_>> {
    let mut models: Vec<&Arc<Model>> = snapshot.models().collect();
    models.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut entries = Vec::new();
    for model in models {
        let mut versions: BTreeMap<Version, Vec<(u64, VersionState, &str)>> = BTreeMap::new();
        for held in &model.on {
            for report in held.versions.iter() {
                versions.entry(report.version).or_default().push((held.backend, report.state, &report.reason));
            }
        }
        for (version, on) in versions {
            let state = merged(&on);
            if !ready_only || state == "READY" {
                let reason = reason(snapshot, &on);
                entries.push(Indexed { name: model.name.as_str(), version: version.to_string(), state, reason });
            }
        }
    }
    entries
}

/// Ready where it is ready anywhere; else how near it is.
fn merged(on: &[(u64, VersionState, &str)]) -> &'static str {
    let order = ["READY", "LOADING", "UNLOADING"];
    let any = |state: &&str| on.iter().any(|(_, of, _)| of.as_index() == *state);
    order.into_iter().find(any).unwrap_or("UNAVAILABLE")
}

/// Which backends are not ready, and why.
fn reason(snapshot: &Snapshot, on: &[(u64, VersionState, &str)]) -> String {
    let others = on.iter().filter(|(_, state, _)| *state != VersionState::Ready);
    let mut reasons: Vec<String> = others
        .filter_map(|(id, state, reason)| {
            let name = snapshot.backend(*id)?.backend.name();
            let state = state.as_index().to_lowercase();
            Some(if reason.is_empty() { format!("{name}: {state}") } else { format!("{name}: {state}: {reason}") })
        })
        .collect();
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons.join("; ")
}
