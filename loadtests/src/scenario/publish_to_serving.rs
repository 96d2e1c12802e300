//! `publish-to-serving`: how long it takes from the promotion of a version that no backend has seen until every backend
//! has answered as it through the gateway: fetched, verified, loaded, proven, admitted and swapped in. At the default poll
//! of the bucket, and with the nudge (`promote --admin`).

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::stage::Stage;
use super::swap_under_load::everywhere;
use super::{LoadOptions, ScenarioError, progress};
use crate::driver::Running;
use crate::report::Report;
use crate::system::SystemOptions;

const POLL_MAX: Duration = Duration::from_millis(2_500);
const NUDGE_MAX: Duration = Duration::from_millis(500);
/// Enough to see a change within a few milliseconds, too few to disturb it.
const RATE_PER_S: f64 = 500.0;

/// Backends follow nudges at most once a second: promotions that come faster wait for the next one.
const PAUSE_MIN: Duration = Duration::from_millis(1_200);

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many versions are published each way
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
    /// Its load; the rate is 500 requests a second where none is named
    #[command(flatten)]
    pub load: LoadOptions,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut report = Report::new("publish-to-serving");
    let mut stage = Stage::start(&options.system, 1).await?;
    stage.complete().await?;
    report.set("rounds", options.rounds);
    let rate = options.load.rate.unwrap_or(RATE_PER_S);
    let mut driving = stage.drive(rate, &options.load, &["publishing"], &mut report)?;
    let measured = rounds(&mut stage, &mut driving.running, options, &mut report).await;
    stage.end(driving, measured, &mut report).await?;
    Ok(report)
}

async fn rounds(
    stage: &mut Stage,
    running: &mut Running,
    options: &Options,
    report: &mut Report,
) -> Result<(), ScenarioError> {
    // Not always at the same moment between two polls.
    let mut random = StdRng::seed_from_u64(options.load.seed);
    for (name, nudged, bound) in [("default poll", false, POLL_MAX), ("nudge", true, NUDGE_MAX)] {
        let first = if nudged { u64::from(options.rounds) + 2 } else { 2 };
        let mut took = Vec::new();
        for version in first..first + u64::from(options.rounds) {
            let pause = PAUSE_MIN + Duration::from_secs_f64(random.random::<f64>());
            let after = round(stage, running, version, nudged, pause).await?;
            took.push(after);
            progress(&format!("{name}: version {version} after {after:.3?}"));
        }
        took.sort_unstable();
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        let longest = took.last().copied().unwrap_or_default();
        report.figure(format!("promote to every backend, {name}, median"), median.as_secs_f64(), "s");
        report.must(
            format!("promote to every backend, {name}, longest"),
            longest.as_secs_f64(),
            bound.as_secs_f64(),
            "s",
        );
    }
    Ok(())
}

/// Publishes a version, promotes it, and gives how long that took, from the start of the promotion's command.
async fn round(
    stage: &mut Stage,
    running: &mut Running,
    version: u64,
    nudged: bool,
    pause: Duration,
) -> Result<Duration, ScenarioError> {
    stage.publish(version).await?;
    sleep(pause).await;
    let started = Instant::now();
    running.control.mark(format!("promote {version}"));
    stage.promote(version, nudged.then_some(stage.system.admin)).await?;
    everywhere(running, version, started, stage.system.backends.len()).await
}
