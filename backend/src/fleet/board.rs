//! The state report: what changed since a cursor, for a long poll.
//!
//! Every change has a number; a model stands under the number of its last one, so that a report costs what changed and
//! not the number of models. A cursor is `<boot>.<number>`: one of another process gets everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headgate_contract::ModelName;
use headgate_contract::fleet::{CatalogSeen, ModelReport, OnDemand, StateReport};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pollers::Pollers;

/// The most models that are gone and still told of; a cursor from before the oldest gets everything.
const GONE_MAX: usize = 10_000;

/// What gateways are told.
#[derive(Debug)]
pub struct Board {
    instance: String,
    zone: String,
    cores: u32,
    boot: String,
    /// What it has room for, where it loads models on demand.
    on_demand: Option<OnDemand>,
    /// Beside the lock, as every reply asks.
    ready: AtomicBool,
    draining: AtomicBool,
    posts: Mutex<Posts>,
    changed: watch::Sender<u64>,
    /// Counts polls by which a gateway said that it knows of a change.
    acknowledged: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Posts {
    number: u64,
    catalog: Option<CatalogSeen>,
    models: HashMap<ModelName, (u64, Arc<ModelReport>)>,
    by_number: BTreeMap<u64, ModelName>,
    gone: BTreeMap<u64, ModelName>,
    gone_by_name: HashMap<ModelName, u64>,
    /// Changes up to this number are told whole only.
    forgotten: u64,
    pollers: Pollers,
}

impl Board {
    /// An empty board of the backend `instance`, which holds all models and is in no zone.
    pub fn new(instance: String) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            instance,
            on_demand: None,
            zone: String::new(),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            boot: format!("{:016x}", rand::random::<u64>()),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            posts: Mutex::default(),
            changed: watch::Sender::new(0),
            acknowledged: watch::Sender::new(0),
        }
    }

    /// The same of a backend that loads models on demand.
    pub fn of_room(self, room: OnDemand) -> Self {
        Self { on_demand: Some(room), ..self }
    }

    /// The same in a zone.
    pub fn in_zone(self, zone: String) -> Self {
        Self { zone, ..self }
    }

    /// The backend's stable name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Posts models as they are now (none: gone). Returns the number of the last of these changes.
    pub fn post(&self, models: impl IntoIterator<Item = (ModelName, Option<ModelReport>)>) -> u64 {
        self.post_with(None, models)
    }

    /// Posts models, and the catalog that they come from, at once: who is told of a catalog is told of its releases.
    pub fn post_with(
        &self,
        catalog: Option<CatalogSeen>,
        models: impl IntoIterator<Item = (ModelName, Option<ModelReport>)>,
    ) -> u64 {
        // Made before the lock is taken: those of ten thousand models take a while.
        let models: Vec<_> = models.into_iter().collect();
        let mut posts = self.posts();
        if catalog.is_some() && posts.catalog != catalog {
            posts.catalog = catalog;
            posts.number += 1;
        }
        for (name, report) in models {
            posts.post(name, report);
        }
        self.announce(&posts)
    }

    /// Says whether every model assigned has become ready or failed.
    pub fn set_ready(&self, ready: bool) {
        self.set(&self.ready, ready);
    }

    /// Says that it is about to stop.
    pub fn set_draining(&self) {
        self.set(&self.draining, true);
    }

    /// Whether it can answer: ready and not about to stop.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Whether it is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// All models as they were posted.
    pub fn models(&self) -> Vec<Arc<ModelReport>> {
        self.posts().models.values().map(|(_, report)| Arc::clone(report)).collect()
    }

    /// Waits until there is something to tell since a cursor, or `wait` is over. Takes note of what `gateway` knows, where
    /// it is one that asks. Returns what [`Board::report`] takes.
    pub async fn wait(&self, gateway: Option<&str>, since: Option<&str>, wait: Duration) -> Option<u64> {
        let known = since.and_then(|cursor| self.number_of(cursor));
        let mut changed = self.changed.subscribe();
        if let Some(gateway) = gateway
            && self.posts().pollers.polled(gateway, known.unwrap_or(0), Instant::now())
        {
            self.acknowledged.send_modify(|count| *count += 1);
        }
        if let Some(known) = known {
            // Over time or changed: either way the report is made now. The sender lives as long as this board.
            let _ = tokio::time::timeout(wait, changed.wait_for(|number| *number > known)).await;
        }
        known
    }

    /// Whether every gateway that polls knows of the change `number`.
    pub fn all_know(&self, number: u64) -> bool {
        self.posts().pollers.all_know(number, Instant::now())
    }

    /// Changes whenever something is posted or said.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes whenever a gateway says that it knows more.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    fn number_of(&self, cursor: &str) -> Option<u64> {
        let (boot, number) = cursor.split_once('.')?;
        let number = number.parse().ok().filter(|_| boot == self.boot)?;
        let posts = self.posts();
        (number <= posts.number && number >= posts.forgotten).then_some(number)
    }

    /// What changed since the change `known`, or (none) everything. The latter takes a while where there are many models.
    pub fn report(&self, known: Option<u64>, in_flight: u64) -> StateReport {
        let posts = self.posts();
        let since = known.unwrap_or(0);
        let (models, gone): (Vec<_>, Vec<_>) = match known {
            None => (posts.models.values().map(|(_, report)| Arc::clone(report)).collect(), Vec::new()),
            Some(_) => {
                let changed = posts.by_number.range(since + 1..).filter_map(|(_, name)| posts.models.get(name));
                let gone = posts.gone.range(since + 1..).map(|(_, name)| name.clone());
                (changed.map(|(_, report)| Arc::clone(report)).collect(), gone.collect())
            }
        };
        let report = StateReport {
            format: 1,
            instance: self.instance.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            cursor: format!("{}.{}", self.boot, posts.number),
            full: known.is_none(),
            ready: self.ready.load(Ordering::Acquire),
            draining: self.is_draining(),
            in_flight,
            on_demand: self.on_demand,
            zone: self.zone.clone(),
            cores: self.cores,
            catalog: posts.catalog.clone(),
            models: Vec::new(),
            gone,
        };
        drop(posts);
        // Copied outside the lock: the first report of many models takes a while.
        StateReport { models: models.iter().map(|m| ModelReport::clone(m)).collect(), ..report }
    }

    fn set(&self, flag: &AtomicBool, to: bool) {
        let mut posts = self.posts();
        if flag.swap(to, Ordering::AcqRel) != to {
            posts.number += 1;
            self.announce(&posts);
        }
    }

    fn announce(&self, posts: &Posts) -> u64 {
        self.changed.send_replace(posts.number);
        posts.number
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posts {
    fn post(&mut self, name: ModelName, report: Option<ModelReport>) {
        if self.models.get(&name).map(|(_, r)| r.as_ref()) == report.as_ref() {
            return;
        }
        self.number += 1;
        if let Some((number, _)) = self.models.remove(&name) {
            self.by_number.remove(&number);
        }
        if let Some(number) = self.gone_by_name.remove(&name) {
            self.gone.remove(&number);
        }
        match report {
            Some(report) => {
                self.by_number.insert(self.number, name.clone());
                self.models.insert(name, (self.number, Arc::new(report)));
            }
            None => {
                self.gone_by_name.insert(name.clone(), self.number);
                self.gone.insert(self.number, name);
                if self.gone.len() > GONE_MAX
                    && let Some((oldest, name)) = self.gone.pop_first()
                {
                    self.gone_by_name.remove(&name);
                    self.forgotten = oldest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::Release;

    use super::*;

    fn report(name: &str, keep: u32) -> (ModelName, Option<ModelReport>) {
        let model: ModelName = name.parse().unwrap();
        let release = Release { keep, ..Release::new() };
        (model.clone(), Some(ModelReport { model, release, versions: vec![] }))
    }

    async fn poll(board: &Board, since: Option<&str>, wait_ms: u64) -> StateReport {
        let known = board.wait(Some("g"), since, Duration::from_millis(wait_ms)).await;
        board.report(known, 3)
    }

    fn names(report: &StateReport) -> Vec<&str> {
        report.models.iter().map(|m| m.model.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_has_what_changed_since_the_cursor() {
        let board = Board::new("b1".into());
        board.post([report("a", 1), report("b", 1)]);
        let first = poll(&board, None, 0).await;
        assert!(first.full && first.models.len() == 2 && first.in_flight == 3);
        board.post([report("b", 2), ("a".parse().unwrap(), None)]);
        board.post([report("b", 2)]);
        let second = poll(&board, Some(&first.cursor), 10_000).await;
        assert!(!second.full);
        assert_eq!((names(&second), second.gone.len()), (vec!["b"], 1));
        board.post([report("a", 1)]);
        let third = poll(&board, Some(&second.cursor), 0).await;
        assert_eq!((names(&third), third.gone.len()), (vec!["a"], 0));
        for unknown in ["", "x.1", "x", &format!("{}.999", board.boot), &format!("{}.x", board.boot)] {
            assert!(poll(&board, Some(unknown), 10_000).await.full, "{unknown}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_waits_for_a_change_and_no_longer_than_asked() {
        let board = Arc::new(Board::new("b1".into()));
        let cursor = poll(&board, None, 0).await.cursor;
        let before = Instant::now();
        assert_eq!(poll(&board, Some(&cursor), 500).await.cursor, cursor);
        assert_eq!(before.elapsed(), Duration::from_millis(500));
        let waiting = tokio::spawn({
            let (board, cursor) = (Arc::clone(&board), cursor.clone());
            async move { poll(&board, Some(&cursor), 30_000).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        board.set_draining();
        assert!(waiting.await.unwrap().draining);
        assert_eq!(before.elapsed(), Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_known_once_every_gateway_asks_beyond_it() {
        let board = Board::new("b1".into());
        assert!(board.all_know(board.post([report("a", 1)])));
        let cursor = poll(&board, None, 0).await.cursor;
        let number = board.post([report("a", 2)]);
        board.wait(None, None, Duration::ZERO).await;
        assert!(!board.all_know(number));
        let later = poll(&board, Some(&cursor), 0).await.cursor;
        assert!(!board.all_know(number));
        poll(&board, Some(&later), 0).await;
        assert!(board.all_know(number));
        // One that is no gateway holds nothing up.
        board.wait(None, None, Duration::ZERO).await;
        assert!(board.all_know(number));
    }

    #[test]
    fn those_long_gone_are_forgotten_whole() {
        let board = Board::new("b1".into());
        for n in 0..GONE_MAX + 2 {
            board.post([report(&format!("m{n}"), 1)]);
        }
        board.post((0..GONE_MAX + 2).map(|n| (format!("m{n}").parse().unwrap(), None)));
        assert!(board.number_of(&format!("{}.5", board.boot)).is_none());
        assert!(board.posts().gone.len() <= GONE_MAX);
    }
}
