//! A server that stands ready, and one measurement of it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::measured::{FAILURES_MAX, Measured};
use super::plan::{Call, Case, Plan as ServingPlan, ServerPlan};
use super::watch::Watch;
use crate::driver::schedule::Law;
use crate::driver::tally;
use crate::driver::{self, Driven, Load, Plan};
use crate::scenario::ScenarioError;
use crate::stalls;
use crate::system::server::Server;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks at whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// One such look.
const LOOK: Duration = Duration::from_millis(50);
/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Every so many-th reply is read while it is measured.
const LOOKED_AT: u64 = 16;
/// How long a turn is, where calls through the server and past it take turns.
const TURN: Duration = Duration::from_millis(500);

/// A server that stands ready.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) plan: ServerPlan,
    calls: HashMap<String, Call>,
    server: Server,
    bare: bool,
    spin: bool,
}

impl Stand {
    /// Starts a server and waits until it answers one of its calls; why it does not comes in words.
    pub(super) async fn start(
        plan: &ServerPlan,
        of: &ServingPlan,
        logs: &Path,
    ) -> Result<Result<Self, String>, ScenarioError> {
        let mut calls = HashMap::new();
        for (name, call) in &plan.calls {
            calls.insert(name.clone(), call.load(of.tolerance)?);
        }
        let server = match Server::start(&plan.processes, logs) {
            Ok(server) => server,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut stand = Self { plan: plan.clone(), calls, server, bare: of.bare, spin: of.spin };
        let started = Instant::now();
        // In turn: a server need not take all of them.
        let tells = |call: &&String| plan.ready.as_ref().is_none_or(|ready| ready == *call);
        for call in plan.calls.keys().filter(tells).cycle() {
            let driven = stand.drive(call, Load::Closed, 1, LOOK, 1).await?;
            if driven.tally.ended() > driven.tally.failed() {
                return Ok(Ok(stand));
            }
            if let Err(error) = stand.server.check() {
                return Ok(Err(error.to_string()));
            }
            if started.elapsed() > READY_WITHIN {
                let last = words(&driven).next().unwrap_or_default();
                stand.stop().await;
                return Ok(Err(format!("no answer within {READY_WITHIN:?}: {last}")));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(Err("it takes no call".to_owned()))
    }

    /// Warms it up, looking at every reply; says what is wrong with one.
    pub(super) async fn wrong(&self, case: &Case, duration: Duration) -> Result<Option<String>, ScenarioError> {
        if let Some(past) = case.past.as_ref().filter(|past| !self.calls.contains_key(*past)) {
            return Ok(Some(format!("it has no call '{past}'")));
        }
        let driven = self.drive(&case.call, Load::Closed, case.clients, duration, 1).await?;
        Ok(words(&driven).next())
    }

    /// Loads it for `duration`: in closed loop, or by a schedule at a rate; where the case says so, in turns with calls past
    /// it, which take as long again.
    pub(super) async fn measure(
        &self,
        case: &Case,
        rate_per_s: Option<f64>,
        duration: Duration,
        watch: &Watch,
    ) -> Result<Measured, ScenarioError> {
        let Some(past) = &case.past else { return self.turn(&case.call, case, rate_per_s, duration, watch).await };
        let count = (duration.as_secs_f64() / TURN.as_secs_f64()).round().max(1.0);
        let mut turns = Vec::new();
        for _ in 0..count as usize {
            let through = self.turn(&case.call, case, rate_per_s, duration.div_f64(count), watch).await?;
            turns.push((through, self.turn(past, case, rate_per_s, duration.div_f64(count), watch).await?));
        }
        Ok(Measured::in_turns(&turns))
    }

    async fn turn(
        &self,
        call: &str,
        case: &Case,
        rate_per_s: Option<f64>,
        duration: Duration,
        watch: &Watch,
    ) -> Result<Measured, ScenarioError> {
        let load = match rate_per_s {
            Some(rate_per_s) => Load::Open { law: Law::Poisson, rate_per_s, seed: 1 },
            None => Load::Closed,
        };
        let (before, began) = (self.server.cpu(), stalls::now());
        let driven = self.drive(call, load, case.clients, duration, LOOKED_AT).await?;
        let requests = driven.tally.ended();
        let by_process = self.server.cpu().into_iter().zip(before).map(|((name, after), (_, before))| {
            (name, after.saturating_sub(before).as_secs_f64() * 1e6 / requests.max(1) as f64)
        });
        let (p50_us, p99_us, disturbed) = seen(&driven, began, watch);
        let failed = driven.tally.failed();
        let per_s = requests.saturating_sub(failed) as f64 / driven.length.as_secs_f64();
        let failures = words(&driven).take(FAILURES_MAX).collect();
        let cpu_us_by_process: BTreeMap<String, f64> = by_process.collect();
        let own = self.plan.processes.iter().filter(|process| !process.beside);
        let cpu_us = own.filter_map(|process| cpu_us_by_process.get(&process.name)).sum();
        let past = None;
        Ok(Measured { requests, failed, cpu_us, cpu_us_by_process, p50_us, p99_us, disturbed, per_s, past, failures })
    }

    /// Stops it.
    pub(super) async fn stop(self) {
        self.server.stop().await;
    }

    async fn drive(
        &self,
        call: &str,
        load: Load,
        clients: usize,
        duration: Duration,
        every: u64,
    ) -> Result<Driven, ScenarioError> {
        let Call { target, headers, bodies, mut scores } = self.calls[call].clone();
        scores.every = every;
        let plan = Plan {
            target,
            from: None,
            bodies,
            headers,
            load,
            duration,
            connections: clients,
            timeout: TIMEOUT,
            expect: None,
            scores: Some(scores),
            phases: vec!["all".to_owned()],
            bare: self.bare,
            keep: load != Load::Closed,
            spin: self.spin && load != Load::Closed,
        };
        Ok(driver::start(plan)?.finish().await?)
    }
}

/// Median and 99 % of all replies; where the machine was watched, of those that it did not disturb, and the part of those that
/// it did.
fn seen(driven: &Driven, began: Duration, watch: &Watch) -> (f64, f64, f64) {
    if !watch.watches() {
        let all = driven.tally.phases.first();
        return all.map_or((0.0, 0.0, 0.0), |all| (all.quantile_us(0.5) as f64, all.quantile_us(0.99) as f64, 0.0));
    }
    let calls: Vec<stalls::Call> = driven.tally.calls.iter().map(|(due, took)| (began + *due, *took)).collect();
    let typical = stalls::typical(&calls, &watch.stalls());
    let micros = |time| tally::micros(time) as f64;
    (micros(typical.p50), micros(typical.p99), typical.disturbed)
}

/// What failed, in words.
fn words(driven: &Driven) -> impl Iterator<Item = String> + '_ {
    driven.tally.examples.iter().map(|example| format!("{}: {}", example.failure.as_str(), example.words))
}
