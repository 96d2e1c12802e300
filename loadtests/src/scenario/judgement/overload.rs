//! More calls than the backends can carry: a greedy caller among polite ones, up to five times of what there is room for.

use std::time::Duration;

use tokio::time::sleep;

use super::callers::{Caller, Callers};
use super::{Options, ScenarioError, largest, median, progress};
use crate::driver::Driven;
use crate::driver::phase::Phase;
use crate::driver::tally::latencies;
use crate::report::{LoadReport, Report};
use crate::system::fleet::Fleet;

const BACKENDS: usize = 4;
/// Callers that never want more than their share: 0.6 of what there is, together.
const POLITE: [u8; 4] = [11, 12, 13, 14];
const POLITE_LOAD: f64 = 0.15;
const GREEDY: u8 = 66;
/// The whole load of each step, over what the backends can carry. The first and the last are the same.
const STEPS: [f64; 6] = [0.7, 1.0, 1.5, 2.5, 5.0, 0.7];
const FIVE: usize = 4;
/// How long a step runs before it is measured: what the one before left behind is gone then.
const SETTLE: Duration = Duration::from_millis(1_500);
/// After an overload, from when on nothing of it may be seen.
const RECOVERED: Duration = Duration::from_secs(1);
/// Goodput at five times over the most of any step.
const GOODPUT_MIN: f64 = 0.9;
/// Refusals are quick, in milliseconds.
const REFUSAL_MS_MAX: f64 = 10.0;
/// The default deadline, and what a reply that comes at its end takes beside it, in milliseconds.
const DEADLINE_MS: f64 = 1_000.0;
const LATE_MS_MAX: f64 = 25.0;

/// What one step showed, of each of the callers.
struct Step {
    polite: Driven,
    greedy: Driven,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let fleet = options.fleet(BACKENDS, report).await?;
    let capacity = options.capacity_of_one() * BACKENDS as f64;
    report.set("capacity", format!("{capacity:.0}/s"));
    report.set("callers", format!("{} of {POLITE_LOAD} of it each, the rest of one", POLITE.len()));
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        let mut steps = Vec::new();
        for load in STEPS {
            steps.push(step(&fleet, options, capacity, load).await?);
            progress(&format!("round {round} of {}, {load} x capacity", options.rounds));
        }
        rounds.push(steps);
    }
    judge(&rounds, report);
    for (at, load) in STEPS.iter().enumerate() {
        let each = rounds.iter().filter_map(|steps| steps.get(at));
        report.figure(format!("goodput at {load} x capacity"), median(each.map(Step::goodput).collect()), "1/s");
    }
    // The last round's step at five times, as the polite callers saw it.
    report.load = rounds.last().and_then(|steps| steps.get(FIVE)).map(|step| LoadReport::from(&step.polite));
    Ok(())
}

async fn step(fleet: &Fleet, options: &Options, capacity: f64, load: f64) -> Result<Step, ScenarioError> {
    let phases = ["settling".to_owned(), "measured".to_owned()];
    let polite = POLITE.map(|host| Caller::new(host, POLITE_LOAD * capacity));
    let rest = (load - POLITE_LOAD * POLITE.len() as f64) * capacity;
    let polite = Callers::start(fleet, &polite, &phases)?;
    let greedy = Callers::start(fleet, &[Caller::new(GREEDY, rest)], &phases)?;
    sleep(if load < 1.0 { RECOVERED } else { SETTLE }).await;
    polite.phase(1);
    greedy.phase(1);
    sleep(options.measured()).await;
    polite.phase(0);
    greedy.phase(0);
    let (polite, greedy) = tokio::join!(polite.finish(), greedy.finish());
    Ok(Step { polite: polite?, greedy: greedy? })
}

impl Step {
    fn phases(&self) -> [&Phase; 2] {
        [&self.polite.tally.phases[1], &self.greedy.tally.phases[1]]
    }

    /// Good replies a second.
    fn goodput(&self) -> f64 {
        let [polite, greedy] = self.phases();
        (polite.succeeded() + greedy.succeeded()) as f64 / polite.length.as_secs_f64()
    }

    /// The part of the polite callers' calls that did not succeed.
    fn polite_failed(&self) -> f64 {
        let [polite, _] = self.phases();
        polite.failed() as f64 / (polite.succeeded() + polite.failed()).max(1) as f64
    }

    /// The p99 of refusals for want of room, whoever was refused, in milliseconds.
    fn refusals_ms(&self) -> f64 {
        let mut all = latencies();
        for phase in self.phases() {
            for refused in [429, 503].into_iter().filter_map(|status| phase.refused.get(&status)) {
                // All have the same bounds: adding can't fail.
                let _ = all.add(refused);
            }
        }
        all.value_at_quantile(0.99) as f64 / 1e3
    }

    /// Refusals that don't say when to come again.
    fn without_hint(&self) -> f64 {
        let of = |phase: &Phase| {
            let refused: u64 =
                [429, 503].into_iter().filter_map(|status| phase.refused.get(&status)).map(|of| of.len()).sum();
            refused.saturating_sub(phase.retry_after) as f64
        };
        self.phases().map(of).into_iter().sum()
    }

    /// The longest that any call took, however it ended, in milliseconds; the p99.9 of each way.
    fn longest_ms(&self) -> f64 {
        let of = |phase: &Phase| {
            let ended = std::iter::once(&phase.latency).chain(phase.refused.values());
            largest(ended.map(|latency| latency.value_at_quantile(0.999) as f64 / 1e3))
        };
        largest(self.phases().map(of))
    }

    /// The part of its calls that the greedy caller was refused.
    fn greedy_refused(&self) -> f64 {
        let [_, greedy] = self.phases();
        greedy.failed() as f64 / (greedy.succeeded() + greedy.failed()).max(1) as f64
    }
}

fn judge(rounds: &[Vec<Step>], report: &mut Report) {
    let at = |step: usize, of: &dyn Fn(&Step) -> f64| -> Vec<f64> {
        rounds.iter().filter_map(|steps| steps.get(step)).map(of).collect()
    };
    let ratio = |steps: &Vec<Step>| {
        let most = largest(steps.iter().map(Step::goodput));
        steps.get(FIVE).map_or(f64::NAN, Step::goodput) / most
    };
    let goodput = median(rounds.iter().map(ratio).collect());
    let (first, last) = (0, STEPS.len() - 1);
    report.figure("goodput at 5 x over the most of any step", goodput, "");
    report.must("goodput lost at 5 x", 1.0 - goodput, 1.0 - GOODPUT_MIN, "");
    report.figure("p50 of the polite callers at 5 x", median(at(FIVE, &|step| quantile_ms(step, 0.5))), "ms");
    report.figure("p99 of the polite callers at 5 x", median(at(FIVE, &|step| quantile_ms(step, 0.99))), "ms");
    report.figure("part of the greedy caller's calls refused at 5 x", median(at(FIVE, &Step::greedy_refused)), "");
    report.must("part of the polite callers' calls refused at 5 x", median(at(FIVE, &Step::polite_failed)), 0.02, "");
    report.must("p99 of refusals at 5 x", median(at(FIVE, &Step::refusals_ms)), REFUSAL_MS_MAX, "ms");
    let hints = (0..STEPS.len()).map(|step| at(step, &Step::without_hint).into_iter().sum::<f64>());
    report.must("refusals without Retry-After", hints.sum(), 0.0, "");
    report.must(
        "p99.9 of how long any call takes at 5 x",
        median(at(FIVE, &Step::longest_ms)),
        DEADLINE_MS + LATE_MS_MAX,
        "ms",
    );
    let failed = |step: &Step| step.phases().map(|phase| phase.failed() as f64).into_iter().sum::<f64>();
    report.must("failed calls before an overload", largest(at(first, &failed)), 0.0, "");
    report.must("failed calls from a second after it", largest(at(last, &failed)), 0.0, "");
    let p99s = at(first, &|step| quantile_ms(step, 0.99)).into_iter().zip(at(last, &|step| quantile_ms(step, 0.99)));
    report.must("p99 after it / before", median(p99s.map(|(before, after)| after / before).collect()), 1.5, "");
}

fn quantile_ms(step: &Step, quantile: f64) -> f64 {
    step.phases()[0].quantile_us(quantile) as f64 / 1e3
}
