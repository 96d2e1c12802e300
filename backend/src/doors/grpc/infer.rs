//! `ModelInfer`: one message, one reply.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::grpc::{ACCEPT_ENCODING, Address, CONTENT_TYPE, ENCODING, TIMEOUT, timeout};
use headgate_contract::route::Target;
use http::header;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::super::coding::Coding;
use super::super::reply::{self, ReplyBody};
use super::super::{App, predict};
use super::frames::{Frames, Message, packed};
use super::status::{CODINGS, refused, trailers};
use crate::decode::Form;
use crate::dispatch::{Call, Chosen, Reply};
use crate::metrics::Outcome;
use crate::refusal::{Refusal, shorten};

/// What a call's headers say.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How long the caller waits for all of the call, where it says so.
    pub(super) timeout: Option<Duration>,
    /// How long an answer is of use.
    pub(super) within: Duration,
    /// The version that a gateway chose.
    pub(super) chosen: Option<Chosen>,
    /// How messages that say so are packed.
    pub(super) coding: Option<Coding>,
    /// Whether replies may be packed so too.
    accepted: bool,
}

/// Answers a call.
pub(super) async fn answer(
    app: &App,
    peer: SocketAddr,
    request: Request<Incoming>,
    id: &HeaderValue,
) -> Response<ReplyBody> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let terms = match Terms::read(app, &parts.headers) {
        Ok(terms) => terms,
        Err(refusal) => return refused(&early(app, started, refusal)),
    };
    let deadline = started + terms.within;
    let frames = Frames::new(app, body, terms.coding);
    let (outcome, coding) = match infer(app, &parts.headers, &terms, frames, started).await {
        Ok((reply, coding)) => (Ok(reply), coding),
        Err(refusal) => (Err(refusal), None),
    };
    log(&outcome, peer, id, started);
    let answered = match outcome {
        Ok(reply) => answered(app, reply, coding, deadline).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refused(&refusal))
}

/// The reply, and how it is packed.
async fn infer(
    app: &App,
    headers: &HeaderMap,
    terms: &Terms,
    mut frames: Frames,
    started: Instant,
) -> Result<(Reply, Option<Coding>), Refusal> {
    let early = |refusal| early(app, started, refusal);
    let deadline = started + terms.within;
    let _place = app.shared.enter().map_err(early)?;
    let until = deadline.min(started + app.shared.limits.body_timeout);
    let message = frames.next(until).await.map_err(early)?;
    let none = || early(Refusal::invalid("no message came, one ModelInferRequest expected"));
    let mut message = message.ok_or_else(none)?;
    message.unpack(app, deadline).await.map_err(early)?;
    let reply = dispatch(app, headers, terms, &message, deadline).await?;
    Ok((reply, terms.coding_of_reply(&message)))
}

/// Answers a message; one in flight already.
pub(super) async fn dispatch(
    app: &App,
    headers: &HeaderMap,
    terms: &Terms,
    message: &Message,
    deadline: Instant,
) -> Result<Reply, Refusal> {
    let started = Instant::now();
    let target = target(&message.bytes).map_err(|refusal| early(app, started, refusal))?;
    let body = message.bytes.clone();
    let call = Call { form: Form::Protobuf, target: &target, chosen: terms.chosen, deadline, headers, body };
    app.shared.dispatch(call).await
}

/// What a message names. Where that is known, its version says what else is wrong with it.
fn target(message: &[u8]) -> Result<Target, Refusal> {
    let (address, read) = Address::of(message);
    if address.model.is_empty() {
        read?;
    }
    Ok(address.target()?)
}

/// Counts a refusal before any version was found.
pub(super) fn early(app: &App, started: Instant, refusal: Refusal) -> Refusal {
    app.shared.metrics.series.unresolved().count(Outcome::Refused(refusal.kind), started.elapsed());
    refusal
}

pub(super) fn log(outcome: &Result<Reply, Refusal>, peer: SocketAddr, id: &HeaderValue, started: Instant) {
    let taken_us = started.elapsed().as_micros() as u64;
    match outcome {
        Ok(reply) => {
            let (model, version) = (&reply.servable.schema.model, reply.servable.schema.version);
            let rows = reply.answer.rows;
            tracing::debug!(target: "headgate_backend::access", path = "grpc", %model, %peer, ?id, %version, rows, taken_us, "answered");
        }
        Err(refusal) => {
            let (kind, words) = (refusal.kind.as_str(), &refusal.message);
            tracing::debug!(target: "headgate_backend::access", path = "grpc", %peer, ?id, kind, words, taken_us, "refused");
        }
    }
}

/// A prediction, with what HTTP's door says of it in headers as metadata.
async fn answered(
    app: &App,
    mut reply: Reply,
    coding: Option<Coding>,
    deadline: Instant,
) -> Result<Response<ReplyBody>, Refusal> {
    let message = std::mem::take(&mut reply.answer.body.bytes);
    let (frame, is_packed) = packed(app, coding, &[&message], deadline).await?;
    let load = app.shared.in_flight.load(std::sync::atomic::Ordering::Relaxed);
    let mut response = reply::prediction(reply, load);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(coding) = coding.filter(|_| is_packed) {
        response.headers_mut().insert(ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    let trailers = std::future::ready(Some(Ok(trailers(None))));
    let body = Full::<Bytes>::new(frame).with_trailers(trailers);
    Ok(response.map(|_| Either::Right(axum::body::Body::new(body))))
}

impl Terms {
    pub(super) fn read(app: &App, headers: &HeaderMap) -> Result<Self, Refusal> {
        let limits = &app.shared.limits;
        let given = match headers.get(TIMEOUT) {
            None => None,
            Some(value) => {
                let read = value.to_str().ok().and_then(timeout);
                let came = || shorten(&String::from_utf8_lossy(value.as_bytes()), 40);
                Some(read.ok_or_else(|| Refusal::invalid(format!("header {TIMEOUT}: '{}': a time expected", came())))?)
            }
        };
        let within = [given, predict::timeout(headers)?].into_iter().flatten().min();
        let within = within.map_or(limits.timeout, |within| within.min(limits.timeout_max));
        let coding = coding(headers)?;
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accepted = coding.is_some_and(|coding| accepted.split(',').any(|name| name.trim() == coding.as_str()));
        Ok(Self { timeout: given, within, chosen: predict::chosen(headers)?, coding, accepted })
    }

    /// How the reply to a message is packed: as the message. All clients accept what few want to wait for.
    pub(super) fn coding_of_reply(&self, message: &Message) -> Option<Coding> {
        message.coding.filter(|_| self.accepted)
    }
}

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Refusal> {
    let Some(value) = headers.get(ENCODING).filter(|value| *value != "identity") else { return Ok(None) };
    let coding = value.to_str().ok().and_then(Coding::named);
    coding.map(Some).ok_or_else(|| {
        let came = shorten(&String::from_utf8_lossy(value.as_bytes()), 40);
        Refusal::new(Kind::Unsupported, format!("header {ENCODING}: '{came}': {CODINGS} expected"))
    })
}
