//! Prometheus metrics with bounded label sets: the busiest models by name, the rest as `other`, and series that nobody
//! touched for an hour dropped.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_balance::attempts::Failure;
use headgate_balance::budget::Reason;
use headgate_balance::life::State;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::edge::Edge;
use crate::fleet::{Label, Snapshot};

mod requests;

pub(crate) use requests::request;

/// Models that are named in labels.
pub const NAMED_MAX: usize = 200;
/// How often the busiest models are found anew.
pub const RANK_EVERY: Duration = Duration::from_secs(10);

/// Series that nobody touched for so long are dropped.
const IDLE: Duration = Duration::from_secs(3_600);
const LATENCY: &str = "headgate_gateway_request_seconds";
/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The process's recorder, set up when first asked for.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .idle_timeout(MetricKindMask::ALL, Some(IDLE))
            .set_buckets_for_metric(Matcher::Full(LATENCY.to_owned()), &BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: this one stays empty");
        }
        handle
    })
}

/// One call is tried again.
pub(crate) fn retry(failure: Failure) {
    let reason = match failure {
        Failure::Unreached => "unreached",
        Failure::Lost => "lost",
        Failure::Refused => "refused",
        Failure::Overloaded => "overloaded",
        Failure::NotHere => "not_here",
    };
    counter!("headgate_gateway_retries_total", "reason" => reason).increment(1);
}

/// A call is refused for want of room.
pub(crate) fn shed(reason: &'static str) {
    counter!("headgate_gateway_shed_total", "reason" => reason).increment(1);
}

/// A caller's connection ends by its own fault.
pub(crate) fn offence(reason: &'static str) {
    counter!("headgate_gateway_callers_closed_total", "reason" => reason).increment(1);
}

/// An attempt is given up, and another one sent beside it.
pub(crate) fn given_up(reason: Reason) {
    let reason = match reason {
        Reason::Lost => "silent",
        Reason::Failed => "slow",
        Reason::Hedge => "hedged",
    };
    counter!("headgate_gateway_retries_total", "reason" => reason).increment(1);
}

/// Finds the busiest models; the others give their names up to them. How many are named.
pub(crate) fn rank(snapshot: &Snapshot) -> usize {
    let mut counted: Vec<(u64, &Label)> =
        snapshot.models().map(|model| (model.label.requests.swap(0, Relaxed), &*model.label)).collect();
    if counted.len() <= NAMED_MAX {
        counted.iter().for_each(|(_, label)| label.named.store(true, Relaxed));
        return counted.len();
    }
    // A model that is named stays so unless another is twice as busy: names that come and go make no series.
    let weight = |(count, label): &(u64, &Label)| if label.named.load(Relaxed) { count * 2 + 1 } else { *count };
    counted.select_nth_unstable_by_key(NAMED_MAX - 1, |entry| std::cmp::Reverse(weight(entry)));
    for (at, (_, label)) in counted.iter().enumerate() {
        label.named.store(at < NAMED_MAX, Relaxed);
    }
    NAMED_MAX
}

/// All metrics in Prometheus' text format.
pub(crate) fn render(edge: &Edge) -> String {
    let handle = recorder();
    let snapshot = edge.fleet.snapshot();
    let config = edge.config.load();
    let (rules, limit) = (config.fleet.load, config.fleet.limit);
    for state in State::ALL {
        let count = snapshot.backends.iter().filter(|seen| seen.state == state).count();
        gauge!("headgate_gateway_backends", "state" => state.as_str()).set(count as f64);
    }
    for seen in snapshot.backends.iter() {
        gauge!("headgate_gateway_backend_in_flight", "backend" => seen.backend.name())
            .set(seen.backend.in_flight() as f64);
        gauge!("headgate_gateway_backend_pace", "backend" => seen.backend.name())
            .set(f64::from(seen.backend.pace(&rules)));
        gauge!("headgate_gateway_backend_limit", "backend" => seen.backend.name()).set(seen.backend.limit(&limit));
        if let Some(latency) = seen.backend.latency() {
            gauge!("headgate_gateway_backend_latency_seconds", "backend" => seen.backend.name())
                .set(latency as f64 / 1e9);
        }
        counter!("headgate_gateway_backend_calls_total", "backend" => seen.backend.name())
            .absolute(seen.backend.total());
    }
    let left = edge.budget.left();
    gauge!("headgate_gateway_retry_tokens", "kind" => "common").set(left.tokens as f64);
    gauge!("headgate_gateway_retry_tokens", "kind" => "hedge").set(left.hedges as f64);
    gauge!("headgate_gateway_retry_tokens", "kind" => "lost").set(left.reserve as f64);
    gauge!("headgate_gateway_callers").set(edge.shares.callers());
    gauge!("headgate_gateway_in_flight").set(edge.gate.in_flight() as f64);
    gauge!("headgate_gateway_buffered_bytes").set(edge.gate.buffered() as f64);
    gauge!("headgate_gateway_connections").set(edge.gate.connections() as f64);
    gauge!("headgate_gateway_models").set(snapshot.models_len() as f64);
    if !config.server.zone.is_empty() {
        gauge!("headgate_gateway_zone_kept").set(edge.fleet.kept());
        gauge!("headgate_gateway_zone_utilisation").set(edge.fleet.zone_utilisation());
    }
    counter!("headgate_gateway_spilled_calls_total").absolute(edge.fleet.spilled());
    counter!("headgate_gateway_ejections_total").absolute(edge.fleet.ejections());
    handle.render()
}
