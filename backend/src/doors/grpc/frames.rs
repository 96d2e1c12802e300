//! Messages out of a body and into one: bounded in size before they are read, and among all bodies.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headgate_contract::Kind;
use headgate_contract::grpc::{ENCODING, HEAD_BYTES, Head};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::super::App;
use super::super::body::Held;
use super::super::coding::Coding;
use crate::refusal::Refusal;

/// What is set aside for a message that comes in parts, before they came.
const AHEAD_MAX: usize = 256 << 10;
/// A shorter message stays as it is: it would fill no more packets.
const WORTH_PACKING: usize = 1000;

/// A message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    /// How it was packed on its way.
    pub(super) coding: Option<Coding>,
    /// What it takes of the bound on all bodies.
    held: Held,
}

/// The messages of a body.
#[derive(Debug)]
pub(super) struct Frames {
    body: Incoming,
    /// How messages that say so are packed.
    coding: Option<Coding>,
    buffer: Bytes,
    held: Held,
    message_bytes_max: u64,
}

impl Message {
    /// The message as it was before it was packed.
    pub(super) async fn unpack(&mut self, app: &App, deadline: Instant) -> Result<(), Refusal> {
        let Some(coding) = self.coding else { return Ok(()) };
        let shared = &app.shared;
        let packed = std::mem::take(&mut self.bytes);
        self.bytes = coding.unpack(shared, packed, &mut self.held, deadline).await?;
        Ok(())
    }
}

impl Frames {
    pub(super) fn new(app: &App, body: Incoming, coding: Option<Coding>) -> Self {
        let message_bytes_max = app.shared.limits.body_bytes_max;
        Self { body, coding, buffer: Bytes::new(), held: Held::new(app), message_bytes_max }
    }

    /// Waits until a message begins; false at the end.
    pub(super) async fn begins(&mut self) -> Result<bool, Refusal> {
        self.fill(1).await
    }

    /// The next message, whole by `until`; none at the end.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<Message>, Refusal> {
        match tokio::time::timeout_at(until, self.message()).await {
            Ok(message) => message,
            Err(_) => Err(Refusal::new(Kind::DeadlineExceeded, "the message did not arrive in time")),
        }
    }

    async fn message(&mut self) -> Result<Option<Message>, Refusal> {
        if !self.fill(HEAD_BYTES).await? {
            return match self.buffer.len() {
                0 => Ok(None),
                came => Err(Refusal::invalid(format!("{came} bytes came, a message begins with {HEAD_BYTES}"))),
            };
        }
        let mut head = [0; HEAD_BYTES];
        self.buffer.copy_to_slice(&mut head);
        let Some(Head { compressed, length }) = Head::read(head) else {
            return Err(Refusal::invalid(format!("a message begins with byte {}: 0 or 1 expected", head[0])));
        };
        if u64::from(length) > self.message_bytes_max {
            let most = self.message_bytes_max;
            let words = format!("a message of {length} bytes came, {most} bytes are the most");
            return Err(Refusal::new(Kind::TooLarge, words));
        }
        let length = length as usize;
        if !self.fill(length).await? {
            let came = self.buffer.len();
            return Err(Refusal::invalid(format!("a message of {length} bytes was announced, {came} came")));
        }
        if compressed && self.coding.is_none() {
            return Err(Refusal::invalid(format!("a compressed message came, and no {ENCODING} says how")));
        }
        let held = self.held.split((HEAD_BYTES + length) as u64);
        let coding = self.coding.filter(|_| compressed);
        Ok(Some(Message { bytes: self.buffer.split_to(length), coding, held }))
    }

    /// Reads until so many bytes are there; false where the body ends before.
    async fn fill(&mut self, count: usize) -> Result<bool, Refusal> {
        let mut parts = BytesMut::new();
        while self.buffer.len().max(parts.len()) < count {
            let Some(frame) = self.body.frame().await else { break };
            let frame = frame.map_err(|e| Refusal::invalid(format!("the body can't be read: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            self.held.take(data.len() as u64)?;
            if self.buffer.is_empty() {
                // Mostly all of it.
                self.buffer = data;
                continue;
            }
            if parts.is_empty() {
                parts.reserve(count.min(AHEAD_MAX));
                parts.extend_from_slice(&self.buffer);
            }
            parts.extend_from_slice(&data);
        }
        if !parts.is_empty() {
            self.buffer = parts.freeze();
        }
        Ok(self.buffer.len() >= count)
    }
}

/// A message on its way out, of several parts.
pub(super) fn framed(parts: &[&[u8]], compressed: bool) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + length);
    // No reply has 4 GiB: rows are bounded.
    frame.put_slice(&Head { compressed, length: u32::try_from(length).unwrap_or(u32::MAX) }.write());
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

/// The same, packed where there is a coding and it is worth it; whether it is.
pub(super) async fn packed(
    app: &App,
    coding: Option<Coding>,
    parts: &[&[u8]],
    deadline: Instant,
) -> Result<(Bytes, bool), Refusal> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    match coding.filter(|_| length >= WORTH_PACKING) {
        None => Ok((framed(parts, false), false)),
        Some(coding) => {
            let packed = coding.pack(&app.shared, parts.concat(), deadline).await?;
            Ok((framed(&[&packed], true), true))
        }
    }
}
