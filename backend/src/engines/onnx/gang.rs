//! The threads that runs are done on, shared by all versions: each takes a version, does one run, and goes to the end of
//! the line if there is more.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::line::Line;

/// So many threads. They end with it.
#[derive(Debug)]
pub(super) struct Gang {
    shared: Arc<Shared>,
}

#[derive(Default, Debug)]
struct Shared {
    lines: Mutex<Lines>,
    wake: Condvar,
}

#[derive(Default, Debug)]
struct Lines {
    /// With calls that wait, each once.
    ready: VecDeque<Arc<Line>>,
    closed: bool,
}

impl Gang {
    /// Starts so many threads.
    pub(super) fn new(threads: usize) -> std::io::Result<Self> {
        let gang = Self { shared: Arc::default() };
        for n in 0..threads.max(1) {
            let shared = Arc::clone(&gang.shared);
            std::thread::Builder::new().name(format!("headgate-onnx-{n}")).spawn(move || shared.work())?;
        }
        Ok(gang)
    }

    /// Takes a line that has calls.
    pub(super) fn take(&self, line: Arc<Line>) {
        self.shared.push(line);
    }
}

impl Shared {
    fn push(&self, line: Arc<Line>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).ready.push_back(line);
        self.wake.notify_one();
    }

    fn work(&self) {
        loop {
            let line = {
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    if let Some(line) = lines.ready.pop_front() {
                        break line;
                    }
                    if lines.closed {
                        return;
                    }
                    lines = self.wake.wait(lines).unwrap_or_else(PoisonError::into_inner);
                }
            };
            if line.run() {
                self.push(line);
            }
        }
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
    }
}
