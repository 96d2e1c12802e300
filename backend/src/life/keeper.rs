//! Keeps what is served in line with the catalog: the one place that changes the snapshot.

mod load;
mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use headgate_contract::fleet::{CatalogSeen, VersionState};
use headgate_contract::{Digest, ModelName, Release};
use headgate_registry::watch::{Catalog, Seen, WatchError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::demand::{Ask, Demand};
use super::job::Workshop;
use super::model::{self, Kept};
use super::plan::Wanted;
use super::resident::Residents;
use super::stage::Failure;
use super::{Cause, Event, State};
use crate::fleet::Board;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use load::{Message, News};

/// Messages handled before what changed is published.
const BATCH_MAX: usize = 1024;

/// Loads that wait for their turn.
type Queue = BTreeMap<(u8, u64), (ModelName, Digest)>;

/// States that a version can be in.
const STATES: usize = VersionState::Unknown as usize + 1;

/// What the keeper writes to.
#[derive(Clone, Debug)]
pub struct Views {
    /// What calls see.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What gateways see.
    pub board: Arc<Board>,
    /// What operators see.
    pub metrics: Arc<Metrics>,
}

/// How models are loaded that are loaded on demand.
#[derive(Clone, Debug)]
pub struct OnDemand {
    /// What asks for them.
    pub demand: Arc<Demand>,
    /// Models that may be resident.
    pub models_max: usize,
}

/// The keeper.
#[derive(Debug)]
pub struct Keeper {
    out: Views,
    workshop: Workshop,
    concurrency: usize,
    retire: Duration,
    models: HashMap<ModelName, Kept>,
    catalog: Option<Arc<Catalog>>,
    /// What gateways are to be told of the catalog, together with the models that it changed.
    untold: Option<CatalogSeen>,
    polls: u64,
    /// Loads that wait for their turn: rank, order of arrival.
    queue: Queue,
    running: usize,
    next_id: u64,
    timers: BTreeSet<(Instant, ModelName)>,
    retiring: HashSet<ModelName>,
    unsettled: HashSet<ModelName>,
    on_demand: Option<OnDemand>,
    /// Which models are resident, where they are loaded on demand.
    residents: Residents,
    /// How many versions are in each state, by the state's number.
    states: [usize; STATES],
    /// Whether a catalog was read, or there is none to read.
    readable: bool,
    ready: bool,
    born: SystemTime,
    messages: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
}

impl Keeper {
    /// A keeper of nothing yet. Without `on_demand` it loads all that is released.
    pub fn new(
        out: Views,
        workshop: Workshop,
        concurrency: usize,
        retire: Duration,
        on_demand: Option<OnDemand>,
    ) -> Self {
        Self {
            out,
            workshop,
            concurrency,
            retire,
            models: HashMap::new(),
            catalog: None,
            untold: None,
            polls: 0,
            queue: BTreeMap::new(),
            running: 0,
            next_id: 0,
            timers: BTreeSet::new(),
            retiring: HashSet::new(),
            unsettled: HashSet::new(),
            on_demand,
            residents: Residents::default(),
            states: [0; STATES],
            readable: false,
            ready: false,
            born: SystemTime::now(),
            messages: mpsc::channel(BATCH_MAX),
        }
    }

    /// Follows the catalog until `shutdown`. It must not run where requests do: its work grows with what changes.
    pub async fn run(mut self, mut seen: watch::Receiver<Seen>, shutdown: impl Future<Output = ()>) {
        let mut known = self.out.board.acknowledged();
        let demand = self.on_demand.as_ref().map(|on_demand| Arc::clone(&on_demand.demand));
        let mut shutdown = std::pin::pin!(shutdown);
        let mut alive = true;
        seen.mark_changed();
        loop {
            let wake = self.timers.first().map(|(at, _)| *at);
            let mut touched = HashSet::new();
            tokio::select! {
                () = &mut shutdown => return,
                changed = seen.changed(), if alive => match changed {
                    Ok(()) => {
                        let now = seen.borrow_and_update().clone();
                        self.adopt(now, &mut touched);
                    }
                    // The watcher has stopped: what is here goes on.
                    Err(_) => alive = false,
                },
                Some(message) = self.messages.1.recv() => {
                    self.hear(message, &mut touched);
                    while touched.len() < BATCH_MAX && let Ok(message) = self.messages.1.try_recv() {
                        self.hear(message, &mut touched);
                    }
                }
                () = asked(demand.as_deref()) => self.answer_asks(&mut touched),
                () = sleep_until(wake) => self.wake(&mut touched),
                Ok(()) = known.changed() => touched.extend(self.retiring.iter().cloned()),
            }
            self.settle(touched);
        }
    }

    /// Takes over what the watcher knows.
    fn adopt(&mut self, seen: Seen, touched: &mut HashSet<ModelName>) {
        let metrics = &self.out.metrics;
        metrics.polls.increment(seen.polls.saturating_sub(self.polls));
        self.polls = seen.polls;
        let error = seen.error.as_deref();
        if error.is_some_and(|e| !matches!(e, WatchError::NoCatalog { .. })) {
            metrics.poll_errors.increment(1);
        }
        if let Some(catalog) = &seen.catalog {
            let head = catalog.head();
            metrics.generation.set(head.generation as f64);
            self.untold = Some(CatalogSeen {
                store_id: head.store_id.clone(),
                generation: head.generation,
                error: error.map(ToString::to_string),
            });
            if !self.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, catalog)) {
                let changes = catalog.changes_since(self.catalog.as_deref());
                tracing::info!(
                    generation = head.generation,
                    changed = changes.changed.len(),
                    gone = changes.gone.len(),
                    "catalog"
                );
                for name in changes.changed {
                    let release = Arc::new(catalog.release(&name).cloned().unwrap_or_default());
                    self.release(name, release, touched);
                }
                for name in changes.gone {
                    self.release(name, Arc::new(Release::new()), touched);
                }
                self.catalog = Some(Arc::clone(catalog));
            }
        }
        self.readable |= self.catalog.is_some() || matches!(error, Some(WatchError::NoCatalog { .. }));
    }

    fn release(&mut self, name: ModelName, release: Arc<Release>, touched: &mut HashSet<ModelName>) {
        match self.models.get_mut(&name) {
            Some(kept) => kept.release = release,
            None => {
                let load = if self.on_demand.is_some() { model::Load::Cold } else { model::Load::Always };
                self.models.insert(name.clone(), Kept::new(name.clone(), release, load));
                self.unsettled.insert(name.clone());
            }
        }
        touched.insert(name);
    }

    /// Takes what was asked for. What is not known here, or on its way already, changes nothing.
    fn answer_asks(&mut self, touched: &mut HashSet<ModelName>) {
        let asks: Vec<(ModelName, Ask)> = self.on_demand.as_ref().map_or_else(Vec::new, |o| o.demand.take());
        for (model, ask) in asks {
            if self.models.get_mut(&model).is_some_and(|kept| kept.ask(ask)) {
                touched.insert(model);
            }
        }
    }

    /// Takes news of a load. Those of one that was given up change nothing.
    fn hear(&mut self, message: Message, touched: &mut HashSet<ModelName>) {
        let Message { model, digest, job, news } = message;
        if matches!(news, News::Aside | News::Done(_, true)) {
            self.running -= 1;
        }
        let (retire, now) = (self.retire, Instant::now());
        let kept = self.models.get_mut(&model);
        let since = kept.as_ref().filter(|kept| kept.follows_releases());
        let since = since.and_then(|kept| since_promotion(&kept.release, &digest, self.born));
        let tracked = kept.and_then(|kept| kept.tracked_mut(&digest));
        if let Some(tracked) = tracked.filter(|t| t.job.as_ref().is_some_and(|j| j.id == job)) {
            match news {
                News::Reached(stage) => _ = tracked.take(Event::Reached(stage), now, retire),
                News::Aside => {}
                News::Needs(bytes) => return self.free(bytes, touched),
                News::Done(Ok(servable), _) => {
                    tracked.job = None;
                    tracked.servable = Some(servable);
                    tracked.take(Event::Proven, now, retire);
                    self.out.metrics.loaded(since);
                }
                News::Done(Err(Failure { cause, reason }), _) => {
                    tracked.job = None;
                    self.out.metrics.load_failed(cause == Cause::Passing);
                    tracked.take(Event::Failed(cause, reason), now, retire);
                }
            }
        }
        touched.insert(model);
    }

    /// Time has passed.
    fn wake(&mut self, touched: &mut HashSet<ModelName>) {
        let now = Instant::now();
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, model)) = self.timers.pop_first()
        {
            touched.insert(model);
        }
    }

    /// Brings the models that something happened to in line with their releases, shows them, and starts loads.
    fn settle(&mut self, touched: HashSet<ModelName>) {
        let now = Instant::now();
        let mut shown = Vec::with_capacity(touched.len());
        for name in touched {
            if self.bring_in_line(&name, now) {
                shown.push(name);
            }
        }
        self.start_loads(&mut shown);
        self.show(&shown);
        self.judge_ready();
    }

    /// Brings a model in line with its release, and with whether it is asked for. False where there is none.
    fn bring_in_line(&mut self, name: &ModelName, now: Instant) -> bool {
        let Some(kept) = self.models.get_mut(name) else { return false };
        let board = &self.out.board;
        kept.tick(now, |number| board.all_know(number));
        for wanted in kept.replan(now, self.retire) {
            enqueue(&mut self.queue, &mut self.next_id, kept, wanted);
        }
        kept.review();
        if !kept.is_resident() {
            self.residents.remove(name);
        }
        if let Some(at) = kept.wakes_at() {
            self.timers.insert((at, name.clone()));
        }
        count(&mut self.states, kept);
        if kept.settled {
            self.unsettled.remove(name);
        }
        if kept.retires() {
            self.retiring.insert(name.clone())
        } else {
            self.retiring.remove(name)
        };
        if kept.is_gone() {
            self.unsettled.remove(name);
            self.models.remove(name);
        }
        true
    }

    /// Shows models as they are now: first to calls, then to gateways, so that what is reported can be called.
    fn show(&mut self, names: &[ModelName]) {
        let catalog = self.untold.take();
        if names.is_empty() && catalog.is_none() {
            return;
        }
        let model = |name: &ModelName| (name.clone(), self.models.get(name).map(|kept| Arc::new(kept.model())));
        let next = self.out.snapshot.load().with(names.iter().map(model));
        self.out.snapshot.store(Arc::new(next));
        if let Some(on_demand) = &self.on_demand {
            on_demand.demand.shown(names);
            self.out.metrics.resident.set(self.residents.count() as f64);
        }
        let report = |name: &ModelName| (name.clone(), self.models.get(name).map(Kept::report));
        let number = self.out.board.post_with(catalog, names.iter().map(report));
        for name in names.iter().filter(|name| self.retiring.contains(*name)) {
            let versions = self.models.get_mut(name).map(|kept| kept.versions.iter_mut());
            for tracked in versions.into_iter().flatten().filter(|t| matches!(t.life.state(), State::Retiring { .. })) {
                if tracked.told.is_none() {
                    tracked.told = Some(number);
                    // Where every gateway knows already, or there is none, it goes at once.
                    self.timers.insert((Instant::now(), name.clone()));
                }
            }
        }
        self.out.metrics.set_states(|state| self.states[state as usize]);
    }

    /// Once ready, a backend stays so: one bad model later does not make the server unready.
    fn judge_ready(&mut self) {
        if !self.ready && self.readable && self.unsettled.is_empty() {
            self.ready = true;
            self.out.metrics.ready.set(1.0);
            self.out.board.set_ready(true);
            tracing::info!(models = self.models.len(), "ready");
        }
    }
}

async fn asked(demand: Option<&Demand>) {
    match demand {
        Some(demand) => demand.asked().await,
        None => std::future::pending().await,
    }
}

/// Gives a version its place in the queue, or a better one.
fn enqueue(queue: &mut Queue, next_id: &mut u64, kept: &mut Kept, wanted: Wanted) {
    let name = kept.name.clone();
    let Some(tracked) = kept.tracked_mut(&wanted.digest) else { return };
    match tracked.queued {
        Some((rank, _)) if rank <= wanted.rank => return,
        Some(place) => _ = queue.remove(&place),
        None => {}
    }
    *next_id += 1;
    let place = (wanted.rank, *next_id);
    tracked.queued = Some(place);
    queue.insert(place, (name, wanted.digest));
}

/// Counts a model's versions by state, in place of how they were counted before.
fn count(states: &mut [usize; STATES], kept: &mut Kept) {
    for state in kept.counted.drain(..) {
        states[state as usize] -= 1;
    }
    kept.counted.extend(kept.versions.iter().map(|t| t.life.reported().0));
    for state in &kept.counted {
        states[*state as usize] += 1;
    }
}

/// How long ago a version was promoted, where that was in this process' life: before, it says nothing about us.
fn since_promotion(release: &Release, digest: &Digest, born: SystemTime) -> Option<Duration> {
    let entry = release.history.last().filter(|entry| entry.serve.iter().any(|s| s.digest == *digest))?;
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(entry.at.as_millisecond()).ok()?);
    if at < born { None } else { SystemTime::now().duration_since(at).ok() }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
