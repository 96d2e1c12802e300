//! What must hold of the gateway's own rule of choice.

use headgate_balance::choose;

use super::Scenario;
use super::cases::{LIMITED, Ran};
use crate::report::Report;
use crate::sim::plan::Policy;

/// Notes what must hold, and whether it does.
pub(super) fn check(scenario: Scenario, ran: &[Ran], report: &mut Report) {
    let own = Policy::Own(choose::Policy::default());
    let ran: Vec<&Ran> = ran.iter().filter(|ran| ran.case.plan.rules.policy == own).collect();
    match scenario {
        Scenario::Slow => {
            for (well, slow) in pairs(&ran) {
                let ratio = slow.told.latency.p99_us as f64 / well.told.latency.p99_us as f64;
                report.must(format!("p99 at load {} with a slow one / without", slow.case.load()), ratio, 1.5, "");
            }
        }
        Scenario::Failing => {
            for (_, fails) in pairs(&ran) {
                let share = fails.told.first_share_after_failures.unwrap_or(f64::NAN);
                let name = format!("share at load {} of one that fails, after ten failures", fails.case.load());
                report.must(name, share, 1.0, "");
            }
        }
        Scenario::Overload => {
            let limited = || ran.iter().filter(|ran| ran.case.name == LIMITED);
            let goodput = |ran: &&Ran| ran.told.goodput_of_capacity;
            let peak = limited().map(goodput).fold(0.0, f64::max);
            for over in limited().filter(|ran| ran.case.load() > 1.0) {
                let lost = 1.0 - goodput(over) / peak;
                report.must(format!("goodput lost at load {}, of the peak", over.case.load()), lost, 0.1, "");
            }
        }
        Scenario::Closed => {
            for ran in ran {
                report.must(format!("refused, {}", ran.case.name), ran.told.refused() as f64, 0.0, "");
            }
        }
        _ => {}
    }
}

/// Each case in which something is wrong, with the one before in which nothing is.
fn pairs<'a>(ran: &[&'a Ran]) -> Vec<(&'a Ran, &'a Ran)> {
    let of = ran.windows(2).filter(|two| two[0].case.plan.faults.is_empty() && !two[1].case.plan.faults.is_empty());
    of.map(|two| (two[0], two[1])).collect()
}
