//! Callers of many models: each on a connection of its own, at its part of a rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::header as ours;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::driver::tally::{Latencies, latencies};
use crate::driver::target::Target;

/// Errors that are quoted.
const ERRORS_MAX: usize = 5;
/// How much longer than its deadline an answer is waited for.
const GRACE: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who calls, and what.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    pub(super) target: Target,
    /// A path for each model.
    pub(super) paths: Vec<String>,
    pub(super) body: Bytes,
    pub(super) callers: usize,
    /// Of all callers together, where they can.
    pub(super) rate_per_s: f64,
    pub(super) timeout_ms: u64,
}

/// What they met.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) errors: Vec<String>,
    /// Which backend answered for each model at last.
    pub(super) places: BTreeMap<usize, String>,
    /// How long calls took that waited for their model to be loaded, in microseconds.
    pub(super) waited: Latencies,
    /// And those that did not.
    pub(super) there: Latencies,
}

impl Default for Heard {
    fn default() -> Self {
        let (waited, there) = (latencies(), latencies());
        Self { calls: 0, failed: 0, errors: Vec::new(), places: BTreeMap::new(), waited, there }
    }
}

impl Callers {
    /// Calls each model once, in an order of no meaning.
    pub(super) async fn each_once(&self) -> Heard {
        let (callers, models) = (self.callers, self.paths.len());
        let each = move |at, step| Some(at + step * callers).filter(|model| *model < models);
        self.call(each).await
    }

    /// Calls models drawn by chance, for so long.
    pub(super) async fn by_chance(&self, length: Duration, seed: u64) -> Heard {
        let (until, models) = (Instant::now() + length, self.paths.len());
        let drawn = move |at: usize, step: usize| {
            let mut random = StdRng::seed_from_u64(seed ^ ((at as u64) << 40) ^ ((step as u64) << 8));
            (Instant::now() < until).then(|| random.random_range(0..models))
        };
        self.call(drawn).await
    }

    /// Calls what `next` says, by a caller's number and how many calls it has made, until that is none.
    async fn call(&self, next: impl Fn(usize, usize) -> Option<usize> + Clone + Send + 'static) -> Heard {
        let mut callers = JoinSet::new();
        let shared = Arc::new(self.clone());
        for at in 0..self.callers {
            let (shared, next) = (Arc::clone(&shared), next.clone());
            callers.spawn(async move { shared.caller(move |step| next(at, step)).await });
        }
        let mut heard = Heard::default();
        while let Some(part) = callers.join_next().await {
            match part {
                Ok(part) => heard.add(part),
                Err(error) => heard.fail(error.to_string()),
            }
        }
        heard
    }

    async fn caller(&self, next: impl Fn(usize) -> Option<usize>) -> Heard {
        let mut heard = Heard::default();
        let mut ticks = interval(Duration::from_secs_f64(self.callers as f64 / self.rate_per_s));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        let mut step = 0;
        while let Some(model) = next(step) {
            ticks.tick().await;
            step += 1;
            let began = Instant::now();
            let patience = Duration::from_millis(self.timeout_ms) + GRACE;
            let answered = match timeout(patience, self.exchange(&mut connection, model)).await {
                Ok(answered) => answered.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {patience:?}")),
            };
            if answered.is_err() {
                connection = None;
            }
            heard.note(model, began.elapsed(), answered);
        }
        heard
    }

    /// The headers of a good reply.
    async fn exchange(
        &self,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
        model: usize,
    ) -> Result<HeaderMap, BoxError> {
        let sender = match connection {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(&self.target.address).await?;
                stream.set_nodelay(true)?;
                let (sender, driver) = handshake(TokioIo::new(stream)).await?;
                // Ends with its sender.
                tokio::spawn(driver);
                connection.insert(sender)
            }
        };
        let path = self.paths.get(model).map_or("/", String::as_str);
        let request = Request::post(path)
            .header(http::header::HOST, self.target.host.clone())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(ours::TIMEOUT_MS, self.timeout_ms)
            .body(Full::new(self.body.clone()))?;
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        match head.status {
            StatusCode::OK => Ok(head.headers),
            status => Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}

impl Heard {
    fn note(&mut self, model: usize, took: Duration, answered: Result<HeaderMap, String>) {
        self.calls += 1;
        match answered {
            Ok(headers) => {
                let backend = headers.get(ours::BACKEND).and_then(|name| name.to_str().ok()).unwrap_or_default();
                self.places.insert(model, backend.to_owned());
                let latencies = if headers.contains_key(ours::WAITED_MS) { &mut self.waited } else { &mut self.there };
                latencies.saturating_record(took.as_micros() as u64);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: String) {
        self.failed += 1;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn add(&mut self, other: Heard) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.errors.extend(other.errors);
        self.errors.truncate(ERRORS_MAX);
        self.places.extend(other.places);
        // Both have the same digits, and grow.
        let _ = self.waited.add(other.waited);
        let _ = self.there.add(other.there);
    }
}
