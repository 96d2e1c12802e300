//! What most scenarios begin with: two backends and a gateway that serve one model, what its versions answer, and a load
//! at half of capacity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::header;

use super::{LoadOptions, ScenarioError, capacity, progress};
use crate::driver::expect::{Expect, Expected, version_of};
use crate::driver::target::Target;
use crate::driver::{self, DriverError, Load, Plan, Running};
use crate::report::{LoadReport, Report};
use crate::system::model::{self, Forest};
use crate::system::usage::Usage;
use crate::system::{System, SystemOptions, http};

/// How many different requests the load sends: a reply to another one is noticed.
const BODIES: usize = 32;
const GOLDEN_ROWS: usize = 16;
const BACKENDS: usize = 2;
/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A system that serves, and its load.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) system: System,
    /// The model's name; its versions count from 1.
    pub(super) model: String,
    /// What its versions answer.
    pub(super) expect: Expect,
    bodies: Vec<Bytes>,
    target: Target,
}

/// A load that runs on a stage.
#[derive(Debug)]
pub(super) struct Driving {
    /// It.
    pub(super) running: Running,
    /// What the parts took before it.
    usage: BTreeMap<String, Usage>,
    attributed: bool,
}

impl Stage {
    /// Starts a system with one backend of two, and publishes `versions` versions of a model, of which the first serves.
    pub(super) async fn start(options: &SystemOptions, versions: u64) -> Result<Self, ScenarioError> {
        progress(&format!("starting a gateway and {BACKENDS} backends"));
        let system = System::start(options, BACKENDS, 1).await?;
        // A store that is kept may hold the models of earlier runs.
        let model = format!("loadtest-{:x}", jiff::Timestamp::now().as_millisecond());
        let rows = model::rows(BODIES, 7);
        let bodies = rows.iter().map(|row| Bytes::from(model::body(row))).collect();
        let url = format!("http://{}/v1/models/{model}:predict", system.gateway);
        let target = url.parse().map_err(DriverError::from)?;
        let mut stage = Self { system, model, expect: Expect::default(), bodies, target };
        for version in 1..=versions {
            stage.publish(version).await?;
        }
        stage.promote(1, None).await?;
        stage.system.ready().await?;
        stage.system.active(&[0]).await?;
        Ok(stage)
    }

    /// Publishes the next version, number `version`; it does not serve yet.
    pub(super) async fn publish(&self, version: u64) -> Result<(), ScenarioError> {
        let forest = Forest::new(version);
        let file = self.system.dir().join(format!("forest-{version}.txt"));
        let golden = self.system.dir().join(format!("golden-{version}.jsonl"));
        tokio::fs::write(&file, forest.text()).await?;
        tokio::fs::write(&golden, forest.golden(&model::rows(GOLDEN_ROWS, version))).await?;
        Ok(self.system.headgate.publish(&file, &golden, &self.model).await?)
    }

    /// Lets a version serve.
    pub(super) async fn promote(&self, version: u64, nudge: Option<SocketAddr>) -> Result<(), ScenarioError> {
        Ok(self.system.headgate.promote(&self.model, version, nudge).await?)
    }

    /// Takes the last promotion back.
    pub(super) async fn rollback(&self, nudge: Option<SocketAddr>) -> Result<(), ScenarioError> {
        Ok(self.system.headgate.rollback(&self.model, nudge).await?)
    }

    /// The rate of the load: as told, else half of what the one backend that runs does through the gateway.
    pub(super) async fn rate(&self, options: &LoadOptions, report: &mut Report) -> Result<f64, ScenarioError> {
        if let Some(rate) = options.rate {
            return Ok(rate);
        }
        let capacity = capacity::measure(self.plan(Load::Closed, options, &["capacity"])).await?;
        progress(&format!("capacity of one backend: {capacity:.0} requests a second"));
        report.figure("capacity of one backend through the gateway", capacity.round(), "1/s");
        Ok((capacity / 2.0).round().max(1.0))
    }

    /// Starts the second backend and waits until it has its full share.
    pub(super) async fn complete(&mut self) -> Result<(), ScenarioError> {
        self.system.start_backend(1)?;
        self.system.ready().await?;
        Ok(self.system.active(&[0, 1]).await?)
    }

    /// Asks every running backend, by itself, what a version that is resident answers to each body: that is what the
    /// load's replies are compared with.
    pub(super) async fn learn(&mut self, version: u64) -> Result<(), ScenarioError> {
        let running = self.system.running();
        for (name, address) in running {
            let url = format!("http://{address}/v1/models/{}/versions/{version}:predict", self.model);
            self.system.wait_for(&url, self.bodies.first().cloned()).await?;
            let answered = answers_of(&url, version, &self.bodies).await?;
            let differs = self.expect.versions.get(&version).is_some_and(|known| Some(known) != answered.as_ref());
            let Some(answered) = answered.filter(|_| !differs) else {
                return Err(ScenarioError::Differ { model: self.model.clone(), version, backend: name });
            };
            self.expect.versions.insert(version, answered);
        }
        Ok(())
    }

    /// Starts a load by a schedule.
    pub(super) fn drive(
        &self,
        rate_per_s: f64,
        options: &LoadOptions,
        phases: &[&str],
        report: &mut Report,
    ) -> Result<Driving, ScenarioError> {
        let LoadOptions { arrivals: law, seed, .. } = *options;
        report.set("rate", format!("{rate_per_s}/s {law:?}"));
        let plan = self.plan(Load::Open { law, rate_per_s, seed }, options, phases);
        let attributed = plan.expect.is_some();
        Ok(Driving { usage: self.system.usage(), running: driver::start(plan)?, attributed })
    }

    /// Ends a load and the system, and judges: no request may have failed, and each reply must be of exactly one version,
    /// where that was compared. `result` is of what was done meanwhile.
    pub(super) async fn end<T>(
        mut self,
        driving: Driving,
        result: Result<T, ScenarioError>,
        report: &mut Report,
    ) -> Result<Option<T>, ScenarioError> {
        driving.running.control.stop();
        let load = LoadReport::from(&driving.running.finish().await?);
        for (name, now) in self.system.usage() {
            if let Some(cpu) = driving.usage.get(&name).and_then(|before| now.cpu_since(*before)) {
                let each = cpu.as_secs_f64() * 1e6 / load.requests.max(1) as f64;
                report.figure(format!("processor time a request, {name}"), each, "us");
            }
        }
        if driving.attributed {
            let faults: u64 = load.phases.iter().flat_map(|phase| phase.faults.values()).sum();
            report.must("replies not of exactly one version", faults as f64, 0.0, "");
        }
        report.must("failed requests", load.failed as f64, 0.0, "");
        report.load = Some(load);
        let done = result.map_err(|error| report.error = Some(error.to_string())).ok();
        if !report.holds() {
            progress(&format!("store, caches and logs are kept in {}", self.system.keep().display()));
        }
        let stopped = self.system.stop().await;
        report.error = report.error.take().or(stopped.err().map(|error| error.to_string()));
        Ok(done)
    }

    /// A load on the gateway, checked against what was learned.
    fn plan(&self, load: Load, options: &LoadOptions, phases: &[&str]) -> Plan {
        Plan {
            target: self.target.clone(),
            from: None,
            bodies: self.bodies.clone(),
            headers: Vec::new(),
            load,
            duration: Duration::from_secs(24 * 3600),
            connections: options.connections as usize,
            timeout: TIMEOUT,
            scores: None,
            expect: (!self.expect.versions.is_empty()).then(|| self.expect.clone()),
            phases: phases.iter().map(|phase| (*phase).to_owned()).collect(),
            bare: false,
            keep: false,
            spin: false,
        }
    }
}

/// What `url` answers to each body, where all of it is of `version`, under one digest.
async fn answers_of(url: &str, version: u64, bodies: &[Bytes]) -> Result<Option<Expected>, ScenarioError> {
    let mut answered: Option<Expected> = None;
    for body in bodies {
        let reply = http::call_ok(url, Some(body.clone())).await?;
        let Some(digest) = reply.headers.get(header::DIGEST).and_then(|digest| digest.to_str().ok()) else {
            return Ok(None);
        };
        let known = answered.get_or_insert_with(|| Expected { digest: digest.to_owned(), replies: Vec::new() });
        if known.digest != digest || version_of(&reply.headers) != Some(version) {
            return Ok(None);
        }
        known.replies.push(reply.body);
    }
    Ok(answered)
}
