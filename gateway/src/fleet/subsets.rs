//! Which backends this gateway keeps connections open to, where the fleet is too large for all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use headgate_balance::subset::{Place, subset};
use headgate_balance::zone;

use super::{Backend, Fleet, Planned, Seen, lock};
use crate::config::Config;

/// Fewer that hold a version are no choice: then those outside are asked, too.
const INSIDE_MIN: usize = 2;

/// Which of a version's backends a call goes to, if they have room.
#[derive(Clone, Copy, Debug)]
pub struct Preferred {
    /// Those of other zones, or those of the own.
    far: Option<bool>,
    /// Those to which connections are kept open.
    inside: bool,
}

impl Preferred {
    /// Whether this is one of them.
    pub fn takes(self, seen: &Seen) -> bool {
        self.far.is_none_or(|far| seen.far == far) && !(self.inside && seen.outside)
    }
}

impl Fleet {
    /// Which of a version's backends a call should go to, where that matters. A retry may go to any.
    pub fn preferred(
        &self,
        planned: &Planned,
        is_retry: bool,
        rules: &zone::Rules,
        chance: impl FnOnce() -> u64,
    ) -> Option<Preferred> {
        if is_retry {
            return None;
        }
        let far = self.goes_far(planned, rules, chance);
        let [near, other] = planned.serve;
        let [inside, outside] = match far {
            Some(false) => near,
            Some(true) => other,
            None => [near[0] + other[0], near[1] + other[1]],
        };
        let inside = outside > 0 && inside >= INSIDE_MIN;
        (far.is_some() || inside).then_some(Preferred { far, inside })
    }

    /// Settles which backends are inside: of the gateway's zone first, then of the others. Those that left are not
    /// counted; those that are out are, as they may be back in a moment.
    pub(super) fn settle_subset(&self, config: &Config) {
        self.settled.store(self.now(), Relaxed);
        let listed: Vec<Arc<Backend>> = {
            let listed = lock(&self.listed);
            listed.backends.values().filter(|backend| !lock(&backend.life).has_left()).map(Arc::clone).collect()
        };
        let size = match config.fleet.subset_size {
            0 => usize::MAX,
            size => size,
        };
        if size >= listed.len() {
            listed.iter().for_each(|backend| backend.put(false));
            return;
        }
        let place = config.fleet.subset_index.map_or_else(|| Place::of_name(&self.name), Place::of_index);
        let (far, near): (Vec<_>, Vec<_>) = listed.iter().partition(|backend| backend.is_far(&config.server.zone));
        let left = keep(place, &near, size);
        keep(place, &far, left);
    }
}

/// Marks which of these backends are inside; how many more may be.
fn keep(place: Place, backends: &[&Arc<Backend>], size: usize) -> usize {
    let names: Vec<&str> = backends.iter().map(|backend| backend.key.as_str()).collect();
    let mut outside = vec![true; names.len()];
    for at in subset(place, &names, size) {
        outside[at] = false;
    }
    backends.iter().zip(outside).for_each(|(backend, outside)| backend.put(outside));
    size.saturating_sub(names.len())
}

impl Backend {
    fn put(&self, outside: bool) {
        match (self.outside.swap(outside, Relaxed), outside) {
            (false, true) => self.upstream.purge(),
            // It was asked seldom.
            (true, false) => self.suspect(),
            _ => {}
        }
    }
}
