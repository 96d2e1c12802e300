//! How a request fails, as its caller sees it.

use std::error::Error;
use std::io;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The connection was reset.
    Reset,
    /// The connection ended before the reply did.
    Eof,
    /// No connection: refused.
    Refused,
    /// No whole reply within the deadline, the wait in line included.
    Timeout,
    /// The line of requests that wait for a connection was full.
    LineFull,
    /// The reply was no HTTP, or too long.
    Garbled,
    /// Any other error of the network.
    Io,
    /// A reply with a status that is not 2xx.
    Status,
    /// A reply that can't be attributed to exactly one version.
    Attribution,
    /// A reply whose scores are not the expected ones.
    Scores,
}

impl Failure {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Reset => "reset",
            Failure::Eof => "eof",
            Failure::Refused => "refused",
            Failure::Timeout => "timeout",
            Failure::LineFull => "line_full",
            Failure::Garbled => "garbled",
            Failure::Io => "io",
            Failure::Status => "status",
            Failure::Attribution => "attribution",
            Failure::Scores => "scores",
        }
    }

    /// The kind of an error of the network.
    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Failure::Reset
            }
            io::ErrorKind::UnexpectedEof => Failure::Eof,
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut => Failure::Timeout,
            _ => Failure::Io,
        }
    }

    /// The kind of an error of the HTTP client.
    pub(super) fn of_hyper(error: &hyper::Error) -> Self {
        if error.is_incomplete_message() {
            return Failure::Eof;
        }
        if error.is_parse() {
            return Failure::Garbled;
        }
        match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) => Self::of_io(source),
            None => Failure::Io,
        }
    }
}
