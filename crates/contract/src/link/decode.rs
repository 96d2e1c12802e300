//! Frames from bytes. Nothing is copied, and nothing is allocated.

use super::encode::{
    AS_CHOSEN, CALL, CANCEL, CANCELLED, CLOSED, DRAINING, HEAD, HELLO, INLINE, NO_ROWS, NO_VERSION, OTHER_VERSION,
    PING, PONG, REPLY, TOO_LARGE,
};
use super::{Answered, Call, Closed, Content, Frame, FrameError, HEAD_BYTES_MAX, Head, HeadOf, Hello, Reply};
use crate::Kind;

/// What bytes begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A frame, and the bytes that it takes.
    Frame(Frame<'a>, usize),
    /// A part of one; so many bytes are needed before it is looked at again.
    Part(usize),
}

/// A list of headers that was found to be whole. Names and values are any bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

/// The headers of a list.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    left: u8,
    fields: Fields<'a>,
}

/// What is left of a frame.
#[derive(Clone, Debug)]
struct Fields<'a> {
    frame: &'static str,
    bytes: &'a [u8],
}

/// Reads the frame that `bytes` begin with, which may take `most` bytes behind its length.
pub fn next(bytes: &[u8], most: usize) -> Result<Next<'_>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(Next::Part(4)) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > most {
        return Err(FrameError::TooLong { length, most });
    }
    match rest.get(..length) {
        Some(frame) => Ok(Next::Frame(frame_of(frame)?, 4 + length)),
        None => Ok(Next::Part(4 + length)),
    }
}

fn frame_of(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let Some((&kind, bytes)) = bytes.split_first() else { return Err(FrameError::Empty) };
    let fields = |frame| Fields { frame, bytes };
    match kind {
        HELLO => fields("hello").hello().map(Frame::Hello),
        HEAD => {
            let mut fields = fields("head");
            let index = fields.u16("number")?;
            if index == INLINE {
                return Err(fields.senseless("number"));
            }
            let block = std::mem::take(&mut fields.bytes);
            Ok(Frame::Head(index, fields.head(block)?))
        }
        CALL => fields("call").call().map(Frame::Call),
        REPLY => fields("reply").reply().map(Frame::Reply),
        CLOSED => {
            let mut fields = fields("closed");
            let id = fields.u64("id")?;
            let why = match fields.u8("reason")? {
                CANCELLED => Closed::Cancelled,
                TOO_LARGE => Closed::TooLarge,
                _ => return Err(fields.senseless("reason")),
            };
            fields.end().map(|()| Frame::Closed(id, why))
        }
        CANCEL => fields("cancel").number().map(Frame::Cancel),
        PING => fields("ping").number().map(Frame::Ping),
        PONG => fields("pong").number().map(Frame::Pong),
        DRAINING => fields("draining").end().map(|()| Frame::Draining),
        other => Err(FrameError::Kind(other)),
    }
}

impl<'a> Fields<'a> {
    fn hello(mut self) -> Result<Hello<'a>, FrameError> {
        let hello = Hello {
            version: self.u16("version")?,
            credits: self.u32("credits")?,
            frame_bytes_max: self.u32("largest frame")?,
            connections: self.u16("connections")?,
            heads: self.u16("heads")?,
            name: self.short("name").and_then(|name| self.text("name", name))?,
        };
        // Later versions may say more.
        Ok(hello)
    }

    fn call(mut self) -> Result<Call<'a>, FrameError> {
        let (id, timeout_ms) = (self.u64("id")?, self.u32("timeout")?);
        let head = match self.u16("head")? {
            INLINE => {
                let length = usize::from(self.u16("head")?);
                let block = self.take("head", length)?;
                HeadOf::Inline(self.head(block)?)
            }
            index => HeadOf::Known(index),
        };
        let (request_id, headers) = (self.short("request id")?, self.headers()?);
        Ok(Call { id, timeout_ms, head, request_id, headers, body: self.bytes })
    }

    fn reply(mut self) -> Result<Reply<'a>, FrameError> {
        let (id, status) = (self.u64("id")?, self.u16("status")?);
        if !(200..=599).contains(&status) {
            return Err(self.senseless("status"));
        }
        // A kind that came later is told by its status.
        let error = usize::from(self.u8("error")?).checked_sub(1).and_then(|at| Kind::ALL.get(at).copied());
        let version = match self.u8("version")? {
            NO_VERSION => Answered::None,
            AS_CHOSEN => Answered::AsChosen,
            OTHER_VERSION => Answered::Version(self.u64("version")?, *self.array("digest")?),
            _ => return Err(self.senseless("version")),
        };
        let (load, rows) = (self.u32("load")?, self.u32("rows")?);
        let content = Content::ALL.get(usize::from(self.u8("content")?)).copied();
        let content = content.ok_or_else(|| self.senseless("content"))?;
        let headers = self.headers()?;
        let rows = (rows != NO_ROWS).then_some(rows);
        Ok(Reply { id, status, error, version, load, rows, content, headers, body: self.bytes })
    }

    /// A head that takes all of `block`.
    fn head(&self, block: &'a [u8]) -> Result<Head<'a>, FrameError> {
        if block.len() > HEAD_BYTES_MAX {
            return Err(self.senseless("head"));
        }
        let mut fields = Fields { frame: self.frame, bytes: block };
        let length = usize::from(fields.u16("path")?);
        let path = fields.take("path", length)?;
        let head = Head { path: fields.text("path", path)?, headers: fields.headers()?, block };
        fields.end().map(|()| head)
    }

    fn headers(&mut self) -> Result<Headers<'a>, FrameError> {
        let all = self.bytes;
        for _ in 0..self.u8("headers")? {
            if self.short("header's name")?.is_empty() {
                return Err(self.senseless("header's name"));
            }
            let length = usize::from(self.u16("header's value")?);
            self.take("header's value", length)?;
        }
        let headers = &all[..all.len() - self.bytes.len()];
        if headers.len() > HEAD_BYTES_MAX {
            return Err(self.senseless("headers"));
        }
        Ok(Headers(headers))
    }

    fn number(mut self) -> Result<u64, FrameError> {
        let number = self.u64("number")?;
        self.end().map(|()| number)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, FrameError> {
        self.array::<1>(field).map(|[byte]| *byte)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, FrameError> {
        self.array(field).map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, FrameError> {
        self.array(field).map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, FrameError> {
        self.array(field).map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], FrameError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(FrameError::Cut { frame: self.frame, field })?;
        self.bytes = rest;
        Ok(array)
    }

    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(FrameError::Cut { frame: self.frame, field })?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Bytes behind their number, which is one byte.
    fn short(&mut self, field: &'static str) -> Result<&'a [u8], FrameError> {
        let length = usize::from(self.u8(field)?);
        self.take(field, length)
    }

    fn text(&self, field: &'static str, bytes: &'a [u8]) -> Result<&'a str, FrameError> {
        std::str::from_utf8(bytes).map_err(|_| self.senseless(field))
    }

    fn end(&self) -> Result<(), FrameError> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(FrameError::Rest { frame: self.frame, bytes }),
        }
    }

    fn senseless(&self, field: &'static str) -> FrameError {
        FrameError::Field { frame: self.frame, field }
    }
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Self = Headers(&[0]);

    /// Reads a list as [`super::put_headers`] writes it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Fields { frame: "header", bytes };
        let headers = fields.headers()?;
        fields.end().map(|()| headers)
    }

    /// As they are written.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.first().is_none_or(|count| *count == 0)
    }

    /// Names and values.
    pub fn iter(self) -> HeadersIter<'a> {
        let mut fields = Fields { frame: "header", bytes: self.0 };
        HeadersIter { left: fields.u8("headers").unwrap_or(0), fields }
    }
}

impl<'a> Head<'a> {
    /// Reads a head as [`super::put_head`] writes it.
    pub fn read(block: &'a [u8]) -> Result<Self, FrameError> {
        Fields { frame: "head", bytes: &[] }.head(block)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.fields.short("header's name").ok()?;
        let length = usize::from(self.fields.u16("header's value").ok()?);
        Some((name, self.fields.take("header's value", length).ok()?))
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}
