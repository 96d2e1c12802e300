//! The messages of a stream, each proven to lie within the body.

use arrow_ipc::{Message, root_as_message_with_opts};
use flatbuffers::VerifierOptions;

use crate::refusal::shorten;

/// What stands before a message's length.
const CONTINUATION: u32 = u32::MAX;
/// What a file, that holds a stream among others, begins with.
const FILE: &[u8] = b"ARROW1";

/// A message.
pub(super) struct Part<'a> {
    pub(super) message: Message<'a>,
    /// What lies behind it: the buffers.
    pub(super) body: &'a [u8],
    /// Which one of the stream, counted from 0.
    pub(super) number: usize,
}

/// What is still to be read of a stream.
pub(super) struct Stream<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, number: 0 }
    }

    /// The next message; none at the end, which is that of the body, or said by a length of 0.
    pub(super) fn next(&mut self) -> Result<Option<Part<'a>>, String> {
        if self.number == 0 && self.rest.starts_with(FILE) {
            return Err("an Arrow file came, an IPC stream expected".to_owned());
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut length = self.word()?;
        if length == CONTINUATION {
            length = self.word()?;
        }
        if length == 0 {
            return match self.rest.len() {
                0 => Ok(None),
                more => Err(format!("{more} bytes follow the end of the stream")),
            };
        }
        let metadata = self.take(length.into(), "metadata")?;
        let number = self.number;
        // A message may name a table twice: what that may cost is bounded by its own size.
        let options = VerifierOptions {
            max_tables: metadata.len() / 4 + 16,
            max_apparent_size: metadata.len().saturating_mul(8) + 1024,
            ..VerifierOptions::default()
        };
        let message = root_as_message_with_opts(&options, metadata).map_err(|error| {
            let error = error.to_string();
            format!(
                "message {number} of the stream can't be read: {}",
                shorten(error.lines().next().unwrap_or(""), 120)
            )
        })?;
        let length = message.bodyLength();
        let body = self.take(u64::try_from(length).unwrap_or(u64::MAX), "body")?;
        self.number += 1;
        Ok(Some(Part { message, body, number }))
    }

    fn word(&mut self) -> Result<u32, String> {
        let (word, rest) = self.rest.split_first_chunk().ok_or("the stream ends within the length of a message")?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*word))
    }

    fn take(&mut self, length: u64, what: &str) -> Result<&'a [u8], String> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or_else(|| {
            let (number, left) = (self.number, self.rest.len());
            format!("message {number} of the stream says that its {what} has {length} bytes, {left} are left")
        })?;
        self.rest = rest;
        Ok(taken)
    }
}
