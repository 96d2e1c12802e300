//! What every reply has, as it goes out.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

thread_local! {
    /// The second since 1970, and how it is written.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes a reply's first line.
pub fn status_line(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a header. Name and value have to be valid ones.
pub fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes what comes last in a head: the length of the body, where that is known, and the date.
pub fn rest(length: Option<u64>, now: SystemTime, out: &mut Vec<u8>) {
    if let Some(length) = length {
        line("content-length", itoa::Buffer::new().format(length).as_bytes(), out);
    }
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // It is put into words once a second.
    DATE.with_borrow_mut(|(written, text)| {
        if *written != second || text.is_empty() {
            (*written, *text) = (second, httpdate::fmt_http_date(now));
        }
        line("date", text.as_bytes(), out);
    });
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_head_is_written() {
        let mut out = Vec::new();
        status_line(StatusCode::TOO_MANY_REQUESTS, &mut out);
        line("x-a", b"b", &mut out);
        rest(Some(120), UNIX_EPOCH + Duration::from_secs(784_111_777), &mut out);
        let expected = "HTTP/1.1 429 Too Many Requests\r\nx-a: b\r\ncontent-length: 120\r\n\
                        date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        out.clear();
        rest(None, UNIX_EPOCH, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n");
    }
}
