//! One backend of four, each in its turn, fails every call at once: with status 500, and by resets.

use std::time::Duration;

use tokio::time::sleep;

use super::callers::{Caller, Callers};
use super::{Options, ScenarioError, largest, median, progress};
use crate::origin::{Counts, FailAs, Work};
use crate::report::{LoadReport, Report};
use crate::system::fleet::Fleet;

const BACKENDS: usize = 4;
/// Failures after which it must get less than its share.
const FAILURES: usize = 10;
/// How long its share is looked at after those, in milliseconds.
const LOOK_MS: f64 = 500.0;
/// How long it fails.
const FAILS: Duration = Duration::from_millis(2_500);
/// How long it has to come back: its ejections have grown to two seconds by then.
const BACK_WITHIN: Duration = Duration::from_secs(4);
/// What it may lack of an even share once it is back.
const LACKS_MAX: f64 = 0.25;
const PHASES: [&str; 4] = ["all well", "500 at once", "resets at once", "healing"];

/// What one failure showed.
struct Shown {
    /// Calls that it got after ten failures, over an even share's.
    share: f64,
    /// What it lacked of an even share after it healed.
    lacks: f64,
    /// Calls that it failed.
    failed: f64,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let fleet = options.fleet(BACKENDS, report).await?;
    let rate = options.load * options.capacity_of_one() * BACKENDS as f64;
    report.set("rate", format!("{rate:.0}/s"));
    let phases = PHASES.map(str::to_owned);
    let callers = Callers::start(&fleet, &[Caller::new(1, rate)], &phases)?;
    let mut shown: [Vec<Shown>; 2] = Default::default();
    // In turn: whoever failed a moment ago is left out for longer each time.
    let mut turns = (0..BACKENDS).cycle();
    for round in 1..=options.rounds {
        for (at, fail_as) in [FailAs::Internal, FailAs::Reset].into_iter().enumerate() {
            callers.phase(0);
            sleep(options.measured()).await;
            let failing = Work { fail: 1.0, fail_as, ..options.work() };
            let who = turns.next().unwrap_or(0);
            shown[at].push(fail(&fleet, &callers, at + 1, (who, &failing), options, rate).await?);
        }
        let (ended, failed) = callers.progress();
        progress(&format!("round {round} of {}, {ended} calls, {failed} failed", options.rounds));
    }
    let driven = callers.finish().await?;
    for (name, shown) in PHASES[1..].iter().zip(&shown) {
        let middle = |of: fn(&Shown) -> f64| median(shown.iter().map(of).collect());
        report.figure(format!("calls that it failed in {} s, {name}", FAILS.as_secs_f64()), middle(|s| s.failed), "");
        let share = largest(shown.iter().map(|shown| shown.share));
        report.must(format!("after {FAILURES} failures: its calls / an even share, {name}"), share, 0.999, "");
        report.must(format!("back: lacks of an even share, {name}"), middle(|s| s.lacks), LACKS_MAX, "");
    }
    report.must("failed calls", driven.tally.failed() as f64, 0.0, "");
    report.load = Some(LoadReport::from(&driven));
    Ok(())
}

/// It fails for a while and heals.
async fn fail(
    fleet: &Fleet,
    callers: &Callers,
    phase: usize,
    (who, failing): (usize, &Work),
    options: &Options,
    rate: f64,
) -> Result<Shown, ScenarioError> {
    callers.phase(phase);
    callers.mark(PHASES[phase]);
    fleet.tell(who, failing).await?;
    sleep(FAILS).await;
    let counts = fleet.counts(who).await?;
    fleet.tell(who, &options.work()).await?;
    callers.phase(3);
    callers.mark("healed");
    sleep(BACK_WITHIN).await;
    let before = fleet.all_counts().await?;
    sleep(options.measured()).await;
    let after = fleet.all_counts().await?;
    let calls: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after.calls - before.calls).collect();
    let even = calls.iter().sum::<u64>() as f64 / BACKENDS as f64;
    let even_before = rate / BACKENDS as f64 * LOOK_MS / 1e3;
    Ok(Shown {
        share: after_failures(&counts) / even_before,
        lacks: 1.0 - calls[who] as f64 / even,
        failed: counts.seen.len() as f64,
    })
}

/// Calls that came in a while after those that were the first to fail; those were few where it is none.
fn after_failures(counts: &Counts) -> f64 {
    let Some(last) = counts.seen.get(FAILURES - 1) else { return 0.0 };
    counts.seen.iter().skip(FAILURES).filter(|seen| seen.at_ms <= last.at_ms + LOOK_MS).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Seen;

    #[test]
    fn calls_after_the_first_failures_are_counted() {
        let at = |at_ms| Seen { at_ms, told_ms: 0 };
        let counts = Counts { seen: (0..100).map(|n| at(f64::from(n) * 10.0)).collect(), ..Counts::default() };
        assert_eq!(after_failures(&counts), 50.0);
        assert_eq!(after_failures(&Counts { seen: vec![at(1.0); 9], ..Counts::default() }), 0.0);
    }
}
