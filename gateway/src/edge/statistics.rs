//! Statistics of models: every backend that serves is asked, and what they counted is added up.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headgate_contract::proto::ModelStatisticsResponse;
use headgate_contract::route::Target;
use headgate_contract::statistics::{Sum, document};
use headgate_contract::{Kind, header as ours};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};

use super::choose::find;
use super::id::Id;
use super::log::Entry;
use super::reply::{Failed, PROTOBUF, error_of, is_protobuf};
use super::{Edge, call, own, predict};
use crate::config::Config;
use crate::fleet::Backend;
use crate::foreign::Door;
use crate::upstream::{Body, Options, Reply};

/// Backends that are asked at once.
const AT_ONCE: usize = 16;
/// Backends that a reply names as unheard.
const UNHEARD_MAX: usize = 32;

/// What all backends together have counted.
pub(super) struct Counted {
    pub(super) statistics: ModelStatisticsResponse,
    /// The names of those that did not answer.
    unheard: Vec<String>,
}

impl Counted {
    /// Those that did not answer, where there are any, for [`ours::UNHEARD`].
    pub(super) fn unheard(&self) -> Option<HeaderValue> {
        let names = self.unheard.get(..UNHEARD_MAX).unwrap_or(&self.unheard).join(",");
        HeaderValue::from_str(&names).ok().filter(|names| !names.is_empty())
    }
}

impl Edge {
    /// Answers `GET .../stats`: in JSON, or as a message where that is asked for.
    pub(super) async fn statistics_door(
        &self,
        headers: &HeaderMap,
        target: Option<&Target>,
        entry: &Entry,
    ) -> Result<Response<Body>, Failed> {
        let limits = &self.config.load_full().limits;
        let within = call::timeout(headers, limits)?.unwrap_or(limits.deadline);
        let counted = self.statistics(target, Instant::now() + within, &entry.id).await?;
        let unheard = counted.unheard();
        let as_message = headers.get_all(header::ACCEPT).iter().any(is_protobuf);
        let written = tokio::task::spawn_blocking(move || match as_message {
            true => Ok(counted.statistics.encode_to_vec()),
            false => serde_json::to_vec(&document(&counted.statistics)),
        });
        let mut response = own::written(written.await, "the statistics")?;
        if as_message {
            response.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
        }
        if let Some(unheard) = unheard {
            response.headers_mut().insert(ours::UNHEARD, unheard);
        }
        Ok(response)
    }

    /// Asks all backends that serve, or those of them that have the model.
    pub(super) async fn statistics(
        &self,
        target: Option<&Target>,
        deadline: Instant,
        id: &Id,
    ) -> Result<Counted, Failed> {
        let config = self.config.load_full();
        let asked = self.holders(target)?;
        let path = match target {
            Some(target) => format!("/v2/models/{target}/stats"),
            None => "/v2/models/stats".to_owned(),
        };
        let path: Uri = path.parse().map_err(|_| Failed::new(Kind::Internal, "the path of statistics"))?;
        let ask = |backend: Arc<Backend>| {
            let request = request(path.clone(), id);
            let options = Options { whole_bytes_max: config.limits.body_bytes_max, ..predict::options(&config) };
            async move {
                let called = timeout_at(deadline, backend.upstream.call(request, &options)).await;
                (backend, called)
            }
        };
        let mut answers = stream::iter(asked).map(ask).buffer_unordered(AT_ONCE);
        let mut gathered = Gathered::default();
        let mut held = self.gate.buffer();
        while let Some((backend, called)) = answers.next().await {
            let answer = called.ok().and_then(Result::ok).map(statistics_of);
            match answer {
                Some(Ok(bytes)) if held.take(bytes.len() as u64, config.limits.buffers_bytes_max) => {
                    gathered.bodies.push((backend.name(), bytes));
                }
                Some(Err(Some(failed))) => gathered.not_there = Some(failed),
                _ => gathered.unheard.push(backend.name()),
            }
        }
        gathered.add_up(&config).await
    }

    fn holders(&self, target: Option<&Target>) -> Result<Vec<Arc<Backend>>, Failed> {
        let snapshot = self.fleet.snapshot();
        let model = target.map(|target| find(&snapshot, target)).transpose()?;
        let serving = snapshot.backends.iter().filter(|seen| seen.state.serves());
        let holding = serving.filter(|seen| model.is_none_or(|model| model.is_on(seen.backend.id)));
        let all: Vec<_> = holding.map(|seen| Arc::clone(&seen.backend)).collect();
        let tells = |backend: &&Arc<Backend>| backend.upstream.foreign().is_none_or(|f| f.takes(Door::Statistics));
        let asked: Vec<_> = all.iter().filter(tells).cloned().collect();
        match (asked.is_empty(), model) {
            (true, _) if !all.is_empty() => {
                Err(Failed::new(Kind::Unsupported, format!("no backend takes {}", Door::Statistics.words())))
            }
            (false, _) => Ok(asked),
            (true, Some(model)) => {
                Err(Failed::new(Kind::Unavailable, format!("no backend that has '{}' serves now", model.name)))
            }
            (true, None) => Err(Failed::new(Kind::Unavailable, "no backend is ready")),
        }
    }
}

/// What came.
#[derive(Default)]
struct Gathered {
    bodies: Vec<(String, Bytes)>,
    unheard: Vec<String>,
    /// What one said that does not have what was asked for.
    not_there: Option<Failed>,
}

impl Gathered {
    async fn add_up(mut self, config: &Config) -> Result<Counted, Failed> {
        self.unheard.sort_unstable();
        if self.bodies.is_empty() {
            let within = config.limits.deadline.as_millis();
            let silent = || {
                let names = self.unheard.join(", ");
                Failed::new(Kind::Unavailable, format!("no backend told its statistics within {within} ms: {names}"))
            };
            return Err(self.not_there.take().unwrap_or_else(silent));
        }
        // Of many models this is long work.
        let added = tokio::task::spawn_blocking(move || {
            let mut sum = Sum::default();
            for (name, bytes) in self.bodies {
                match ModelStatisticsResponse::decode(bytes) {
                    Ok(statistics) => sum.add(statistics),
                    Err(error) => {
                        tracing::warn!(backend = name, %error, "a backend's statistics can't be read");
                        self.unheard.push(name);
                    }
                }
            }
            self.unheard.sort_unstable();
            Counted { statistics: sum.total(), unheard: self.unheard }
        });
        added.await.map_err(|_| Failed::new(Kind::Internal, "the statistics can't be added up"))
    }
}

fn request(path: Uri, id: &Id) -> Request<Body> {
    let mut request = Request::new(Body::whole(Bytes::new()));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = path;
    request.headers_mut().insert(header::ACCEPT, PROTOBUF);
    request.headers_mut().insert(ours::REQUEST_ID, id.header());
    request
}

/// The statistics that a backend sent. What it refuses is of interest where it does not have what was asked for.
fn statistics_of(reply: Reply) -> Result<Bytes, Option<Failed>> {
    let is_message = reply.head.headers.get(header::CONTENT_TYPE).is_some_and(is_protobuf);
    match (reply.head.status, reply.body) {
        (StatusCode::OK, Body::Whole(bytes)) if is_message => Ok(bytes.unwrap_or_default()),
        (StatusCode::NOT_FOUND | StatusCode::MISDIRECTED_REQUEST, Body::Whole(bytes)) => {
            Err(Some(error_of(&reply.head, &bytes.unwrap_or_default())))
        }
        _ => Err(None),
    }
}
