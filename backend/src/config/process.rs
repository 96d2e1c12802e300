//! `[process]`: commands that versions may bring their code to, and what bounds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::written::{at_least, one_or_more};

/// The longest path of a Unix socket, in bytes: `sun_path` of Linux less its end.
const SOCKET_PATH_MAX: usize = 107;
/// What a version's folder adds to the path of [`Process::dir`]: `/`, 16 hex digits, `/socket`.
const BELOW_DIR: usize = 24;
/// The longest name of a command, in bytes.
const NAME_MAX: usize = 64;

/// Commands that versions may bring their code to, and what bounds their processes.
#[derive(Clone, Debug)]
pub struct Process {
    /// Where versions get their folders: on the cache's file system, so that files need no copy.
    pub dir: PathBuf,
    /// Resident memory of a version's process and all that it started, in bytes.
    pub memory_bytes_max: u64,
    /// How long a process may take until it says that it is ready.
    pub start_timeout: Duration,
    /// How long it may take for a call until it counts as hung and is started anew.
    pub call_timeout: Duration,
    /// How long it may take to end after SIGTERM.
    pub stop_timeout: Duration,
    /// Calls that a process is given at once.
    pub concurrency: usize,
    /// Calls that wait for a process.
    pub queue_max: usize,
    /// The largest answer, in bytes.
    pub answer_bytes_max: usize,
    /// Lines of its standard output and of its standard error that are logged, a second each; the rest is dropped.
    pub log_lines_per_s: u32,
    /// Bytes of a line that are logged.
    pub log_line_bytes_max: usize,
    /// The commands by name.
    pub commands: BTreeMap<String, Command>,
}

/// A command that versions may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// The program (a name to be found in `PATH`, or an absolute path) and its first arguments.
    pub argv: Vec<String>,
    /// Variables that its processes get.
    pub env: BTreeMap<String, String>,
    /// Variables of the backend's own that its processes get too.
    pub pass_env: Vec<String>,
}

/// `[process]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ProcessWritten {
    pub dir: String,
    pub memory_bytes_max: u64,
    pub start_timeout_ms: u64,
    pub call_timeout_ms: u64,
    pub stop_timeout_ms: u64,
    pub concurrency: usize,
    pub queue_max: usize,
    pub answer_bytes_max: usize,
    pub log_lines_per_s: u32,
    pub log_line_bytes_max: usize,
    pub commands: BTreeMap<String, Command>,
}

impl Default for ProcessWritten {
    fn default() -> Self {
        Self {
            dir: String::new(),
            memory_bytes_max: 1 << 30,
            start_timeout_ms: 60_000,
            call_timeout_ms: 10_000,
            stop_timeout_ms: 5000,
            concurrency: 4,
            queue_max: 128,
            answer_bytes_max: 64 << 20,
            log_lines_per_s: 50,
            log_line_bytes_max: 4096,
            commands: BTreeMap::new(),
        }
    }
}

impl Process {
    /// The defaults and no command: versions that need one are refused.
    pub fn none(cache: &Path) -> Self {
        ProcessWritten::default().meant(cache)
    }
}

impl ProcessWritten {
    /// Checks every value; `cache` is the cache's folder.
    pub(super) fn check(self, cache: &Path) -> Result<Process, String> {
        at_least("process.start_timeout_ms", self.start_timeout_ms, 1)?;
        at_least("process.call_timeout_ms", self.call_timeout_ms, 1)?;
        one_or_more("process.concurrency", self.concurrency)?;
        one_or_more("process.answer_bytes_max", self.answer_bytes_max)?;
        if self.memory_bytes_max == 0 {
            return Err("'process.memory_bytes_max' is 0: 1 or more expected".into());
        }
        for (name, command) in &self.commands {
            command.check(name)?;
        }
        let process = self.meant(cache);
        let (dir, most) = (process.dir.display(), SOCKET_PATH_MAX - BELOW_DIR);
        if !process.dir.is_absolute() {
            return Err(format!("'process.dir' is '{dir}': an absolute path expected"));
        }
        if !process.commands.is_empty() && process.dir.as_os_str().len() > most {
            return Err(format!("'process.dir' is '{dir}': a Unix socket's path below it allows {most} bytes at most"));
        }
        Ok(process)
    }

    fn meant(self, cache: &Path) -> Process {
        let dir = if self.dir.is_empty() { cache.join("run") } else { PathBuf::from(self.dir) };
        Process {
            dir,
            memory_bytes_max: self.memory_bytes_max,
            start_timeout: Duration::from_millis(self.start_timeout_ms),
            call_timeout: Duration::from_millis(self.call_timeout_ms),
            stop_timeout: Duration::from_millis(self.stop_timeout_ms),
            concurrency: self.concurrency,
            queue_max: self.queue_max,
            answer_bytes_max: self.answer_bytes_max,
            log_lines_per_s: self.log_lines_per_s,
            log_line_bytes_max: self.log_line_bytes_max,
            commands: self.commands,
        }
    }
}

impl Command {
    fn check(&self, name: &str) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
            return Err(format!("'process.commands': '{name}' is no name: letters, digits, '.', '_', '-' expected"));
        }
        let Some(program) = self.argv.first().filter(|p| !p.is_empty()) else {
            return Err(format!("'process.commands.{name}.argv' is empty: a program and its arguments expected"));
        };
        if program.contains('/') && !Path::new(program).is_absolute() {
            return Err(format!(
                "'process.commands.{name}.argv' begins with '{program}': a name or an absolute path expected"
            ));
        }
        let texts = self.argv.iter().chain(self.env.values()).chain(&self.pass_env).chain(self.env.keys());
        if texts.clone().any(|text| text.contains('\0')) {
            return Err(format!("'process.commands.{name}' holds a zero byte"));
        }
        match self.env.keys().chain(&self.pass_env).find(|variable| variable.is_empty() || variable.contains('=')) {
            Some(variable) => Err(format!("'process.commands.{name}': '{variable}' is no variable's name")),
            None => Ok(()),
        }
    }
}
