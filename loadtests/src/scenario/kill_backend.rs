//! `kill-backend`: `kill -9` of one backend of two under load, again and again. No request may fail: those that it was
//! answering are tried again on the other.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::Stage;
use super::{LoadOptions, ScenarioError, progress};
use crate::driver::control::Control;
use crate::report::Report;
use crate::system::SystemOptions;

const PHASES: [&str; 2] = ["both backends", "one backend"];

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many kills
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: u32,
    /// How long both backends serve before a kill, and the other one alone after it, in milliseconds
    #[arg(long, default_value_t = 4_000, value_name = "MS")]
    pub dwell_ms: u64,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
    /// Its load
    #[command(flatten)]
    pub load: LoadOptions,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut report = Report::new("kill-backend");
    let mut stage = Stage::start(&options.system, 1).await?;
    let rate = stage.rate(&options.load, &mut report).await?;
    stage.complete().await?;
    stage.learn(1).await?;

    report.set("kills", options.kills);
    report.set("dwell", format!("{} ms", options.dwell_ms));
    let driving = stage.drive(rate, &options.load, &PHASES, &mut report)?;
    let killed = kills(&mut stage, &driving.running.control, options).await;
    stage.end(driving, killed, &mut report).await?;
    Ok(report)
}

async fn kills(stage: &mut Stage, control: &Control, options: &Options) -> Result<(), ScenarioError> {
    for number in 1..=options.kills {
        kill(stage, control, number, Duration::from_millis(options.dwell_ms)).await?;
        let (ended, failed) = control.progress();
        progress(&format!("{number} of {} kills, {ended} requests, {failed} failed", options.kills));
    }
    Ok(())
}

/// One kill, of the backends in turn, and the restart.
async fn kill(stage: &mut Stage, control: &Control, number: u32, dwell: Duration) -> Result<(), ScenarioError> {
    let victim = number as usize % stage.system.backends.len();
    let name = stage.system.backends[victim].name.clone();
    sleep(dwell).await;
    control.phase(1);
    control.mark(format!("kill {number}: {name}"));
    stage.system.kill_backend(victim).await?;
    sleep(dwell).await;
    control.mark(format!("restart of {name}"));
    stage.system.start_backend(victim)?;
    stage.system.active(&[victim]).await?;
    control.phase(0);
    Ok(())
}
