//! A call on a link, as a frame.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use headgate_balance::Nanos;
use headgate_contract::header as ours;
use headgate_contract::link::{BODY_BYTES_MAX, Call, Frame, Head, HeadOf, Headers, Placed, put_head, put_headers};
use http::Method;
use http::header::{HeaderName, HeaderValue};

use super::Link;
use super::state::{Ended, State};
use crate::upstream::small::{Known, SentHead, Small};
use crate::workers::Waits;

/// What a backend said that bounds calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Calls in flight.
    pub(super) credits: usize,
    pub(super) frame_bytes_max: usize,
    /// Heads that it keeps.
    pub(super) heads: u16,
}

/// Headers that differ from call to call, so that a head with them would never come again.
const OWN: [&str; 10] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-forwarded-for",
    "cookie",
];

/// Whether a call may go over a link: a prediction with a small body.
pub(in super::super) fn fits(call: &Small<'_>, body: &Bytes) -> bool {
    call.is_prediction && body.len() <= BODY_BYTES_MAX && call.method == Method::POST
}

/// A call that is open; dropped, it is cancelled.
pub(in super::super) struct Open {
    link: Arc<Link>,
    id: u64,
    cost: Nanos,
    is_over: bool,
    _waits: Waits,
}

impl Open {
    /// Waits for the call's end.
    pub(in super::super) async fn ended(mut self) -> Ended {
        let ended = poll_fn(|context| {
            let mut state = self.link.state();
            let ended = state.poll(self.id, context.waker());
            if ended.is_ready() {
                self.link.in_flight.store(state.open(), Relaxed);
            }
            ended
        })
        .await;
        self.is_over = true;
        ended
    }
}

impl Link {
    /// Sends a call; none where it is to be made by HTTP.
    pub(in super::super) fn begin(self: Arc<Self>, call: &Small<'_>, body: &Bytes) -> Option<Open> {
        let (id, driver) = {
            let mut state = self.state();
            if !state.takes_calls() || state.open() >= self.terms.credits {
                return None;
            }
            (self.put(&mut state, call, body)?, state.driver.take())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(Open { link: self, id, cost: call.cost, is_over: false, _waits: Waits::new() })
    }

    /// Writes a call, and its head where the backend does not know it; none where it does not fit.
    fn put(&self, state: &mut State, call: &Small<'_>, body: &[u8]) -> Option<u64> {
        if let Some(known) = call.heads.of(self.id, call)
            && state.heads.is_still(known.number, &known.block)
        {
            let own = Headers::read(&known.own).ok()?;
            return self.put_call(state, HeadOf::Known(known.number), known.block.len(), call, own, body);
        }
        let (mut block, mut own) = (std::mem::take(&mut state.block), std::mem::take(&mut state.own));
        block.clear();
        own.clear();
        let id = match (blocks(call, &mut block, &mut own), Head::read(&block), Headers::read(&own)) {
            (true, Ok(head), Ok(own)) => self.put_anew(state, call, head, own, body),
            _ => None,
        };
        (state.block, state.own) = (block, own);
        id
    }

    fn put_anew(
        &self,
        state: &mut State,
        call: &Small<'_>,
        head: Head<'_>,
        own: Headers<'_>,
        body: &[u8],
    ) -> Option<u64> {
        let placed = state.heads.place(head.block);
        if let Placed::New(number) = placed {
            Frame::Head(number, head).put(&mut state.out);
        }
        let at = match placed {
            Placed::Known(number) | Placed::New(number) => {
                if let Some(block) = state.heads.get(number) {
                    let chosen = (call.version.clone(), call.digest.clone(), call.model.cloned());
                    let known = Known { number, block: Arc::clone(block), own: own.as_bytes().into() };
                    call.heads.went(SentHead { link: self.id, chosen, known });
                }
                HeadOf::Known(number)
            }
            Placed::Inline => HeadOf::Inline(head),
        };
        self.put_call(state, at, head.block.len(), call, own, body)
    }

    fn put_call(
        &self,
        state: &mut State,
        head: HeadOf<'_>,
        head_bytes: usize,
        call: &Small<'_>,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Option<u64> {
        // With all else that a call has.
        if head_bytes + headers.as_bytes().len() + call.id.len() + body.len() + 64 > self.terms.frame_bytes_max {
            return None;
        }
        let timeout_ms = u32::try_from(call.timeout_ms).unwrap_or(u32::MAX);
        let id = state.begin();
        Frame::Call(Call { id, timeout_ms, head, request_id: call.id, headers, body }).put(&mut state.out);
        self.in_flight.store(state.open(), Relaxed);
        Some(id)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let driver = {
            let mut state = self.link.state();
            state.cancel(self.id, self.cost);
            self.link.in_flight.store(state.open(), Relaxed);
            state.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// Writes a call's head, and the headers that go beside it, where both fit.
fn blocks(call: &Small<'_>, block: &mut Vec<u8>, own: &mut Vec<u8>) -> bool {
    let chosen = [(ours::CHOSEN_VERSION, call.version), (ours::CHOSEN_DIGEST, call.digest)];
    let model = call.model.map(|model| (ours::MODEL, model));
    let chosen = chosen.into_iter().chain(model).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let of_head = call.headers.iter().filter(|(name, _)| !is_own(name)).map(as_bytes).chain(chosen);
    put_head(call.path.path(), of_head, block)
        && put_headers(call.headers.iter().filter(|(name, _)| is_own(name)).map(as_bytes), own)
}

fn as_bytes<'h>((name, value): (&'h HeaderName, &'h HeaderValue)) -> (&'h [u8], &'h [u8]) {
    (name.as_str().as_bytes(), value.as_bytes())
}

fn is_own(name: &HeaderName) -> bool {
    OWN.contains(&name.as_str())
}
