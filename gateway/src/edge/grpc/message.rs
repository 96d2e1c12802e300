//! Messages as they come: out of their frames, one by one, within the bounds of bodies.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use headgate_contract::Kind;
use headgate_contract::grpc::{HEAD_BYTES, Head};
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::inflate::inflate;
use crate::config::Limits;
use crate::edge::body;
use crate::edge::gate::{Buffered, Gate};
use crate::edge::reply::Failed;

/// How messages may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// In the format of zlib.
    Deflate,
}

/// The messages that a caller sends.
pub(super) struct Messages {
    incoming: Incoming,
    /// What came and was not taken yet.
    rest: Bytes,
    coding: Option<Coding>,
}

impl Coding {
    /// Those that are read, for the header that tells callers.
    pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,deflate");

    pub(super) fn read(name: &HeaderValue) -> Result<Self, Failed> {
        match name.as_bytes() {
            b"identity" => Ok(Coding::Identity),
            b"gzip" => Ok(Coding::Gzip),
            b"deflate" => Ok(Coding::Deflate),
            other => {
                let name: String = String::from_utf8_lossy(other).chars().take(40).collect();
                let message = format!("grpc-encoding '{}': identity, gzip or deflate expected", name.escape_debug());
                Err(Failed::new(Kind::Unsupported, message))
            }
        }
    }
}

impl Messages {
    pub(super) fn new(incoming: Incoming, coding: Option<Coding>) -> Self {
        Self { incoming, rest: Bytes::new(), coding }
    }

    /// The only message of a unary call.
    pub(super) async fn only(
        mut self,
        held: &mut Buffered<impl Deref<Target = Gate>>,
        limits: &Limits,
        gate: &Arc<Gate>,
    ) -> Result<Bytes, Failed> {
        let message = self.next(limits.body_timeout, held, limits, gate).await?;
        let message = message.ok_or_else(|| invalid("the call has no message: one expected"))?;
        while self.rest.is_empty() {
            match self.more(Instant::now().checked_add(limits.body_timeout), limits.body_timeout).await? {
                Some(more) => self.rest = more,
                None => return Ok(message),
            }
        }
        Err(invalid("the call has more than one message: one expected"))
    }

    /// The next message; none at the end. `wait` is how long its first byte may take, [`Duration::MAX`] for ever.
    pub(super) async fn next(
        &mut self,
        wait: Duration,
        held: &mut Buffered<impl Deref<Target = Gate>>,
        limits: &Limits,
        gate: &Arc<Gate>,
    ) -> Result<Option<Bytes>, Failed> {
        let Some((head, within)) = self.head(wait, limits).await? else { return Ok(None) };
        let length = head.length as usize;
        if u64::from(head.length) > limits.body_bytes_max {
            let message = format!("a message of {length} bytes is larger than {} bytes", limits.body_bytes_max);
            return Err(Failed::new(Kind::TooLarge, message));
        }
        let message = self.take(length, within, held, limits).await?;
        if !head.compressed {
            return Ok(Some(message));
        }
        match self.coding {
            Some(coding) if coding != Coding::Identity => {
                let inflated = inflate(coding, message, limits, gate).await?;
                held.take(inflated.len() as u64, limits.buffers_bytes_max);
                Ok(Some(inflated))
            }
            _ => Err(invalid("a message is marked as compressed, and no grpc-encoding says how")),
        }
    }

    /// What comes before a message, and within which time all of that must be here.
    async fn head(&mut self, wait: Duration, limits: &Limits) -> Result<Option<(Head, Duration)>, Failed> {
        if self.rest.is_empty() {
            match self.more(Instant::now().checked_add(wait), wait).await? {
                Some(first) => self.rest = first,
                None => return Ok(None),
            }
        }
        let mut head = [0; HEAD_BYTES];
        for (at, byte) in head.iter_mut().enumerate() {
            if self.rest.is_empty() {
                let more = self.more(Instant::now().checked_add(limits.body_timeout), limits.body_timeout).await?;
                self.rest = more.ok_or_else(|| invalid(format!("the body ends {at} bytes into a frame's head")))?;
            }
            *byte = self.rest.get_u8();
        }
        let head =
            Head::read(head).ok_or_else(|| invalid(format!("a frame begins with {}, 0 or 1 expected", head[0])))?;
        let is_large = u64::from(head.length) > limits.buffer_bytes_max;
        let time = if is_large { limits.stream_deadline } else { limits.body_timeout };
        Ok(Some((head, time)))
    }

    /// So many bytes, without a copy where they came in one piece.
    async fn take(
        &mut self,
        count: usize,
        within: Duration,
        held: &mut Buffered<impl Deref<Target = Gate>>,
        limits: &Limits,
    ) -> Result<Bytes, Failed> {
        let mut hold = |bytes: usize| match held.take(bytes as u64, limits.buffers_bytes_max) {
            true => Ok(()),
            false => {
                let message = format!("no room for {count} bytes: the bodies that are held are at their bound");
                Err(Failed::new(Kind::Overloaded, message))
            }
        };
        let first = self.rest.split_to(self.rest.len().min(count));
        hold(first.len())?;
        if first.len() == count {
            return Ok(first);
        }
        let until = Instant::now() + within;
        // What is announced is believed as it comes.
        let mut taken = BytesMut::with_capacity(count.min(64 << 10));
        taken.extend_from_slice(&first);
        while taken.len() < count {
            let silence = Instant::now() + limits.body_timeout;
            let told = if until < silence { within } else { limits.body_timeout };
            let Some(mut more) = self.more(Some(until.min(silence)), told).await? else {
                return Err(invalid(format!("a frame announces {count} bytes, {} came", taken.len())));
            };
            let fits = more.split_to(more.len().min(count - taken.len()));
            hold(fits.len())?;
            taken.extend_from_slice(&fits);
            self.rest = more;
        }
        Ok(taken.freeze())
    }

    /// What comes next, not empty; none at the end. `within` is the time that is told where nothing came.
    async fn more(&mut self, until: Option<Instant>, within: Duration) -> Result<Option<Bytes>, Failed> {
        loop {
            if self.incoming.is_end_stream() {
                return Ok(None);
            }
            let frame = async {
                match until {
                    Some(until) => timeout_at(until, self.incoming.frame()).await.ok(),
                    None => Some(self.incoming.frame().await),
                }
            };
            let Some(frame) = frame.await else {
                let message = format!("nothing of a message came within {} ms", within.as_millis());
                return Err(Failed::new(Kind::DeadlineExceeded, message));
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(body::broke_off(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }
}

fn invalid(message: impl Into<String>) -> Failed {
    Failed::new(Kind::InvalidRequest, message)
}
