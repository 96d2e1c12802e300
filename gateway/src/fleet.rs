//! What is known of the backends and of their models: learned by probes, read by every call as one immutable snapshot.

mod apply;
mod backend;
mod costs;
mod heads;
mod members;
mod model;
mod place;
mod plan;
mod snapshot;
mod subsets;
mod watch;
mod zones;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use headgate_balance::{Millis, Nanos};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::discovery::Endpoint;
use crate::metrics;
use crate::upstream::tls::Tls;
use crate::workers::Threads;
use heads::Heads;

pub use backend::{Backend, Bounds, InFlight, Said};
pub use costs::{Costs, Form};
pub use model::{Label, Model};
pub use plan::{Plan, Planned, Refusal};
pub use snapshot::{Seen, Snapshot};
pub use subsets::Preferred;

/// The fleet.
pub struct Fleet {
    config: Arc<ArcSwap<Config>>,
    /// What backends tell this gateway from others by: where it has no name, random, as two may share an address.
    name: Arc<str>,
    /// How backends are spoken to.
    tls: Arc<Tls>,
    snapshot: ArcSwap<Snapshot>,
    /// Held while models are changed, which takes a while where they are many.
    models: Mutex<()>,
    /// Held while a new snapshot takes the place of the last one: for a moment, as calls wait for it.
    writer: Mutex<()>,
    listed: Mutex<Listed>,
    heads: Mutex<Heads>,
    wants: Mutex<place::Wants>,
    started: Instant,
    next_id: AtomicU64,
    /// Models whose name is a label in metrics.
    named: AtomicUsize,
    ejections: AtomicU64,
    room: AtomicU32,
    zones: zones::Zones,
    /// When the subset was settled last.
    settled: AtomicU64,
    /// When success rates were compared last.
    rates_since: AtomicU64,
    /// Where links live.
    threads: Threads,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What discovery says.
#[derive(Default)]
struct Listed {
    by_provider: BTreeMap<&'static str, Vec<Endpoint>>,
    backends: BTreeMap<String, Arc<Backend>>,
}

impl Fleet {
    /// A fleet without backends. All its tasks end when `stop` does.
    pub fn new(config: Arc<ArcSwap<Config>>, threads: Threads, stop: CancellationToken) -> Arc<Self> {
        let name = config.load().server.name.clone();
        let tls = Arc::<Tls>::default();
        tls.follow(config.load().fleet.tls.as_ref());
        Arc::new(Self {
            config,
            name: name.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>())).into(),
            tls,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            models: Mutex::default(),
            writer: Mutex::default(),
            listed: Mutex::default(),
            heads: Mutex::default(),
            wants: Mutex::default(),
            started: Instant::now(),
            next_id: AtomicU64::new(1),
            named: AtomicUsize::new(0),
            ejections: AtomicU64::new(0),
            room: AtomicU32::new(u32::MAX),
            zones: zones::Zones::default(),
            settled: AtomicU64::new(0),
            rates_since: AtomicU64::new(0),
            threads,
            stop,
            tasks: TaskTracker::new(),
        })
    }

    /// All that is known now.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The fleet's clock.
    pub fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the same clock shows at a moment, in nanoseconds.
    pub fn nanos_at(&self, now: Instant) -> Nanos {
        u64::try_from(now.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The calls for which all backends that serve have room together.
    pub fn room(&self) -> u32 {
        self.room.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ejections since the start.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Finds the models that metrics name. Where there are many, that takes a while.
    pub fn name_busiest(&self) {
        let named = metrics::rank(&self.snapshot());
        self.named.store(named, std::sync::atomic::Ordering::Relaxed);
    }

    /// The highest generation that is believed of each store.
    pub fn highest(&self) -> HashMap<String, u64> {
        lock(&self.heads).all(self.now())
    }

    /// Waits until all tasks have ended, once they were told to.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A lock that a panic elsewhere does not take away: what it guards is replaced whole, never left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
