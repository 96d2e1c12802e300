//! A report as text.

use super::{LoadReport, PhaseReport, Quantiles, Report, serving, sim};

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let machine = &report.machine;
    let mut lines = vec![
        format!("== {} ==", report.scenario),
        format!(
            "machine  {}, {} cores, {:.1} GiB, {}",
            machine.processor,
            machine.cores,
            machine.memory_bytes as f64 / f64::from(1 << 30),
            machine.system
        ),
    ];
    if machine.debug_build {
        lines.push("         built without optimisation: these figures say little".to_owned());
    }
    let settings: Vec<String> = report.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !settings.is_empty() {
        lines.push(format!("settings {}", settings.join(", ")));
    }
    if let Some(load) = &report.load {
        lines.push(String::new());
        lines.extend(load_lines(load));
    }
    if let Some(serving) = &report.serving {
        lines.push(String::new());
        lines.extend(serving::lines(serving));
    }
    if let Some(sim) = &report.sim {
        lines.push(String::new());
        lines.extend(sim::lines(sim));
    }
    lines.push(String::new());
    lines.extend(report.figures.iter().map(|f| format!("  {:<58} {:>12} {}", f.name, number(f.value), f.unit)));
    lines.extend(report.musts.iter().map(|must| {
        let verdict = if must.holds() { "ok" } else { "VIOLATED" };
        let (measured, bound) = (number(must.measured), number(must.bound));
        format!("  {:<58} {measured:>12} {:<4} at most {bound:>8}  {verdict}", must.name, must.unit)
    }));
    lines.extend(report.error.iter().map(|error| format!("  ENDED EARLY: {error}")));
    lines.join("\n") + "\n"
}

fn load_lines(load: &LoadReport) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} requests in {:.1} s, {} failed, at most {} connections",
            load.requests, load.length_s, load.failed, load.connections
        ),
        format!(
            "  {:<22}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "latency in us", "replies", "p50", "p90", "p99", "p99.9", "max"
        ),
    ];
    for phase in &load.phases {
        lines.push(row(&phase.name, &phase.latency));
        lines.extend(phase.versions.iter().map(|(version, latency)| row(&format!("  version {version}"), latency)));
        lines.extend(phase.refused.iter().map(|(status, latency)| row(&format!("  status {status}"), latency)));
        lines.extend(counts(phase));
    }
    lines.push(row("driver was late by", &load.lag));
    lines.extend(load.failures.iter().map(|failure| format!("  failed {failure}")));
    lines
}

fn counts(phase: &PhaseReport) -> Option<String> {
    let failures = phase.failures.iter().map(|(kind, count)| format!("{kind} {count}"));
    let faults = phase.faults.iter().map(|(kind, count)| format!("{kind} {count}"));
    let statuses =
        phase.statuses.iter().filter(|(status, _)| **status != 200).map(|(s, count)| format!("status {s}: {count}"));
    let counts: Vec<String> = failures.chain(faults).chain(statuses).collect();
    (!counts.is_empty()).then(|| format!("    failed: {}", counts.join(", ")))
}

fn row(name: &str, latency: &Quantiles) -> String {
    let Quantiles { count, p50_us, p90_us, p99_us, p999_us, max_us, .. } = latency;
    format!("  {name:<22}{count:>10}{p50_us:>10}{p90_us:>10}{p99_us:>10}{p999_us:>10}{max_us:>10}")
}

/// Whole numbers without, others with three digits after the point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_named() {
        let mut report = Report::new("swap-under-load");
        report.must("failed requests", 0.0, 0.0, "");
        assert!(report.holds() && report.text().contains("ok"));
        report.must("p99 swapping / p99 steady", 1.5, 1.25, "");
        report.must("never measured", f64::NAN, 1.0, "s");
        let text = report.text();
        let verdicts: Vec<&str> = text.lines().filter(|line| line.contains("VIOLATED")).collect();
        assert!(!report.holds() && verdicts.len() == 2, "{text}");
        report.error = Some("backend-1 ended".to_owned());
        assert!(report.text().contains("ENDED EARLY: backend-1 ended"));
        assert!(verdicts[0].contains("p99 swapping / p99 steady") && verdicts[0].contains("1.500"), "{text}");
    }
}
