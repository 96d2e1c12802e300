//! What a backend tells gateways: `GET /fleet/v1/state`, and how it makes itself known: `POST /fleet/v1/register`.

use serde::{Deserialize, Serialize};

use crate::{Digest, ModelName, Release, Version};

/// Path of the state report.
pub const STATE_PATH: &str = "/fleet/v1/state";
/// Path of the nudge, on a backend and on a gateway's admin port.
pub const NUDGE_PATH: &str = "/fleet/v1/nudge";
/// Path of the registration, on a gateway's admin port.
pub const REGISTER_PATH: &str = "/fleet/v1/register";
/// Path where a gateway tells a backend that loads on demand which models it is going to call.
pub const WANT_PATH: &str = "/fleet/v1/want";
/// The most models that a [`Want`] may name.
pub const WANTED_MAX: usize = 200;
/// The longest wait of a long poll, in milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;

/// The longest name of a zone, in bytes.
pub const ZONE_BYTES_MAX: usize = 64;

/// Whether a name may be a zone's: visible ASCII, or empty for none.
pub fn is_zone(name: &str) -> bool {
    name.len() <= ZONE_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Query of the state report: `since=<boot>.<seq>&wait=<ms>&generation=<n>&store=<id>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateQuery {
    /// The cursor of the last report; none, or an unknown one, gets everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How long to wait for a change, in milliseconds.
    #[serde(default)]
    pub wait: u64,
    /// The highest generation of the catalog that the asker has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The store of that generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

/// A backend's state: everything, or what changed since the cursor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateReport {
    /// The report's format: 1.
    pub format: u32,
    /// The backend's stable name.
    pub instance: String,
    /// The backend's release: the version of Headgate.
    pub build: String,
    /// The cursor: ask with it next.
    pub cursor: String,
    /// Whether `models` is everything, and not what changed.
    pub full: bool,
    /// Whether every model assigned to it has become ready, or has failed by its own fault.
    pub ready: bool,
    /// Whether it is about to stop: send nothing new.
    pub draining: bool,
    /// Prediction calls in flight.
    pub in_flight: u64,
    /// Where it loads a model when that is called, and not before: what it has room for. None: it holds all models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemand>,
    /// The zone that it runs in; empty: none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Calls that it works on at once: its cores; 0: unknown.
    #[serde(default)]
    pub cores: u32,
    /// The catalog it serves, once it has seen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogSeen>,
    /// Models, whole, where anything of them changed.
    pub models: Vec<ModelReport>,
    /// Models that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<ModelName>,
}

/// What a backend has room for that loads models on demand. A version that it could load is reported as
/// [`VersionState::Absent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemand {
    /// Memory of all loaded models, in bytes.
    pub memory_bytes_max: u64,
}

/// Models that a gateway is going to call: a backend that loads on demand loads them, as far as there is room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The models, [`WANTED_MAX`] at most.
    pub models: Vec<ModelName>,
}

/// Which catalog a backend serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogSeen {
    /// The store's id.
    pub store_id: String,
    /// The catalog's generation.
    pub generation: u64,
    /// Why the bucket can't be read now, where it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One model in a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// The model.
    pub model: ModelName,
    /// Its release, with as much history as `pick` may need.
    pub release: Release,
    /// Its versions on this backend.
    pub versions: Vec<VersionReport>,
}

/// One version in a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Where it is in its life.
    pub state: VersionState,
    /// Why it failed, or what it waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Bytes of memory it takes, once loaded.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// The life of a version in a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Known, nothing done yet.
    Absent,
    /// Its files are being read from the store.
    Fetching,
    /// Its digests are being checked.
    Verifying,
    /// It is being built in memory.
    Loading,
    /// Its golden rows are being scored.
    Proving,
    /// It can answer.
    Ready,
    /// It left the snapshot, and still answers calls that name it.
    Retiring,
    /// It can't be served; the reason says why.
    Failed,
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A nudge: the catalog has reached this generation; whoever is behind reads the head at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    /// The store's id.
    pub store_id: String,
    /// The catalog's generation.
    pub generation: u64,
}

/// A backend announces itself; the reply says for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The backend's stable name.
    pub instance: String,
    /// Host and port where it answers.
    pub address: String,
    /// How long the announcement should stand, in milliseconds.
    pub lease_ms: u64,
}

/// The reply to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// How long the announcement stands, in milliseconds: announce again before a third of it has passed.
    pub lease_ms: u64,
}

impl VersionState {
    /// Its name in log lines, metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            VersionState::Absent => "absent",
            VersionState::Fetching => "fetching",
            VersionState::Verifying => "verifying",
            VersionState::Loading => "loading",
            VersionState::Proving => "proving",
            VersionState::Ready => "ready",
            VersionState::Retiring => "retiring",
            VersionState::Failed => "failed",
            VersionState::Unknown => "unknown",
        }
    }

    /// Its name as the Open Inference Protocol's repository index spells it.
    pub fn as_index(self) -> &'static str {
        match self {
            VersionState::Ready => "READY",
            VersionState::Retiring => "UNLOADING",
            VersionState::Failed | VersionState::Absent | VersionState::Unknown => "UNAVAILABLE",
            VersionState::Fetching | VersionState::Verifying | VersionState::Loading | VersionState::Proving => {
                "LOADING"
            }
        }
    }
}
