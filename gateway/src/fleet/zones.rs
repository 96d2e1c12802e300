//! The gateway's own zone: how much of its calls it keeps.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use headgate_balance::zone;
use tokio::time::Instant;

use super::{Fleet, Planned, Seen};
use crate::config;

/// Calls that a backend is taken to work on at once which does not say how many.
const AT_ONCE: u32 = 8;

/// What is known of the own zone.
#[derive(Debug)]
pub(super) struct Zones {
    spill: zone::Spill,
    /// The part that is kept as far as backends are out.
    by_health: AtomicU32,
    utilisation: AtomicU32,
    measured: AtomicU64,
    spilled: AtomicU64,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            spill: zone::Spill::default(),
            by_health: AtomicU32::new(1.0_f32.to_bits()),
            utilisation: AtomicU32::default(),
            measured: AtomicU64::default(),
            spilled: AtomicU64::default(),
        }
    }
}

impl Fleet {
    /// Whether a call should leave the gateway's zone, where that matters.
    pub(super) fn goes_far(
        &self,
        planned: &Planned,
        rules: &zone::Rules,
        chance: impl FnOnce() -> u64,
    ) -> Option<bool> {
        let [near, far] = planned.serve.map(|of| of[0] + of[1]);
        (far > 0 && near >= rules.backends_min.max(1)).then(|| !zone::stays(self.kept(), chance()))
    }

    /// The part of its calls that the gateway keeps in its zone.
    pub fn kept(&self) -> f32 {
        self.zones.spill.kept_by_heat().min(f32::from_bits(self.zones.by_health.load(Relaxed)))
    }

    /// How much of what they can do the backends of the gateway's zone do.
    pub fn zone_utilisation(&self) -> f32 {
        f32::from_bits(self.zones.utilisation.load(Relaxed))
    }

    /// Calls that were sent to other zones since the start.
    pub fn spilled(&self) -> u64 {
        self.zones.spilled.load(Relaxed)
    }

    /// Takes in which backends serve.
    pub(super) fn look_at_zone(&self, backends: &[Seen]) {
        let near = || backends.iter().filter(|seen| !seen.far && !seen.state.leaves());
        let serving = near().filter(|seen| seen.state.serves()).count();
        self.zones.by_health.store(zone::kept_by_health(serving, near().count()).to_bits(), Relaxed);
    }

    /// Looks how hot the zone is, and counts what left it.
    pub(super) fn measure_zones(&self, rules: &config::Fleet) {
        let now = self.now();
        let passed = now.saturating_sub(self.zones.measured.swap(now, Relaxed));
        let snapshot = self.snapshot();
        let seen = look(&snapshot.backends, rules);
        self.zones.spill.follow(&seen, passed, &rules.zone);
        self.zones.utilisation.store(seen.utilisation.to_bits(), Relaxed);
        let left = |seen: &Seen| {
            let total = seen.backend.total();
            let new = total.saturating_sub(seen.backend.counted.swap(total, Relaxed));
            if seen.far { new } else { 0 }
        };
        let left: u64 = snapshot.backends.iter().map(left).sum();
        self.zones.spilled.fetch_add(left, Relaxed);
    }
}

/// How hot the own zone is, and the others.
fn look(backends: &[Seen], rules: &config::Fleet) -> zone::Seen {
    let now = Instant::now();
    let mean = |far: bool| {
        let serving = || backends.iter().filter(move |seen| seen.far == far && seen.state.serves());
        let sum: f32 = serving().map(|seen| utilisation(seen, now, rules)).sum();
        sum / serving().count().max(1) as f32
    };
    zone::Seen { utilisation: mean(false), elsewhere: mean(true) }
}

fn utilisation(seen: &Seen, now: Instant, rules: &config::Fleet) -> f32 {
    let backend = &seen.backend;
    let candidate = backend.candidate(1.0, now, &rules.load);
    let cores = match backend.cores.load(Relaxed) {
        0 => AT_ONCE,
        cores => cores,
    };
    let at_once = cores.min(backend.limit(&rules.limit));
    zone::utilisation(candidate.in_flight(), at_once, candidate.pace)
}
