//! Simulations worth a name: which cases each has, what it draws, and what must hold.

mod cases;
mod checks;

use headgate_balance::SECOND;

use super::plan::{self, Demand, Plan, Policy};
use super::settings::{self, SettingError};
use super::simulate;
use crate::report::{Report, Row, SimReport};
use cases::Ran;

/// A simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Policies side by side, over load
    Load,
    /// One backend is slow for a while
    Slow,
    /// One backend fails all calls at once for a while
    Failing,
    /// One backend fails three calls of ten for a while
    Flaky,
    /// One backend hangs for a while
    Hanging,
    /// One backend restarts, and is cold at first
    Restarting,
    /// Goodput over load, up to five times what the fleet can do, with and without a limit
    Overload,
    /// Callers that wait for each reply, on few cores: none may be refused
    Closed,
    /// One caller sends half of an overload
    Busy,
}

/// `loadtests sim`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is simulated
    #[arg(default_value = "load")]
    pub scenario: Scenario,
    /// Backends
    #[arg(long, value_name = "N")]
    pub backends: Option<usize>,
    /// Gateways before them, each of which sees only what it sends and what replies tell
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub gateways: usize,
    /// Calls that a backend works on at once
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub cores: u32,
    /// What a call takes of a core on average, in microseconds
    #[arg(long, default_value_t = 1_000, value_name = "US")]
    pub work_us: u64,
    /// How much calls of one size differ: the deviation of the logarithm
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    pub sigma: f64,
    /// Calls that come, in parts of what the fleet can do when all is well, as 0.5,1,1.5
    #[arg(long, value_delimiter = ',', value_name = "LOADS")]
    pub load: Vec<f64>,
    /// How backends are chosen: round_robin, random, least_in_flight, prequal, hot_cold, peak_ewma
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub policy: Vec<String>,
    /// How much slower the slow backend is
    #[arg(long, default_value_t = 4.0, value_name = "TIMES")]
    pub slow: f64,
    /// For how long calls come, in seconds; the first quarter is not counted
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// How long callers wait, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub deadline_ms: u64,
    /// Callers that wait for each reply (closed)
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub clients: usize,
    /// The seed of all chance
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Another rule of the gateway, by its name in the configuration, as fleet.limit_wait_ms=100
    #[arg(long = "set", value_name = "RULE=VALUE")]
    pub set: Vec<String>,
}

/// Options that make no sense: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A number is out of its range.
    #[error("'--{name}' is {value}: {low} to {high} expected")]
    Range {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// The least.
        low: String,
        /// The most.
        high: String,
    },
    /// There is no such policy.
    #[error("policy '{0}' is unknown: one of {known} expected", known = Policy::ALL.map(Policy::as_str).join(", "))]
    Policy(String),
    /// A rule can't be set so.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Runs it, and says on standard error how far it is.
pub fn run(options: &Options) -> Result<Report, OptionsError> {
    let base = options.plan()?;
    let cases = cases::of(options.scenario, &base, options)?;
    let mut report = Report::new("sim");
    describe(&mut report, options, &base);
    let (mut ran, mut events, began) = (Vec::new(), 0, std::time::Instant::now());
    for (at, case) in cases.iter().enumerate() {
        let name = format!("{} {} ({} of {})", case.policy(), case.name, at + 1, cases.len());
        let (told, world, planned) = simulate(&case.plan, |part| {
            if began.elapsed().as_secs() >= 2 {
                eprint!("\r{name}: {:3.0} %  ", part * 100.0);
            }
        });
        eprintln!(
            "\r{name}: {:.3} of capacity, p99 {:.2} ms  ",
            told.goodput_of_capacity,
            told.latency.p99_us as f64 / 1e3
        );
        events += planned;
        ran.push(Ran { case: case.clone(), told, timeline: world.tally.timeline(), slice: world.tally.slice() });
    }
    report.figure("events", events as f64, "");
    report.figure("events a second of real time", (events as f64 / began.elapsed().as_secs_f64()).round(), "1/s");
    checks::check(options.scenario, &ran, &mut report);
    let charts = cases::charts(options.scenario, &ran);
    let row = |ran: &Ran| Row {
        policy: ran.case.policy().to_owned(),
        case: ran.case.name.clone(),
        load: match ran.case.plan.demand {
            Demand::Open(load) => Some(load),
            Demand::Closed(_) => None,
        },
        told: ran.told.clone(),
    };
    report.sim = Some(SimReport { rows: ran.iter().map(row).collect(), charts });
    Ok(report)
}

fn describe(report: &mut Report, options: &Options, base: &Plan) {
    let scenario = clap::ValueEnum::to_possible_value(&options.scenario);
    report.scenario = format!("sim {}", scenario.map_or(String::new(), |value| value.get_name().to_owned()));
    report.set("backends", base.backends);
    report.set("gateways", base.gateways);
    report.set("cores", base.cores);
    report.set("work", format!("{} us", options.work_us));
    report.set("capacity", format!("{:.0}/s", base.capacity()));
    report.set("deadline", format!("{} ms", options.deadline_ms));
    report.set("seed", base.seed);
    for set in &options.set {
        let (name, value) = set.split_once('=').unwrap_or((set, ""));
        report.set(name.trim(), value.trim());
    }
}

impl Options {
    /// The plan that all cases share.
    fn plan(&self) -> Result<Plan, OptionsError> {
        let few = matches!(self.scenario, Scenario::Slow | Scenario::Failing | Scenario::Flaky | Scenario::Closed);
        let backends = self.backends.unwrap_or(if few { 4 } else { 16 });
        within("backends", backends, 2, plan::BACKENDS_MAX)?;
        within("gateways", self.gateways, 1, plan::GATEWAYS_MAX)?;
        within("cores", self.cores, 1, 1_024)?;
        within("work-us", self.work_us, 1, 60_000_000)?;
        within("sigma", self.sigma, 0.0, 3.0)?;
        within("slow", self.slow, 1.0, 1_000.0)?;
        within("deadline-ms", self.deadline_ms, 1, 600_000)?;
        within("clients", self.clients, 1, 100_000)?;
        let seconds = self.seconds.unwrap_or(20.0);
        within("seconds", seconds, 0.1, 3_600.0)?;
        for &load in &self.load {
            within("load", load, 0.01, 100.0)?;
        }
        let length = (seconds * SECOND as f64) as u64;
        let mut plan = Plan {
            seed: self.seed,
            backends,
            gateways: self.gateways,
            cores: self.cores,
            length,
            warm_up: length / 4,
            deadline: self.deadline_ms * 1_000_000,
            ..Plan::default()
        };
        plan.work.mean = self.work_us * 1_000;
        plan.work.sigma = self.sigma;
        for set in &self.set {
            settings::set(&mut plan.rules, set)?;
        }
        Ok(plan)
    }

    /// The policies that were asked for, or else these.
    fn policies(&self, or: &[Policy]) -> Result<Vec<Policy>, OptionsError> {
        if self.policy.is_empty() {
            return Ok(or.to_vec());
        }
        let policy = |name: &String| Policy::from_name(name).ok_or_else(|| OptionsError::Policy(name.clone()));
        self.policy.iter().map(policy).collect()
    }

    /// The loads that were asked for, or else these.
    fn loads(&self, or: &[f64]) -> Vec<f64> {
        if self.load.is_empty() { or.to_vec() } else { self.load.clone() }
    }
}

fn within<T: PartialOrd + ToString>(name: &'static str, value: T, low: T, high: T) -> Result<(), OptionsError> {
    if value >= low && value <= high {
        return Ok(());
    }
    let [value, low, high] = [value, low, high].map(|number| number.to_string());
    Err(OptionsError::Range { name, value, low, high })
}
