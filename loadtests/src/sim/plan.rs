//! What is simulated: a fleet, what is asked of it, what goes wrong, and by which rules gateways decide.

use headgate_balance::{Millis, Nanos, SECOND, attempts, budget, choose, life, limit, load, outlier, patience, share};

use super::chance::Chance;

/// The most backends.
pub const BACKENDS_MAX: usize = 10_000;
/// The most gateways.
pub const GATEWAYS_MAX: usize = 100;

/// One simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all chance.
    pub seed: u64,
    /// Backends: 2 to 10,000.
    pub backends: usize,
    /// Gateways before them, each with its own view: 1 to 100.
    pub gateways: usize,
    /// Calls that a backend works on at once.
    pub cores: u32,
    /// What arrives.
    pub demand: Demand,
    /// For how long it arrives.
    pub length: Nanos,
    /// What comes before that is not counted.
    pub warm_up: Nanos,
    /// What calls take.
    pub work: Work,
    /// From a gateway to a backend, or back.
    pub network: Nanos,
    /// Calls that wait at a backend at most: beyond, it refuses.
    pub queue_max: usize,
    /// How long callers wait.
    pub deadline: Nanos,
    /// Callers; calls are theirs alike.
    pub callers: usize,
    /// The part of all calls that come from one of them, where one is busier.
    pub busy_caller: f64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How gateways decide.
    pub rules: Rules,
}

/// What arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// Calls at random times, so many of what the fleet can do when all is well.
    Open(f64),
    /// So many callers, each of which sends its next call when it has its reply.
    Closed(usize),
}

/// What calls take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// The mean, in nanoseconds of one core.
    pub mean: Nanos,
    /// How much calls of one size differ: the deviation of the logarithm.
    pub sigma: f64,
    /// One attempt in so many takes ten times the mean longer, wherever it is.
    pub hiccup_every: f64,
    /// What a call takes that is refused, or dropped as late, in means.
    pub refusal: f64,
}

/// Rows of a call, how often, and what that costs: `1 + rows / 20`, in units whose mean is 1.
const KINDS: [(u64, f64); 3] = [(1, 0.7), (10, 0.25), (100, 0.05)];
const KINDS_MEAN: f64 = 1.05 * 0.7 + 1.5 * 0.25 + 6.0 * 0.05;
/// Bytes of a row.
const ROW_BYTES: u64 = 540;

/// A call as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Bytes of its body: what a gateway knows.
    pub bytes: u64,
    /// Rows: what the reply tells.
    pub rows: u64,
    /// What it takes of one core.
    pub work: Nanos,
}

/// Something that goes wrong with one backend for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Its number.
    pub backend: usize,
    /// From when on.
    pub from: Nanos,
    /// Until when.
    pub to: Nanos,
    /// What.
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// All work takes so many times as long.
    Slow(f64),
    /// So many calls fail at once, 0 to 1.
    Fails(f64),
    /// It takes calls and probes, and answers none.
    Hangs,
    /// The process dies, and another one takes its place at the end: cold, so that work takes four times as long at
    /// first.
    Restarts,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// As gateways do.
    Own(choose::Policy),
    /// Prequal, with its probes: to compare with.
    Prequal,
}

/// How gateways decide: their own rules, with their own defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Who is chosen.
    pub policy: Policy,
    /// How.
    pub choose: choose::Rules,
    /// What is known of loads.
    pub load: load::Rules,
    /// How many calls at once.
    pub limit: limit::Rules,
    /// Whose.
    pub share: share::Rules,
    /// Who is ejected.
    pub outlier: outlier::Rules,
    /// Who serves.
    pub life: life::Rules,
    /// Retries.
    pub budget: budget::Rules,
    /// Attempts of a call.
    pub attempts_max: u32,
    /// What is slow.
    pub hedge_quantile: f64,
    /// How often backends are probed.
    pub probe_ms: Millis,
    /// How much longer an answer to that may take.
    pub probe_timeout_ms: Millis,
}

impl Default for Rules {
    fn default() -> Self {
        let choose = choose::Rules::default();
        Self {
            policy: Policy::Own(choose.policy),
            choose,
            load: load::Rules::default(),
            limit: limit::Rules::default(),
            share: share::Rules::default(),
            outlier: outlier::Rules::default(),
            life: life::Rules::default(),
            budget: budget::Rules::default(),
            attempts_max: attempts::MAX,
            hedge_quantile: patience::HEDGE_QUANTILE,
            probe_ms: 250,
            probe_timeout_ms: 750,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            backends: 16,
            gateways: 1,
            cores: 4,
            demand: Demand::Open(0.75),
            length: 20 * SECOND,
            warm_up: 5 * SECOND,
            work: Work::default(),
            network: 50_000,
            queue_max: 1_024,
            deadline: SECOND,
            callers: 100,
            busy_caller: 0.0,
            faults: Vec::new(),
            rules: Rules::default(),
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self { mean: 1_000_000, sigma: 0.5, hiccup_every: 200.0, refusal: 0.1 }
    }
}

impl Plan {
    /// Calls a second that the fleet can answer when all is well.
    pub fn capacity(&self) -> f64 {
        let work = self.work.mean as f64 * (1.0 + 10.0 / self.work.hiccup_every);
        self.backends as f64 * f64::from(self.cores) * SECOND as f64 / work
    }
}

impl Work {
    /// A call, by chance.
    pub fn ask(&self, chance: &mut Chance) -> Asked {
        let (mut at, mut rows) = (chance.unit(), KINDS[0].0);
        for (of, part) in KINDS {
            rows = of;
            if at < part {
                break;
            }
            at -= part;
        }
        let units = (1.0 + rows as f64 / 20.0) / KINDS_MEAN * chance.lognormal(self.sigma);
        Asked { bytes: rows * ROW_BYTES, rows, work: ((self.mean as f64 * units) as Nanos).max(1) }
    }

    /// What an attempt takes on top, wherever it is.
    pub fn hiccup(&self, chance: &mut Chance) -> Nanos {
        if chance.unit() * self.hiccup_every < 1.0 { self.mean * 10 } else { 0 }
    }
}

impl Policy {
    /// All, those to compare with first.
    pub const ALL: [Policy; 6] = [
        Policy::Own(choose::Policy::RoundRobin),
        Policy::Own(choose::Policy::Random),
        Policy::Own(choose::Policy::LeastInFlight),
        Policy::Prequal,
        Policy::Own(choose::Policy::HotCold),
        Policy::Own(choose::Policy::PeakEwma),
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::Own(policy) => policy.as_str(),
            Policy::Prequal => "prequal",
        }
    }

    /// The policy of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_what_is_said() {
        let (work, mut chance) = (Work::default(), Chance::new(3, 0));
        let mean = (0..400_000).map(|_| work.ask(&mut chance).work as f64).sum::<f64>() / 400_000.0;
        assert!((mean / work.mean as f64 - 1.0).abs() < 0.01, "{mean}");
        let hiccups = (0..400_000).filter(|_| work.hiccup(&mut chance) > 0).count();
        assert!((1_800..2_200).contains(&hiccups), "{hiccups}");
    }
}
