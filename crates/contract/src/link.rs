//! The link: calls from a gateway to a backend as frames on few connections, many calls at once on each. What lies where
//! is in `docs/LINK.md`; here is what reads and writes it. Pure: bytes in, frames out.

use std::fmt;
use std::str::FromStr;

use crate::Kind;

mod decode;
mod encode;
mod heads;
mod opening;

pub use decode::{Headers, HeadersIter, Next, next};
pub use encode::{put_head, put_headers};
pub use heads::{Heads, Placed};
pub use opening::{BadOpening, Versions};

/// Where a link is asked for, by GET.
pub const PATH: &str = "/fleet/v1/link";
/// Its name in the header `upgrade`.
pub const PROTOCOL: &str = "headgate-link";
/// The header that says which versions the asker speaks (`1-2`), and in the answer which one it is to be (`2`).
pub const HEADER: &str = "x-headgate-link";
/// The versions that this build speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };

/// The largest frame that this build takes, its length aside.
pub const FRAME_BYTES_MAX: usize = 256 << 10;
/// The largest body that is sent as a frame: what is longer would hold up the calls behind it, and costs enough by itself.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// The largest head, and the longest list of headers.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Heads that a backend keeps of a connection.
pub const HEADS_MAX: u16 = 256;
/// Calls in flight that a backend takes on a connection.
pub const CREDITS: u32 = 1024;
/// The most that may be granted.
pub const CREDITS_MAX: u32 = 1 << 16;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first of each side.
    Hello(Hello<'a>),
    /// From a gateway: a head that calls may name from here on, instead of the one before it of this number.
    Head(u16, Head<'a>),
    /// From a gateway: a call.
    Call(Call<'a>),
    /// From a backend: the end of a call, with an answer.
    Reply(Reply<'a>),
    /// From a backend: the end of a call, without one.
    Closed(u64, Closed),
    /// From a gateway: nobody waits for this call any more.
    Cancel(u64),
    /// The other side is to answer with the same number.
    Ping(u64),
    /// The answer.
    Pong(u64),
    /// From a backend: it will take no calls soon; those that it has are answered.
    Draining,
}

/// What a side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version that is spoken, the same of both sides.
    pub version: u16,
    /// Calls in flight that it takes; 0 from a gateway.
    pub credits: u32,
    /// The largest frame that it takes, its length aside.
    pub frame_bytes_max: u32,
    /// Connections by which it is served best: one for each of its threads.
    pub connections: u16,
    /// Heads that it keeps.
    pub heads: u16,
    /// Its stable name.
    pub name: &'a str,
}

/// What many calls have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Path, without a query. The method is POST.
    pub path: &'a str,
    /// Headers that pass, the version that the gateway chose among them.
    pub headers: Headers<'a>,
    /// Both, as they are written.
    pub block: &'a [u8],
}

/// A call's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadOf<'a> {
    /// The one that was sent before by this number.
    Known(u16),
    /// This one.
    Inline(Head<'a>),
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Larger than those of all calls before it on this connection.
    pub id: u64,
    /// The time within which an answer is of use, in milliseconds from now; 0: no time.
    pub timeout_ms: u32,
    /// What it has in common with others.
    pub head: HeadOf<'a>,
    /// The request's id.
    pub request_id: &'a [u8],
    /// Headers that only this call has.
    pub headers: Headers<'a>,
    /// The body.
    pub body: &'a [u8],
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The call's.
    pub id: u64,
    /// HTTP's status.
    pub status: u16,
    /// Why it is an error; none too where the reader does not know the kind.
    pub error: Option<Kind>,
    /// The version that answered.
    pub version: Answered,
    /// Calls in flight when it was answered.
    pub load: u32,
    /// Rows that were scored.
    pub rows: Option<u32>,
    /// The body's content type, where it is a usual one.
    pub content: Content,
    /// Other headers.
    pub headers: Headers<'a>,
    /// The body.
    pub body: &'a [u8],
}

/// The version that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// None.
    None,
    /// The one that the call's head names.
    AsChosen,
    /// Another, and its digest.
    Version(u64, [u8; 32]),
}

/// Why a call ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was cancelled.
    Cancelled,
    /// The reply does not fit a frame: to be asked for by HTTP.
    TooLarge,
}

/// The content types that replies have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None, or one among the headers.
    Other,
    /// JSON.
    Json,
    /// JSON and binary behind it.
    Binary,
    /// CSV.
    Csv,
    /// Protocol buffers.
    Protobuf,
    /// An Arrow stream.
    Arrow,
}

/// Why bytes are no frame. The other side's fault, and the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than agreed.
    #[error("a frame of {length} bytes came, {most} at most expected")]
    TooLong {
        /// What came.
        length: usize,
        /// What was expected.
        most: usize,
    },
    /// Without even a kind.
    #[error("an empty frame came")]
    Empty,
    /// Of a kind that no version has that this build speaks.
    #[error("a frame of kind {0} came, which is unknown")]
    Kind(u8),
    /// It ends before its fields do.
    #[error("a {frame} frame ends within its {field}")]
    Cut {
        /// Which kind.
        frame: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// It goes on after its fields.
    #[error("a {frame} frame has {bytes} bytes more than its fields")]
    Rest {
        /// Which kind.
        frame: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A field has no meaning.
    #[error("a {frame} frame's {field} makes no sense")]
    Field {
        /// Which kind.
        frame: &'static str,
        /// Which field.
        field: &'static str,
    },
}

impl Content {
    const ALL: [Content; 6] =
        [Content::Other, Content::Json, Content::Binary, Content::Csv, Content::Protobuf, Content::Arrow];

    /// The media type; none of [`Content::Other`].
    pub const fn media_type(self) -> Option<&'static str> {
        match self {
            Content::Other => None,
            Content::Json => Some("application/json"),
            Content::Binary => Some("application/octet-stream"),
            Content::Csv => Some("text/csv"),
            Content::Protobuf => Some("application/x-protobuf"),
            Content::Arrow => Some("application/vnd.apache.arrow.stream"),
        }
    }

    /// The content of a media type, as it is written in replies.
    pub fn of(media_type: &[u8]) -> Self {
        let is = |content: &Content| content.media_type().is_some_and(|name| name.as_bytes() == media_type);
        Self::ALL.into_iter().find(is).unwrap_or(Content::Other)
    }
}

#[cfg(test)]
mod tests;
