//! `headgate up`: the whole system on this machine, as child processes of this one.
//!
//! [`port`] finds addresses, [`sample`] has the data of the first model, [`child`] keeps a part running, [`banner`] says
//! what runs where.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use headgate_backend::cache::Cache;
use headgate_registry::watch::{WatchError, Watcher};
use headgate_registry::{Store, StoreOptions};
use headgate_trainer::train::Context;
use headgate_trainer::{Source, TrainArgs, train_sources};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::cli::{Global, Up};
use crate::client;
use crate::command::train::narrator;
use crate::output::say;
use crate::place::{self, Running};

mod banner;
mod child;
mod port;
mod sample;

use child::{Life, Part, Supervised};
use port::Reserved;

/// The number in the first backend's name.
const FIRST_BACKEND: u16 = 1;
/// From this port up the backends look for free ones.
const BACKEND_PORT: u16 = 8501;
/// A part that has not answered by then has a fault worth reading of in its log.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The gateway ends calls in flight within this, then the backends do.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Why `up` ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// The directory can't be used.
    #[error("{path}: {source}")]
    Dir {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another one runs there.
    #[error("headgate up already runs in {dir} (pid {pid}); pass another directory with --dir")]
    Running {
        /// The directory.
        dir: PathBuf,
        /// The other's process id.
        pid: String,
    },
    /// A port can't be had.
    #[error(transparent)]
    Port(#[from] port::PortError),
    /// The store's URL can't be read.
    #[error(transparent)]
    Url(#[from] headgate_registry::store::UrlError),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] headgate_registry::StoreError),
    /// The store can't be read, and nothing is kept of it here.
    #[error("the store can't be read: {0}")]
    Unread(#[from] WatchError),
    /// The sample model could not be made.
    #[error("the sample model: {0}")]
    Sample(String),
    /// A part does not answer.
    #[error("{part} did not become ready within {} s; its log is {log}", READY_WITHIN.as_secs())]
    NotReady {
        /// The part.
        part: String,
        /// Its log.
        log: PathBuf,
    },
    /// The system refused something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs the system until Ctrl-C or SIGTERM.
pub(crate) async fn run(global: &Global, up: Up) -> Result<ExitCode, UpError> {
    let dir = make_dir(&up.dir)?;
    let _lock = lock(&dir)?;
    port::check("the gateway's address", up.listen, "--listen")?;
    port::check("the gateway's admin address", up.admin, "--admin")?;
    let url = global.store.clone().unwrap_or_else(|| format!("file://{}", dir.join("store").display()));
    if !up.no_sample {
        let store = Store::open(&url.parse()?, &StoreOptions::from_env()).await?;
        match sample_wanted(&store).await {
            Ok(true) => make_sample(&dir, &store).await?,
            Ok(false) => {}
            Err(error) if kept_catalog(&dir, &store).await => {
                say(&format!("the store can't be read: {error}; the backends serve what they keep\n"));
            }
            Err(error) => return Err(error.into()),
        }
    }

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let system = System::start(&dir, &url, &up)?;
    write_running(&dir, &url, &up)?;
    let stopped_early = tokio::select! {
        ready = system.ready() => { ready?; false }
        _ = interrupt.recv() => true,
        _ = terminate.recv() => true,
    };
    if !stopped_early {
        print!("{}", banner::text(&system, &url, &up));
        tokio::select! {
            () = system.narrate() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    say("stopping; Ctrl-C again to kill\n");
    let _ = fs::remove_file(place::file(&dir));
    tokio::select! {
        () = system.stop() => Ok(ExitCode::SUCCESS),
        // Dropped children are killed.
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
    }
}

/// The parts that run.
pub(crate) struct System {
    gateway: Supervised,
    gateway_address: SocketAddr,
    backends: Vec<(Supervised, Reserved)>,
}

impl System {
    fn start(dir: &Path, store: &str, up: &Up) -> Result<Self, UpError> {
        let mut backends = Vec::new();
        let mut next_port = BACKEND_PORT;
        for number in FIRST_BACKEND..FIRST_BACKEND + up.backends {
            let port = port::free(next_port)?;
            next_port = port.address.port().saturating_add(1);
            backends.push((Supervised::start(backend(dir, store, up, number, port.address)), port));
        }
        let addresses: Vec<SocketAddr> = backends.iter().map(|(_, port)| port.address).collect();
        let gateway = Supervised::start(gateway(dir, up, &addresses));
        Ok(Self { gateway, gateway_address: up.listen, backends })
    }

    /// Waits until every part answers that it is ready.
    async fn ready(&self) -> Result<(), UpError> {
        let deadline = Instant::now() + READY_WITHIN;
        for (part, address) in self.parts() {
            while !client::ok(&address.to_string(), "/v2/health/ready").await {
                if Instant::now() > deadline {
                    return Err(UpError::NotReady { part: part.part.name.clone(), log: part.part.log.clone() });
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Backends, then the gateway, each with its address.
    fn parts(&self) -> impl Iterator<Item = (&Supervised, SocketAddr)> {
        let backends = self.backends.iter().map(|(part, port)| (part, port.address));
        backends.chain(std::iter::once((&self.gateway, self.gateway_address)))
    }

    /// Says, for ever, which part died and which is up again.
    async fn narrate(&self) {
        let watchers = self.parts().map(|(part, _)| narrate_one(part.part.clone(), part.life()));
        futures_util::future::join_all(watchers).await;
    }

    /// The gateway first, so that nothing is sent to a backend that stops.
    async fn stop(self) {
        self.gateway.stop(STOP_WITHIN).await;
        futures_util::future::join_all(self.backends.into_iter().map(|(part, _)| part.stop(STOP_WITHIN))).await;
    }
}

async fn narrate_one(part: Part, mut life: tokio::sync::watch::Receiver<Life>) {
    life.mark_unchanged();
    while life.changed().await.is_ok() {
        match life.borrow_and_update().clone() {
            Life::Running(pid) => say(&format!("{} runs again, pid {pid}\n", part.name)),
            Life::Down(why) => {
                say(&format!("{} is down ({why}); starting it again; its log: {}\n", part.name, part.log.display()))
            }
            Life::Stopped => return,
        }
    }
}

fn backend_name(number: u16) -> String {
    format!("backend-{number}")
}

fn cache_dir(dir: &Path, number: u16) -> PathBuf {
    dir.join("cache").join(backend_name(number))
}

fn backend(dir: &Path, store: &str, up: &Up, number: u16, address: SocketAddr) -> Part {
    let name = backend_name(number);
    let cache = cache_dir(dir, number);
    let arguments = [
        "backend",
        "--listen",
        &address.to_string(),
        "--store",
        store,
        "--cache",
        &cache.display().to_string(),
        "--instance",
        &name,
    ];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    if !up.no_sample {
        arguments.extend(["--default-model", sample::MODEL].map(str::to_owned));
    }
    if let Some(python) = &up.process_python {
        let argv = serde_json::json!([interpreter(python), "{python-runner}"]);
        arguments.extend(["--set".to_owned(), format!("process.commands.python.argv={argv}")]);
    }
    Part { arguments, log: log_file(dir, &name), name }
}

/// A program as it was typed, found from any directory.
fn interpreter(typed: &str) -> String {
    match typed.contains('/') {
        // Not through links: a virtual environment's interpreter is one, and is known by where that lies.
        true => std::path::absolute(typed).map_or_else(|_| typed.to_owned(), |path| path.display().to_string()),
        false => typed.to_owned(),
    }
}

fn gateway(dir: &Path, up: &Up, backends: &[SocketAddr]) -> Part {
    let mut arguments = vec![
        "gateway".to_owned(),
        "--listen".to_owned(),
        up.listen.to_string(),
        "--admin".to_owned(),
        up.admin.to_string(),
    ];
    for backend in backends {
        arguments.extend(["--backend".to_owned(), backend.to_string()]);
    }
    if !up.no_sample {
        arguments.extend(["--set".to_owned(), format!("server.default_model={}", sample::MODEL)]);
    }
    Part { name: "gateway".to_owned(), arguments, log: log_file(dir, "gateway") }
}

/// Whether the store is so new that a sample model helps: nothing was ever promoted there.
async fn sample_wanted(store: &Store) -> Result<bool, WatchError> {
    match Watcher::new(store.clone()).poll().await {
        Ok(_) => Ok(false),
        Err(WatchError::NoCatalog { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether the first backend can start without the store: it keeps a whole catalog of it.
async fn kept_catalog(dir: &Path, store: &Store) -> bool {
    let cache = Cache::new(cache_dir(dir, FIRST_BACKEND), 0);
    Watcher::cached(store.clone(), &cache.catalog_dir()).await.catalog().is_some()
}

/// Trains the sample model, publishes it and lets it serve.
async fn make_sample(dir: &Path, store: &Store) -> Result<(), UpError> {
    say("training the sample model\n");
    let csv = sample::csv();
    let path = dir.join(sample::FILE);
    fs::write(&path, &csv).map_err(|source| UpError::Dir { path, source })?;
    let context = Context { store: store.clone(), options: StoreOptions::from_env(), on_event: narrator() };
    let failed = |e: &dyn std::fmt::Display| UpError::Sample(e.to_string());
    let model = sample::MODEL.parse().map_err(|e| failed(&e))?;
    let args = TrainArgs {
        promote: true,
        lightgbm: std::env::var_os("HEADGATE_LIGHTGBM").map(Into::into),
        positive: Some("yes".to_owned()),
        ..TrainArgs::new(model, sample::TARGET)
    };
    let source = Source::Bytes { name: sample::FILE.to_owned(), bytes: csv.into() };
    let report = train_sources(args, vec![source], context).await.map_err(|e| failed(&e))?;
    match report.not_released {
        None if report.is_success() => Ok(()),
        why => Err(UpError::Sample(why.unwrap_or_else(|| "it was not published".to_owned()))),
    }
}

fn log_file(dir: &Path, name: &str) -> PathBuf {
    dir.join("logs").join(format!("{name}.log"))
}

fn make_dir(dir: &Path) -> Result<PathBuf, UpError> {
    let refused = |path: PathBuf| move |source| UpError::Dir { path, source };
    for below in ["store", "cache", "logs"] {
        fs::create_dir_all(dir.join(below)).map_err(refused(dir.join(below)))?;
    }
    fs::canonicalize(dir).map_err(refused(dir.to_owned()))
}

fn lock(dir: &Path) -> Result<File, UpError> {
    let path = dir.join("up.lock");
    let refused = |source| UpError::Dir { path: path.clone(), source };
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(refused)?;
    if file.try_lock().is_err() {
        let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        return Err(UpError::Running { dir: dir.to_owned(), pid });
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(refused)?;
    Ok(file)
}

fn write_running(dir: &Path, store: &str, up: &Up) -> Result<(), UpError> {
    let running = Running {
        pid: std::process::id(),
        store: store.to_owned(),
        gateway: up.listen.to_string(),
        admin: up.admin.to_string(),
    };
    let path = place::file(dir);
    let text = serde_json::to_vec_pretty(&running).unwrap_or_default();
    fs::write(&path, text).map_err(|source| UpError::Dir { path, source })
}
