//! `ModelStreamInfer`: messages as they come, a reply for each in their order. A message that fails does not end the
//! stream; what is wrong with the stream itself does.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headgate_contract::Kind;
use headgate_contract::grpc::{Address, CONTENT_TYPE, ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{Either, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::super::App;
use super::super::reply::ReplyBody;
use super::frames::{Frames, Message, framed, packed};
use super::infer::{self, Terms};
use super::status::{refused, trailers};
use super::stopped;
use crate::dispatch::Reply;
use crate::encode::protobuf;
use crate::refusal::Refusal;

/// Messages of one stream that are answered at once.
const IN_FLIGHT_MAX: usize = 8;
/// Fields of a `ModelStreamInferResponse`.
const ERROR_MESSAGE: u32 = 1;
const INFER_RESPONSE: u32 = 2;
/// Of a `ModelInferResponse`.
const ID: u32 = 3;

/// What all messages of a stream share.
#[derive(Debug)]
struct Call {
    app: App,
    peer: SocketAddr,
    headers: HeaderMap,
    terms: Terms,
    id: HeaderValue,
    /// When the caller waits no longer.
    end: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

/// Answers a call.
pub(super) fn answer(
    app: App,
    peer: SocketAddr,
    request: Request<Incoming>,
    id: HeaderValue,
    permit: OwnedSemaphorePermit,
) -> Response<ReplyBody> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let terms = match Terms::read(&app, &parts.headers) {
        Ok(terms) => terms,
        Err(refusal) => return refused(&infer::early(&app, started, refusal)),
    };
    let frames = Frames::new(&app, body, terms.coding);
    let coding = terms.coding;
    let end = terms.timeout.map(|timeout| started + timeout.min(app.shared.limits.timeout_max));
    let call = Arc::new(Call { app, peer, headers: parts.headers, terms, id, end, _permit: permit });
    // Ends with the messages, or with what is wrong with the stream.
    let messages = stream::unfold(Some((frames, Arc::clone(&call))), |state| async {
        let (mut frames, call) = state?;
        match call.next(&mut frames).await {
            Ok(None) => None,
            Ok(Some(message)) => Some((Ok(message), Some((frames, call)))),
            Err(refusal) => Some((Err(refusal), None)),
        }
    });
    let replies = messages.map(move |message| {
        let call = Arc::clone(&call);
        async move {
            match message {
                Ok(message) => Ok(call.reply(message).await),
                Err(refusal) => Err(refusal),
            }
        }
    });
    let frames = replies.buffered(IN_FLIGHT_MAX).map(|reply| match reply {
        Ok(bytes) => Frame::data(bytes),
        Err(refusal) => Frame::trailers(trailers(Some(&refusal))),
    });
    // What follows trailers is not looked at.
    let frames = frames.chain(stream::once(async { Frame::trailers(trailers(None)) }));
    let body = StreamBody::new(frames.map(Ok::<_, std::convert::Infallible>));
    let mut response = Response::new(Either::Right(axum::body::Body::new(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(coding) = coding {
        response.headers_mut().insert(ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    response
}

impl Call {
    /// The next message. A stream may be silent as long as it wants, a message may not.
    async fn next(&self, frames: &mut Frames) -> Result<Option<Message>, Refusal> {
        let over = async {
            match self.end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let begins = tokio::select! {
            begins = frames.begins() => begins,
            () = over => Err(Refusal::new(Kind::DeadlineExceeded, "the stream's deadline passed")),
            () = self.app.stopping.cancelled() => Err(stopped()),
        };
        let limits = &self.app.shared.limits;
        let next = match begins {
            Ok(true) => frames.next(Instant::now() + limits.body_timeout).await,
            Ok(false) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        next.map_err(|refusal| infer::early(&self.app, Instant::now(), refusal))
    }

    /// Answers a message: a `ModelStreamInferResponse`.
    async fn reply(&self, mut message: Message) -> Bytes {
        let started = Instant::now();
        let deadline = (started + self.terms.within).min(self.end.unwrap_or(started + self.terms.within));
        let outcome = self.infer(&mut message, started, deadline).await;
        infer::log(&outcome, self.peer, &self.id, started);
        let packed = match outcome {
            Ok(reply) => {
                let bytes = reply.answer.body.bytes;
                let parts: [&[u8]; 2] = [&key(INFER_RESPONSE, bytes.len()), &bytes];
                packed(&self.app, self.terms.coding_of_reply(&message), &parts, deadline).await
            }
            Err(refusal) => Err(refusal),
        };
        match packed {
            Ok((frame, _)) => frame,
            Err(refusal) => failed(&refusal, Address::of(&message.bytes).0.id),
        }
    }

    async fn infer(&self, message: &mut Message, started: Instant, deadline: Instant) -> Result<Reply, Refusal> {
        let early = |refusal| infer::early(&self.app, started, refusal);
        let _place = self.app.shared.enter().map_err(early)?;
        message.unpack(&self.app, deadline).await.map_err(early)?;
        infer::dispatch(&self.app, &self.headers, &self.terms, message, deadline).await
    }
}

/// The reply to a message that failed: its sender knows it by its id.
fn failed(refusal: &Refusal, id: &str) -> Bytes {
    let (words, id_key) = (refusal.message.as_bytes(), key(ID, id.len()));
    let of_id: &[&[u8]] = if id.is_empty() { &[] } else { &[&id_key, id.as_bytes()] };
    let length = of_id.iter().map(|part| part.len()).sum();
    let (error_key, response_key) = (key(ERROR_MESSAGE, words.len()), key(INFER_RESPONSE, length));
    let mut parts: Vec<&[u8]> = vec![&error_key, words, &response_key];
    parts.extend(of_id);
    framed(&parts, false)
}

fn key(field: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(11);
    protobuf::head(&mut bytes, field, length);
    bytes
}
