//! HTTP/1.1 as nearly all predictions come: a plain head and a small body. Gateway and backend read them by this one
//! reader, and leave to hyper whatever is anything else.

mod head;
mod written;

pub use head::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, Head, Seen};
pub use written::{line, rest, status_line};
