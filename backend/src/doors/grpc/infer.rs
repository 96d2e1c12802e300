//! `ModelInfer`: one message, one reply.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::grpc::{CONTENT_TYPE, TIMEOUT, timeout};
use headgate_contract::route::Target;
use headgate_contract::wire::{self, WireError};
use http::header;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::super::reply::{self, ReplyBody};
use super::super::{App, predict};
use super::frames::{Frames, Message, framed};
use super::status::{refused, trailers};
use crate::decode::Form;
use crate::dispatch::{Call, Chosen, Reply};
use crate::metrics::Outcome;
use crate::refusal::{Refusal, shorten};

/// Fields among which a message's model is looked for: it is the first.
const FIELDS_MAX: usize = 1000;

/// What a call's headers say.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How long the caller waits for all of the call, where it says so.
    pub(super) timeout: Option<Duration>,
    /// How long an answer is of use.
    pub(super) within: Duration,
    /// The version that a gateway chose.
    pub(super) chosen: Option<Chosen>,
}

/// Whom a message is for, and what its sender calls it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Address<'a> {
    pub(super) model: &'a str,
    pub(super) version: &'a str,
    pub(super) id: &'a str,
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
    let outcome = infer(app, &parts.headers, Frames::new(app, body), started).await;
    log(&outcome, peer, id, started);
    match outcome {
        Ok(reply) => answered(app, reply),
        Err(refusal) => refused(&refusal),
    }
}

async fn infer(app: &App, headers: &HeaderMap, mut frames: Frames, started: Instant) -> Result<Reply, Refusal> {
    let limits = &app.shared.limits;
    let early = |refusal| early(app, started, refusal);
    let terms = Terms::read(app, headers).map_err(early)?;
    let deadline = started + terms.within;
    let _place = app.shared.enter().map_err(early)?;
    let until = deadline.min(started + limits.body_timeout);
    let message = frames.next(until).await.map_err(early)?;
    let message = message.ok_or_else(|| early(Refusal::invalid("no message came, one ModelInferRequest expected")))?;
    dispatch(app, headers, &terms, &message, deadline).await
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
    let target = Address::of(&message.bytes)
        .map_err(Refusal::from)
        .and_then(|address| address.target())
        .map_err(|refusal| early(app, started, refusal))?;
    let body = message.bytes.clone();
    let call = Call { form: Form::Protobuf, target, chosen: terms.chosen, deadline, headers, body };
    app.shared.dispatch(call).await
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
fn answered(app: &App, mut reply: Reply) -> Response<ReplyBody> {
    let message = std::mem::take(&mut reply.answer.body.bytes);
    let load = app.shared.in_flight.load(std::sync::atomic::Ordering::Relaxed);
    let mut response = reply::prediction(reply, load);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    let trailers = std::future::ready(Some(Ok(trailers(None))));
    let body = Full::<Bytes>::new(framed(&[&message], false)).with_trailers(trailers);
    response.map(|_| Either::Right(axum::body::Body::new(body)))
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
        Ok(Self { timeout: given, within, chosen: predict::chosen(headers)? })
    }
}

impl<'a> Address<'a> {
    /// Reads the first fields of a message.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (mut message, mut address) = (wire::Message::new(bytes), Self::default());
        for _ in 0..FIELDS_MAX {
            let Some(field) = message.next()? else { break };
            match field.number {
                1 => address.model = field.str()?,
                2 => address.version = field.str()?,
                3 => address.id = field.str()?,
                _ if !address.model.is_empty() => break,
                _ => {}
            }
        }
        Ok(address)
    }

    fn target(&self) -> Result<Target, Refusal> {
        if self.model.is_empty() {
            return Err(Refusal::invalid("the message has no model_name"));
        }
        Target::named(self.model, self.version).map_err(|error| Refusal::new(error.kind, error.message))
    }
}
