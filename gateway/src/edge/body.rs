//! Bodies: read whole up to a bound, or streamed through, counted and watched.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use headgate_contract::Kind;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, timeout_at};

use super::gate::{Buffered, Gate};
use super::reply::Failed;
use crate::config::Limits;
use crate::upstream::{Body as Upstream, BodyError, Streaming};

/// A caller's body.
pub(super) enum Read<'g> {
    /// All of it, and its place among all that are held.
    Whole(Bytes, Buffered<&'g Gate>),
    /// Too large for that, or there is no room for it.
    Large(Streaming, Fault),
}

/// What the caller did wrong while its body passed, once it has.
pub(super) type Fault = Arc<OnceLock<Failed>>;

/// Reads a body whole where it fits the buffer, and all that are held fit the bound on them together. One that is refused by its length alone stays where it is.
pub(super) async fn read<'g>(
    unread: &mut Option<Incoming>,
    limits: &Limits,
    gate: &'g Gate,
) -> Result<Read<'g>, Failed> {
    let mut held = gate.buffer();
    let known = unread.as_ref().and_then(|incoming| incoming.size_hint().exact());
    if known.is_some_and(|bytes| bytes > limits.body_bytes_max) {
        return Err(too_large(limits));
    }
    let Some(mut incoming) = unread.take() else { return Ok(Read::Whole(Bytes::new(), held)) };
    let mut start = BytesMut::new();
    let mut first = Bytes::new();
    if known.is_none_or(|bytes| bytes <= limits.buffer_bytes_max) {
        let deadline = Instant::now() + limits.body_timeout;
        loop {
            if incoming.is_end_stream() {
                return Ok(Read::Whole(if start.is_empty() { first } else { start.freeze() }, held));
            }
            let Ok(frame) = timeout_at(deadline, incoming.frame()).await else {
                return Err(late(limits));
            };
            let Some(frame) = frame else {
                return Ok(Read::Whole(if start.is_empty() { first } else { start.freeze() }, held));
            };
            let frame = frame.map_err(broke_off)?;
            let Ok(data) = frame.into_data() else { continue };
            let fits = held.take(data.len() as u64, limits.buffers_bytes_max);
            if first.is_empty() {
                first = data;
            } else {
                if start.is_empty() {
                    start.extend_from_slice(&first);
                }
                start.extend_from_slice(&data);
            }
            if !fits || first.len().max(start.len()) as u64 > limits.buffer_bytes_max {
                break;
            }
        }
    }
    let prefix = if start.is_empty() { first } else { start.freeze() };
    let fault = Fault::default();
    let upload = Upload {
        left: limits.body_bytes_max,
        limits: limits.clone(),
        silence: Box::pin(tokio::time::sleep(limits.body_timeout)),
        fault: Arc::clone(&fault),
        inner: After { start: (!prefix.is_empty()).then_some(prefix), rest: incoming },
    };
    Ok(Read::Large(upload.boxed_unsync(), fault))
}

/// Reads a body that nobody wants, for a while: a caller that is still sending would be reset, and never see the reply.
pub(super) fn linger(mut incoming: Incoming, limits: &Limits) {
    if !incoming.is_end_stream() {
        tokio::spawn(tokio::time::timeout(limits.body_timeout, async move {
            while let Some(Ok(_)) = incoming.frame().await {}
        }));
    }
}

/// `start`, then `rest`.
pub(crate) fn after(start: Bytes, rest: Incoming) -> Streaming {
    After { start: (!start.is_empty()).then_some(start), rest }.boxed_unsync()
}

impl Upstream {
    /// The same body; one that streams holds something until its end, or until it is dropped.
    pub(super) fn holding<T: Send + Unpin + 'static>(self, held: T) -> Self {
        match self {
            Upstream::Streaming(body) => Upstream::Streaming(Holding { body, _held: held }.boxed_unsync()),
            whole => whole,
        }
    }
}

pub(super) fn too_large(limits: &Limits) -> Failed {
    Failed::new(Kind::TooLarge, format!("the body is larger than {} bytes", limits.body_bytes_max))
}

pub(super) fn broke_off(error: impl std::fmt::Display) -> Failed {
    Failed::new(Kind::InvalidRequest, format!("the body broke off: {error}"))
}

/// As a backend says it: nothing is wrong with the request, and it may succeed on a better line.
fn silent(limits: &Limits) -> Failed {
    Failed::new(Kind::DeadlineExceeded, format!("nothing of the body came for {} ms", limits.body_timeout.as_millis()))
}

pub(super) fn late(limits: &Limits) -> Failed {
    let message = format!("the body did not come within {} ms", limits.body_timeout.as_millis());
    Failed::new(Kind::DeadlineExceeded, message)
}

struct After {
    start: Option<Bytes>,
    rest: Incoming,
}

/// A caller's body on its way: no larger than it may be, and never silent for too long.
struct Upload {
    inner: After,
    left: u64,
    limits: Limits,
    silence: Pin<Box<Sleep>>,
    fault: Fault,
}

struct Holding<T> {
    body: Streaming,
    _held: T,
}

impl Body for After {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.start.take() {
            Some(start) => Poll::Ready(Some(Ok(Frame::data(start)))),
            None => Pin::new(&mut self.rest).poll_frame(cx).map_err(|error| BodyError(error.to_string())),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().map_or(0, |bytes| bytes.len() as u64);
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(start + rest),
            None => SizeHint::new(),
        }
    }
}

impl Upload {
    /// Breaks off, and notes that it is the caller's fault: the backend sees no more than a call that breaks.
    fn fail(&self, failed: Failed) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let error = BodyError(failed.message.clone());
        let _ = self.fault.set(failed);
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending if self.silence.as_mut().poll(cx).is_ready() => return self.fail(silent(&self.limits)),
            Poll::Ready(Some(Err(error))) => return self.fail(broke_off(error)),
            Poll::Ready(Some(Ok(frame))) => frame,
            other => return other,
        };
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        if size > self.left {
            return self.fail(too_large(&self.limits));
        }
        self.left -= size;
        let until = Instant::now() + self.limits.body_timeout;
        self.silence.as_mut().reset(until);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<T: Send + Unpin + 'static> Body for Holding<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
