//! One backend of four is four times slower: for long, and by turns.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::callers::{Caller, Callers};
use super::{Options, ScenarioError, median, progress};
use crate::driver::Driven;
use crate::origin::Work;
use crate::report::{LoadReport, Report};
use crate::system::fleet::Fleet;

const BACKENDS: usize = 4;
/// The one that is slow.
const SLOW: usize = 0;
const TIMES_SLOWER: f64 = 4.0;
/// The p99 with a slow backend over that without.
const RATIO_MAX: f64 = 1.5;
/// How long a turn of being slow, and of being well, takes.
const TURN: Duration = Duration::from_millis(1_500);
/// Between two phases, for what is in flight and what was learned of the one before.
const SETTLE: Duration = Duration::from_secs(2);
/// Phases of a round; 0 is what lies between.
const PHASES: [&str; 3] = ["all alike", "one slow", "slow by turns"];

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let fleet = options.fleet(BACKENDS, report).await?;
    let rate = options.load * options.capacity_of_one() * BACKENDS as f64;
    report.set("rate", format!("{rate:.0}/s, {} of what all carry", options.load));
    let rounds = options.rounds as usize;
    let names = (1..=rounds).flat_map(|round| PHASES.map(|name| format!("{name} {round}")));
    let phases: Vec<String> = std::iter::once("between".to_owned()).chain(names).collect();
    let callers = Callers::start(&fleet, &[Caller::new(1, rate)], &phases)?;
    let mut shares = Vec::new();
    for round in 0..rounds {
        shares.push(rounds_of(&fleet, &callers, options, round).await?);
        progress(&format!("round {} of {rounds}, {:?} calls ended and failed", round + 1, callers.progress()));
    }
    let driven = callers.finish().await?;
    judge(&driven, rounds, report);
    report.figure("part of calls that the slow backend got", median(shares), "");
    report.load = Some(LoadReport::from(&driven));
    Ok(())
}

/// One round; the part of calls that the slow backend got while it was slow for long.
async fn rounds_of(fleet: &Fleet, callers: &Callers, options: &Options, round: usize) -> Result<f64, ScenarioError> {
    let well = options.work();
    let slow = Work { service_ms: well.service_ms * TIMES_SLOWER, ..well };
    let phase = |at: usize| callers.phase(1 + round * PHASES.len() + at);
    sleep(SETTLE).await;
    phase(0);
    sleep(options.measured()).await;
    callers.phase(0);
    callers.mark("one is slow");
    fleet.tell(SLOW, &slow).await?;
    sleep(SETTLE).await;
    let before = fleet.all_counts().await?;
    phase(1);
    sleep(options.measured()).await;
    callers.phase(0);
    let after = fleet.all_counts().await?;
    callers.mark("slow by turns");
    phase(2);
    let began = Instant::now();
    while began.elapsed() < options.measured() {
        fleet.tell(SLOW, &well).await?;
        sleep(TURN).await;
        fleet.tell(SLOW, &slow).await?;
        sleep(TURN).await;
    }
    callers.phase(0);
    callers.mark("all well");
    fleet.tell(SLOW, &well).await?;
    let calls: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after.calls - before.calls).collect();
    Ok(calls[SLOW] as f64 / calls.iter().sum::<u64>().max(1) as f64)
}

fn judge(driven: &Driven, rounds: usize, report: &mut Report) {
    let p99 = |round: usize, at: usize| {
        let phase = driven.tally.phases.get(1 + round * PHASES.len() + at);
        phase.filter(|phase| phase.succeeded() > 0).map_or(f64::NAN, |phase| phase.quantile_us(0.99) as f64)
    };
    for (at, name) in PHASES.iter().enumerate() {
        let of_rounds = (0..rounds).map(|round| p99(round, at) / 1e3).collect();
        report.figure(format!("p99, {name}"), median(of_rounds), "ms");
    }
    for (at, name) in PHASES.iter().enumerate().skip(1) {
        let ratios = (0..rounds).map(|round| p99(round, at) / p99(round, 0)).collect();
        report.must(format!("p99, {name} / all alike"), median(ratios), RATIO_MAX, "");
    }
    report.must("failed calls", driven.tally.failed() as f64, 0.0, "");
}
