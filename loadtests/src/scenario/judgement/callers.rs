//! Callers: open-loop loads from addresses of their own, each spread evenly over the gateways.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::header::TIMEOUT_MS;
use http::{HeaderName, HeaderValue};

use super::ScenarioError;
use crate::driver::schedule;
use crate::driver::{self, Driven, DriverError, Load, Plan, Running};
use crate::system::fleet::{Fleet, MODEL};

/// The body of every call, in bytes.
const BODY_BYTES: usize = 540;
/// The most connections of one caller to one gateway.
const CONNECTIONS: usize = 4_000;
/// A call whose reply takes longer has failed: longer than any deadline that is given.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A load ends when it is told to.
const FOR_LONG: Duration = Duration::from_secs(24 * 3600);

/// A caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Caller {
    /// Its address is 127.0.0.x.
    pub(super) host: u8,
    /// Calls a second.
    pub(super) rate_per_s: f64,
    /// How long it waits, as it says.
    pub(super) timeout_ms: Option<u64>,
}

/// The loads of some callers, seen as one.
#[derive(Debug)]
pub(super) struct Callers(Vec<Running>);

impl Caller {
    /// One that says nothing of its patience.
    pub(super) fn new(host: u8, rate_per_s: f64) -> Self {
        Self { host, rate_per_s, timeout_ms: None }
    }

    fn plan(
        &self,
        address: std::net::SocketAddr,
        rate_per_s: f64,
        seed: u64,
        phases: &[String],
    ) -> Result<Plan, DriverError> {
        let timeout = self.timeout_ms.map(|ms| (HeaderName::from_static(TIMEOUT_MS), HeaderValue::from(ms)));
        Ok(Plan {
            target: format!("http://{address}/v1/models/{MODEL}:predict").parse()?,
            from: Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, self.host))),
            bodies: vec![body()],
            headers: timeout.into_iter().collect(),
            load: Load::Open { law: schedule::Law::Poisson, rate_per_s, seed },
            duration: FOR_LONG,
            connections: CONNECTIONS,
            timeout: TIMEOUT,
            expect: None,
            scores: None,
            phases: phases.to_vec(),
            bare: true,
            keep: false,
            spin: false,
        })
    }
}

impl Callers {
    /// They begin, in the first of these phases.
    pub(super) fn start(fleet: &Fleet, callers: &[Caller], phases: &[String]) -> Result<Self, ScenarioError> {
        let mut all = Vec::new();
        for caller in callers {
            for (at, gateway) in fleet.gateways.iter().enumerate() {
                let (rate, seed) =
                    (caller.rate_per_s / fleet.gateways.len() as f64, u64::from(caller.host) * 100 + at as u64);
                all.push(driver::start(caller.plan(gateway.address, rate, seed, phases)?)?);
            }
        }
        Ok(Self(all))
    }

    /// Calls that are due from now on count in this phase.
    pub(super) fn phase(&self, phase: usize) {
        self.0.iter().for_each(|running| running.control.phase(phase));
    }

    /// Notes that something happened.
    pub(super) fn mark(&self, what: &str) {
        if let Some(first) = self.0.first() {
            first.control.mark(what);
        }
    }

    /// Calls that ended, and those of them that failed, so far.
    pub(super) fn progress(&self) -> (u64, u64) {
        self.0.iter().map(|running| running.control.progress()).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    }

    /// They end; what all of them saw.
    pub(super) async fn finish(self) -> Result<Driven, ScenarioError> {
        self.0.iter().for_each(|running| running.control.stop());
        let mut all: Option<Driven> = None;
        for running in self.0 {
            let driven = running.finish().await?;
            match &mut all {
                Some(all) => all.merge(driven),
                None => all = Some(driven),
            }
        }
        all.ok_or(ScenarioError::Driver(DriverError::Died))
    }
}

/// A row, filled up to the usual length.
fn body() -> Bytes {
    let (begin, end) = ("{\"instances\": [{\"text\": \"", "\"}]}");
    format!("{begin}{}{end}", "x".repeat(BODY_BYTES - begin.len() - end.len())).into()
}
