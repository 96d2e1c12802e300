//! A call on a link: as a frame, and back as a reply of HTTP.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use headgate_contract::link::{
    Answered, BODY_BYTES_MAX, Call, Frame, Head, HeadOf, Headers, Next, Placed, Reply as ReplyFrame, next, put_head,
    put_headers,
};
use headgate_contract::{Digest, header as ours, route};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use super::Link;
use super::state::{Ended, State};
use crate::upstream::{Body, BoxError, Reply};

/// What a backend said that bounds calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Calls in flight.
    pub(super) credits: usize,
    pub(super) frame_bytes_max: usize,
    /// Heads that it keeps.
    pub(super) heads: u16,
}

const VERSION: HeaderName = HeaderName::from_static(ours::VERSION);
const DIGEST: HeaderName = HeaderName::from_static(ours::DIGEST);
const CHOSEN_VERSION: HeaderName = HeaderName::from_static(ours::CHOSEN_VERSION);
const CHOSEN_DIGEST: HeaderName = HeaderName::from_static(ours::CHOSEN_DIGEST);
const ERROR: HeaderName = HeaderName::from_static(ours::ERROR);
const ROWS: HeaderName = HeaderName::from_static(ours::ROWS);
const LOAD: HeaderName = HeaderName::from_static(ours::LOAD);
const REQUEST_ID: HeaderName = HeaderName::from_static(ours::REQUEST_ID);
const TIMEOUT_MS: HeaderName = HeaderName::from_static(ours::TIMEOUT_MS);

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

/// Whether a call may go over a link: a prediction with a small body that is here.
pub(in super::super) fn fits(request: &Request<Body>) -> bool {
    let is_small = match request.body() {
        Body::Whole(body) => body.as_ref().is_none_or(|body| body.len() <= BODY_BYTES_MAX),
        Body::Streaming(_) => false,
    };
    is_small && request.method() == Method::POST && route::is_prediction(request.uri().path())
}

/// A call that is open; dropped, it is cancelled.
pub(in super::super) struct Open {
    link: Arc<Link>,
    id: u64,
    is_over: bool,
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
    pub(in super::super) fn begin(self: Arc<Self>, request: &Request<Body>) -> Option<Open> {
        let (id, driver) = {
            let mut state = self.state();
            (self.put(&mut state, request)?, state.driver.take())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(Open { link: self, id, is_over: false })
    }

    /// Writes a call, and its head where the backend does not know it; none where it does not fit.
    fn put(&self, state: &mut State, request: &Request<Body>) -> Option<u64> {
        if !state.takes_calls() || state.open() >= self.terms.credits {
            return None;
        }
        let headers = request.headers();
        let (mut block, mut own) = (std::mem::take(&mut state.block), std::mem::take(&mut state.own));
        block.clear();
        own.clear();
        let of_head = headers.iter().filter(|(name, _)| !is_own(name) && !in_frame(name)).map(as_bytes);
        let fits = put_head(request.uri().path(), of_head, &mut block)
            && put_headers(headers.iter().filter(|(name, _)| is_own(name)).map(as_bytes), &mut own);
        let id = match (fits, Head::read(&block), Headers::read(&own)) {
            (true, Ok(head), Ok(own)) => self.put_frames(state, request, head, own),
            _ => None,
        };
        (state.block, state.own) = (block, own);
        id
    }

    fn put_frames(&self, state: &mut State, request: &Request<Body>, head: Head<'_>, own: Headers<'_>) -> Option<u64> {
        let body = match request.body() {
            Body::Whole(body) => body.as_deref().unwrap_or_default(),
            Body::Streaming(_) => return None,
        };
        let request_id = request.headers().get(REQUEST_ID).map_or(&b""[..], HeaderValue::as_bytes);
        // With all else that a call has.
        if head.block.len() + own.as_bytes().len() + request_id.len() + body.len() + 64 > self.terms.frame_bytes_max {
            return None;
        }
        let at = match state.heads.place(head.block) {
            Placed::Known(number) => HeadOf::Known(number),
            Placed::New(number) => {
                Frame::Head(number, head).put(&mut state.out);
                HeadOf::Known(number)
            }
            Placed::Inline => HeadOf::Inline(head),
        };
        let timeout = request.headers().get(TIMEOUT_MS).and_then(|ms| ms.to_str().ok()?.parse::<u64>().ok());
        let timeout_ms = timeout.map_or(u32::MAX, |ms| u32::try_from(ms).unwrap_or(u32::MAX));
        let id = state.begin();
        let call = Call { id, timeout_ms, head: at, request_id, headers: own, body };
        Frame::Call(call).put(&mut state.out);
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
            state.cancel(self.id);
            self.link.in_flight.store(state.open(), Relaxed);
            state.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

fn as_bytes<'h>((name, value): (&'h HeaderName, &'h HeaderValue)) -> (&'h [u8], &'h [u8]) {
    (name.as_str().as_bytes(), value.as_bytes())
}

/// What a call's frame says elsewhere, or what is HTTP's.
fn in_frame(name: &HeaderName) -> bool {
    *name == HOST || *name == REQUEST_ID || *name == TIMEOUT_MS
}

fn is_own(name: &HeaderName) -> bool {
    OWN.contains(&name.as_str())
}

/// A reply's frame as HTTP has it; `asked` are the call's headers.
pub(in super::super) fn reply(frame: &Bytes, asked: &HeaderMap) -> Result<Reply, BoxError> {
    let Next::Frame(Frame::Reply(reply), _) = next(frame, frame.len())? else { return Err("no reply".into()) };
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(reply.status)?;
    head.headers = HeaderMap::with_capacity(12);
    let headers = &mut head.headers;
    if let Some(media_type) = reply.content.media_type() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    let (version, digest) = version(&reply, asked);
    let rows = reply.rows.map(number);
    let error = reply.error.map(|kind| HeaderValue::from_static(kind.as_str()));
    let load = Some(number(reply.load));
    for (name, value) in [(VERSION, version), (DIGEST, digest), (ROWS, rows), (ERROR, error), (LOAD, load)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    for (name, value) in reply.headers {
        headers.append(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
    }
    let body = Body::whole(if reply.body.is_empty() { Bytes::new() } else { frame.slice_ref(reply.body) });
    Ok(Reply { head, body })
}

fn version(reply: &ReplyFrame<'_>, asked: &HeaderMap) -> (Option<HeaderValue>, Option<HeaderValue>) {
    match reply.version {
        Answered::None => (None, None),
        Answered::AsChosen => (asked.get(CHOSEN_VERSION).cloned(), asked.get(CHOSEN_DIGEST).cloned()),
        Answered::Version(version, digest) => {
            let digest = Digest::from_bytes(digest).to_string();
            (Some(HeaderValue::from(version)), HeaderValue::from_maybe_shared(Bytes::from(digest)).ok())
        }
    }
}

/// A number as a header's value; the small ones, as most are, without an allocation.
fn number(value: u32) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    let at = value as usize;
    DIGITS.get(at..=at).map_or_else(|| HeaderValue::from(value), HeaderValue::from_static)
}
