//! Versions that bring their own code: a command of the operator's runs with the version's folder, and answers calls of the
//! Open Inference Protocol v2 on a Unix socket. `docs/PROCESS.md` says what it must do, and what bounds it.
//!
//! # Layout
//! - [`folder`]: what a process is given, and where it may write
//! - [`guard`]: the parent of every process, so that nothing of it is left, [`tree`]: who descends from it
//! - [`child`]: a process as the backend sees it, [`log`]: what it writes
//! - [`form`]: calls and answers as JSON, [`line`]: HTTP over the socket
//! - [`keep`]: starts and restarts

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::{Kind, Manifest};
use headgate_engine::{Batch, Outputs, Want};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Files;
use crate::config::Process as Bounds;
use crate::config::process::Command as Allowed;
use crate::life::stage::{Failure, off_thread};
use crate::refusal::Refusal;
use crate::runtime::{Predictor, Scored};
use crate::schema::Schema;

mod child;
mod folder;
mod form;
pub mod guard;
mod keep;
mod line;
mod log;
mod tree;

use folder::Folder;
use form::Form;
use keep::{Keeper, Phase, Probe, Version};
use line::{Line, LineError};
use log::Label;

/// The engine's name in manifests.
pub(super) const NAME: &str = "process";
/// How a manifest requires a command: `process:<name>`.
const REQUIRES: &str = "process:";
/// Values and bytes up to which a call is written, and an answer read, where it comes in.
const INLINE_CELLS: usize = 8 << 10;
const INLINE_BYTES: usize = 64 << 10;
/// How long a call that broke waits to hear that the process ended.
const NEWS_MAX: Duration = Duration::from_millis(500);
/// What the end of all processes may take beyond [`Bounds::stop_timeout`].
const CLOSE_MORE: Duration = Duration::from_secs(15);

/// All processes of a backend, and the commands that they may run.
#[derive(Debug)]
pub struct Yard {
    bounds: Bounds,
    /// Places for first starts. They may take long, so that they are none of the loads'.
    starts: Semaphore,
    keepers: TaskTracker,
    closing: CancellationToken,
}

/// A version's process, as calls see it. Dropped after the last of them, it is told to end.
#[derive(Debug)]
struct Process {
    version: Arc<Version>,
    phase: watch::Receiver<Phase>,
    kill: mpsc::Sender<String>,
    /// Places for calls that it is given at once.
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// What a call took, and a row, on average of late, in nanoseconds; 0 before the first.
    call_ns: Arc<AtomicU64>,
    row_ns: Arc<AtomicU64>,
    _stop: DropGuard,
}

/// A call on its way to the process. It goes on when its caller has gone, as the process does.
struct Exchange {
    version: Arc<Version>,
    line: Arc<Line>,
    kill: mpsc::Sender<String>,
    phase: watch::Receiver<Phase>,
    call_ns: Arc<AtomicU64>,
    row_ns: Arc<AtomicU64>,
    _place: OwnedSemaphorePermit,
}

/// A place among those that wait.
struct Waiting<'p>(&'p AtomicUsize);

// === impl Yard ===

impl Yard {
    /// No process runs yet; `starts_max` may be starting at once.
    pub fn new(bounds: Bounds, starts_max: usize) -> Self {
        Self {
            bounds,
            starts: Semaphore::new(starts_max),
            keepers: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Starts a version's process and waits until it is ready.
    pub(super) async fn start(
        &self,
        manifest: &Manifest,
        files: Files,
        left: u64,
    ) -> Result<Arc<dyn Predictor>, Failure> {
        let Some(golden) = manifest.golden.clone() else {
            return Err(Failure::own("it has no golden rows, and nothing else can prove a process"));
        };
        let allowed = self.allowed(manifest)?.clone();
        let memory = self.bounds.memory_bytes_max;
        if memory > left {
            return Err(Failure::passing(format!("its process may take {memory} bytes of memory, {left} are left")));
        }
        let _place = self.starts.acquire().await.map_err(Failure::passing)?;
        let signature = serde_json::to_vec(&manifest.signature).map_err(Failure::own)?;
        let dir = self.bounds.dir.clone();
        let folder = off_thread(move || Folder::make(&dir, files, &signature)).await?;
        let folder = folder.map_err(|e| Failure::passing(format!("its folder can't be made: {e}")))?;
        let version = Version {
            label: Label { model: manifest.model.clone(), version: manifest.version },
            path: format!("/v2/models/{}/infer", manifest.model.as_str().replace('/', "%2F")),
            form: Form::new(&manifest.signature),
            golden,
            engine: manifest.engine.name.clone(),
            probe: Mutex::default(),
            allowed,
            bounds: self.bounds.clone(),
        };
        let (process, started) = self.keep(Arc::new(version), folder);
        // Given up meanwhile, `process` is dropped, and what was started ends.
        let started = started.await.unwrap_or_else(|_| Err(Failure::passing("the backend is stopping")));
        started.map(|()| Arc::new(process) as Arc<dyn Predictor>)
    }

    /// The command that a manifest names.
    fn allowed(&self, manifest: &Manifest) -> Result<&Allowed, Failure> {
        let requires = &manifest.engine.requires;
        let [Some(name)] = requires.iter().map(|r| r.strip_prefix(REQUIRES)).collect::<Vec<_>>()[..] else {
            let came = requires.join(", ");
            return Err(Failure::own(format!("it requires '{came}', one command expected, as in 'process:python'")));
        };
        self.bounds.commands.get(name).ok_or_else(|| {
            Failure::own(format!(
                "it runs by command '{name}', which this backend does not allow: process.commands has none"
            ))
        })
    }

    fn keep(&self, version: Arc<Version>, folder: Folder) -> (Process, oneshot::Receiver<Result<(), Failure>>) {
        let (phase_in, phase) = watch::channel(Phase::Starting);
        let (kill, kill_out) = mpsc::channel(1);
        let stop = self.closing.child_token();
        let keeper = Keeper {
            version: Arc::clone(&version),
            folder: Arc::new(folder),
            phase: phase_in,
            kill: kill_out,
            stop: stop.clone(),
        };
        let (first, started) = oneshot::channel();
        self.keepers.spawn(keeper.run(first));
        let process = Process {
            places: Arc::new(Semaphore::new(version.bounds.concurrency)),
            version,
            phase,
            kill,
            waiting: AtomicUsize::new(0),
            call_ns: Arc::default(),
            row_ns: Arc::default(),
            _stop: stop.drop_guard(),
        };
        (process, started)
    }

    /// Removes folders that a killed backend left, off the async threads.
    pub(crate) async fn sweep(&self) {
        let dir = self.bounds.dir.clone();
        let _ = off_thread(move || folder::sweep(&dir)).await;
    }

    /// Ends all processes, and waits until they are gone.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.keepers.close();
        if tokio::time::timeout(self.bounds.stop_timeout + CLOSE_MORE, self.keepers.wait()).await.is_err() {
            tracing::warn!(processes = self.keepers.len(), "processes of versions did not end in time");
        }
    }
}

// === impl Process ===

impl Predictor for Process {
    fn score(&self, batch: Batch, want: Want, deadline: Instant) -> Scored<'_> {
        Box::pin(self.scored(batch, want, deadline))
    }

    /// Only its answers to the golden rows tell.
    fn misfit(&self, _schema: &Schema) -> Option<String> {
        None
    }

    /// What it may come to hold.
    fn memory_bytes(&self) -> usize {
        usize::try_from(self.version.bounds.memory_bytes_max).unwrap_or(usize::MAX)
    }

    fn cost_ns_per_row(&self) -> f64 {
        self.row_ns.load(Ordering::Relaxed) as f64
    }
}

impl Process {
    async fn scored(&self, batch: Batch, want: Want, deadline: Instant) -> Result<Outputs, Refusal> {
        let place = self.place(deadline).await?;
        let line = match &*self.phase.borrow() {
            Phase::Up(line) => Arc::clone(line),
            phase => return Err(self.refuse(Kind::Loading, away(phase))),
        };
        let exchange = Exchange {
            version: Arc::clone(&self.version),
            line,
            kill: self.kill.clone(),
            phase: self.phase.clone(),
            call_ns: Arc::clone(&self.call_ns),
            row_ns: Arc::clone(&self.row_ns),
            _place: place,
        };
        let call = tokio::spawn(exchange.run(batch, want));
        match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(self.refuse(Kind::Internal, format!("the call to its process failed: {error}"))),
            Err(_) => Err(self.late()),
        }
    }

    /// Waits for a place; refused at once where there is no hope of one.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let bounds = &self.version.bounds;
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= bounds.queue_max {
            return Err(
                self.refuse(Kind::Overloaded, format!("{} calls wait for its process already", bounds.queue_max))
            );
        }
        let turns = (before / bounds.concurrency) as u64 + 1;
        let wait = Duration::from_nanos(self.call_ns.load(Ordering::Relaxed).saturating_mul(turns));
        if Instant::now() + wait > deadline {
            let words = format!("calls before it take about {} ms: it can't meet its deadline", wait.as_millis());
            return Err(self.refuse(Kind::Overloaded, words));
        }
        match tokio::time::timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(self.late()),
        }
    }

    fn late(&self) -> Refusal {
        self.refuse(Kind::DeadlineExceeded, "the deadline passed before its process answered")
    }

    fn refuse(&self, kind: Kind, words: impl std::fmt::Display) -> Refusal {
        Refusal::new(kind, format!("{}: {words}", self.version.label))
    }
}

/// Why there is no line, in words.
fn away(phase: &Phase) -> String {
    match phase {
        Phase::Down(down) => {
            let pause = down.again_at.saturating_duration_since(Instant::now()).as_millis();
            let times = if down.failures > 1 { format!(" {} times in a row", down.failures) } else { String::new() };
            format!("its process failed{times}, and is started again in {pause} ms: {}", down.why)
        }
        _ => "its process is being started".to_owned(),
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Exchange ===

impl Exchange {
    async fn run(self, batch: Batch, want: Want) -> Result<Outputs, Refusal> {
        let (rows, cells) = (batch.rows(), batch.rows() * batch.columns());
        let version = Arc::clone(&self.version);
        let body = aside(cells > INLINE_CELLS, move || version.form.write(&batch, want)).await;
        let body = Bytes::from(body.map_err(|e| self.refuse(Kind::Internal, e))?);
        let started = Instant::now();
        let answer = match tokio::time::timeout(self.within(), self.line.post(&self.version.path, body.clone())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.failed(error).await),
            Err(_) => return Err(self.hung()),
        };
        let taken = started.elapsed();
        let version = Arc::clone(&self.version);
        let read = aside(answer.len() > INLINE_BYTES, move || version.form.read(&answer, rows, want)).await;
        let read = read.map_err(|e| self.refuse(Kind::Internal, e))?;
        let outputs = read.map_err(|why| self.refuse(Kind::ModelFailed, format_args!("its process' answer: {why}")))?;
        self.learn(taken, rows, || Probe { body, rows, want });
        Ok(outputs)
    }

    /// How long the process has for a call: for its first ones as long as for its start, as it may yet have to warm up.
    fn within(&self) -> Duration {
        let bounds = &self.version.bounds;
        match self.call_ns.load(Ordering::Relaxed) {
            0 => bounds.call_timeout.max(bounds.start_timeout),
            _ => bounds.call_timeout,
        }
    }

    /// The first answer is that to the golden rows, and is remembered.
    fn learn(&self, taken: Duration, rows: usize, probe: impl FnOnce() -> Probe) {
        let taken = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX).max(1);
        for (average, taken) in [(&self.call_ns, taken), (&self.row_ns, taken / rows.max(1) as u64)] {
            let before = average.load(Ordering::Relaxed);
            average.store(if before == 0 { taken } else { before - before / 8 + taken / 8 }, Ordering::Relaxed);
        }
        let mut known = self.version.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(Arc::new(probe()));
        }
    }

    /// It took too long: the process is killed and started again.
    fn hung(&self) -> Refusal {
        let within = self.within().as_millis();
        let words = format!("it did not answer a call within {within} ms, and was killed");
        let refusal = self.refuse(Kind::DeadlineExceeded, format_args!("its process hangs: {words}"));
        // Where another call has said so already, that is enough.
        if matches!(&*self.phase.borrow(), Phase::Up(line) if Arc::ptr_eq(line, &self.line)) {
            let _ = self.kill.try_send(words);
        }
        refusal
    }

    async fn failed(&self, error: LineError) -> Refusal {
        match error {
            LineError::Refused(words) => {
                self.refuse(Kind::InvalidRequest, format_args!("its process refuses the call: {words}"))
            }
            LineError::Busy(words) => self.refuse(Kind::Overloaded, format_args!("its process has no room: {words}")),
            LineError::Failed(words) => self.refuse(Kind::ModelFailed, format_args!("its process failed: {words}")),
            LineError::Protocol(words) => self.refuse(Kind::ModelFailed, format_args!("its process: {words}")),
            LineError::Broken(words) => {
                // Most often it ended, and why is about to be known.
                let (line, mut phase) = (&self.line, self.phase.clone());
                let gone = phase.wait_for(|phase| !matches!(phase, Phase::Up(up) if Arc::ptr_eq(up, line)));
                let gone = tokio::time::timeout(NEWS_MAX, gone).await;
                match gone {
                    Ok(Ok(phase)) => self.refuse(Kind::Loading, away(&phase)),
                    _ => self.refuse(Kind::ModelFailed, format_args!("its process: {words}")),
                }
            }
        }
    }

    fn refuse(&self, kind: Kind, words: impl std::fmt::Display) -> Refusal {
        Refusal::new(kind, format!("{}: {words}", self.version.label))
    }
}

/// Runs work here, or on a thread for such work where it is large.
async fn aside<T: Send + 'static>(large: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    match large {
        false => Ok(work()),
        true => tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string()),
    }
}
