//! The gRPC door, over HTTP/2. A message is taken out of its frame, its model and version are read, and it goes on as it
//! is, by the same way as any prediction: `POST /v2/models/<model>/infer`. Deadlines, retries, hedges, the choice of
//! version, logs and metrics are those of HTTP.

mod inflate;
mod message;
mod reply;
mod services;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::grpc::Address;
use headgate_contract::proto::{
    self, RepositoryIndexResponse, ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse,
    repository_index_response,
};
use headgate_contract::route::{self, Target};
use headgate_contract::{Kind, grpc, header as ours};
use http::header::{self, HeaderMap};
use http::{HeaderValue, Method as Verb, Request, Response, StatusCode};
use hyper::body::Incoming;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::call::Call;
use super::id::Id;
use super::log::Entry;
use super::own;
use super::reply::{Failed, PROTOBUF};
use super::timed::Busy;
use super::{Edge, call};
use crate::config::Limits;
use crate::upstream::Body;
use message::{Coding, Messages};
use services::Service;

/// Streams that stay open as long as their callers want, all connections together.
const HELD_OPEN_MAX: usize = 1024;

/// What is held for a stream while it is open.
type HeldOpen = (Busy, OwnedSemaphorePermit);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    ServerLive,
    ServerReady,
    ServerMetadata,
    ModelReady,
    ModelMetadata,
    ModelInfer,
    ModelStatistics,
    RepositoryIndex,
}

/// What kind of thing that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Unary(Method),
    /// `ModelStreamInfer`.
    Stream,
    /// One of the tools'.
    Service(Service),
}

/// What a call says beside its messages.
#[derive(Clone)]
struct Asked {
    /// The caller's headers that pass.
    headers: HeaderMap,
    /// How long the caller waits for all of it, where it says so (`grpc-timeout`).
    deadline: Option<Duration>,
    /// How long an answer is of use, where it says so (`x-headgate-timeout-ms`).
    patience: Option<Duration>,
    /// How messages are compressed that are, where that is said.
    coding: Option<Coding>,
    id: Id,
}

/// Whether a request is a gRPC call.
pub(super) fn is(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = given.and_then(|given| given.strip_prefix(grpc::CONTENT_TYPE.as_bytes()));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Called {
    fn read(verb: &Verb, path: &str) -> Result<Self, Failed> {
        if verb != Verb::POST {
            return Err(Failed::new(Kind::MethodNotAllowed, format!("gRPC calls by POST, not {verb}")));
        }
        let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((path, ""));
        Ok(Called::Unary(match (service, method) {
            (proto::SERVICE, "ServerLive") => Method::ServerLive,
            (proto::SERVICE, "ServerReady") => Method::ServerReady,
            (proto::SERVICE, "ServerMetadata") => Method::ServerMetadata,
            (proto::SERVICE, "ModelReady") => Method::ModelReady,
            (proto::SERVICE, "ModelMetadata") => Method::ModelMetadata,
            (proto::SERVICE, "ModelInfer") => Method::ModelInfer,
            (proto::SERVICE, "ModelStreamInfer") => return Ok(Called::Stream),
            (proto::SERVICE, "ModelStatistics") => Method::ModelStatistics,
            (proto::SERVICE, "RepositoryIndex") => Method::RepositoryIndex,
            (proto::SERVICE, "RepositoryModelLoad" | "RepositoryModelUnload") => {
                return Err(Failed::new(Kind::Unsupported, route::NO_LOADING));
            }
            _ => {
                let path: String = path.chars().take(120).collect();
                let refuse = || Failed::new(Kind::Unsupported, format!("no method is at '{path}'"));
                return Service::named(service).map(Called::Service).ok_or_else(refuse);
            }
        }))
    }
}

impl Asked {
    fn read(headers: HeaderMap, id: &Id, limits: &Limits) -> Result<Self, Failed> {
        let coding = headers.get(grpc::ENCODING).map(Coding::read).transpose()?;
        let patience = call::timeout(&headers, limits)?;
        let deadline = headers.get(grpc::TIMEOUT).map(deadline).transpose()?;
        let mut headers = call::passing(headers);
        for name in [grpc::TIMEOUT, grpc::ENCODING, grpc::ACCEPT_ENCODING] {
            headers.remove(name);
        }
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ACCEPT_ENCODING] {
            headers.remove(name);
        }
        Ok(Self { headers, deadline, patience, coding, id: id.clone() })
    }

    /// How long the caller of a unary call waits, where it says so.
    fn timeout(&self, limits: &Limits) -> Option<Duration> {
        let deadline = self.deadline.map(|deadline| deadline.min(limits.deadline_max));
        self.patience.into_iter().chain(deadline).min()
    }

    /// The call of a model's prediction.
    fn infer(
        &self,
        target: Target,
        message: &Bytes,
        timeout: Option<Duration>,
        limits: &Limits,
    ) -> Result<Call, Failed> {
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        // As bodies that stream through by HTTP: large ones get more time.
        let is_large = message.len() as u64 > limits.buffer_bytes_max;
        let timeout = timeout.or(is_large.then_some(limits.stream_deadline));
        let path = format!("/v2/models/{target}/infer");
        Call::to(Verb::POST, &path, headers, target, timeout, &self.id)
    }

    /// A question about a model.
    fn question(&self, target: Target, last: &str, limits: &Limits) -> Result<Call, Failed> {
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, PROTOBUF);
        let path = format!("/v2/models/{target}{last}");
        Call::to(Verb::GET, &path, headers, target, self.timeout(limits), &self.id)
    }
}

fn deadline(given: &HeaderValue) -> Result<Duration, Failed> {
    given.to_str().ok().and_then(grpc::timeout).ok_or_else(|| {
        let given: String = String::from_utf8_lossy(given.as_bytes()).chars().take(40).collect();
        let words = "one to eight digits and H, M, S, m, u or n expected";
        let message = format!("header '{}' is '{}': {words}", grpc::TIMEOUT, given.escape_debug());
        Failed::new(Kind::InvalidRequest, message)
    })
}

/// Whom a message is for.
fn address(message: &[u8]) -> Result<Address<'_>, Failed> {
    let (address, read) = Address::of(message);
    read.map_err(|error| Failed::new(Kind::InvalidRequest, format!("the message is broken: {error}")))?;
    Ok(address)
}

impl Edge {
    /// Answers one call, whatever happens.
    pub(super) async fn handle_grpc(
        self: &Arc<Self>,
        request: Request<Incoming>,
        caller: &Arc<str>,
        busy: Busy,
    ) -> Response<Body> {
        let config = self.config.load_full();
        let id = Id::of(request.headers());
        let mut entry = Entry::new(id, Arc::clone(caller), request.method().clone(), request.uri());
        let limits = &config.limits;
        let entered = self.gate.enter(limits.in_flight_max);
        let answered = match (&entered, Called::read(request.method(), request.uri().path())) {
            (None, _) => Err(full(limits.in_flight_max)),
            (_, Err(failed)) => Err(failed),
            (_, Ok(Called::Unary(method))) => {
                let answered = self.unary(method, request, &mut entry).await;
                answered.map(|response| response.map(|body| body.holding((busy, entered))))
            }
            (_, Ok(Called::Stream)) => match self.stream(request, &entry, busy) {
                // Its calls have lines of their own in the log.
                Ok(response) => return response,
                Err(failed) => Err(failed),
            },
            (_, Ok(Called::Service(service))) => match self.hold_open(busy) {
                Ok(held) => Ok(self.answer(service, request).await.map(|body| body.holding(held))),
                Err(failed) => Err(failed),
            },
        };
        let mut response = answered.unwrap_or_else(|failed| reply::failed(&failed));
        response.headers_mut().insert(ours::REQUEST_ID, entry.id.header());
        let error = response.headers().get(ours::ERROR);
        let status = reply::status(error);
        entry.done(status, error.and_then(|kind| kind.to_str().ok()), &self.sampler, config.log.access_every);
        response
    }

    fn hold_open(&self, busy: Busy) -> Result<HeldOpen, Failed> {
        let permit = Arc::clone(&self.held_open).try_acquire_owned();
        let refuse = |_| Failed::new(Kind::Overloaded, format!("{HELD_OPEN_MAX} streams are open already"));
        Ok((busy.stay(), permit.map_err(refuse)?))
    }

    async fn unary(
        &self,
        method: Method,
        request: Request<Incoming>,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Failed> {
        let limits = &self.config.load_full().limits;
        let (head, incoming) = request.into_parts();
        let asked = Asked::read(head.headers, &entry.id, limits)?;
        let mut held = self.gate.buffer();
        let message = Messages::new(incoming, asked.coding).only(&mut held, limits, &self.gate).await?;
        entry.body_bytes = message.len() as u64;
        match method {
            Method::ModelInfer => {
                let call = asked.infer(address(&message)?.target()?, &message, asked.timeout(limits), limits)?;
                reply::of(self.predict(&call, message, entry).await?.into_response(), limits).await
            }
            Method::ModelMetadata => {
                let call = asked.question(address(&message)?.target()?, "", limits)?;
                reply::of(self.ask(&call, entry).await?.into_response(), limits).await
            }
            Method::ModelReady => {
                let call = asked.question(address(&message)?.target()?, "/ready", limits)?;
                self.model_ready(&call, limits, entry).await
            }
            Method::ModelStatistics => self.grpc_statistics(&asked, &message, limits, entry).await,
            Method::RepositoryIndex => self.grpc_index(&message).await,
            Method::ServerLive => Ok(reply::message(&ServerLiveResponse { live: true })),
            Method::ServerReady => Ok(reply::message(&ServerReadyResponse { ready: self.is_ready().is_ok() })),
            Method::ServerMetadata => Ok(reply::message(&ServerMetadataResponse {
                name: own::NAME.to_owned(),
                version: own::VERSION.to_owned(),
                extensions: own::EXTENSIONS.map(str::to_owned).to_vec(),
            })),
        }
    }

    /// A model that is known and can't answer now is not ready; one that is not known is an error.
    async fn model_ready(&self, call: &Call, limits: &Limits, entry: &mut Entry) -> Result<Response<Body>, Failed> {
        let unready = || Ok(reply::message(&proto::ModelReadyResponse { ready: false }));
        match self.ask(call, entry).await {
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => unready(),
            Ok(answer) => reply::of(answer.into_response(), limits).await,
            Err(failed) if matches!(failed.kind, Kind::Loading | Kind::Unavailable) => unready(),
            Err(failed) => Err(failed),
        }
    }

    async fn grpc_statistics(
        &self,
        asked: &Asked,
        message: &[u8],
        limits: &Limits,
        entry: &Entry,
    ) -> Result<Response<Body>, Failed> {
        let address = address(message)?;
        let target = (!address.model.is_empty()).then(|| address.target()).transpose()?;
        let deadline = Instant::now() + asked.timeout(limits).unwrap_or(limits.deadline);
        let counted = self.statistics(target.as_ref(), deadline, &entry.id).await?;
        let unheard = counted.unheard();
        // Of many models this is long work.
        let made = tokio::task::spawn_blocking(move || reply::message(&counted.statistics)).await;
        let mut response = made.map_err(|_| Failed::new(Kind::Internal, "the statistics can't be written"))?;
        if let Some(unheard) = unheard {
            response.headers_mut().insert(ours::UNHEARD, unheard);
        }
        Ok(response)
    }

    async fn grpc_index(&self, message: &[u8]) -> Result<Response<Body>, Failed> {
        let asked = proto::RepositoryIndexRequest::decode(message)
            .map_err(|error| Failed::new(Kind::InvalidRequest, format!("the message is no index request: {error}")))?;
        let snapshot = Arc::clone(&self.fleet.snapshot());
        // With many models this is long work.
        let made = tokio::task::spawn_blocking(move || {
            let models = own::index(&snapshot, asked.ready).into_iter().map(|entry| {
                let (name, state) = (entry.name.to_owned(), entry.state.to_owned());
                repository_index_response::ModelIndex { name, version: entry.version, state, reason: entry.reason }
            });
            reply::message(&RepositoryIndexResponse { models: models.collect() })
        });
        made.await.map_err(|_| Failed::new(Kind::Internal, "the index can't be written"))
    }
}

/// Room for streams that stay open.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(HELD_OPEN_MAX))
}

fn full(max: usize) -> Failed {
    Failed::new(Kind::Overloaded, format!("{max} requests are in flight: no room for another"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_grpc_says_so() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        for yes in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(is(&with(yes)), "{yes}");
        }
        for no in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert!(!is(&with(no)), "{no}");
        }
        assert!(!is(&HeaderMap::new()));
    }

    #[test]
    fn the_last_name_of_a_message_counts_wherever_it_is() {
        let input = proto::model_infer_request::InferInputTensor { name: "x".into(), ..Default::default() };
        let of = |model: &str, version: &str| proto::ModelInferRequest {
            model_name: model.into(),
            model_version: version.into(),
            inputs: vec![input.clone()],
            ..Default::default()
        };
        let bytes = [of("m", "").encode_to_vec(), of("n", "3").encode_to_vec()].concat();
        let found = address(&bytes).unwrap();
        assert_eq!((found.model, found.version), ("n", "3"));
        let failed = address(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(failed.kind == Kind::InvalidRequest && failed.message.contains("byte "), "{}", failed.message);
    }
}
