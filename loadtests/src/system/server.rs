//! A server of any make: processes that are started together, and whose children count among them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::time::sleep;

use super::process::{Process, Program};
use super::{SystemError, usage};

/// How long its processes have to end by themselves.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How to start one of a server's processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The part's name: its log is `<name>.log`.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, beside this process's own.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Whether it is only what the server needs beside it: its processor time is told, but is not the server's.
    #[serde(default)]
    pub beside: bool,
}

/// A running server. Dropped, its processes are killed, with the processes that those began.
#[derive(Debug)]
pub struct Server {
    processes: Vec<(String, Process)>,
}

impl Server {
    /// Starts its processes, in their order; their logs go to `logs`.
    pub fn start(commands: &[Command], logs: &Path) -> Result<Self, SystemError> {
        let mut server = Self { processes: Vec::with_capacity(commands.len()) };
        for command in commands {
            let program = Program {
                name: command.name.clone(),
                path: command.program.clone(),
                arguments: command.arguments.iter().map(OsString::from).collect(),
                environment: command.environment.clone(),
                log: logs.join(format!("{}.log", command.name)),
            };
            server.processes.push((command.name.clone(), program.start()?));
        }
        Ok(server)
    }

    /// An error with the end of its log, where one of its processes has ended by itself.
    pub fn check(&mut self) -> Result<(), SystemError> {
        self.processes.iter_mut().try_for_each(|(_, process)| process.check())
    }

    /// Processor time since it began, by the name of its process; what a process began counts with it.
    pub fn cpu(&self) -> Vec<(String, Duration)> {
        self.processes.iter().map(|(name, process)| (name.clone(), usage::cpu_of_group(process.pid()))).collect()
    }

    /// Stops it by SIGTERM; what is still there after some seconds is killed. Servers differ in how they end.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        for _ in 0..STOP_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
            if self.processes.iter_mut().all(|(_, process)| process.check().is_err()) {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn signal(&self, signal: Signal) {
        for (_, process) in &self.processes {
            if let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw) {
                // Where none of the group is left there is nothing to signal.
                let _ = kill_process_group(pid, signal);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
