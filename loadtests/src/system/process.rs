//! One part of the system as a child process: started, killed, stopped; never left behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::SystemError;
use super::headgate::PARENT_VARIABLE;

/// How much of a log is shown when its process failed, in bytes.
const LOG_SHOWN: usize = 2000;

/// How to start a process.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The part's name: its log is `<name>.log`.
    pub(super) name: String,
    /// The executable.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// Its environment, beside this process's own.
    pub(super) environment: BTreeMap<String, String>,
    /// Where its log goes.
    pub(super) log: PathBuf,
}

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    child: Child,
    pid: u32,
}

impl Program {
    /// Starts it; its output is appended to its log.
    pub(super) fn start(&self) -> Result<Process, SystemError> {
        let failed = |error| SystemError::Start { name: self.name.clone(), path: self.path.clone(), error };
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let child = Command::new(&self.path)
            .args(&self.arguments)
            .envs(&self.environment)
            .env(PARENT_VARIABLE, std::process::id().to_string())
            // Ctrl-C in the terminal must reach only this process.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().ok_or_else(|| failed(std::io::Error::other("it ended at once")))?;
        Ok(Process { program: self.clone(), child, pid })
    }
}

impl Process {
    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// An error with the end of its log, where it has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), SystemError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.ended(status)),
            _ => Ok(()),
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<(), SystemError> {
        let name = self.program.name.clone();
        self.child.kill().await.map_err(|error| SystemError::Stop { name, error })
    }

    /// SIGTERM; an error where it is not gone, with exit code 0, after `patience`.
    pub(super) async fn stop(mut self, patience: Duration) -> Result<(), SystemError> {
        self.check()?;
        let name = self.program.name.clone();
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)
                .map_err(|error| SystemError::Stop { name: name.clone(), error: error.into() })?;
        }
        match timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.ended(status)),
            Ok(Err(error)) => Err(SystemError::Stop { name, error }),
            Err(_) => Err(SystemError::Hangs { name, patience }),
        }
    }

    /// SIGSTOP, or SIGCONT: it stands still, and goes on as if nothing had been.
    pub(super) fn freeze(&self, frozen: bool) -> Result<(), SystemError> {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let stop =
            |error: rustix::io::Errno| SystemError::Stop { name: self.program.name.clone(), error: error.into() };
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill_process(pid, signal).map_err(stop))
    }

    fn ended(&self, status: ExitStatus) -> SystemError {
        SystemError::Ended { name: self.program.name.clone(), status, log: tail(&self.program.log) }
    }
}

/// The end of a log.
pub(super) fn tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut bytes));
    if let Err(error) = read {
        return format!("(its log can't be read: {error})");
    }
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_SHOWN)..]).into_owned()
}
