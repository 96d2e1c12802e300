//! What was measured in one phase of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use super::expect::Fault;
use super::failure::Failure;
use super::tally::{Ended, Latencies, latencies, micros};

/// How many versions, backends and statuses are told apart; replies of any others count in the phase alone.
pub(super) const KINDS_MAX: usize = 64;

/// What was measured in one phase.
#[derive(Debug)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took, all its windows together.
    pub length: Duration,
    /// Latencies of the requests that did not fail.
    pub latency: Latencies,
    /// By version: latencies of its replies.
    pub versions: BTreeMap<u64, Latencies>,
    /// By backend: replies.
    pub backends: BTreeMap<String, u64>,
    /// By HTTP status: replies.
    pub statuses: BTreeMap<u16, u64>,
    /// By status: latency of the replies that are no success.
    pub refused: BTreeMap<u16, Latencies>,
    /// How many of those say when to come again.
    pub retry_after: u64,
    /// By kind: failures.
    pub failures: BTreeMap<Failure, u64>,
    /// By kind: replies that can't be attributed.
    pub faults: BTreeMap<Fault, u64>,
}

impl Phase {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            length: Duration::ZERO,
            latency: latencies(),
            versions: BTreeMap::new(),
            backends: BTreeMap::new(),
            statuses: BTreeMap::new(),
            refused: BTreeMap::new(),
            retry_after: 0,
            failures: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    /// Counts, and says whether it was a failure.
    pub(super) fn record(&mut self, ended: &Ended) -> Option<Failure> {
        let failure = match &ended.result {
            Err((failure, _)) => Some(*failure),
            Ok(answer) => {
                count(&mut self.statuses, answer.status);
                if let Some(backend) = &answer.backend {
                    count(&mut self.backends, backend.clone());
                }
                if let Some(fault) = answer.fault {
                    count(&mut self.faults, fault);
                    Some(Failure::Attribution)
                } else {
                    (!(200..300).contains(&answer.status)).then_some(Failure::Status)
                }
            }
        };
        if let (Some(Failure::Status), Ok(answer)) = (failure, &ended.result) {
            self.retry_after += u64::from(answer.retry_after);
            if self.refused.contains_key(&answer.status) || self.refused.len() < KINDS_MAX {
                let refused = self.refused.entry(answer.status).or_insert_with(latencies);
                refused.saturating_record(micros(ended.latency));
            }
        }
        match (failure, &ended.result) {
            (Some(failure), _) => count(&mut self.failures, failure),
            (None, result) => {
                self.latency.saturating_record(micros(ended.latency));
                let version = result.as_ref().ok().and_then(|answer| answer.version);
                if let Some(version) =
                    version.filter(|v| self.versions.contains_key(v) || self.versions.len() < KINDS_MAX)
                {
                    let versions = self.versions.entry(version).or_insert_with(latencies);
                    versions.saturating_record(micros(ended.latency));
                }
            }
        }
        failure
    }

    /// Requests that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.latency.len()
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// A quantile (0 to 1) of the latency, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if counts.len() < KINDS_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}
