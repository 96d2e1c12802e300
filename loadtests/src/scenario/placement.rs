//! `placement`: more models than a backend holds, over backends that load them on demand. One is killed under load and
//! started again: how many models that moves, how long calls wait for models that have to be loaded, and how many need not
//! wait. No call may fail.

mod callers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headgate_contract::fleet::{STATE_PATH, StateReport, VersionState};
use serde::Deserialize;
use tokio::time::sleep;

use super::{ScenarioError, many_models, progress};
use crate::report::Report;
use crate::system::{System, SystemOptions, http};
use callers::{Callers, Heard};

const MODEL: &str = "many";
/// How long backends and gateway may take to learn of all models.
const KNOWN_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Beyond its own share of the models, a backend that is lost may move this part of all.
const MOVED_BEYOND: f64 = 0.02;

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many models
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub models: u32,
    /// Rows of data for each
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub rows: u32,
    /// How many backends
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub backends: u32,
    /// Models that each holds at most
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub models_max: u32,
    /// Calls a second
    #[arg(long, default_value_t = 400.0, value_name = "N", value_parser = super::positive)]
    pub rate: f64,
    /// Callers, each with a connection
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub callers: u32,
    /// How long calls of models drawn by chance go on before the kill, after it, and after the restart, in seconds
    #[arg(long, default_value_t = 10.0, value_name = "S", value_parser = super::positive)]
    pub dwell: f64,
    /// The callers' deadline, in milliseconds
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub timeout_ms: u64,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
}

/// What is read of the gateway's state.
#[derive(Debug, Deserialize)]
struct Known {
    models_total: usize,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut report = Report::new("placement");
    for (name, value) in
        [("models", options.models), ("backends", options.backends), ("models_max", options.models_max)]
    {
        report.set(name, value);
    }
    report.set("rate", format!("{}/s of {} callers", options.rate, options.callers));
    let backends = options.backends as usize;
    let settings = ["load.mode=on_demand".to_owned(), format!("load.models_max={}", options.models_max)];
    let mut system = System::start_with(&options.system, backends, backends, &settings).await?;
    publish(&system, options).await?;
    known(&mut system, options.models as usize).await?;
    let all: Vec<usize> = (0..backends).collect();
    system.active(&all).await?;
    let ran = play(&mut system, options, &mut report).await;
    report.error = ran.err().map(|error| error.to_string());
    if !report.holds() {
        progress(&format!("store, caches and logs are kept in {}", system.keep().display()));
    }
    let stopped = system.stop().await;
    report.error = report.error.take().or(stopped.err().map(|error| error.to_string()));
    Ok(report)
}

async fn publish(system: &System, options: &Options) -> Result<(), ScenarioError> {
    let data = system.dir().join("many.csv");
    tokio::fs::write(&data, many_models::csv(options.models, options.rows)).await?;
    progress(&format!("training and publishing {} models", options.models));
    let started = Instant::now();
    system.headgate.train_scopes(&data, "y", MODEL, "scope", &["num_iterations=5"]).await?;
    progress(&format!("published after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Waits until every backend and the gateway know of so many models.
async fn known(system: &mut System, models: usize) -> Result<(), ScenarioError> {
    let started = Instant::now();
    loop {
        system.check()?;
        let gateway: Known = http::get_json(&format!("http://{}/state?limit=0", system.admin)).await?;
        let mut least = gateway.models_total;
        for (_, address) in system.running() {
            let state: StateReport = http::get_json(&format!("http://{address}{STATE_PATH}")).await?;
            least = least.min(state.models.len());
        }
        if least >= models {
            return Ok(());
        }
        if started.elapsed() > KNOWN_WITHIN {
            let what = format!("that all know of {models} models ({least} do)");
            return Err(ScenarioError::Late { what, patience: KNOWN_WITHIN });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Calls, the kill, and the restart.
async fn play(system: &mut System, options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let body = Bytes::from_static(b"{\"instances\":[{\"x1\":0.5,\"x2\":-1.0,\"x3\":0.1,\"x4\":0.0}]}");
    let callers = Callers {
        target: format!("http://{}/", system.gateway).parse().map_err(crate::driver::DriverError::from)?,
        paths: (0..options.models).map(|n| format!("/v1/models/{MODEL}/{}:predict", many_models::name(n))).collect(),
        body,
        callers: options.callers as usize,
        rate_per_s: options.rate,
        timeout_ms: options.timeout_ms,
    };
    let dwell = Duration::from_secs_f64(options.dwell);
    let first = callers.each_once().await;
    tell("every model's first call", &first, report);
    let steady = callers.by_chance(dwell, 1).await;
    tell("models drawn by chance", &steady, report);
    resident(system, options, "before the kill", report).await?;

    let victim = system.backends.len() / 2;
    let name = system.backends[victim].name.clone();
    progress(&format!("kill -9 of {name}"));
    let (killed, after) = tokio::join!(system.kill_backend(victim), callers.by_chance(dwell, 2));
    killed?;
    tell("from the kill on", &after, report);
    let second = callers.each_once().await;
    tell("every model once more", &second, report);
    resident(system, options, "after the kill", report).await?;
    moves(&first, &second, &name, options, report);

    progress(&format!("start of {name}"));
    system.start_backend(victim)?;
    let started = [victim];
    let (active, back) = tokio::join!(system.active(&started), callers.by_chance(dwell, 3));
    active?;
    tell("from the restart on", &back, report);
    let third = callers.each_once().await;
    tell("every model at last", &third, report);
    let home = first.places.iter().filter(|(model, place)| third.places.get(*model) == Some(place)).count();
    report.figure("models where they were before the kill, after the restart", home as f64, "");
    let failed: u64 = [&first, &steady, &after, &second, &back, &third].iter().map(|heard| heard.failed).sum();
    report.must("failed calls", failed as f64, 0.0, "");
    Ok(())
}

/// How many models are resident on each backend: never more than there may be.
async fn resident(system: &System, options: &Options, when: &str, report: &mut Report) -> Result<(), ScenarioError> {
    let mut most = 0;
    for (_, address) in system.running() {
        let state: StateReport = http::get_json(&format!("http://{address}{STATE_PATH}")).await?;
        let ready = |model: &&headgate_contract::fleet::ModelReport| {
            model.versions.iter().any(|version| version.state == VersionState::Ready)
        };
        most = most.max(state.models.iter().filter(ready).count());
    }
    report.must(format!("most models on a backend, {when}"), most as f64, f64::from(options.models_max), "");
    let usage = system.usage();
    let bytes = system.backends.iter().filter_map(|backend| usage.get(&backend.name)).map(|usage| usage.resident_bytes);
    report.figure(
        format!("memory of a backend at most, {when}"),
        bytes.max().unwrap_or(0) as f64 / f64::from(1 << 20),
        "MiB",
    );
    Ok(())
}

/// How many models answer from another backend than before.
fn moves(before: &Heard, after: &Heard, killed: &str, options: &Options, report: &mut Report) {
    let moved: Vec<(&usize, &String)> =
        before.places.iter().filter(|(model, place)| after.places.get(*model) != Some(place)).collect();
    let others = moved.iter().filter(|(_, place)| *place != killed).count();
    let share = 1.0 / f64::from(options.backends) + MOVED_BEYOND;
    report.must("models moved by the kill", moved.len() as f64, f64::from(options.models) * share, "");
    report.must("of these, from a backend that was not killed", others as f64, 0.0, "");
    let mut homes: BTreeMap<&String, usize> = BTreeMap::new();
    before.places.values().for_each(|place| *homes.entry(place).or_default() += 1);
    report.figure("models on the fullest backend", homes.values().max().copied().unwrap_or(0) as f64, "");
    report.figure("models on the emptiest backend", homes.values().min().copied().unwrap_or(0) as f64, "");
}

/// What calls met.
fn tell(what: &str, heard: &Heard, report: &mut Report) {
    let calls = heard.calls.max(1) as f64;
    let hits = 1.0 - heard.waited.len() as f64 / calls;
    progress(&format!("{what}: {} calls, {} failed, {:.2} % need not wait", heard.calls, heard.failed, hits * 100.0));
    for error in &heard.errors {
        progress(&format!("  {error}"));
    }
    report.figure(format!("{what}: calls"), heard.calls as f64, "");
    report.figure(format!("{what}: calls whose model was there"), hits * 100.0, "%");
    for (which, latencies) in [("calls that waited", &heard.waited), ("the others", &heard.there)] {
        if latencies.is_empty() {
            continue;
        }
        for (name, at) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
            let ms = latencies.value_at_quantile(at) as f64 / 1_000.0;
            report.figure(format!("{what}: {name} of {which}"), ms, "ms");
        }
    }
}
