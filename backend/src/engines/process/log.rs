//! What a process writes, as lines of the backend's log: so many a second and so long; the rest is dropped and counted.

use std::time::Duration;

use headgate_contract::{ModelName, Version};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 64 << 10;
/// A pause after each chunk of surplus: a process that floods its log is slowed down, but never stopped, and costs nobody
/// else a processor.
const PAUSE: Duration = Duration::from_millis(1);
/// How often dropped lines are told.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Whose log it is.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) model: ModelName,
    pub(super) version: Version,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "model '{}' version {}", self.model, self.version)
    }
}

/// Lines out of bytes, within bounds.
#[derive(Debug)]
struct Sieve {
    lines_per_s: u32,
    line_bytes_max: usize,
    /// The line so far, cut at its bound.
    line: Vec<u8>,
    /// Whether `line` stands for one that has begun, even where it is empty.
    begun: bool,
    /// The second that `left` is for.
    second: Instant,
    left: u32,
    lines_dropped: u64,
    bytes_dropped: u64,
    /// The last line that was not blank, dropped or not.
    last: Vec<u8>,
}

/// Logs what a pipe brings until nobody holds its other end. Returns the last line that is not blank.
pub(super) async fn forward(
    mut pipe: impl AsyncRead + Unpin,
    label: Label,
    stream: &'static str,
    lines_per_s: u32,
    line_bytes_max: usize,
) -> String {
    let (model, version) = (&label.model, label.version);
    let mut sieve = Sieve::new(lines_per_s, line_bytes_max, Instant::now());
    let mut chunk = vec![0; CHUNK];
    let mut tell_at = Instant::now() + TOLD_EVERY;
    let emit = |line: &str| tracing::info!(%model, %version, stream, line, "process");
    loop {
        let before = sieve.bytes_dropped;
        match tokio::time::timeout_at(tell_at, pipe.read(&mut chunk)).await {
            Ok(Ok(read @ 1..)) => sieve.take(&chunk[..read], Instant::now(), emit),
            Ok(_) => break,
            Err(_) => {
                sieve.tell(&label, stream);
                tell_at = Instant::now() + TOLD_EVERY;
            }
        }
        if sieve.bytes_dropped > before {
            tokio::time::sleep(PAUSE).await;
        }
    }
    sieve.end(Instant::now(), emit);
    sieve.tell(&label, stream);
    plain(&sieve.last).trim().to_owned()
}

/// A line without colours or a cursor's ways.
fn plain(line: &[u8]) -> String {
    let plain = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    String::from_utf8_lossy(line).trim_end_matches('\r').chars().map(plain).collect()
}

impl Sieve {
    fn new(lines_per_s: u32, line_bytes_max: usize, now: Instant) -> Self {
        Self {
            lines_per_s,
            line_bytes_max,
            line: Vec::new(),
            begun: false,
            second: now,
            left: lines_per_s,
            lines_dropped: 0,
            bytes_dropped: 0,
            last: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant, emit: impl Fn(&str)) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = self.line_bytes_max.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.bytes_dropped += text.len().saturating_sub(room) as u64;
            self.begun = true;
            if whole {
                self.end(now, &emit);
            }
        }
    }

    /// The line is whole.
    fn end(&mut self, now: Instant, emit: impl Fn(&str)) {
        if !std::mem::take(&mut self.begun) {
            return;
        }
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.left) = (now, self.lines_per_s);
        }
        if self.left == 0 {
            self.lines_dropped += 1;
            self.bytes_dropped += self.line.len() as u64 + 1;
        } else {
            self.left -= 1;
            emit(&plain(&self.line));
        }
        if !self.line.trim_ascii().is_empty() {
            std::mem::swap(&mut self.last, &mut self.line);
        }
        self.line.clear();
    }

    /// Tells what was dropped since the last time.
    fn tell(&mut self, label: &Label, stream: &'static str) {
        let (lines, bytes) = (std::mem::take(&mut self.lines_dropped), std::mem::take(&mut self.bytes_dropped));
        if bytes > 0 {
            let (model, version) = (&label.model, label.version);
            tracing::warn!(%model, %version, stream, lines, bytes, "process: what it writes is more than is logged: dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_lines_a_second_and_so_long() {
        let lines = RefCell::new(Vec::new());
        let emit = |line: &str| lines.borrow_mut().push(line.to_owned());
        let mut sieve = Sieve::new(2, 8, Instant::now());
        sieve.take(b"first\r\nsec", Instant::now(), emit);
        sieve.take(b"ond is long\n\x1b[2Jthird\nfourth\n", Instant::now(), emit);
        assert_eq!(*lines.borrow(), ["first", "second i"]);
        assert_eq!((sieve.lines_dropped, sieve.bytes_dropped), (2, 6 + 1 + 9 + 7));
        tokio::time::sleep(Duration::from_secs(1)).await;
        sieve.take(b"\x1b[2Jx", Instant::now(), emit);
        sieve.end(Instant::now(), emit);
        assert_eq!(lines.borrow().last().unwrap(), "\u{fffd}[2Jx");
        sieve.end(Instant::now(), emit);
        assert_eq!(lines.borrow().len(), 3);
    }

    #[tokio::test]
    async fn a_flood_is_read_to_its_end() {
        let label = Label { model: "m".parse().unwrap(), version: Version::FIRST };
        let flood = vec![b'x'; 1 << 20];
        assert_eq!(forward(flood.as_slice(), label, "stdout", 1, 16).await, "x".repeat(16));
    }

    #[tokio::test]
    async fn the_last_line_is_known_though_it_is_not_logged() {
        let label = Label { model: "m".parse().unwrap(), version: Version::FIRST };
        let trace = b"Traceback\n  line 1\nImportError: no \x1b[1mnumpy\r\n\n";
        assert_eq!(forward(trace.as_slice(), label, "stderr", 1, 64).await, "ImportError: no \u{fffd}[1mnumpy");
    }
}
