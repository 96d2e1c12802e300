//! `many-models`: a model for each value of a column, trained and published by one command, promoted in one swap: how
//! long that takes, how long until all are ready on every backend, and how much memory a resident model takes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headgate_contract::fleet::{STATE_PATH, StateReport, VersionState};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::{ScenarioError, progress};
use crate::report::Report;
use crate::system::{Backend, System, SystemOptions, http};

const MODEL: &str = "many";
const BACKENDS: usize = 2;
/// From the start of the training to the last model ready: "minutes".
const SERVING_MAX: Duration = Duration::from_secs(600);
const READY_WITHIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many models
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub models: u32,
    /// Rows of data for each
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub rows: u32,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut report = Report::new("many-models");
    report.set("models", options.models);
    report.set("rows a model", options.rows);
    let mut system = System::start(&options.system, BACKENDS, BACKENDS).await?;
    for (_, address) in system.running() {
        system.wait_for(&format!("http://{address}/v2/health/live"), None).await?;
    }
    let empty = resident_bytes(&system);
    let data = system.dir().join("many.csv");
    tokio::fs::write(&data, csv(options.models, options.rows)).await?;

    progress(&format!("training and publishing {} models", options.models));
    let started = Instant::now();
    system.headgate.train_scopes(&data, "y", MODEL, "scope", &[]).await?;
    let published = started.elapsed();
    progress(&format!("published after {:.1} s", published.as_secs_f64()));
    all_ready(&mut system, options.models as usize).await?;
    let serving = started.elapsed();
    answer(&mut system, options.models).await?;

    let models = f64::from(options.models);
    report.figure("train, publish and promote", published.as_secs_f64(), "s");
    report.figure("from then to all ready on every backend", (serving - published).as_secs_f64(), "s");
    for (at, (before, after)) in empty.into_iter().zip(resident_bytes(&system)).enumerate() {
        let grown = after.saturating_sub(before) as f64;
        report.figure(format!("memory a resident model, backend {}", at + 1), grown / models / 1024.0, "KiB");
        report.figure(format!("memory of all, backend {}", at + 1), after as f64 / f64::from(1 << 20), "MiB");
    }
    report.must("publish to serving of all models", serving.as_secs_f64(), SERVING_MAX.as_secs_f64(), "s");
    system.stop().await?;
    Ok(report)
}

/// Waits until `models` models are ready on every backend.
async fn all_ready(system: &mut System, models: usize) -> Result<(), ScenarioError> {
    let started = Instant::now();
    let mut said = 0;
    loop {
        system.check()?;
        let mut ready = Vec::new();
        for (_, address) in system.running() {
            let state: StateReport = http::get_json(&format!("http://{address}{STATE_PATH}")).await?;
            ready.push(ready_models(&state));
        }
        let least = ready.iter().min().copied().unwrap_or(0);
        if least >= models {
            return Ok(());
        }
        if started.elapsed() > READY_WITHIN {
            let what = format!("{models} models ready on every backend ({ready:?} are)");
            return Err(ScenarioError::Late { what, patience: READY_WITHIN });
        }
        if least >= said + models.div_ceil(10) {
            said = least;
            progress(&format!("ready on the backends: {ready:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn ready_models(state: &StateReport) -> usize {
    let ready = |model: &&headgate_contract::fleet::ModelReport| {
        model.model.base() == MODEL && model.versions.iter().any(|version| version.state == VersionState::Ready)
    };
    state.models.iter().filter(ready).count()
}

/// The first and the last model answer through the gateway.
async fn answer(system: &mut System, models: u32) -> Result<(), ScenarioError> {
    let body = Bytes::from_static(b"{\"instances\":[{\"x1\":0.5,\"x2\":-1.0,\"x3\":0.1,\"x4\":0.0}]}");
    for scope in [0, models - 1] {
        let url = format!("http://{}/v1/models/{MODEL}/{}:predict", system.gateway, name(scope));
        system.wait_for(&url, Some(body.clone())).await?;
    }
    Ok(())
}

fn resident_bytes(system: &System) -> Vec<u64> {
    let usage = system.usage();
    let of = |backend: &Backend| usage.get(&backend.name).map_or(0, |usage| usage.resident_bytes);
    system.backends.iter().map(of).collect()
}

pub(super) fn name(scope: u32) -> String {
    format!("scope-{scope:05}")
}

/// Rows of four numbers and a label that follows two of them, differently in each scope.
pub(super) fn csv(models: u32, rows: u32) -> String {
    let mut random = StdRng::seed_from_u64(11);
    let mut text = "scope,x1,x2,x3,x4,y\n".to_owned();
    for scope in 0..models {
        let tilt = random.random_range(-1.0..1.0);
        for _ in 0..rows {
            let x: [f64; 4] = std::array::from_fn(|_| random.random_range(-2.0..2.0));
            let noise: f64 = random.random_range(-0.5..0.5);
            let label = if x[0] + tilt * x[1] * x[2] + noise > 0.0 { "yes" } else { "no" };
            // Writing to a string can't fail.
            let _ = writeln!(text, "{},{:.3},{:.3},{:.3},{:.3},{label}", name(scope), x[0], x[1], x[2], x[3]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_scope_has_its_rows_and_both_labels() {
        let text = csv(3, 50);
        for scope in 0..3 {
            let of: Vec<&str> = text.lines().filter(|line| line.starts_with(&name(scope))).collect();
            assert_eq!(of.len(), 50);
            assert!(of.iter().any(|line| line.ends_with("yes")) && of.iter().any(|line| line.ends_with("no")));
        }
    }

    #[test]
    fn only_ready_versions_of_the_scopes_count() {
        let model = |name: &str, state: &str| {
            let digest = "0".repeat(64);
            let version = serde_json::json!({"version": 1, "digest": digest, "state": state});
            serde_json::json!({"model": name, "release": headgate_contract::Release::new(), "versions": [version]})
        };
        let state: StateReport = serde_json::from_value(serde_json::json!({
            "format": 1, "instance": "b", "build": "0", "cursor": "a.1", "full": true, "ready": true,
            "draining": false, "in_flight": 0,
            "models": [model("many/a", "ready"), model("many/b", "loading"), model("other", "ready")],
        }))
        .unwrap();
        assert_eq!(ready_models(&state), 1);
    }
}
