//! The hot path: a prediction over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use headgate_contract::error::ErrorBody;
use headgate_contract::route::{self, Choice, Protocol, Route, Target};
use headgate_contract::{Digest, Kind, header};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::{Level, enabled};

use super::body::Source;
use super::coding::{self, Packing};
use super::names::{self, REQUEST_ID};
use super::reply::{self, ReplyBody};
use super::{App, form};
use crate::dispatch::{Call, Chosen, Reply};
use crate::metrics::Outcome;
use crate::refusal::{Refusal, shorten};

/// Where the access log goes.
const ACCESS: &str = "headgate_backend::access";

/// Why nothing answers at `/invocations`.
const NO_DEFAULT_MODEL: &str =
    "/invocations has no model: 'default_model' is not set (--default-model); /endpoints/{model}/invocations names one";

/// What the paths of predictions begin with, the most frequent first.
const PREDICTIONS: [&str; 4] = ["/v2/models/", "/v1/models/", "/invocations", "/endpoints/"];

/// Whether a request of POST for such a path is a prediction.
pub(super) fn is_prediction(path: &str) -> bool {
    PREDICTIONS.iter().any(|prefix| path.starts_with(prefix))
}

/// Answers a request: predictions here, the rest in `router`.
pub(super) async fn answer(
    app: &App,
    router: &Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    if request.method() == Method::POST && is_prediction(request.uri().path()) {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let response = whole(app, peer, parts.uri.path(), &parts.headers, Source::Incoming(body), started).await;
        return response.map(|body| Either::Left(Full::new(body)));
    }
    let id = reply::request_id(request.headers());
    let mut response = match router.clone().oneshot(request).await {
        Ok(response) => response.map(Either::Right),
    };
    finish(app, response.headers_mut(), id);
    response
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
    let id = reply::request_id(headers);
    let (mut response, outcome) = match predict(app, path, headers, body, started).await {
        Ok((reply, packing)) => {
            let (version, rows) = (reply.servable.schema.version, reply.answer.rows);
            let load = app.shared.in_flight.load(Ordering::Relaxed);
            let mut response = reply::prediction(reply, load);
            packing.say(response.headers_mut());
            (response, Ok((version, rows)))
        }
        Err(refusal) => (reply::refusal_of(&refusal, ErrorBody::is_twice_at(path)), Err(refusal)),
    };
    // Mostly nobody listens.
    if enabled!(target: ACCESS, Level::DEBUG) {
        let taken_us = started.elapsed().as_micros() as u64;
        match outcome {
            Ok((version, rows)) => {
                tracing::debug!(target: ACCESS, path, %peer, ?id, %version, rows, taken_us, "answered");
            }
            Err(refusal) => {
                let (kind, words) = (refusal.kind.as_str(), refusal.message);
                tracing::debug!(target: ACCESS, path, %peer, ?id, kind, words, taken_us, "refused");
            }
        }
    }
    finish(app, response.headers_mut(), id);
    response
}

/// What every reply says.
fn finish(app: &App, headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(REQUEST_ID, id);
    if app.shared.board.is_draining() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn predict(
    app: &App,
    path: &str,
    headers: &HeaderMap,
    body: Source,
    started: Instant,
) -> Result<(Reply, Packing), Refusal> {
    let shared = &app.shared;
    let early = |refusal: Refusal| {
        shared.metrics.series.unresolved().count(Outcome::Refused(refusal.kind), started.elapsed());
        refusal
    };
    let (protocol, target) = target(app, path).map_err(early)?;
    let form = form::of(protocol, headers).map_err(early)?;
    let (deadline, chosen) = read_headers(app, headers, started).map_err(early)?;
    let coding = coding::of_body(headers).map_err(early)?;
    let _place = shared.enter().map_err(early)?;
    let until = deadline.min(started + shared.limits.body_timeout);
    let (mut body, mut held) = body.read(app, until).await.map_err(early)?;
    if let Some(coding) = coding {
        body = coding.unpack(shared, body, &mut held, deadline).await.map_err(early)?;
    }
    let mut reply = shared.dispatch(Call { form, target, chosen, deadline, headers, body }).await?;
    let packing = coding::pack_reply(shared, headers, &mut reply.answer.body.bytes, deadline).await;
    Ok((reply, packing))
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

fn read_headers(app: &App, headers: &HeaderMap, started: Instant) -> Result<(Instant, Option<Chosen>), Refusal> {
    let limits = &app.shared.limits;
    let timeout = timeout(headers)?.map_or(limits.timeout, |given| given.min(limits.timeout_max));
    Ok((started + timeout, chosen(headers)?))
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
