//! The access log: one line per request at debug; at info those that failed by our fault (so many a second) and, where
//! asked for, one in so many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use headgate_contract::Version;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use tokio::time::Instant;

use super::choose::Chosen;
use super::id::Id;
use crate::fleet::{Backend, Label};
use crate::metrics;

/// Failed requests that are logged per second.
const FAILED_PER_S: u64 = 100;

/// What there is to say of a request.
pub(super) struct Entry {
    pub(super) began: Instant,
    pub(super) caller: Arc<str>,
    pub(super) id: Id,
    pub(super) method: Method,
    path: Option<PathAndQuery>,
    pub(super) body_bytes: u64,
    label: Option<Arc<Label>>,
    version: Option<Version>,
    backend: Option<Arc<Backend>>,
    attempts: u32,
}

/// Counts what is logged.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    requests: AtomicU64,
    /// The second, times 2^16, plus the lines in it.
    failed: AtomicU64,
}

impl Entry {
    pub(super) fn new(id: Id, caller: Arc<str>, method: Method, uri: &Uri) -> Self {
        Self::at(uri.path_and_query().cloned(), id, caller, method)
    }

    /// Of a request at this path.
    pub(super) fn at(path: Option<PathAndQuery>, id: Id, caller: Arc<str>, method: Method) -> Self {
        let began = Instant::now();
        Self { began, caller, id, method, path, body_bytes: 0, label: None, version: None, backend: None, attempts: 0 }
    }

    pub(super) fn path(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }

    /// Of one more call of the same caller.
    pub(super) fn again(&self) -> Self {
        Self::at(self.path.clone(), self.id.clone(), Arc::clone(&self.caller), self.method.clone())
    }

    pub(super) fn chose(&mut self, chosen: &Chosen) {
        self.label = Some(Arc::clone(&chosen.model.label));
        self.version = Some(chosen.planned.version);
    }

    pub(super) fn tries(&mut self, backend: &Arc<Backend>) {
        self.backend = Some(Arc::clone(backend));
        self.attempts += 1;
    }

    /// Another than the last one that was tried has answered.
    pub(super) fn answered(&mut self, backend: &Arc<Backend>) {
        self.backend = Some(Arc::clone(backend));
    }

    /// Counts the request, and logs it where it is to be. `error` is its kind, where it is one.
    pub(super) fn done(&self, status: StatusCode, error: Option<&str>, sampler: &Sampler, every: u64) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        metrics::request(self.label.as_deref(), self.version, status.as_u16(), took, now);
        if sampler.wants(status, every, self.began) {
            self.write::<true>(status, error, took);
        } else if tracing::enabled!(target: "access", tracing::Level::DEBUG) {
            self.write::<false>(status, error, took);
        }
    }

    fn write<const INFO: bool>(&self, status: StatusCode, error: Option<&str>, took: Duration) {
        let backend = self.backend.as_ref().map(|backend| backend.name());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "access",
                    id = self.id.as_str(),
                    caller = &*self.caller,
                    method = %self.method,
                    path = self.path(),
                    status = status.as_u16(),
                    error,
                    took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    body_bytes = self.body_bytes,
                    model = self.label.as_deref().map(|label| &*label.name),
                    version = self.version.map(Version::get),
                    backend = backend.as_deref(),
                    attempts = self.attempts,
                    "request"
                )
            };
        }
        if INFO { line!(info) } else { line!(debug) }
    }
}

impl Sampler {
    fn wants(&self, status: StatusCode, every: u64, now: Instant) -> bool {
        if status.is_server_error() {
            return self.room_for_failed(now);
        }
        every > 0 && self.requests.fetch_add(1, Relaxed).is_multiple_of(every)
    }

    fn room_for_failed(&self, now: Instant) -> bool {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let second = now.saturating_duration_since(*START.get_or_init(|| now)).as_secs();
        let before = self.failed.fetch_update(Relaxed, Relaxed, |at| match at >> 16 == second {
            true => (at & 0xffff < FAILED_PER_S).then_some(at + 1),
            false => Some((second << 16) + 1),
        });
        before.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_cut() {
        let (sampler, now) = (Sampler::default(), Instant::now());
        let logged = |at| (0..1_000).filter(|_| sampler.wants(StatusCode::BAD_GATEWAY, 0, at)).count() as u64;
        assert_eq!(logged(now), FAILED_PER_S);
        assert_eq!(logged(now + Duration::from_secs(2)), FAILED_PER_S);
        assert!(!sampler.wants(StatusCode::OK, 0, now));
        assert_eq!((0..10).filter(|_| sampler.wants(StatusCode::OK, 5, now)).count(), 2);
    }
}
