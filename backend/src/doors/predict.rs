//! The hot path: a prediction over HTTP.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use headgate_contract::error::ErrorBody;
use headgate_contract::route::{self, Choice, Protocol, Route, Target};
use headgate_contract::{Digest, Kind, header, host};
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::{Level, enabled};

use super::body::Source;
use super::coding::{self, Coding, Packing};
use super::names::{self, REQUEST_ID};
use super::reply::{self, Id, ReplyBody};
use super::{App, form};
use crate::decode::Form;
use crate::dispatch::{Call, Chosen, Reply};
use crate::metrics::Outcome;
use crate::refusal::{Refusal, shorten};

/// Where the access log goes.
const ACCESS: &str = "headgate_backend::access";

/// Why nothing answers at `/invocations`.
const NO_DEFAULT_MODEL: &str =
    "/invocations has no model: 'default_model' is not set (--default-model); /endpoints/{model}/invocations names one";

/// Answers a request: predictions here, the rest in `router`.
pub(super) async fn answer(
    app: &App,
    router: &Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    if let Err(refusal) = sound(&request) {
        let mut response = reply::refusal_of(&refusal, ErrorBody::is_twice_at(request.uri().path()));
        finish(app, response.headers_mut(), &Id::of(request.headers()));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response.map(|body| Either::Left(Full::new(body)));
    }
    if request.method() == Method::POST && route::is_prediction(request.uri().path()) {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let response = whole(app, peer, parts.uri.path(), &parts.headers, Source::Incoming(body), started).await;
        return response.map(|body| Either::Left(Full::new(body)));
    }
    let id = Id::of(request.headers()).header();
    let mut response = match router.clone().oneshot(request).await {
        Ok(response) => response.map(Either::Right),
    };
    finish(app, response.headers_mut(), &Id::Given(&id));
    response
}

/// Refuses a head that another server may read otherwise, or that asks for a tunnel: its connection is to be closed.
fn sound(request: &Request<Incoming>) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        let words = "CONNECT asks for a tunnel, and there is none here";
        return Err(Refusal { allow: Some(""), ..Refusal::new(Kind::MethodNotAllowed, words) });
    }
    let hosts = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
    host::check(request.version() == Version::HTTP_11, hosts).map_err(Refusal::invalid)
}

/// Answers a prediction, of POST.
pub(super) async fn whole(
    app: &App,
    peer: SocketAddr,
    path: &str,
    headers: &HeaderMap,
    body: Source,
    started: Instant,
) -> Response<Bytes> {
    let id = Id::of(headers);
    let mut response = match answered(app, peer, path, headers, body, &id, started).await {
        Ok((reply, packing)) => {
            let mut response = reply::prediction(reply, app.shared.in_flight.load(Ordering::Relaxed));
            let said = packing.said().map(|(name, text)| (name, HeaderValue::from_static(text)));
            response.headers_mut().extend(said);
            response
        }
        Err(refusal) => reply::refusal_of(&refusal, ErrorBody::is_twice_at(path)),
    };
    finish(app, response.headers_mut(), &id);
    response
}

/// What every reply says.
pub(super) fn finish(app: &App, headers: &mut HeaderMap, id: &Id<'_>) {
    headers.insert(REQUEST_ID, id.header());
    if app.shared.board.is_draining() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The answer to a prediction, for the access log to see.
pub(super) async fn answered(
    app: &App,
    peer: SocketAddr,
    path: &str,
    headers: &HeaderMap,
    body: Source,
    id: &Id<'_>,
    started: Instant,
) -> Result<(Reply, Packing), Refusal> {
    let answered = predict(app, path, headers, body, started).await;
    note(&answered, peer, path, id, started);
    answered
}

/// Whether anybody reads the access log: mostly not.
pub(super) fn is_noted() -> bool {
    enabled!(target: ACCESS, Level::DEBUG)
}

/// Writes the access log.
pub(super) fn note(
    answered: &Result<(Reply, Packing), Refusal>,
    peer: SocketAddr,
    path: &str,
    id: &dyn Display,
    started: Instant,
) {
    if is_noted() {
        let taken_us = started.elapsed().as_micros() as u64;
        match answered {
            Ok((Reply { servable, answer, .. }, _)) => {
                let (version, rows) = (servable.schema.version, answer.rows);
                tracing::debug!(target: ACCESS, path, %peer, %id, %version, rows, taken_us, "answered");
            }
            Err(refusal) => {
                let (kind, words) = (refusal.kind.as_str(), &refusal.message);
                tracing::debug!(target: ACCESS, path, %peer, %id, kind, words, taken_us, "refused");
            }
        }
    }
}

async fn predict(
    app: &App,
    path: &str,
    headers: &HeaderMap,
    body: Source,
    started: Instant,
) -> Result<(Reply, Packing), Refusal> {
    Asks::read(app, path, headers).answer(app, headers, body, started).await
}

/// What a call's path and headers ask for, and for how long the answer is of use; or what is wrong with them.
#[derive(Debug)]
pub(super) struct Asks {
    head: Result<(Head, Option<Duration>), Refusal>,
    /// Whether the caller names its calls.
    names: bool,
}

impl Asks {
    pub(super) fn read(app: &App, path: &str, headers: &HeaderMap) -> Self {
        let head = Head::read(app, path, headers);
        let head = head.and_then(|head| Ok((head, timeout(headers)?)));
        Self { head, names: headers.contains_key(REQUEST_ID) }
    }

    /// What a call with these headers is called.
    pub(super) fn id<'h>(&self, headers: &'h HeaderMap) -> Id<'h> {
        if self.names { Id::of(headers) } else { Id::new() }
    }

    /// Answers a call that came at a time.
    pub(super) async fn answer(
        &self,
        app: &App,
        headers: &HeaderMap,
        body: Source,
        started: Instant,
    ) -> Result<(Reply, Packing), Refusal> {
        match &self.head {
            Ok((head, timeout)) => answer_to(app, head, headers, body, (started, *timeout)).await,
            Err(refusal) => Err(early(app, started, refusal.clone())),
        }
    }
}

/// What a call's head says.
#[derive(Debug)]
pub(super) struct Head {
    form: Form,
    target: Target,
    /// The version that a gateway chose.
    pub(super) chosen: Option<Chosen>,
    coding: Option<Coding>,
}

impl Head {
    pub(super) fn read(app: &App, path: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let (protocol, target) = target(app, path)?;
        let (form, chosen) = (form::of(protocol, headers)?, chosen(headers)?);
        Ok(Self { form, target, chosen, coding: coding::of_body(headers)? })
    }
}

/// Answers a call whose head was read, and that came at a time and is of use for so long.
pub(super) async fn answer_to(
    app: &App,
    head: &Head,
    headers: &HeaderMap,
    body: Source,
    (started, timeout): (Instant, Option<Duration>),
) -> Result<(Reply, Packing), Refusal> {
    let (shared, early) = (&app.shared, |refusal| early(app, started, refusal));
    let deadline = started + timeout.map_or(shared.limits.timeout, |given| given.min(shared.limits.timeout_max));
    let _place = shared.enter().map_err(early)?;
    let until = deadline.min(started + shared.limits.body_timeout);
    let (mut body, mut held) = body.read(app, until).await.map_err(early)?;
    if let Some(coding) = head.coding {
        body = coding.unpack(shared, body, &mut held, deadline).await.map_err(early)?;
    }
    let call = Call { form: head.form, target: &head.target, chosen: head.chosen, deadline, headers, body };
    let mut reply = shared.dispatch(call).await?;
    let packing = coding::pack_reply(shared, headers, &mut reply.answer.body.bytes, deadline).await;
    Ok((reply, packing))
}

/// Counts a call that was refused before its version was known.
pub(super) fn early(app: &App, started: Instant, refusal: Refusal) -> Refusal {
    app.shared.metrics.series.unresolved().count(Outcome::Refused(refusal.kind), started.elapsed());
    refusal
}

fn target(app: &App, path: &str) -> Result<(Protocol, Target), Refusal> {
    match route::parse(Method::POST.as_str(), path) {
        Ok(Route::Predict(protocol, target)) => Ok((protocol, target)),
        Ok(Route::Invocations) => match &app.default_model {
            Some(model) => Ok((Protocol::Invocations, Target { model: model.clone(), choice: Choice::Any })),
            None => Err(Refusal::new(Kind::NotFound, NO_DEFAULT_MODEL)),
        },
        Ok(_) => Err(Refusal::new(Kind::MethodNotAllowed, format!("'{}' takes GET, not POST", shorten(path, 120)))),
        Err(error) => Err(error.into()),
    }
}

/// The time within which an answer is of use, where the caller says it.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(names::TIMEOUT_MS) else { return Ok(None) };
    let given = value.to_str().ok().and_then(|v| v.parse::<u64>().ok()).filter(|ms| *ms > 0);
    let expected = || format!("header {}: a whole number of milliseconds expected", header::TIMEOUT_MS);
    given.map(|ms| Some(Duration::from_millis(ms))).ok_or_else(|| Refusal::invalid(expected()))
}

/// The version that a gateway chose.
pub(super) fn chosen(headers: &HeaderMap) -> Result<Option<Chosen>, Refusal> {
    let Some(version) = headers.get(names::CHOSEN_VERSION) else { return Ok(None) };
    let version = version.to_str().ok().and_then(|v| v.parse().ok());
    let version =
        version.ok_or_else(|| Refusal::invalid(format!("header {}: a version expected", header::CHOSEN_VERSION)))?;
    let digest =
        match headers.get(names::CHOSEN_DIGEST) {
            None => None,
            Some(digest) => Some(digest.to_str().ok().and_then(|d| d.parse::<Digest>().ok()).ok_or_else(|| {
                Refusal::invalid(format!("header {}: a sha256 digest expected", header::CHOSEN_DIGEST))
            })?),
        };
    Ok(Some(Chosen { version, digest }))
}
