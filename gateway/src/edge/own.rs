//! What the gateway answers itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use headgate_contract::fleet::VersionState;
use headgate_contract::repository::only_ready;
use headgate_contract::{Kind, Version, openapi};
use http::{Response, StatusCode};
use serde::Serialize;

use super::Edge;
use super::reply::{Failed, json, whole};
use crate::fleet::{Model, Snapshot};
use crate::upstream::Body;

/// What it calls itself, as a backend does.
pub(super) const NAME: &str = "headgate";
/// Its version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What it has beside the protocol's required part.
pub(super) const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_repository", "statistics"];

/// Backends that a reason names.
const REASONS_MAX: usize = 4;

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 3],
}

/// The body of `GET /v2/health/ready` where it is not: as the Open Inference Protocol spells it, and as every error.
#[derive(Serialize)]
struct Unready {
    ready: bool,
    error: &'static str,
}

/// The body of `GET /v1/models`.
#[derive(Serialize)]
struct ModelList<'a> {
    models: Vec<&'a str>,
}

/// An entry of the repository index.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Indexed<'a> {
    pub(super) name: &'a str,
    pub(super) version: String,
    pub(super) state: &'static str,
    pub(super) reason: String,
}

/// As the Open Inference Protocol spells it, and as KServe's v1.
pub(super) fn live() -> Response<Body> {
    whole(StatusCode::OK, Bytes::from_static(b"{\"live\":true,\"status\":\"alive\"}"))
}

pub(super) fn metadata() -> Response<Body> {
    json(StatusCode::OK, &Metadata { name: NAME, version: VERSION, extensions: EXTENSIONS })
}

/// What the doors take and give.
pub(super) fn openapi() -> Response<Body> {
    whole(StatusCode::OK, Bytes::from_static(openapi::SERVER.as_bytes()))
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

    pub(super) fn ready(&self) -> Response<Body> {
        match self.is_ready() {
            Ok(()) => whole(StatusCode::OK, Bytes::from_static(b"{\"ready\":true}")),
            Err(why) => {
                let mut response = Failed::new(Kind::Unavailable, why).response("");
                let unready = Unready { ready: false, error: why };
                *response.body_mut() = Body::whole(serde_json::to_vec(&unready).unwrap_or_default().into());
                response
            }
        }
    }

    /// As SageMaker asks: a status, and no more.
    pub(super) fn ping(&self) -> Result<Response<Body>, Failed> {
        self.is_ready().map_err(|why| Failed::new(Kind::Unavailable, why))?;
        Ok(Response::new(Body::whole(Bytes::new())))
    }

    /// The names of all models.
    pub(super) async fn model_list(&self) -> Result<Response<Body>, Failed> {
        let snapshot = Arc::clone(&self.fleet.snapshot());
        let made = tokio::task::spawn_blocking(move || {
            let mut models: Vec<&str> = snapshot.models().map(|model| model.name.as_str()).collect();
            models.sort_unstable();
            serde_json::to_vec(&ModelList { models })
        });
        written(made.await, "the list of models")
    }

    /// All models, versions, states and reasons, of all backends together.
    pub(super) async fn index(&self, body: &[u8]) -> Result<Response<Body>, Failed> {
        let only_ready = only_ready(body).map_err(|words| Failed::new(Kind::InvalidRequest, words))?;
        let snapshot = Arc::clone(&self.fleet.snapshot());
        // With many models this is long work.
        let made = tokio::task::spawn_blocking(move || serde_json::to_vec(&index(&snapshot, only_ready)));
        written(made.await, "the index")
    }
}

/// What was made beside the async threads.
pub(super) fn written<E, F>(made: Result<Result<Vec<u8>, E>, F>, what: &str) -> Result<Response<Body>, Failed> {
    match made {
        Ok(Ok(body)) => Ok(whole(StatusCode::OK, body.into())),
        _ => Err(Failed::new(Kind::Internal, format!("{what} can't be written"))),
    }
}

pub(super) fn index(snapshot: &Snapshot, ready_only: bool) -> Vec<Indexed<'_>> {
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
