//! Keeps a version's process running: starts it, hears of its end, starts it again after a growing pause.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::manifest::golden::{Golden, Precision, Results};
use headgate_engine::Want;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::child::Child;
use super::folder::Folder;
use super::form::Form;
use super::line::{Line, LineError};
use super::log::Label;
use crate::config::process::{Command as Allowed, Process as Bounds};
use crate::life::stage::Failure;

/// The pause before the first restart; it doubles with each failure in a row, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A process that ran this long was well: what comes next is a first failure again.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// How often a starting process is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What a version's process does now.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// It has not been ready yet.
    Starting,
    /// It answers on this line.
    Up(Arc<Line>),
    /// It ended, and is started again.
    Down(Down),
}

/// An end.
#[derive(Clone, Debug)]
pub(super) struct Down {
    /// Why.
    pub(super) why: Arc<str>,
    /// How many times in a row.
    pub(super) failures: u32,
    /// When it is started again.
    pub(super) again_at: Instant,
}

/// A call whose right answer is known: the golden rows'. What is started again has to give it again.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) body: Bytes,
    pub(super) rows: usize,
    pub(super) want: Want,
}

/// What is known of a version for as long as it is here.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) label: Label,
    /// Where calls go.
    pub(super) path: String,
    pub(super) form: Form,
    pub(super) golden: Golden,
    pub(super) engine: String,
    pub(super) probe: Mutex<Option<Arc<Probe>>>,
    pub(super) allowed: Allowed,
    pub(super) bounds: Bounds,
}

/// The keeper of one version's process.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) version: Arc<Version>,
    pub(super) folder: Arc<Folder>,
    pub(super) phase: watch::Sender<Phase>,
    /// Why the running process is to be killed.
    pub(super) kill: mpsc::Receiver<String>,
    pub(super) stop: CancellationToken,
}

impl Keeper {
    /// Keeps it running until it is told to stop. `first` hears how the first start went; where it failed that was all.
    pub(super) async fn run(mut self, first: oneshot::Sender<Result<(), Failure>>) {
        self.keep(first).await;
        // Removing a folder blocks, and nothing is over before it has gone.
        let _ = tokio::task::spawn_blocking(move || drop(self.folder)).await;
    }

    async fn keep(&mut self, first: oneshot::Sender<Result<(), Failure>>) {
        let mut first = Some(first);
        let mut failures = 0u32;
        loop {
            let (why, ran) = match (self.start().await, first.take()) {
                (Err(failure), Some(first)) => {
                    let _ = first.send(Err(failure));
                    return;
                }
                (Err(failure), None) => (failure.reason, Duration::ZERO),
                (Ok((child, line)), first) => {
                    let since = Instant::now();
                    self.phase.send_replace(Phase::Up(line));
                    if let Some(first) = first {
                        let _ = first.send(Ok(()));
                    }
                    match self.watch(child).await {
                        Some(why) => (why, since.elapsed()),
                        None => return,
                    }
                }
            };
            failures = if ran > WELL_AFTER { 1 } else { failures.saturating_add(1) };
            let pause = PAUSE_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX);
            let (model, version) = (&self.version.label.model, self.version.label.version);
            let pause_ms = pause.as_millis() as u64;
            tracing::warn!(%model, %version, why, failures, pause_ms, "process: it ended, and is started again");
            let again_at = Instant::now() + pause;
            self.phase.send_replace(Phase::Down(Down { why: why.into(), failures, again_at }));
            tokio::select! {
                () = tokio::time::sleep_until(again_at) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Starts it and waits until it is ready and, where it was proven before, still gives the golden results.
    async fn start(&mut self) -> Result<(Child, Arc<Line>), Failure> {
        let version = Arc::clone(&self.version);
        let bounds = &version.bounds;
        let (folder, starting) = (Arc::clone(&self.folder), Arc::clone(&version));
        let start = move || Child::start(&folder, &starting.allowed, &starting.bounds, &starting.label);
        let child = tokio::task::spawn_blocking(start).await.map_err(Failure::passing)?;
        let mut child = child.map_err(|e| Failure::passing(format!("its process can't be started: {e}")))?;
        let line = Arc::new(Line::new(self.folder.socket(), bounds.answer_bytes_max));
        let within = bounds.start_timeout;
        let ready = tokio::select! {
            () = self.stop.cancelled() => Err("it was given up".to_owned()),
            why = child.ended() => Err(format!("its process did not become ready: {why}")),
            ready = tokio::time::timeout(within, ready(&line, &version)) => match ready {
                Ok(Ok(())) => Ok(()),
                Ok(Err(why)) => Err(why),
                Err(_) => Err(format!("its process was not ready within {} ms", within.as_millis())),
            },
        };
        match ready {
            Ok(()) => Ok((child, line)),
            Err(why) => {
                child.kill().await;
                Err(Failure::own(why))
            }
        }
    }

    /// Waits until it ends, or ends it. Why it ended; none where it was told to.
    async fn watch(&mut self, mut child: Child) -> Option<String> {
        // What an earlier start was to be killed for.
        while self.kill.try_recv().is_ok() {}
        tokio::select! {
            why = child.ended() => Some(why),
            Some(why) = self.kill.recv() => {
                child.kill().await;
                Some(why)
            }
            () = self.stop.cancelled() => {
                child.stop(self.version.bounds.stop_timeout).await;
                None
            }
        }
    }
}

/// Asks until it is ready, then for the golden rows' results where they were right once.
async fn ready(line: &Line, version: &Version) -> Result<(), String> {
    loop {
        match line.is_ready().await {
            Ok(true) => break,
            Err(LineError::Protocol(why)) => return Err(format!("its process speaks no HTTP: {why}")),
            _ => tokio::time::sleep(ASK_EVERY).await,
        }
    }
    let probe = version.probe.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(probe) = probe else { return Ok(()) };
    let wrong = |why: String| format!("its process does not give the golden results any more: {why}");
    let body = line.post(&version.path, probe.body.clone()).await.map_err(|e| wrong(e.to_string()))?;
    let outputs = version.form.read(&body, probe.rows, probe.want).map_err(wrong)?;
    let results = Results { precision: Precision::F64, margins: &outputs.margins, outputs: &outputs.values };
    version.golden.compare(&version.engine, results).map_err(|e| wrong(e.to_string()))
}
