//! When a server is asked what: its health at each probe, its models once a second, beside it.
//!
//! A server that is up and says that it is not ready (as Triton does where one of many models failed) is ready where it
//! lists a model that is. A list that can't be had changes nothing: the last one stands.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_balance::life::Missed;
use headgate_contract::fleet::{ModelReport, StateReport, VersionState};
use headgate_contract::{ModelName, Version};
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::call::ask;
use super::listing::{self, Entry};
use super::report::{self, Models};
use super::{Foreign, GRPC_MISSES_MAX, call};
use crate::config;
use crate::fleet::Backend;
use crate::upstream::{BoxError, Options};

/// How often it is asked for its models: where they lie in a bucket, Triton looks there each time.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How long that may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest list, in bytes.
const LIST_BYTES_MAX: u64 = 32 << 20;

/// What the poller knows.
#[derive(Debug, Default)]
pub(super) struct Polled {
    /// A number for each process that answered: its cursors begin with it.
    boot: u64,
    seq: u64,
    /// What it calls itself.
    build: String,
    listing: Option<AbortOnDropHandle<Result<Vec<Entry>, BoxError>>>,
    listed_at: Option<Instant>,
    listed: Option<Arc<Vec<Entry>>>,
    /// Whether that is not reported yet.
    stale: bool,
    /// What was not believed when it was reported last.
    astray: HashSet<(ModelName, Version)>,
    /// What was reported last.
    told: Option<BTreeMap<ModelName, ModelReport>>,
    /// What was left out then.
    left_out: Vec<String>,
    /// Why the models are not known, or not as they are now.
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ready,
    /// It is up, and says that it is not ready.
    Unready,
    /// It is not up yet, or about to stop.
    Down,
}

/// The body of `GET /v2`.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

/// What one probe found out.
pub(crate) struct Probed {
    /// As a backend of ours would report it.
    pub(crate) report: StateReport,
    /// What is wrong all the same.
    pub(crate) error: Option<String>,
}

impl Foreign {
    /// Probes it once, within `limit`.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        backend: &Arc<Backend>,
        config: &config::Fleet,
        limit: Duration,
    ) -> Result<Probed, (Missed, BoxError)> {
        let mut polled = self.polled.lock().await;
        let options = Options {
            connect_timeout: config.connect_timeout,
            whole_bytes_max: LIST_BYTES_MAX,
            pool_max: config.pool_max,
        };
        let health = match timeout(limit, health(backend, &options)).await {
            Ok(Ok(health)) => health,
            Ok(Err(error)) => {
                // Who answers next is another process.
                *polled = Polled::default();
                self.astray.forget();
                self.purge();
                return Err((Missed::Unreached, error));
            }
            Err(_) => {
                let error = format!("its health check did not answer within {} ms", limit.as_millis());
                return Err((Missed::Unanswered, error.into()));
            }
        };
        if health != Health::Down {
            self.list(&mut polled, backend, &options, config.probe).await;
        }
        Ok(self.report(&mut polled, backend, health).await)
    }

    /// Asks for its models where it is time, and waits a little for the answer.
    async fn list(self: &Arc<Self>, polled: &mut Polled, backend: &Arc<Backend>, options: &Options, wait: Duration) {
        let due = polled.listed_at.is_none_or(|at| at.elapsed() >= LIST_EVERY);
        if polled.listing.is_none() && due {
            let (foreign, backend, options) = (Arc::clone(self), Arc::clone(backend), *options);
            let listing = tokio::spawn(async move { foreign.ask_all(&backend, &options).await });
            polled.listing = Some(AbortOnDropHandle::new(listing));
        }
        let Some(mut listing) = polled.listing.take() else { return };
        let Ok(ended) = timeout(wait, &mut listing).await else {
            polled.listing = Some(listing);
            return;
        };
        polled.listed_at = Some(Instant::now());
        match ended.unwrap_or_else(|error| Err(error.into())) {
            Ok(entries) => {
                polled.error = None;
                if polled.listed.as_ref().is_none_or(|before| **before != entries) {
                    polled.listed = Some(Arc::new(entries));
                    polled.stale = true;
                }
            }
            Err(error) => {
                let error = error.to_string();
                if polled.error.as_ref() != Some(&error) {
                    let stands = polled.listed.is_some();
                    tracing::warn!(backend = backend.name(), error, stands, "its models can't be listed");
                }
                polled.error = Some(error);
            }
        }
    }

    async fn ask_all(&self, backend: &Backend, options: &Options) -> Result<Vec<Entry>, BoxError> {
        self.try_grpc(backend, options).await;
        let listed = timeout(LIST_TIMEOUT, listing::ask(&self.spec, &backend.upstream, options)).await;
        listed.unwrap_or_else(|_| Err(format!("no list within {} ms", LIST_TIMEOUT.as_millis()).into()))
    }

    /// Whether its gRPC port answers: one that does not must not count against what its HTTP port does.
    async fn try_grpc(&self, backend: &Backend, options: &Options) {
        let Some(grpc) = &self.grpc else { return };
        let live = timeout(LIST_EVERY, grpc.is_live(options)).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let Err(error) = live else {
            self.grpc_failed.store(0, Relaxed);
            return;
        };
        let misses = self.grpc_failed.load(Relaxed).saturating_add(1);
        self.grpc_failed.store(misses, Relaxed);
        if misses == GRPC_MISSES_MAX {
            tracing::warn!(backend = backend.name(), %error, "its gRPC port does not answer");
        }
    }

    /// What is known now, as a report: of models only what changed.
    async fn report(&self, polled: &mut Polled, backend: &Arc<Backend>, health: Health) -> Probed {
        let fresh = polled.boot == 0;
        if fresh {
            polled.boot = rand::random::<u64>() | 1;
            polled.build = build(backend).await;
        }
        let astray = self.astray.all();
        let mut report = StateReport {
            format: 1,
            instance: backend.name(),
            build: polled.build.clone(),
            cursor: String::new(),
            full: false,
            ready: false,
            draining: false,
            on_demand: None,
            zone: self.spec.zone.clone(),
            cores: 0,
            in_flight: backend.in_flight(),
            catalog: None,
            models: Vec::new(),
            gone: Vec::new(),
        };
        // Time alone makes it believed again.
        if (polled.stale || polled.astray != astray)
            && let Some(listed) = polled.listed.clone()
        {
            let models = self.models(listed, astray.clone()).await;
            (polled.stale, polled.astray) = (false, astray);
            polled.tell(models, &mut report, backend);
        }
        let ready_models = || polled.told.iter().flat_map(BTreeMap::values).any(has_ready);
        report.ready =
            polled.told.is_some() && (health == Health::Ready || (health == Health::Unready && ready_models()));
        report.draining = health == Health::Down && polled.told.is_some();
        report.cursor = format!("{:x}.{}", polled.boot, polled.seq);
        let left_out = (!polled.left_out.is_empty()).then(|| format!("left out: {}", polled.left_out.join("; ")));
        let error = polled.error.clone().or(left_out);
        Probed { report, error }
    }

    async fn models(&self, listed: Arc<Vec<Entry>>, astray: HashSet<(ModelName, Version)>) -> Models {
        // Lists may be long.
        let made = tokio::task::spawn_blocking(move || {
            report::make(&listed, |model, version| astray.contains(&(model.clone(), version)))
        });
        let mut models = made.await.unwrap_or_default();
        // Before anybody is sent there by what is reported.
        self.names.store(Arc::new(mem::take(&mut models.names)));
        models
    }
}

impl Polled {
    /// Puts what changed into a report.
    fn tell(&mut self, models: Models, report: &mut StateReport, backend: &Backend) {
        if self.left_out != models.left_out && !models.left_out.is_empty() {
            tracing::warn!(backend = backend.name(), what = models.left_out.join("; "), "models are left out");
        }
        self.left_out = models.left_out;
        let before = self.told.take();
        report.full = before.is_none();
        let before = before.unwrap_or_default();
        report.gone = before.keys().filter(|name| !models.reports.contains_key(name)).cloned().collect();
        let changed = models.reports.iter().filter(|(name, report)| before.get(name) != Some(report));
        report.models = changed.map(|(_, report)| report.clone()).collect();
        if report.full || !report.models.is_empty() || !report.gone.is_empty() {
            self.seq += 1;
        }
        self.told = Some(models.reports);
    }
}

fn has_ready(report: &ModelReport) -> bool {
    report.versions.iter().any(|version| version.state == VersionState::Ready)
}

async fn health(backend: &Backend, options: &Options) -> Result<Health, BoxError> {
    let get = async |path| ask(&backend.upstream, Method::GET, path, options).await;
    let (status, _) = get("/v2/health/ready").await?;
    if status == StatusCode::OK {
        return Ok(Health::Ready);
    }
    let (status, _) = get("/v2/health/live").await?;
    Ok(if status == StatusCode::OK { Health::Unready } else { Health::Down })
}

/// What it calls itself; nothing where it does not say.
async fn build(backend: &Backend) -> String {
    let options = Options { connect_timeout: LIST_EVERY, whole_bytes_max: 1 << 16, pool_max: 1 };
    let asked = timeout(LIST_EVERY, call::ask(&backend.upstream, Method::GET, "/v2", &options)).await;
    let said = asked.ok().and_then(Result::ok).map(|(_, body)| serde_json::from_slice(&body).unwrap_or_default());
    let Metadata { name, version } = said.unwrap_or_default();
    format!("{name} {version}").trim().to_owned()
}
