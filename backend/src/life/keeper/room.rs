//! Room for what is to be loaded: loads start in turn, and models go whose last call is longest ago.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headgate_contract::ModelName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::{Keeper, count};
use crate::life::Event;
use crate::life::model::{Job, Kept};
use crate::life::plan::Wanted;
use crate::life::resident::Use;

/// When it is looked again whether a model can make room: its calls end soon.
pub(super) const ROOM_AGAIN: Duration = Duration::from_millis(20);

impl Keeper {
    /// Lets the model go whose last call is longest ago. How many bytes that frees; none where all are in use.
    fn evict(&mut self, shown: &mut impl Extend<ModelName>) -> Option<u64> {
        let models = &self.models;
        let name = self.residents.evict(|name| models.get(name).map_or(Use::Idle(0), Kept::usage))?;
        let bytes = self.models.get_mut(&name).map_or(0, Kept::evict);
        self.out.metrics.evictions.increment(1);
        self.bring_in_line(&name, Instant::now());
        shown.extend([name]);
        Some(bytes)
    }

    /// Lets models go until so many bytes of memory are free, or are about to be.
    pub(super) fn free(&mut self, bytes: u64, touched: &mut HashSet<ModelName>) {
        let used = self.workshop.memory_used.load(Ordering::Acquire);
        let mut short = used.saturating_add(bytes).saturating_sub(self.workshop.memory_bytes_max);
        while short > 0
            && let Some(freed) = self.evict(touched)
        {
            short = short.saturating_sub(freed);
        }
    }

    /// Whether a model may be loaded: it is resident, or can be; another one makes room for it where there is none.
    fn has_room(&mut self, name: &ModelName, shown: &mut Vec<ModelName>) -> bool {
        let Some(on_demand) = self.on_demand.clone() else { return true };
        if !self.residents.contains(name) {
            if self.residents.count() >= on_demand.models_max && self.evict(shown).is_none() {
                return false;
            }
            self.residents.insert(name, on_demand.demand.clock(Instant::now()));
        }
        true
    }

    /// Starts the loads whose turn has come.
    pub(super) fn start_loads(&mut self, shown: &mut Vec<ModelName>) {
        while self.running < self.concurrency
            && let Some((place, (name, digest))) = self.queue.pop_first()
        {
            let (now, retire) = (Instant::now(), self.retire);
            // Given up while it waited.
            let waits = |kept: &Kept| kept.tracked(&digest).is_some_and(|t| t.queued == Some(place));
            if !self.models.get(&name).is_some_and(waits) {
                continue;
            }
            if !self.has_room(&name, shown) {
                self.timers.insert((now + ROOM_AGAIN, name.clone()));
                self.queue.insert(place, (name, digest));
                break;
            }
            let Some(kept) = self.models.get_mut(&name) else { continue };
            let Some(tracked) = kept.tracked_mut(&digest) else { continue };
            tracked.queued = None;
            tracked.take(Event::Start, now, retire);
            self.next_id += 1;
            let job = Job { id: self.next_id, cancel: CancellationToken::new() };
            let load = Load {
                workshop: self.workshop.clone(),
                model: name.clone(),
                wanted: Wanted { version: tracked.version, digest, rank: 0 },
                job: job.id,
                in_place: AtomicBool::new(true),
                cancel: job.cancel.clone(),
                messages: self.messages.0.clone(),
            };
            tracked.job = Some(job);
            self.running += 1;
            tokio::spawn(load.run());
            count(&mut self.states, kept);
            shown.push(name);
        }
    }
}
