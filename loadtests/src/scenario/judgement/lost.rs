//! One backend of eight is killed, or stands still (SIGSTOP): callers notice nothing but a longer tail.

use std::time::Duration;

use tokio::time::sleep;

use super::callers::{Caller, Callers};
use super::{Options, ScenarioError, progress};
use crate::driver::Driven;
use crate::report::{LoadReport, Report};

const BACKENDS: usize = 8;
/// How long one stands still.
const FROZEN: Duration = Duration::from_secs(4);
const PHASES: [&str; 3] = ["all there", "one killed", "one frozen"];
/// The p99 with a frozen backend over that without: some calls are there when it freezes, and are sent elsewhere late.
const RATIO_MAX: f64 = 1.5;
/// The default deadline, in milliseconds: half of it is how long a lost call is waited for at most.
const DEADLINE_MS: f64 = 1_000.0;

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let mut fleet = options.fleet(BACKENDS, report).await?;
    let rate = options.load * options.capacity_of_one() * BACKENDS as f64;
    report.set("rate", format!("{rate:.0}/s"));
    let callers = Callers::start(&fleet, &[Caller::new(1, rate)], &PHASES.map(str::to_owned))?;
    for round in 0..options.rounds as usize {
        let (killed, frozen) = (round % BACKENDS, (round + BACKENDS / 2) % BACKENDS);
        sleep(options.measured()).await;
        callers.phase(1);
        callers.mark("killed");
        fleet.kill(killed).await?;
        sleep(FROZEN).await;
        callers.phase(0);
        callers.mark("started again");
        fleet.start_origin(killed)?;
        fleet.active(&[killed]).await?;
        sleep(options.measured()).await;
        callers.phase(2);
        callers.mark("frozen");
        fleet.freeze(frozen, true)?;
        sleep(FROZEN).await;
        fleet.freeze(frozen, false)?;
        callers.phase(0);
        callers.mark("goes on");
        fleet.active(&[frozen]).await?;
        let (ended, failed) = callers.progress();
        progress(&format!("round {} of {}, {ended} calls, {failed} failed", round + 1, options.rounds));
    }
    let driven = callers.finish().await?;
    judge(&driven, report);
    report.load = Some(LoadReport::from(&driven));
    Ok(())
}

fn judge(driven: &Driven, report: &mut Report) {
    let [there, killed, frozen] = PHASES.map(|name| driven.tally.phase(name));
    let failed = |phase: Option<&crate::driver::phase::Phase>| phase.map_or(f64::NAN, |phase| phase.failed() as f64);
    let ms = |phase: Option<&crate::driver::phase::Phase>, quantile: f64| {
        phase.map_or(f64::NAN, |phase| phase.quantile_us(quantile) as f64 / 1e3)
    };
    for (name, phase) in PHASES.iter().zip([there, killed, frozen]) {
        report.figure(format!("p99, {name}"), ms(phase, 0.99), "ms");
        report.figure(format!("longest, {name}"), ms(phase, 1.0), "ms");
    }
    report.must("failed calls, one killed", failed(killed), 0.0, "");
    report.must("failed calls, one frozen", failed(frozen), 0.0, "");
    report.must("failed calls, all there", failed(there), 0.0, "");
    report.must("p99, one killed / all there", ms(killed, 0.99) / ms(there, 0.99), RATIO_MAX, "");
    report.must("p99, one frozen / all there", ms(frozen, 0.99) / ms(there, 0.99), RATIO_MAX, "");
    report.must("longest call, one frozen", ms(frozen, 1.0), DEADLINE_MS, "ms");
}
