//! What one measurement came to, and many of them.

use std::collections::BTreeMap;

use crate::report::{Cell, Past, Spread};

/// How many failures are kept in words.
pub(super) const FAILURES_MAX: usize = 3;

/// One measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// Processor time a request, in microseconds: the server's, and by process.
    pub(super) cpu_us: f64,
    pub(super) cpu_us_by_process: BTreeMap<String, f64>,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Which part of the replies the machine disturbed.
    pub(super) disturbed: f64,
    pub(super) per_s: f64,
    pub(super) past: Option<PastIt>,
    pub(super) failures: Vec<String>,
}

/// What calls past the server took, and those through it longer, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PastIt {
    p50: f64,
    p99: f64,
    added_p50: f64,
    added_p99: f64,
}

impl Measured {
    /// Of turns that were taken with others past the server: the median of each, and of the pairs' differences, as a host
    /// changes from one second to the next what all of it takes.
    pub(super) fn in_turns(turns: &[(Measured, Measured)]) -> Self {
        let through = || turns.iter().map(|(through, _)| through);
        let requests = through().map(|turn| turn.requests).sum();
        let median = |of: fn(&(Measured, Measured)) -> f64| Spread::of(turns.iter().map(of)).median;
        let a_request = |of: &dyn Fn(&Measured) -> f64| {
            through().map(|turn| of(turn) * turn.requests as f64).sum::<f64>() / u64::max(requests, 1) as f64
        };
        let names = through().flat_map(|turn| turn.cpu_us_by_process.keys());
        let by_process = names.map(|name| {
            (name.clone(), a_request(&|turn| turn.cpu_us_by_process.get(name).copied().unwrap_or_default()))
        });
        let both = || turns.iter().flat_map(|(through, past)| [through, past]);
        Self {
            requests,
            failed: both().map(|turn| turn.failed).sum(),
            cpu_us: a_request(&|turn| turn.cpu_us),
            cpu_us_by_process: by_process.collect(),
            p50_us: median(|(through, _)| through.p50_us),
            p99_us: median(|(through, _)| through.p99_us),
            disturbed: a_request(&|turn| turn.disturbed),
            per_s: median(|(through, _)| through.per_s),
            past: Some(PastIt {
                p50: median(|(_, past)| past.p50_us),
                p99: median(|(_, past)| past.p99_us),
                added_p50: median(|(through, past)| through.p50_us - past.p50_us),
                added_p99: median(|(through, past)| through.p99_us - past.p99_us),
            }),
            failures: both().flat_map(|turn| turn.failures.iter().cloned()).take(FAILURES_MAX).collect(),
        }
    }

    /// The rounds of one server with one case.
    pub(super) fn cell(rounds: &[Measured], server: &str, case: &str) -> Cell {
        let spread = |of: fn(&Measured) -> f64| Spread::of(rounds.iter().map(of));
        let processes = rounds.iter().flat_map(|round| round.cpu_us_by_process.keys());
        let by_process = processes.map(|name| {
            (name.clone(), Spread::of(rounds.iter().filter_map(|round| round.cpu_us_by_process.get(name).copied())))
        });
        let past = |of: fn(&PastIt) -> f64| Spread::of(rounds.iter().filter_map(|round| round.past.as_ref()).map(of));
        Cell {
            server: server.to_owned(),
            case: case.to_owned(),
            requests: rounds.iter().map(|round| round.requests).sum(),
            failed: rounds.iter().map(|round| round.failed).sum(),
            cpu_us: spread(|round| round.cpu_us),
            cpu_us_by_process: by_process.collect(),
            p50_us: spread(|round| round.p50_us),
            p99_us: spread(|round| round.p99_us),
            disturbed: spread(|round| round.disturbed),
            per_s: spread(|round| round.per_s),
            past: rounds.iter().any(|round| round.past.is_some()).then(|| Past {
                p50_us: past(|past| past.p50),
                p99_us: past(|past| past.p99),
                added_p50_us: past(|past| past.added_p50),
                added_p99_us: past(|past| past.added_p99),
            }),
            failures: rounds.iter().flat_map(|round| round.failures.iter().cloned()).take(FAILURES_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(requests: u64, cpu_us: f64, p50_us: f64, p99_us: f64) -> Measured {
        let cpu_us_by_process = BTreeMap::from([("a".to_owned(), cpu_us)]);
        Measured { requests, cpu_us, cpu_us_by_process, p50_us, p99_us, failed: 1, ..Measured::default() }
    }

    #[test]
    fn what_is_added_is_the_median_of_pairs() {
        // The host is slow in the second pair: its own difference counts, not one between pairs.
        let past = |p50_us, p99_us| turn(1_000, 9.0, p50_us, p99_us);
        let turns = [
            (turn(300, 10.0, 90.0, 200.0), past(50.0, 110.0)),
            (turn(100, 30.0, 400.0, 900.0), past(350.0, 800.0)),
            (turn(100, 10.0, 95.0, 210.0), past(52.0, 130.0)),
        ];
        let round = Measured::in_turns(&turns);
        assert_eq!((round.requests, round.failed, round.p50_us, round.p99_us), (500, 6, 95.0, 210.0));
        assert_eq!((round.cpu_us, round.cpu_us_by_process["a"]), (14.0, 14.0));
        assert_eq!(round.past, Some(PastIt { p50: 52.0, p99: 130.0, added_p50: 43.0, added_p99: 90.0 }));
        let cell = Measured::cell(&[round.clone(), round], "s", "c");
        assert_eq!(cell.past.map(|past| past.added_p50_us.median), Some(43.0));
        assert!(Measured::cell(&[turn(1, 1.0, 1.0, 1.0)], "s", "c").past.is_none());
    }
}
