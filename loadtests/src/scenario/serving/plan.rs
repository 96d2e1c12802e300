//! Which servers are measured with which calls: a file, as servers differ in all but HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::driver::scores::{Place, Scores};
use crate::driver::target::{Target, TargetError};
use crate::system::server::Command;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// How far from the expected a score may be.
    pub(super) tolerance: f64,
    /// Whether calls go as bytes, without a client library.
    #[serde(default)]
    pub(super) bare: bool,
    /// Whether the driver spins where requests arrive by a schedule: only where all else on its core goes before it.
    #[serde(default)]
    pub(super) spin: bool,
    /// Who tells when the machine stood still: `loadtests stalls`, one on each core. Replies that this touched are left
    /// out where requests arrive by a schedule.
    #[serde(default)]
    pub(super) watch: Vec<Command>,
    /// In the order in which they are measured.
    pub(super) servers: Vec<ServerPlan>,
    /// In the order in which they are measured.
    pub(super) cases: Vec<Case>,
}

/// A server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerPlan {
    /// Its name.
    pub(super) name: String,
    /// What it consists of.
    pub(super) processes: Vec<Command>,
    /// The calls that it takes, by their names.
    pub(super) calls: BTreeMap<String, CallPlan>,
    /// The call whose reply says that it is ready; that of any, where there is none.
    #[serde(default)]
    pub(super) ready: Option<String>,
}

/// A call, as one server takes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallPlan {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A folder with the bodies; they are sent in the order of their files' names.
    bodies: PathBuf,
    /// A file with the scores of each body's rows: an array of arrays of numbers.
    scores: PathBuf,
    reply: Place,
}

/// A call under a load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Its name.
    pub(super) name: String,
    /// The call.
    pub(super) call: String,
    /// How many connections; in closed loop, each of them a client that waits for its reply.
    pub(super) clients: usize,
    /// Requests arrive by a schedule, at a part of the rate of this other case, which comes before it.
    #[serde(default)]
    pub(super) part_of: Option<String>,
    /// Which part.
    #[serde(default = "half")]
    pub(super) part: f64,
    /// And at no more than that part of this server's there: all get a rate that the driver can keep.
    #[serde(default)]
    pub(super) part_of_server: Option<String>,
    /// Another call of the server, which goes past it: measured in turns with this one, at the same rate. What this one
    /// takes longer, the server adds.
    #[serde(default)]
    pub(super) past: Option<String>,
    /// The servers that it is for; all that take the call, where there is none.
    #[serde(default)]
    pub(super) servers: Option<Vec<String>>,
}

fn half() -> f64 {
    0.5
}

/// A call, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) bodies: Vec<Bytes>,
    pub(super) scores: Scores,
}

/// A plan that can't be measured. The fault of whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file can't be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not as expected.
    #[error("{path}: {error}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// A URL makes no sense.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A header makes no sense.
    #[error("header '{name}: {value}' is none")]
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A call has not as many bodies as scores.
    #[error("{bodies}: {came} bodies, {scores} scores; as many of both expected, at least one")]
    Bodies {
        /// The folder.
        bodies: PathBuf,
        /// How many bodies it has.
        came: usize,
        /// How many scores there are.
        scores: usize,
    },
    /// A name that the plan does not have.
    #[error("'{name}' is not in the plan: {known} expected")]
    Name {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl Plan {
    pub(super) fn read(path: &Path) -> Result<Self, PlanError> {
        json(path)
    }

    /// Keeps only these servers and cases; all where none is named.
    pub(super) fn keep(&mut self, servers: &[String], cases: &[String]) -> Result<(), PlanError> {
        check_names(servers, self.servers.iter().map(|server| server.name.as_str()))?;
        check_names(cases, self.cases.iter().map(|case| case.name.as_str()))?;
        let kept = |names: &[String], name: &String| names.is_empty() || names.contains(name);
        self.servers.retain(|server| kept(servers, &server.name));
        self.cases.retain(|case| kept(cases, &case.name));
        Ok(())
    }
}

impl Case {
    /// Whether it is for a server.
    pub(super) fn is_for(&self, server: &ServerPlan) -> bool {
        let named = self.servers.as_ref().is_none_or(|servers| servers.contains(&server.name));
        named && server.calls.contains_key(&self.call)
    }
}

impl CallPlan {
    /// Reads its bodies and scores.
    pub(super) fn load(&self, tolerance: f64) -> Result<Call, PlanError> {
        let expected: Vec<Vec<f64>> = json(&self.scores)?;
        let bodies = bodies(&self.bodies).map_err(|error| PlanError::Read { path: self.bodies.clone(), error })?;
        if bodies.is_empty() || bodies.len() != expected.len() {
            let (came, scores) = (bodies.len(), expected.len());
            return Err(PlanError::Bodies { bodies: self.bodies.clone(), came, scores });
        }
        let header = |(name, value): (&String, &String)| {
            let refused = || PlanError::Header { name: name.clone(), value: value.clone() };
            let name = HeaderName::try_from(name).map_err(|_| refused())?;
            Ok((name, HeaderValue::try_from(value).map_err(|_| refused())?))
        };
        Ok(Call {
            target: self.url.parse()?,
            headers: self.headers.iter().map(header).collect::<Result<_, PlanError>>()?,
            bodies,
            scores: Scores { expected, tolerance, place: self.reply.clone(), every: 1 },
        })
    }
}

fn check_names<'p>(asked: &[String], known: impl Iterator<Item = &'p str> + Clone) -> Result<(), PlanError> {
    match asked.iter().find(|name| !known.clone().any(|known| known == name.as_str())) {
        Some(name) => Err(PlanError::Name { name: name.clone(), known: known.collect::<Vec<_>>().join(", ") }),
        None => Ok(()),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, PlanError> {
    let bytes = std::fs::read(path).map_err(|error| PlanError::Read { path: path.to_owned(), error })?;
    serde_json::from_slice(&bytes).map_err(|error| PlanError::Form { path: path.to_owned(), error })
}

fn bodies(folder: &Path) -> std::io::Result<Vec<Bytes>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).map(Bytes::from)).collect()
}
