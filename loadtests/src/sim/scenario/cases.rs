//! The cases of each scenario, and what is drawn of them.

use headgate_balance::{Nanos, SECOND, choose};

use super::{Options, OptionsError, Scenario};
use crate::report::{Chart, Line, SliceReport};
use crate::sim::plan::{Demand, Fault, Plan, Policy, What};
use crate::sim::tally::Told;

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) plan: Plan,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) case: Case,
    pub(super) told: Told,
    pub(super) timeline: Vec<SliceReport>,
    pub(super) slice: Nanos,
}

/// The loads of the comparison.
const LOADS: [f64; 11] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5, 1.75];
/// And of the overload.
const OVERLOADS: [f64; 8] = [0.5, 0.8, 1.0, 1.25, 1.75, 2.5, 3.5, 5.0];
/// Where one backend is slow or fails, the load that the others can carry.
const BESIDE: [f64; 1] = [0.5];

impl Case {
    fn new(plan: &Plan, name: impl Into<String>, policy: Policy, load: f64) -> Self {
        let mut plan = plan.clone();
        plan.rules.policy = policy;
        plan.demand = Demand::Open(load);
        Self { name: name.into(), plan }
    }

    pub(super) fn policy(&self) -> &'static str {
        self.plan.rules.policy.as_str()
    }

    pub(super) fn load(&self) -> f64 {
        match self.plan.demand {
            Demand::Open(load) => load,
            Demand::Closed(_) => f64::NAN,
        }
    }

    /// Something happens to the first backend from a fraction of the time on; then what is counted begins a second later.
    fn with(mut self, what: What, from: f64, to: f64) -> Self {
        let at = |part: f64| (self.plan.length as f64 * part) as Nanos;
        self.plan.faults.push(Fault { backend: 0, from: at(from), to: at(to), what });
        self
    }
}

/// All cases.
pub(super) fn of(scenario: Scenario, base: &Plan, options: &Options) -> Result<Vec<Case>, OptionsError> {
    let own = [Policy::Own(choose::Policy::default())];
    let what = match scenario {
        Scenario::Load => return load(base, options),
        Scenario::Overload => return overload(base, options),
        Scenario::Closed => {
            let mut plan = base.clone();
            plan.backends = options.backends.unwrap_or(2);
            let policies = options.policies(&own)?;
            let case = |policy: &Policy| {
                let mut case = Case::new(&plan, format!("{} callers", options.clients), *policy, 1.0);
                case.plan.demand = Demand::Closed(options.clients);
                case
            };
            return Ok(policies.iter().map(case).collect());
        }
        Scenario::Busy => {
            let mut plan = base.clone();
            plan.busy_caller = 0.5;
            let loads = options.loads(&[3.0]);
            let policies = options.policies(&own)?;
            let all = policies.iter().flat_map(|policy| loads.iter().map(|load| Case::new(&plan, "", *policy, *load)));
            return Ok(all.collect());
        }
        Scenario::Slow => What::Slow(options.slow),
        Scenario::Failing => What::Fails(1.0),
        Scenario::Flaky => What::Fails(0.3),
        Scenario::Hanging => What::Hangs,
        Scenario::Restarting => What::Restarts,
    };
    let mut cases = Vec::new();
    for policy in options.policies(&Policy::ALL)? {
        for load in options.loads(&BESIDE) {
            cases.push(Case::new(base, "all is well", policy, load));
            // From before what is counted to its end; or what comes and goes within it.
            let (name, from, to) = match scenario {
                Scenario::Slow => ("one is slow", 0.1, 1.0),
                Scenario::Failing => ("one fails", 0.4, 0.7),
                Scenario::Flaky => ("one fails 30 %", 0.1, 1.0),
                Scenario::Hanging => ("one hangs", 0.4, 0.6),
                _ => ("one restarts", 0.4, 0.45),
            };
            cases.push(Case::new(base, name, policy, load).with(what, from, to));
            if scenario == Scenario::Slow {
                cases.push(Case::new(base, "slow for a while", policy, load).with(what, 0.4, 0.7));
            }
        }
    }
    Ok(cases)
}

fn load(base: &Plan, options: &Options) -> Result<Vec<Case>, OptionsError> {
    let mut cases = Vec::new();
    for policy in options.policies(&Policy::ALL)? {
        cases.extend(options.loads(&LOADS).into_iter().map(|load| Case::new(base, "", policy, load)));
    }
    Ok(cases)
}

/// With the limit, without one, and without any admission.
fn overload(base: &Plan, options: &Options) -> Result<Vec<Case>, OptionsError> {
    let mut cases = Vec::new();
    for policy in options.policies(&[Policy::Own(choose::Policy::default())])? {
        for load in options.loads(&OVERLOADS) {
            cases.push(Case::new(base, LIMITED, policy, load));
        }
        for load in options.loads(&OVERLOADS) {
            let mut case = Case::new(base, UNLIMITED, policy, load);
            case.plan.rules.limit.start = 0;
            cases.push(case);
        }
    }
    Ok(cases)
}

/// Names of the overload's cases.
pub(super) const LIMITED: &str = "as it is";
const UNLIMITED: &str = "no limit";

/// What is drawn.
pub(super) fn charts(scenario: Scenario, ran: &[Ran]) -> Vec<Chart> {
    let p99 = |ran: &Ran| ran.told.latency.p99_us as f64 / 1_000.0;
    let p999 = |ran: &Ran| ran.told.latency.p999_us as f64 / 1_000.0;
    let goodput = |ran: &Ran| ran.told.goodput_of_capacity;
    match scenario {
        Scenario::Load => vec![
            over_load("99th percentile of latency over load", "p99, ms", true, ran, p99),
            over_load("99.9th percentile of latency over load", "p99.9, ms", true, ran, p999),
            over_load("Goodput over load", GOODPUT, false, ran, goodput),
        ],
        Scenario::Overload => vec![
            over_load("Goodput over load", GOODPUT, false, ran, goodput),
            over_load("99th percentile of latency over load", "p99, ms", true, ran, p99),
        ],
        Scenario::Busy | Scenario::Closed => Vec::new(),
        _ => timelines(ran),
    }
}

const GOODPUT: &str = "answered in time, of capacity";

fn over_load(title: &str, up: &str, logarithmic: bool, ran: &[Ran], value: impl Fn(&Ran) -> f64) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    let policies = ran.iter().map(|ran| ran.case.policy()).collect::<std::collections::BTreeSet<_>>().len();
    for ran in ran {
        let (policy, what) = (ran.case.policy(), ran.case.name.as_str());
        let name = match (policies, what) {
            (_, "") => policy.to_owned(),
            (1, what) => what.to_owned(),
            (_, what) => format!("{policy}, {what}"),
        };
        let point = (ran.case.load(), value(ran));
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name, points: vec![point] }),
        }
    }
    let across = "calls that come, of what the fleet can do".to_owned();
    Chart { title: title.to_owned(), across, up: up.to_owned(), logarithmic, shaded: None, lines }
}

/// Latency and failures over time, of each policy's case in which something comes and goes.
fn timelines(ran: &[Ran]) -> Vec<Chart> {
    let passes = |ran: &&Ran| ran.case.plan.faults.iter().any(|fault| fault.to < ran.case.plan.length);
    let of: Vec<&Ran> = ran.iter().filter(passes).collect();
    let shaded = of.first().and_then(|ran| ran.case.plan.faults.first());
    let shaded = shaded.map(|fault| (fault.from as f64 / SECOND as f64, fault.to as f64 / SECOND as f64));
    let chart = |title: &str, up: &str, logarithmic: bool, value: fn(&SliceReport) -> f64| {
        let line = |ran: &&Ran| {
            let at = |nth: usize| (nth as f64 + 0.5) * ran.slice as f64 / SECOND as f64;
            let points = ran.timeline.iter().enumerate().map(|(nth, slice)| (at(nth), value(slice))).collect();
            Line { name: ran.case.policy().to_owned(), points }
        };
        let lines = of.iter().map(line).collect();
        Chart { title: title.to_owned(), across: "seconds".into(), up: up.to_owned(), logarithmic, shaded, lines }
    };
    if of.is_empty() {
        return Vec::new();
    }
    let failed = |slice: &SliceReport| slice.failed as f64 / (slice.failed + slice.succeeded).max(1) as f64 * 100.0;
    let latency = chart("99th percentile of latency over time", "p99, ms", true, |slice| match slice.succeeded {
        0 => f64::NAN,
        _ => slice.p99_us as f64 / 1_000.0,
    });
    // Nothing fails in most.
    if of.iter().all(|ran| ran.timeline.iter().all(|slice| slice.failed == 0)) {
        return vec![latency];
    }
    vec![latency, chart("Calls without an answer in time, over time", "of all, %", false, failed)]
}
