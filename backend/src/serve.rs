//! The whole backend: built from its configuration, served, drained.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use headgate_contract::fleet::OnDemand as OnDemandRoom;
use headgate_registry::watch::{Handle, Watcher};
use headgate_registry::{Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::compute::Compute;
use crate::config::{Config, Mode};
use crate::dispatch::Shared;
use crate::doors::{self, App, Tls, TlsError, Workers};
use crate::engines::Context;
use crate::fleet::{Board, register};
use crate::life::job::Workshop;
use crate::life::keeper::{Keeper, OnDemand, Views};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// Why a backend could not be built. The operator's fault, or the machine's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine refuses something.
    #[error("can't {what}: {source}")]
    Io {
        /// What.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS can't be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Gateways can't be told where it is.
    #[error("'register.advertise' is not set, and {0} is no address that a gateway can reach")]
    Advertise(String),
}

/// Runs a backend on a bound listener until `shutdown`; then it says that it drains, serves on for the lame duck's time,
/// stops accepting, and waits for calls in flight.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let address = address(&config, &listener)?;
    let instance = config.instance.clone().unwrap_or_else(|| address.clone());
    tracing::info!(address, instance, store = %config.store, cache = %config.cache.dir.display(), "backend");
    let store = Store::open(&config.store, &config.store_options).await?;
    let cache = Cache::new(config.cache.dir.clone(), config.cache.bytes_max);
    let sweep = cache.clone();
    let _ = tokio::task::spawn_blocking(move || sweep.sweep()).await;

    let stopped = CancellationToken::new();
    let watcher = Watcher::cached(store.clone(), &cache.catalog_dir()).await;
    let (handle, watching) = watcher.run(config.poll_interval, stopped.clone().cancelled_owned());
    let watching = tokio::spawn(watching);
    let app = build(&config, &instance, handle.clone())?;
    let engines = Context::new(&config);
    engines.processes.sweep().await;
    let keeping = keep(&config, &app, store, cache, engines.clone(), &handle, stopped.clone())?;

    let leave = CancellationToken::new();
    let announcing =
        config.register.clone().map(|r| tokio::spawn(register::announce(r, instance, address, leave.clone())));
    let board = Arc::clone(&app.shared.board);
    // As many again as there are compute threads would take the cores from each other; and calls that come to one thread
    // are scored together.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).follow(stopped.clone()));
    }
    let workers = Workers::start(cores.div_ceil(2));
    let workers = workers.map_err(|e| io("start threads for connections", e))?;
    let stop = async {
        shutdown.await;
        tracing::info!(lame_duck_ms = config.drain.lame_duck.as_millis() as u64, "draining");
        board.set_draining();
        leave.cancel();
        tokio::time::sleep(config.drain.lame_duck).await;
    };
    let cut_off = doors::serve(app, workers, listener, tls, stop, config.drain.deadline).await;
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "cut off at the drain deadline");
    }
    stopped.cancel();
    let _ = watching.await;
    if let Some(announcing) = announcing {
        let _ = announcing.await;
    }
    let _ = tokio::task::spawn_blocking(move || keeping.join()).await;
    engines.processes.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Where gateways reach this backend.
fn address(config: &Config, listener: &TcpListener) -> Result<String, Error> {
    let local = listener.local_addr().map_err(|e| io("tell where it listens", e))?;
    match config.register.as_ref().map(|r| &r.advertise) {
        Some(Some(advertise)) => Ok(advertise.clone()),
        Some(None) if local.ip().is_unspecified() => Err(Error::Advertise(local.to_string())),
        _ => Ok(local.to_string()),
    }
}

fn build(config: &Config, instance: &str, watcher: Handle) -> Result<App, Error> {
    let limits = config.limits.clone();
    let compute = Compute::new(limits.compute_threads, limits.compute_queue_max);
    let compute = compute.map_err(|e| io("start compute threads", e))?;
    let board = Board::new(instance.to_owned()).in_zone(config.zone.clone());
    let (board, demand) = match config.load.mode {
        Mode::All => (board, None),
        Mode::OnDemand { .. } => {
            let room = OnDemandRoom { memory_bytes_max: config.load.memory_bytes_max };
            (board.of_room(room), Some(Arc::default()))
        }
    };
    let shared = Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
        board: Arc::new(board),
        metrics: Arc::new(Metrics::new()),
        compute,
        limits,
        demand,
        in_flight: AtomicUsize::new(0),
    };
    Ok(App {
        shared: Arc::new(shared),
        watcher,
        default_model: config.default_model.clone(),
        bodies_bytes: Arc::new(AtomicU64::new(0)),
        memory_used: Arc::new(AtomicU64::new(0)),
        stopping: CancellationToken::new(),
    })
}

/// Starts the keeper on a thread of its own: its work grows with what changes, and no request may wait for it.
fn keep(
    config: &Config,
    app: &App,
    store: Store,
    cache: Cache,
    engines: Context,
    watcher: &Handle,
    stopped: CancellationToken,
) -> Result<JoinHandle<()>, Error> {
    let shared = &app.shared;
    let views = Views {
        snapshot: Arc::clone(&shared.snapshot),
        board: Arc::clone(&shared.board),
        metrics: Arc::clone(&shared.metrics),
    };
    let workshop = Workshop {
        store,
        cache,
        metrics: Arc::clone(&shared.metrics),
        engines,
        memory_used: Arc::clone(&app.memory_used),
        memory_bytes_max: config.load.memory_bytes_max,
        makes_room: shared.demand.is_some(),
    };
    let on_demand = match (config.load.mode, &shared.demand) {
        (Mode::OnDemand { models_max }, Some(demand)) => Some(OnDemand { demand: Arc::clone(demand), models_max }),
        _ => None,
    };
    let keeper = Keeper::new(views, workshop, config.load.concurrency, config.retire_max, on_demand);
    let (seen, runtime) = (watcher.seen(), tokio::runtime::Handle::current());
    std::thread::Builder::new()
        .name("headgate-keeper".to_owned())
        .spawn(move || runtime.block_on(keeper.run(seen, stopped.cancelled_owned())))
        .map_err(|e| io("start the keeper", e))
}

pub(crate) fn io(what: &str, source: std::io::Error) -> Error {
    Error::Io { what: what.to_owned(), source }
}
