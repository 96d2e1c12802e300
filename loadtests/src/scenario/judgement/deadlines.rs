//! Deadlines end to end: a call that has 50 ms gets its 504 then, and backends are told what is left.

use std::time::Duration;

use tokio::time::sleep;

use super::callers::{Caller, Callers};
use super::{Options, ScenarioError, largest, progress};
use crate::driver::Driven;
use crate::driver::phase::Phase;
use crate::origin::{Counts, Work};
use crate::report::{LoadReport, Report};

const BACKENDS: usize = 2;
/// What callers give, in milliseconds.
const TIMEOUT_MS: u64 = 50;
/// How long a backend takes to fail, of that.
const FAILS_AFTER_MS: f64 = 20.0;
const RATE_PER_S: f64 = 100.0;
/// How much later than it should a 504 may be there: timers are no finer than a millisecond, and the machine is shared.
const LATE_MS_MAX: f64 = 5.0;
const PHASES: [&str; 3] = ["between", "both hang", "one fails after 20 ms"];

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    // A hedge would be there before the retry, with other time left.
    let mut system = options.system.clone();
    system.set.push("retry.hedge_ratio=0".to_owned());
    let fleet = options.fleet_with(&system, BACKENDS, report).await?;
    report.set("rate", format!("{RATE_PER_S}/s, each with {TIMEOUT_MS} ms"));
    let caller = Caller { timeout_ms: Some(TIMEOUT_MS), ..Caller::new(1, RATE_PER_S) };
    let callers = Callers::start(&fleet, &[caller], &PHASES.map(str::to_owned))?;
    // Answers at once, so that what is left of 50 ms is enough.
    let quick = Work { service_ms: 1.0, ..Work::default() };
    let all = |work: Work| {
        let fleet = &fleet;
        async move {
            for at in 0..BACKENDS {
                fleet.tell(at, &work).await?;
            }
            Ok::<(), ScenarioError>(())
        }
    };
    all(quick).await?;
    sleep(Duration::from_secs(1)).await;
    progress("both backends hang");
    all(Work { hangs: true, ..quick }).await?;
    callers.phase(1);
    sleep(options.measured()).await;
    let hung = fleet.all_counts().await?;
    callers.phase(0);
    sleep(Duration::from_millis(2 * TIMEOUT_MS)).await;
    all(quick).await?;
    sleep(Duration::from_secs(2)).await;
    progress("one backend fails after a while");
    fleet.tell(0, &Work { fail: 1.0, fail_after_ms: FAILS_AFTER_MS, ..quick }).await?;
    fleet.tell(1, &quick).await?;
    callers.phase(2);
    sleep(options.measured()).await;
    let failed = fleet.counts(0).await?;
    // Until the last of them was tried elsewhere.
    sleep(Duration::from_millis(2 * TIMEOUT_MS)).await;
    let retried = fleet.counts(1).await?;
    let driven = callers.finish().await?;
    judge(&driven, &hung, [&failed, &retried], report);
    report.load = Some(LoadReport::from(&driven));
    Ok(())
}

fn judge(driven: &Driven, hung: &[Counts], [failed, retried]: [&Counts; 2], report: &mut Report) {
    let hanging = driven.tally.phase(PHASES[1]);
    let late = hanging.and_then(|phase| phase.refused.get(&504));
    let late_ms = |quantile: f64| late.map_or(f64::NAN, |late| late.value_at_quantile(quantile) as f64 / 1e3);
    let other = hanging.map_or(f64::NAN, |phase| (phase.succeeded() + phase.failed()) as f64)
        - late.map_or(0.0, |late| late.len() as f64);
    let timeout_ms = TIMEOUT_MS as f64;
    report.must("calls of hanging backends that end otherwise than by 504", other, 0.0, "");
    let early = timeout_ms - late.map_or(f64::NAN, |late| late.min() as f64 / 1e3);
    report.must("how much before its time a 504 comes", early.max(0.0), 1.0, "ms");
    report.figure("504 of a call with 50 ms, p50", late_ms(0.5), "ms");
    report.must("504 of a call with 50 ms, p99", late_ms(0.99), timeout_ms + LATE_MS_MAX, "ms");
    let told = |counts: &[Counts]| -> Vec<f64> {
        counts.iter().flat_map(|counts| &counts.seen).map(|seen| seen.told_ms as f64).collect()
    };
    report.must("the most time that a backend is told", largest(told(hung)), timeout_ms, "ms");
    // What the second backend was told under calls that the first had failed.
    let rest: Vec<f64> =
        told(std::slice::from_ref(retried)).into_iter().filter(|ms| *ms <= timeout_ms - FAILS_AFTER_MS).collect();
    report.figure("calls that failed after 20 ms and were sent elsewhere", rest.len() as f64, "");
    report.must("of those, not told what was left", (failed.seen.len() as f64 - rest.len() as f64).max(0.0), 0.0, "");
    let seen = driven.tally.phase(PHASES[2]).map_or(f64::NAN, |phase: &Phase| phase.failed() as f64);
    report.must("failed calls, one fails after 20 ms", seen, 0.0, "");
}
