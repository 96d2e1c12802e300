//! What a simulation found, as its report shows it.

use serde::Serialize;

use super::Chart;
use crate::sim::tally::Told;

/// What was simulated.
#[derive(Clone, Debug, Serialize)]
pub struct SimReport {
    /// Each case, in order.
    pub rows: Vec<Row>,
    /// Plots.
    pub charts: Vec<Chart>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// How backends were chosen.
    pub policy: String,
    /// What was special about it.
    pub case: String,
    /// Calls that came, as a part of what the fleet can do; none where callers wait for replies.
    pub load: Option<f64>,
    /// What came of it.
    pub told: Told,
}

/// A table.
pub(super) fn lines(report: &SimReport) -> Vec<String> {
    let case = report.rows.iter().map(|row| row.case.len()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!(
        "  {:<16}{:<case$}{:>6}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>7}{:>8}{:>7}",
        "policy",
        "case",
        "load",
        "goodput",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "refused",
        "late",
        "failed",
        "retries",
        "hedges",
        "ejects",
        "spread",
        "first"
    )];
    let ms = |us: u64| format!("{:.2}", us as f64 / 1_000.0);
    lines.extend(report.rows.iter().map(|Row { policy, case: what, load, told }| {
        let of = |count: u64| percent(count as f64 / told.calls.max(1) as f64);
        let load = load.map_or("-".to_owned(), |load| format!("{load:.2}"));
        let latency = &told.latency;
        format!(
            "  {policy:<16}{what:<case$}{load:>6}{:>8.3}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>7}{:>8.2}{:>7.2}",
            told.goodput_of_capacity,
            ms(latency.p50_us),
            ms(latency.p90_us),
            ms(latency.p99_us),
            ms(latency.p999_us),
            of(told.refused()),
            of(told.late),
            of(told.failed),
            of(told.retries),
            of(told.hedges),
            told.ejections,
            told.spread,
            told.first_share,
        )
    }));
    lines.push(
        "  goodput: answered in time, of what the fleet can do; spread: attempts of the busiest backend, over".into(),
    );
    lines.push("  the mean; first: those of the first backend, which is the one that something happens to".into());
    lines
}

/// Of all calls; nothing where there is none.
fn percent(part: f64) -> String {
    match part * 100.0 {
        0.0 => "0".to_owned(),
        part if part < 0.01 => "<0.01%".to_owned(),
        part if part < 10.0 => format!("{part:.2}%"),
        part => format!("{part:.1}%"),
    }
}
