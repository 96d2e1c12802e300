//! What the backend counts of itself, as Prometheus reads it.
//!
//! Two sources, one page: [`series`] for calls, by model and version, on the hot path; a recorder of the `metrics` crate
//! for the rest. Nothing is global, so that several servers live in one process.

use std::time::Duration;

use headgate_contract::fleet::VersionState;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub mod series;

pub use series::{Outcome, Series, SeriesBook, Totals};

/// Buckets of the time from a promotion to Ready, in seconds.
const READY_BUCKETS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// The states that versions are counted in.
const STATES: [VersionState; 8] = [
    VersionState::Absent,
    VersionState::Fetching,
    VersionState::Verifying,
    VersionState::Loading,
    VersionState::Proving,
    VersionState::Ready,
    VersionState::Retiring,
    VersionState::Failed,
];

/// All metrics of one backend.
pub struct Metrics {
    /// Calls by model and version.
    pub series: SeriesBook,
    /// Predictions in flight.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Calls that wait for a compute thread.
    pub compute_waiting: Gauge,
    /// Polls of the bucket.
    pub polls: Counter,
    /// Polls that failed.
    pub poll_errors: Counter,
    /// The catalog's generation.
    pub generation: Gauge,
    /// Whether the backend is ready.
    pub ready: Gauge,
    /// Memory of loaded models, in bytes.
    pub model_bytes: Gauge,
    /// Models that are resident, where they are loaded on demand.
    pub resident: Gauge,
    /// Models that made room for others.
    pub evictions: Counter,
    /// Calls that waited for their model to be loaded.
    pub waited: Counter,
    /// Seconds from a promotion to Ready.
    pub publish_to_ready: Histogram,
    states: Vec<(VersionState, Gauge)>,
    loads: [Counter; 3],
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Fails for an empty list of buckets only.
        let builder = builder
            .set_buckets_for_metric(Matcher::Full("headgate_publish_to_ready_seconds".to_owned()), &READY_BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let gauge = |name: &'static str| recorder.register_gauge(&Key::from_name(name), &METADATA);
        let counter = |name: &'static str| recorder.register_counter(&Key::from_name(name), &METADATA);
        let loads = ["ready", "failed", "retry"].map(|result| {
            let key = Key::from_parts("headgate_version_loads_total", vec![Label::new("result", result)]);
            recorder.register_counter(&key, &METADATA)
        });
        let states = STATES.map(|state| (state, state_gauge(&recorder, state.as_str())));
        let publish_to_ready =
            recorder.register_histogram(&Key::from_name("headgate_publish_to_ready_seconds"), &METADATA);
        Self {
            series: SeriesBook::default(),
            in_flight: gauge("headgate_in_flight"),
            connections: gauge("headgate_connections"),
            compute_waiting: gauge("headgate_compute_waiting"),
            polls: counter("headgate_bucket_polls_total"),
            poll_errors: counter("headgate_bucket_poll_errors_total"),
            generation: gauge("headgate_catalog_generation"),
            ready: gauge("headgate_ready"),
            model_bytes: gauge("headgate_model_bytes"),
            resident: gauge("headgate_models_resident"),
            evictions: counter("headgate_model_evictions_total"),
            waited: counter("headgate_calls_waited_total"),
            publish_to_ready,
            states: states.into(),
            loads,
            handle: recorder.handle(),
        }
    }

    /// Sets how many versions are in each state.
    pub fn set_states(&self, count: impl Fn(VersionState) -> usize) {
        for (state, gauge) in &self.states {
            gauge.set(count(*state) as f64);
        }
    }

    /// Counts a load that ended Ready.
    pub fn loaded(&self, since_promotion: Option<Duration>) {
        self.loads[0].increment(1);
        if let Some(taken) = since_promotion {
            self.publish_to_ready.record(taken.as_secs_f64());
        }
    }

    /// Counts a load that failed, for good or to be tried again.
    pub fn load_failed(&self, retried: bool) {
        self.loads[if retried { 2 } else { 1 }].increment(1);
    }

    /// The page.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        let mut page = self.handle.render();
        self.series.render(&mut page);
        page
    }
}

const METADATA: Metadata<'static> = Metadata::new("headgate_backend", Level::INFO, None);

fn state_gauge(recorder: &PrometheusRecorder, name: &'static str) -> Gauge {
    let key = Key::from_parts("headgate_versions", vec![Label::new("state", name)]);
    recorder.register_gauge(&key, &METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_was_counted() {
        let metrics = Metrics::new();
        metrics.set_states(|state| usize::from(state == VersionState::Ready) * 3);
        metrics.loaded(Some(Duration::from_millis(300)));
        metrics.load_failed(false);
        let page = metrics.render();
        for line in [
            "headgate_versions{state=\"ready\"} 3",
            "headgate_versions{state=\"failed\"} 0",
            "headgate_version_loads_total{result=\"ready\"} 1",
            "headgate_version_loads_total{result=\"failed\"} 1",
            "headgate_publish_to_ready_seconds_bucket{le=\"0.5\"} 1",
            "headgate_bucket_polls_total 0",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
