//! What servers took to answer the same calls, side by side.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was measured of all servers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServingReport {
    /// Each server with each case, by case.
    pub cells: Vec<Cell>,
    /// What could not be measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// A server with a case.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The server.
    pub server: String,
    /// The case.
    pub case: String,
    /// Requests of all rounds.
    pub requests: u64,
    /// Requests of all rounds that failed.
    pub failed: u64,
    /// Processor time a request, of all of the server's own processes, in microseconds.
    pub cpu_us: Spread,
    /// The same by process, those beside the server's own too; what a process began counts with it.
    pub cpu_us_by_process: BTreeMap<String, Spread>,
    /// Median latency, in microseconds.
    pub p50_us: Spread,
    /// 99 % of the latencies are at most this.
    pub p99_us: Spread,
    /// Which part of the replies the machine disturbed by standing still, where it was watched; `p50_us` and `p99_us` are of
    /// the others then, by tenths of a second, the median of those.
    pub disturbed: Spread,
    /// Replies a second.
    pub per_s: Spread,
    /// What the calls took past the server, in turns with those through it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// The first failures, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// Calls past a server, in turns with those through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Past {
    /// Median latency, in microseconds.
    pub p50_us: Spread,
    /// 99 % of the latencies are at most this.
    pub p99_us: Spread,
    /// How much longer the median is through the server, by the median pair of turns.
    pub added_p50_us: Spread,
    /// The same of the 99 %.
    pub added_p99_us: Spread,
}

/// A server, or one of its cases, that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The server.
    pub server: String,
    /// The case; none where it is the whole server.
    pub case: Option<String>,
    /// Why.
    pub why: String,
}

/// What one figure was in the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle, or between the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one number; else all 0.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, min: *min, max: *max }
    }
}

/// The report as lines of a table.
pub(super) fn lines(report: &ServingReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<24}{:<24}{:>12}{:>18}{:>10}{:>10}{:>11}{:>12}{:>8}",
        "case", "server", "us of cpu", "from - to", "p50 us", "p99 us", "disturbed", "replies/s", "failed"
    )];
    lines.extend(report.cells.iter().map(|cell| {
        let Cell { case, server, cpu_us: cpu, p50_us, p99_us, disturbed, per_s, failed, .. } = cell;
        let range = format!("{:.1} - {:.1}", cpu.min, cpu.max);
        let (p50, p99, per_s) = (p50_us.median, p99_us.median, per_s.median);
        let disturbed = format!("{:.1} %", disturbed.median * 100.0);
        format!(
            "{case:<24}{server:<24}{:>12.1}{range:>18}{p50:>10.0}{p99:>10.0}{disturbed:>11}{per_s:>12.0}{failed:>8}",
            cpu.median
        )
    }));
    lines.extend(report.cells.iter().flat_map(|cell| {
        cell.failures.iter().map(move |words| format!("  failed {} {}: {words}", cell.server, cell.case))
    }));
    lines.extend(report.left_out.iter().map(|LeftOut { server, case, why }| {
        format!("  left out {server}{}: {why}", case.as_ref().map_or(String::new(), |case| format!(" {case}")))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_that_of_the_sorted() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 8.0]).median, 3.0);
        assert_eq!(Spread::of([]), Spread::default());
    }
}
