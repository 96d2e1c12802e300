//! Probing: one task per backend asks for its state, again and again. The question waits there for a change (a long
//! poll), so that it is health check and news in one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use headgate_balance::life::Missed;
use headgate_contract::fleet::{NUDGE_PATH, Nudge, STATE_PATH, StateReport};
use headgate_contract::header::GATEWAY;
use http::{Method, Request, StatusCode, header};
use tokio::time::Instant;

use super::apply::brings_models;
use super::{Backend, Fleet, lock};
use crate::config::Config;
use crate::upstream::{Body, BoxError, CallError, Options, Reply};

/// The longest report that is read.
const REPORT_BYTES_MAX: u64 = 512 << 20;
/// What is quoted of a refusal.
const SAID_CHARS_MAX: usize = 160;
/// A longer report is parsed off the request threads.
const REPORT_BYTES_INLINE: usize = 32 << 10;
/// The least time between two probes, however fast a backend answers.
const SPACING: Duration = Duration::from_millis(10);
/// How soon a missed probe is repeated.
const AGAIN: Duration = Duration::from_millis(50);
/// How many times longer news of those may take to which no connections are kept.
const OUTSIDE: u32 = 10;

/// Probes a backend until it is gone.
pub(super) async fn run(fleet: Arc<Fleet>, backend: Arc<Backend>) {
    let stop = backend.stop.clone();
    stop.run_until_cancelled(async {
        let mut missed = 0_u32;
        loop {
            let began = Instant::now();
            match probe(&fleet, &backend).await {
                Ok(changed) => {
                    missed = 0;
                    // One that answers at once with no news would be asked without end.
                    let spacing = if changed && !is_outside(&backend) { SPACING } else { interval(&fleet, &backend) };
                    pause(&backend, spacing.saturating_sub(began.elapsed())).await;
                }
                Err((how, error)) => {
                    miss(&fleet, &backend, how, error.as_ref(), missed);
                    missed = missed.saturating_add(1);
                    let wait = if missed < 2 { AGAIN } else { interval(&fleet, &backend) };
                    tokio::time::sleep(wait).await;
                }
            }
        }
    })
    .await;
}

fn is_outside(backend: &Backend) -> bool {
    backend.outside.load(Relaxed)
}

/// How long news may take to come.
fn interval(fleet: &Fleet, backend: &Backend) -> Duration {
    fleet.config.load().fleet.probe * if is_outside(backend) { OUTSIDE } else { 1 }
}

async fn pause(backend: &Backend, wait: Duration) {
    if backend.is_foreign() {
        // Calls that fail there must not become as many questions.
        tokio::time::sleep(AGAIN.min(wait)).await;
    }
    if !wait.is_zero() {
        let _ = tokio::time::timeout(wait, backend.poke.notified()).await;
    }
}

/// One probe; whether it brought news.
async fn probe(fleet: &Arc<Fleet>, backend: &Arc<Backend>) -> Result<bool, (Missed, BoxError)> {
    if let Some(foreign) = backend.upstream.foreign() {
        let config = fleet.config.load_full();
        let probed = foreign.probe(backend, &config.fleet, limit(&config)).await?;
        let changed = take(fleet, backend, probed.report).await.map_err(|error| (Missed::Unreached, error))?;
        lock(&backend.said).error = probed.error;
        return Ok(changed);
    }
    let unreached = |error| (Missed::Unreached, error);
    let reply = match ask(fleet, backend).await.map_err(unreached)? {
        Some(reply) => reply,
        None => {
            let limit = limit(&fleet.config.load());
            let error = format!("{STATE_PATH} did not answer within {} ms", limit.as_millis());
            return Err((Missed::Unanswered, error.into()));
        }
    };
    take_reply(fleet, backend, reply).await.map_err(unreached)
}

fn limit(config: &Config) -> Duration {
    config.fleet.probe + config.fleet.probe_timeout
}

/// Asks for the state; no reply where it does not come in time, though a connection was made or there was one.
async fn ask(fleet: &Arc<Fleet>, backend: &Arc<Backend>) -> Result<Option<Reply>, BoxError> {
    let limit = limit(&fleet.config.load());
    let config = fleet.config.load_full().fleet.clone();
    let outside = is_outside(backend);
    let options = Options {
        connect_timeout: config.connect_timeout,
        whole_bytes_max: REPORT_BYTES_MAX,
        pool_max: if outside { 0 } else { config.pool_max },
    };
    // A question that waits holds its connection.
    let wait = if outside { Duration::ZERO } else { config.probe };
    let request = Request::get(path(fleet, backend, wait)).header(GATEWAY, &*fleet.name);
    let request = request.body(Body::Whole(None))?;
    match tokio::time::timeout(limit, backend.upstream.call(request, &options)).await {
        Ok(reply) => Ok(Some(reply.map_err(|error| words(&error))?)),
        Err(_) => Ok(None),
    }
}

/// An error with what caused it: hyper's own words do not say.
fn words(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

async fn take_reply(fleet: &Arc<Fleet>, backend: &Arc<Backend>, reply: Reply) -> Result<bool, BoxError> {
    if reply.head.status != StatusCode::OK {
        let said = match &reply.body {
            Body::Whole(Some(body)) => String::from_utf8_lossy(body).chars().take(SAID_CHARS_MAX).collect(),
            _ => String::new(),
        };
        return Err(format!("{STATE_PATH} answered {}: {said}", reply.head.status).into());
    }
    let Body::Whole(body) = reply.body else {
        return Err(format!("state report is larger than {REPORT_BYTES_MAX} bytes").into());
    };
    let body = body.unwrap_or_default();
    let report = match body.len() <= REPORT_BYTES_INLINE {
        true => read(&body)?,
        false => tokio::task::spawn_blocking(move || read(&body)).await??,
    };
    take(fleet, backend, report).await
}

async fn take(fleet: &Arc<Fleet>, backend: &Arc<Backend>, report: StateReport) -> Result<bool, BoxError> {
    if !brings_models(&report) {
        return Ok(take_in(fleet, backend, &report));
    }
    // Models are many, or wait for another backend's many.
    let (fleet, backend) = (Arc::clone(fleet), Arc::clone(backend));
    Ok(tokio::task::spawn_blocking(move || take_in(&fleet, &backend, &report)).await?)
}

fn read(body: &[u8]) -> Result<StateReport, BoxError> {
    let report: StateReport = serde_json::from_slice(body).map_err(|e| format!("state report can't be read: {e}"))?;
    if report.format != 1 {
        return Err(format!("state report has format {}: this build reads 1", report.format).into());
    }
    Ok(report)
}

/// Takes a report in; whether it brought news.
fn take_in(fleet: &Fleet, backend: &Arc<Backend>, report: &StateReport) -> bool {
    let changed = lock(&backend.said).cursor.as_deref() != Some(report.cursor.as_str());
    fleet.heard(backend, report);
    changed
}

fn miss(fleet: &Fleet, backend: &Backend, how: Missed, error: &(dyn std::error::Error + Send + Sync), missed: u32) {
    if missed == 0 {
        tracing::warn!(backend = backend.name(), address = backend.address, %error, "probe failed");
    }
    lock(&backend.said).error = Some(error.to_string().chars().take(300).collect());
    let rules = fleet.config.load().fleet.life;
    let falls_silent = lock(&backend.life).missed(how, &rules);
    fleet.refresh();
    if falls_silent {
        backend.out.notify_waiters();
    }
}

/// The question: since when, how long to wait, and how far the catalog is known to have come.
fn path(fleet: &Fleet, backend: &Backend, wait: Duration) -> String {
    let said = lock(&backend.said);
    let mut path = format!("{STATE_PATH}?wait={}", wait.as_millis());
    if let Some(cursor) = &said.cursor {
        path.push_str("&since=");
        encode(&mut path, cursor);
    }
    let heads = lock(&fleet.heads);
    // A backend that has not told its store is told of the only one.
    let store = said.catalog.as_ref().map(|catalog| catalog.store_id.as_str());
    if let Some((store, generation)) = heads.highest(store, fleet.now()) {
        let _ = write!(path, "&generation={generation}&store=");
        encode(&mut path, store);
    }
    path
}

fn encode(path: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~') {
            path.push(byte as char);
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

impl Fleet {
    /// Passes a nudge on to all backends at once, and remembers it for the probes to come.
    pub fn nudge(self: &Arc<Self>, nudge: &Nudge) {
        lock(&self.heads).heard(&nudge.store_id, nudge.generation, self.now());
        let config = self.config.load();
        let options = Options {
            connect_timeout: config.fleet.connect_timeout,
            whole_bytes_max: 1 << 16,
            pool_max: config.fleet.pool_max,
        };
        let limit = config.fleet.probe_timeout;
        let body: Bytes = serde_json::to_vec(nudge).unwrap_or_default().into();
        for seen in self.snapshot().backends.iter().filter(|seen| !seen.backend.is_foreign()) {
            let backend = Arc::clone(&seen.backend);
            let Ok(request) = nudge_request(body.clone()) else { continue };
            self.tasks.spawn(async move {
                // One that misses it learns of the generation from the next probe.
                let call = backend.upstream.call(request, &options);
                if let Ok(Err(error)) = tokio::time::timeout(limit, call).await {
                    tracing::debug!(backend = backend.name(), %error, "nudge did not arrive");
                }
            });
        }
    }
}

fn nudge_request(body: Bytes) -> Result<Request<Body>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(NUDGE_PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::whole(body))
}
