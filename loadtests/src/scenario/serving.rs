//! `serving`: what servers of several makes take to answer the same calls: processor time of all their processes and
//! latency, on one machine, in turn. Their scores are checked: a server that answers wrongly is not measured.

mod measured;
mod plan;
mod stand;
mod watch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{ScenarioError, positive, progress};
use crate::report::{Cell, LeftOut, Report, ServingReport};
use crate::system::server::Command;
use measured::Measured;
pub use plan::PlanError;
use plan::{Case, Plan};
use stand::Stand;
use watch::Watch;

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which servers are measured with which calls (JSON; `make bench-serving` writes one)
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Only these of the plan's servers
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Only these of the plan's cases
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub cases: Vec<String>,
    /// How often each server is measured with each case; the others come between
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// For how long each time, in seconds
    #[arg(long, default_value_t = 2.5, value_name = "S", value_parser = positive)]
    pub seconds: f64,
    /// For how long it is loaded before that, in seconds
    #[arg(long, default_value_t = 0.4, value_name = "S", value_parser = positive)]
    pub warm_up: f64,
    /// Where the servers' logs go
    #[arg(long, value_name = "DIR")]
    pub logs: PathBuf,
}

/// What was measured so far: of each case (by its place) and server (by its name) the rounds.
type Rounds = HashMap<(usize, String), Vec<Measured>>;

/// Runs it.
pub async fn run(options: &Options) -> Result<Report, ScenarioError> {
    let mut plan = Plan::read(&options.plan)?;
    plan.keep(&options.servers, &options.cases)?;
    std::fs::create_dir_all(&options.logs)?;
    let mut report = Report::new("serving");
    report.set("rounds", options.rounds);
    report.set("measured", format!("{} s after {} s", options.seconds, options.warm_up));

    let mut left_out = Vec::new();
    let mut stands = start(&plan, options, &mut left_out).await?;
    let mut rounds = Rounds::new();
    for round in 1..=options.rounds {
        for (at, case) in plan.cases.iter().enumerate() {
            progress(&format!("round {round} of {}, {}", options.rounds, case.name));
            for stand in stands.iter_mut().filter(|stand| case.is_for(&stand.plan)) {
                let rate_per_s = part(case, &plan, &stand.plan.name, &rounds);
                one(stand, (at, case), (rate_per_s, &plan.watch), options, &mut rounds, &mut left_out).await?;
            }
        }
    }
    report.serving = Some(ServingReport { cells: cells(&plan, &rounds), left_out });
    for stand in stands {
        stand.stop().await;
    }
    Ok(report)
}

/// Starts all servers; those that don't come up are left out.
async fn start(plan: &Plan, options: &Options, left_out: &mut Vec<LeftOut>) -> Result<Vec<Stand>, ScenarioError> {
    let mut stands = Vec::new();
    for server in &plan.servers {
        progress(&format!("starting {}", server.name));
        match Stand::start(server, plan, &options.logs).await? {
            Ok(stand) => stands.push(stand),
            Err(why) => leave_out(left_out, &server.name, None, why),
        }
    }
    Ok(stands)
}

/// One round of one case on one server; left out from then on where its replies are wrong.
async fn one(
    stand: &mut Stand,
    (at, case): (usize, &Case),
    (rate_per_s, watchers): (Option<f64>, &[Command]),
    options: &Options,
    rounds: &mut Rounds,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), ScenarioError> {
    let name = stand.plan.name.clone();
    if left_out.iter().any(|left| left.server == name && left.case.as_ref().is_none_or(|left| *left == case.name)) {
        return Ok(());
    }
    if case.part_of.is_some() && rate_per_s.is_none() {
        leave_out(left_out, &name, Some(case), "its rate is of a case that was not measured".to_owned());
        return Ok(());
    }
    let (warm_up, seconds) = (Duration::from_secs_f64(options.warm_up), Duration::from_secs_f64(options.seconds));
    if let Some(why) = stand.wrong(case, warm_up).await? {
        leave_out(left_out, &name, Some(case), why);
        return Ok(());
    }
    // Where requests wait for replies, what the machine takes away is taken from all alike.
    let watch = if rate_per_s.is_some() { Watch::start(watchers).await? } else { Watch::default() };
    let measured = stand.measure(case, rate_per_s, seconds, &watch).await?;
    rounds.entry((at, name)).or_default().push(measured);
    Ok(())
}

/// A part of the rate of the case that this one names, as last measured of a server; no more than of the one it names.
fn part(case: &Case, plan: &Plan, server: &str, rounds: &Rounds) -> Option<f64> {
    let of = case.part_of.as_ref()?;
    let at = plan.cases.iter().position(|case| case.name == *of)?;
    let of = |server: &str| Some(rounds.get(&(at, server.to_owned()))?.last()?.per_s * case.part);
    let most = case.part_of_server.as_deref().and_then(of);
    of(server).map(|own| most.map_or(own, |most| own.min(most)))
}

fn leave_out(left_out: &mut Vec<LeftOut>, server: &str, case: Option<&Case>, why: String) {
    let case = case.map(|case| case.name.clone());
    progress(&format!("left out {server} {}: {why}", case.as_deref().unwrap_or_default()));
    left_out.push(LeftOut { server: server.to_owned(), case, why });
}

fn cells(plan: &Plan, rounds: &Rounds) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (at, case) in plan.cases.iter().enumerate() {
        let measured = plan.servers.iter().filter_map(|server| {
            let measured = rounds.get(&(at, server.name.clone()))?;
            Some(Measured::cell(measured, &server.name, &case.name))
        });
        cells.extend(measured);
    }
    cells
}
