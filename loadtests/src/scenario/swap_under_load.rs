//! `swap-under-load`: a model's version is swapped again and again by promotions and rollbacks, under a steady load. No
//! request may fail, each reply must be of exactly one of the two versions, and the tail of the latencies while swapping
//! must be close to that of the steady windows between.
//!
//! Steady and swapping windows alternate within one run, so that the machine's other work hits both alike. In each
//! steady window a command that only reads is run in the place of the promotion: the machine is shared, and what starts
//! a process of the command line costs must not be taken for the cost of the swap.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout_at};

use super::stage::Stage;
use super::{LoadOptions, ScenarioError, progress};
use crate::driver::Running;
use crate::driver::control::Change;
use crate::report::{Quantiles, Report};
use crate::system::SystemOptions;

const STEADY: usize = 1;
const SWAPPING: usize = 2;
const PHASES: [&str; 3] = ["warm-up", "steady", "swapping"];
/// How long a swap may take until every backend answers as the new version.
const SWAPS_WITHIN: Duration = Duration::from_secs(30);
const P99_RATIO_MAX: f64 = 1.25;

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many swaps
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub swaps: u32,
    /// The length of a window, steady or swapping, in milliseconds; a swap that takes longer makes both longer
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub window_ms: u64,
    /// Don't tell the gateway of a swap (`--admin`): backends find it at their next poll
    #[arg(long)]
    pub no_nudge: bool,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
    /// Its load
    #[command(flatten)]
    pub load: LoadOptions,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut report = Report::new("swap-under-load");
    let mut stage = Stage::start(&options.system, 2).await?;
    let rate = stage.rate(&options.load, &mut report).await?;
    stage.complete().await?;
    stage.learn(1).await?;
    stage.promote(2, Some(stage.system.admin)).await?;
    stage.learn(2).await?;

    report.set("swaps", options.swaps);
    report.set("window", format!("{} ms", options.window_ms));
    report.set("nudge", !options.no_nudge);
    let mut driving = stage.drive(rate, &options.load, &PHASES, &mut report)?;
    let swapped = swap(&mut stage, &mut driving.running, options).await;
    let took = stage.end(driving, swapped, &mut report).await?;
    measure(&mut report, &took.unwrap_or_default());
    Ok(report)
}

/// The windows; gives how long each swap took, from its command's start to the new version's reply of every backend.
async fn swap(stage: &mut Stage, running: &mut Running, options: &Options) -> Result<Vec<Duration>, ScenarioError> {
    let window = Duration::from_millis(options.window_ms);
    let nudge = (!options.no_nudge).then_some(stage.system.admin);
    let control = running.control.clone();
    sleep_until((Instant::now() + window * 3).into()).await;
    let mut took = Vec::new();
    for number in 1..=options.swaps {
        let mut started = Instant::now();
        control.phase(STEADY);
        stage.system.headgate.versions(&stage.model).await?;
        sleep_until((started + window).into()).await;

        started = Instant::now();
        control.phase(SWAPPING);
        // Version 2 serves at first: odd swaps take it back, even ones promote it again.
        let version = if number % 2 == 1 { 1 } else { 2 };
        control.mark(format!("swap {number} to version {version}"));
        match version {
            1 => stage.rollback(nudge).await?,
            _ => stage.promote(version, nudge).await?,
        }
        let seen = everywhere(running, version, started, stage.system.backends.len()).await?;
        took.push(seen);
        sleep_until((started + window).into()).await;
        stage.system.check()?;
        if number % 10 == 0 || number == options.swaps {
            let (ended, failed) = control.progress();
            progress(&format!("{number} of {} swaps, {ended} requests, {failed} failed", options.swaps));
        }
    }
    Ok(took)
}

/// Waits until every backend has answered as `version` since `started`; gives how long after `started` the last did.
pub(super) async fn everywhere(
    running: &mut Running,
    version: u64,
    started: Instant,
    backends: usize,
) -> Result<Duration, ScenarioError> {
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < backends {
        match timeout_at((started + SWAPS_WITHIN).into(), running.changes.recv()).await {
            Ok(Some(Change { at, backend, version: now })) if now == version && at > started => {
                seen.entry(backend).or_insert(at);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let what = format!("a reply of version {version} from {backends} backends ({} gave one)", seen.len());
                return Err(ScenarioError::Late { what, patience: SWAPS_WITHIN });
            }
        }
    }
    Ok(seen.into_values().max().unwrap_or(started).saturating_duration_since(started))
}

fn measure(report: &mut Report, took: &[Duration]) {
    let phases: Vec<Quantiles> = report.load.iter().flat_map(|load| &load.phases).map(|phase| phase.latency).collect();
    let phase = |at: usize| phases.get(at).copied().unwrap_or_default();
    let (steady, swapping) = (phase(STEADY), phase(SWAPPING));
    let ratio = |of: fn(&Quantiles) -> u64| of(&swapping) as f64 / of(&steady) as f64;
    let longest = took.iter().max().copied().unwrap_or_default();
    report.figure("swaps seen from every backend", took.len() as f64, "");
    report.figure("longest swap, command to every backend", longest.as_secs_f64(), "s");
    report.figure("p50 swapping / p50 steady", ratio(|q| q.p50_us), "");
    report.figure("p99.9 swapping / p99.9 steady", ratio(|q| q.p999_us), "");
    report.must("p99 swapping / p99 steady", ratio(|q| q.p99_us), P99_RATIO_MAX, "");
}
