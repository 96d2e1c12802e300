//! `judgement`: what a gateway makes of backends that are slow, fail, hang or go, and of more calls than they can carry.
//! Gateways are real processes; the backends are origins of a given capacity, which sleep and take no processor time, so
//! that what is measured is judgement and not the machine.

mod callers;
mod deadlines;
mod failing;
mod healthy;
mod lost;
mod overload;
mod slow;

use std::time::Duration;

use super::{ScenarioError, positive, progress};
use crate::origin::{Law, Work};
use crate::report::Report;
use crate::system::SystemOptions;
use crate::system::fleet::{Fleet, Spec};

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is proved
    #[arg(value_enum)]
    pub part: Part,
    /// Gateways in front of the same backends; each gets its part of every caller's calls
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub gateways: u32,
    /// How often it is done; ratios are the median of the rounds
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long a phase is measured, in seconds
    #[arg(long, default_value_t = 6.0, value_name = "S", value_parser = positive)]
    pub seconds: f64,
    /// How long a backend works on a call in the mean, in milliseconds
    #[arg(long, default_value_t = 10.0, value_name = "MS", value_parser = positive)]
    pub service_ms: f64,
    /// How the times of single calls lie around that
    #[arg(long, default_value = "exponential")]
    pub law: Law,
    /// Calls that a backend works on at once
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub servers: u32,
    /// The load, as a part of what all backends can carry when all is well
    #[arg(long, default_value_t = 0.5, value_name = "PART", value_parser = positive)]
    pub load: f64,
    /// Where it runs
    #[command(flatten)]
    pub system: SystemOptions,
}

/// What can be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// One backend of four is four times slower, for long and by turns: the tail stays
    Slow,
    /// One backend of four fails at once: it gets less than its share, callers see nothing, and it comes back
    Failing,
    /// Five times what the backends can carry: goodput stays, the greedy caller is refused
    Overload,
    /// One backend of eight is killed, or stands still: no call fails
    Lost,
    /// Deadlines are kept, and backends are told what is left of them
    Deadlines,
    /// Healthy load at one real backend: nothing is refused
    Healthy,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let name = clap::ValueEnum::to_possible_value(&options.part).map_or(String::new(), |of| of.get_name().to_owned());
    let mut report = Report::new(&format!("judgement {name}"));
    report.set("rounds", options.rounds);
    if !options.system.set.is_empty() {
        report.set("gateway", options.system.set.join(" "));
    }
    match options.part {
        Part::Slow => slow::run(options, &mut report).await?,
        Part::Failing => failing::run(options, &mut report).await?,
        Part::Overload => overload::run(options, &mut report).await?,
        Part::Lost => lost::run(options, &mut report).await?,
        Part::Deadlines => deadlines::run(options, &mut report).await?,
        Part::Healthy => healthy::run(options, &mut report).await?,
    }
    Ok(report)
}

impl Options {
    /// What a backend does when all is well.
    fn work(&self) -> Work {
        Work { service_ms: self.service_ms, law: self.law, ..Work::default() }
    }

    /// Calls a second that one backend can carry.
    fn capacity_of_one(&self) -> f64 {
        f64::from(self.servers) * 1e3 / self.service_ms
    }

    /// How long a phase is measured.
    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.min(3_600.0))
    }

    /// Starts the gateways in front of so many backends.
    async fn fleet(&self, origins: usize, report: &mut Report) -> Result<Fleet, ScenarioError> {
        self.fleet_with(&self.system, origins, report).await
    }

    /// The same with other options of the system.
    async fn fleet_with(
        &self,
        system: &SystemOptions,
        origins: usize,
        report: &mut Report,
    ) -> Result<Fleet, ScenarioError> {
        report.set("gateways", self.gateways);
        report.set("backends", origins);
        report.set("service", format!("{} ms {:?}, {} at once", self.service_ms, self.law, self.servers));
        progress(&format!("starting {origins} origins and {} gateways", self.gateways));
        let spec = Spec { origins, gateways: self.gateways as usize, servers: self.servers, work: self.work() };
        Ok(Fleet::start(system, &spec).await?)
    }
}

/// The middle of some figures; NaN of none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => figures[len / 2],
        len => (figures[len / 2 - 1] + figures[len / 2]) / 2.0,
    }
}

/// The largest of some figures; NaN of none.
fn largest(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_and_largest() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])), (2.0, 2.5));
        assert!(median(Vec::new()).is_nan() && largest([]).is_nan());
        assert_eq!(largest([1.0, 3.0, 2.0]), 3.0);
    }
}
