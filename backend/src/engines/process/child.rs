//! A version's process as the backend sees it: started through a guard, told to end, heard of.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child as Guard, Command};
use tokio::task::JoinHandle;

use super::folder::Folder;
use super::guard::{ARGUMENT, KILL, TERMINATE};
use super::log::{self, Label};
use crate::config::process::{Command as Allowed, Process as Bounds};
use crate::refusal::shorten;

/// Variables that every process gets of the backend's own.
const PASSED: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];
/// How long a guard may take to clear up before it is killed itself.
const GUARD_MAX: Duration = Duration::from_secs(12);
/// How long the last line on standard error is waited for, and how many characters of it are told.
const LAST_LINE_MAX: Duration = Duration::from_millis(250);
const WORDS_MAX: usize = 200;
/// In a command's arguments: the path of the runner that this build carries.
pub(super) const RUNNER: &str = "{python-runner}";

/// A running process. Dropped, everything of it is killed, and its folder goes.
#[derive(Debug)]
pub(super) struct Child {
    guard: Guard,
    orders: OwnedWriteHalf,
    says: BufReader<OwnedReadHalf>,
    /// What came of the line that it is saying.
    line: Vec<u8>,
    /// Its standard error, being logged: ends with the last line.
    errors: Option<JoinHandle<String>>,
    /// The process, which leads a group of its own.
    process: Option<Pid>,
    memory_bytes_max: u64,
    /// Memory that it held when it was killed for it.
    grown: Option<u64>,
}

impl Child {
    /// Starts a command for a version. What it writes is logged under the label. Blocks.
    pub(super) fn start(folder: &Folder, allowed: &Allowed, bounds: &Bounds, label: &Label) -> io::Result<Self> {
        folder.refresh()?;
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(own_program()?);
        command.arg(ARGUMENT).arg(folder.path()).arg(bounds.memory_bytes_max.to_string());
        command.args(arguments(folder, allowed)?);
        command.env_clear().envs(variables(folder, allowed, label));
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is for the backend, which then lets its calls end.
        command.process_group(0);
        let mut guard = command.spawn()?;
        let (lines, bytes) = (bounds.log_lines_per_s, bounds.log_line_bytes_max);
        if let Some(pipe) = guard.stdout.take() {
            tokio::spawn(log::forward(pipe, label.clone(), "stdout", lines, bytes));
        }
        let errors =
            guard.stderr.take().map(|pipe| tokio::spawn(log::forward(pipe, label.clone(), "stderr", lines, bytes)));
        let (says, orders) = UnixStream::from_std(ours)?.into_split();
        let memory_bytes_max = bounds.memory_bytes_max;
        let says = BufReader::new(says);
        Ok(Self { guard, orders, says, line: Vec::new(), errors, process: None, memory_bytes_max, grown: None })
    }

    /// Waits until it has ended, and with it all that it started. Why it did.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            let line = self.says_next().await;
            match line.split_once(' ') {
                Some(("started", pid)) => self.process = pid.parse().ok().and_then(Pid::from_raw),
                Some(("grown", bytes)) => self.grown = bytes.parse().ok(),
                Some((end @ ("ended" | "failed"), words)) => {
                    self.process = None;
                    self.wait().await;
                    return if end == "ended" {
                        self.why(words).await
                    } else {
                        format!("it can't be started: {words}")
                    };
                }
                _ => {
                    // The guard was killed: what it watched over is ours to kill.
                    self.wait().await;
                    if let Some(process) = self.process.take() {
                        let _ = kill_process_group(process, Signal::KILL);
                    }
                    return "its guard was killed".to_owned();
                }
            }
        }
    }

    /// Asks it to end, and waits until it has; after `within` it is killed.
    pub(super) async fn stop(mut self, within: Duration) {
        let _ = self.orders.write_all(&[TERMINATE]).await;
        if tokio::time::timeout(within, self.ended()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills it and all that it started, and waits until they are gone.
    pub(super) async fn kill(&mut self) {
        let _ = self.orders.write_all(&[KILL]).await;
        self.ended().await;
    }

    async fn why(&mut self, words: &str) -> String {
        if let Some(bytes) = self.grown {
            let most = self.memory_bytes_max;
            return format!("it held {bytes} bytes of memory, process.memory_bytes_max is {most}, and was ended");
        }
        let Some(errors) = self.errors.take() else { return words.to_owned() };
        // All that wrote to it is gone, so it is about to be read to its end.
        match tokio::time::timeout(LAST_LINE_MAX, errors).await {
            Ok(Ok(last)) if !last.is_empty() => {
                format!("{words}; the last line on its standard error is '{}'", shorten(&last, WORDS_MAX))
            }
            _ => words.to_owned(),
        }
    }

    /// What the guard says next; nothing once it is gone.
    async fn says_next(&mut self) -> String {
        // What was read when this is given up stays in the line.
        let _ = self.says.read_until(b'\n', &mut self.line).await;
        String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned()
    }

    /// Waits for the guard.
    async fn wait(&mut self) {
        if tokio::time::timeout(GUARD_MAX, self.guard.wait()).await.is_err() {
            let _ = self.guard.kill().await;
        }
    }
}

/// This program, wherever its file has gone meanwhile.
fn own_program() -> io::Result<OsString> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() { Ok(linux.into()) } else { std::env::current_exe().map(Into::into) }
}

/// The command as configured, then where to find what it needs.
fn arguments(folder: &Folder, allowed: &Allowed) -> io::Result<Vec<OsString>> {
    let mut list = Vec::with_capacity(allowed.argv.len() + 6);
    for argument in &allowed.argv {
        list.push(if argument == RUNNER { folder.runner()?.into() } else { argument.into() });
    }
    for (flag, path) in
        [("--folder", folder.files()), ("--socket", folder.socket()), ("--signature", folder.signature())]
    {
        list.push(flag.into());
        list.push(path.into());
    }
    Ok(list)
}

/// The whole environment: nothing of the backend's own but what is listed, so that no credentials come with it.
fn variables(folder: &Folder, allowed: &Allowed, label: &Label) -> Vec<(OsString, OsString)> {
    let kept = PASSED.into_iter().chain(allowed.pass_env.iter().map(String::as_str));
    let mut list: Vec<(OsString, OsString)> =
        kept.filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
    let work = super::folder::work(folder.path());
    list.push(("HOME".into(), work.clone().into()));
    list.push(("TMPDIR".into(), work.into()));
    list.push(("HEADGATE_MODEL".into(), label.model.to_string().into()));
    list.push(("HEADGATE_VERSION".into(), label.version.to_string().into()));
    list.extend(allowed.env.iter().map(|(name, value)| (name.into(), value.into())));
    list
}
