//! `ModelStreamInfer`: a stream of calls. Each message is a call by itself, with its own version, backend, retries and
//! line in the log; answers come in the order of the messages. What fails, fails alone: the stream goes on.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headgate_contract::proto::{ModelInferResponse, ModelStreamInferResponse};
use headgate_contract::{Kind, header as ours};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::message::Messages;
use super::{Asked, address, full, reply};
use crate::edge::Edge;
use crate::edge::gate::{Buffered, Gate};
use crate::edge::log::Entry;
use crate::edge::reply::Failed;
use crate::edge::timed::Busy;
use crate::upstream::{Body, BodyError};

/// Calls of one stream at once.
const AT_ONCE: usize = 16;

/// Frames that another task makes.
struct Made(mpsc::Receiver<Frame<Bytes>>);

impl HttpBody for Made {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A message, and its place among all that are held.
type Message = (Bytes, Buffered<Arc<Gate>>);

/// What the calls of a stream share.
struct Shared {
    edge: Arc<Edge>,
    asked: Asked,
    /// The line in the log of its next call.
    entry: Entry,
}

impl Edge {
    pub(super) fn stream(
        self: &Arc<Self>,
        request: Request<Incoming>,
        entry: &Entry,
        busy: Busy,
    ) -> Result<Response<Body>, Failed> {
        let (head, incoming) = request.into_parts();
        let (id, entry) = (entry.id.clone(), entry.again());
        let asked = Asked::read(head.headers, &id, &self.config.load().limits)?;
        let held = self.hold_open(busy)?;
        let messages = Messages::new(incoming, asked.coding);
        let shared = Arc::new(Shared { edge: Arc::clone(self), asked, entry });
        let (sender, made) = mpsc::channel(AT_ONCE);
        tokio::spawn(async move {
            let _held = held;
            tokio::select! {
                // Nobody is there to be answered.
                () = sender.closed() => {}
                () = shared.answer_all(messages, &sender) => {}
            }
        });
        let mut response = reply::empty().map(|_| Body::Streaming(Made(made).boxed_unsync()));
        response.headers_mut().insert(ours::REQUEST_ID, id.header());
        Ok(response)
    }
}

impl Shared {
    async fn answer_all(self: Arc<Self>, messages: Messages, answers: &mpsc::Sender<Frame<Bytes>>) {
        let deadline = async {
            match self.asked.deadline {
                Some(deadline) => sleep(deadline).await,
                None => pending().await,
            }
        };
        let (reading, answering) = (Arc::clone(&self), Arc::clone(&self));
        let calls =
            stream::try_unfold(messages, move |messages| Arc::clone(&reading).next(messages)).map(move |message| {
                let shared = Arc::clone(&answering);
                async move {
                    let (message, _held) = message?;
                    Ok(shared.answer(message).await)
                }
            });
        let mut answered = pin!(calls.buffered(AT_ONCE));
        let mut deadline = pin!(deadline);
        let ended = loop {
            let answer = tokio::select! {
                answer = answered.next() => answer,
                () = &mut deadline => Some(Err(Failed::new(Kind::DeadlineExceeded, "the stream's deadline has passed"))),
            };
            match answer {
                Some(Ok(answer)) => {
                    if answers.send(Frame::data(answer)).await.is_err() {
                        return;
                    }
                }
                Some(Err(failed)) => break Some(failed),
                None => break None,
            }
        };
        // A caller that is gone does not miss it.
        let _ = answers.send(Frame::trailers(reply::trailers(ended.as_ref()))).await;
    }

    /// The next message, and where the one after it comes from. An error here ends the stream.
    async fn next(self: Arc<Self>, mut messages: Messages) -> Result<Option<(Message, Messages)>, Failed> {
        let limits = &self.edge.config.load_full().limits;
        let gate = &self.edge.gate;
        let mut held = gate.buffer_owned();
        let next = tokio::select! {
            next = messages.next(Duration::MAX, &mut held, limits, gate) => next?,
            () = gate.goes() => return Err(Failed::new(Kind::Unavailable, "the gateway is about to stop")),
        };
        Ok(next.map(|message| ((message, held), messages)))
    }

    /// One call, from message to frame.
    async fn answer(&self, message: Bytes) -> Bytes {
        let config = self.edge.config.load_full();
        let mut entry = self.entry.again();
        entry.body_bytes = message.len() as u64;
        let answered = self.infer(&message, &mut entry).await;
        let kind = answered.as_ref().err().map(|failed| HeaderValue::from_static(failed.kind.as_str()));
        let status = reply::status(kind.as_ref());
        entry.done(
            status,
            kind.as_ref().and_then(|kind| kind.to_str().ok()),
            &self.edge.sampler,
            config.log.access_every,
        );
        match answered {
            Ok(response) => reply::framed(&in_stream(&response)),
            Err(failed) => reply::framed(&in_words(&message, failed).encode_to_vec()),
        }
    }

    async fn infer(&self, message: &Bytes, entry: &mut Entry) -> Result<Bytes, Failed> {
        let limits = &self.edge.config.load_full().limits;
        let max = limits.in_flight_max;
        let _entered = self.edge.gate.enter(max).ok_or_else(|| full(max))?;
        let call = self.asked.infer(address(message)?.target()?, message, self.asked.patience, limits)?;
        let response = self.edge.predict(&call, message.clone(), entry).await?;
        reply::message_of(response.into_response(), limits).await
    }
}

/// A `ModelStreamInferResponse` around a response that is encoded already.
fn in_stream(response: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(response.len() + 11);
    // Field 2, of a length.
    message.push(2 << 3 | 2);
    prost::encoding::encode_varint(response.len() as u64, &mut message);
    message.extend_from_slice(response);
    message
}

/// What is wrong, with what tells callers which message it was.
fn in_words(message: &[u8], failed: Failed) -> ModelStreamInferResponse {
    let named = address(message).ok();
    let of = named.map(|named| ModelInferResponse { id: named.id.to_owned(), ..ModelInferResponse::default() });
    ModelStreamInferResponse { error_message: failed.message, infer_response: of }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_response_is_wrapped_as_prost_would() {
        for name in ["m", &"x".repeat(300)] {
            let response = ModelInferResponse { model_name: name.into(), ..Default::default() };
            let wrapped =
                ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response.clone()) };
            assert_eq!(in_stream(&response.encode_to_vec()), wrapped.encode_to_vec());
        }
    }
}
