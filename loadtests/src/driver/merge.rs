//! Loads that ran side by side, seen as one.

use std::collections::BTreeMap;

use super::Driven;
use super::phase::Phase;
use super::tally::{EXAMPLES_MAX, Latencies, Tally, latencies};

impl Driven {
    /// Takes another one in that began with this one and had the same phases; marks and windows stay this one's.
    pub fn merge(&mut self, other: Driven) {
        self.tally.merge(other.tally);
        self.length = self.length.max(other.length);
        self.connections += other.connections;
    }
}

impl Tally {
    fn merge(&mut self, other: Tally) {
        for (phase, more) in self.phases.iter_mut().zip(other.phases) {
            phase.merge(more);
        }
        self.timeline.merge(other.timeline);
        add(&mut self.lag, &other.lag);
        self.calls.extend(other.calls);
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

impl Phase {
    fn merge(&mut self, other: Phase) {
        add(&mut self.latency, &other.latency);
        add_each(&mut self.versions, &other.versions);
        add_each(&mut self.refused, &other.refused);
        count_each(&mut self.backends, other.backends);
        count_each(&mut self.statuses, other.statuses);
        count_each(&mut self.failures, other.failures);
        count_each(&mut self.faults, other.faults);
        self.retry_after += other.retry_after;
    }
}

fn add(to: &mut Latencies, more: &Latencies) {
    // Both have the same bounds: adding can't fail.
    let _ = to.add(more);
}

fn add_each<K: Ord + Clone>(to: &mut BTreeMap<K, Latencies>, more: &BTreeMap<K, Latencies>) {
    for (key, more) in more {
        add(to.entry(key.clone()).or_insert_with(latencies), more);
    }
}

fn count_each<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, more) in more {
        *to.entry(key).or_default() += more;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::control::Log;
    use crate::driver::tally::{Answer, Ended};

    fn driven(due_ms: u64, latency_us: u64, status: u16) -> Driven {
        let mut tally = Tally::new(&["all".into()], false);
        let answer =
            Answer { status, version: Some(1), backend: None, fault: None, retry_after: true, words: String::new() };
        let (due, latency) = (Duration::from_millis(due_ms), Duration::from_micros(latency_us));
        tally.record(Ended { due, latency, phase: 0, result: Ok(answer) });
        Driven { tally, log: Log::default(), length: due, connections: 2 }
    }

    #[test]
    fn nothing_is_lost() {
        let mut all = driven(50, 100, 200);
        // Its slices are twice as wide.
        all.merge(driven(150_000, 900, 200));
        all.merge(driven(260, 7, 503));
        let phase = &all.tally.phases[0];
        assert_eq!((phase.succeeded(), phase.failed(), phase.retry_after), (2, 1, 1));
        assert_eq!((phase.latency.max(), phase.refused[&503].max(), phase.versions[&1].len()), (900, 7, 2));
        let slices = all.tally.timeline.slices();
        assert_eq!(slices.iter().map(|slice| slice.latency.len()).sum::<u64>(), 2);
        assert_eq!((all.tally.timeline.width(), slices[1].failed), (Duration::from_millis(200), 1));
        assert_eq!((all.length, all.connections), (Duration::from_secs(150), 6));
    }
}
