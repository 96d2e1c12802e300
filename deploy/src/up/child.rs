//! One part of the system as a child process: started, watched, started again when it dies, stopped in order.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// A log is begun anew at a start that finds it larger than this, in bytes; the one before is kept beside it.
const LOG_BYTES_MAX: u64 = 32 << 20;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A child that ran this long was well: the next restart is quick again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its name, as in `backend-1`.
    pub(crate) name: String,
    /// The arguments after the program's own name.
    pub(crate) arguments: Vec<String>,
    /// Where its log goes.
    pub(crate) log: PathBuf,
}

/// What a supervised part does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It runs under this process id.
    Running(u32),
    /// It died, or could not be started, and is about to be started again: why.
    Down(String),
    /// It was told to stop, and has.
    Stopped,
}

/// A part with its watchman.
pub(crate) struct Supervised {
    /// What runs.
    pub(crate) part: Part,
    life: watch::Receiver<Life>,
    stop: watch::Sender<Option<Duration>>,
    task: tokio::task::JoinHandle<()>,
}

impl Supervised {
    /// Starts a part and keeps it running until [`Supervised::stop`].
    pub(crate) fn start(part: Part) -> Self {
        let (life_tx, life) = watch::channel(Life::Down("not started yet".to_owned()));
        let (stop, stop_rx) = watch::channel(None);
        let task = tokio::spawn(supervise(part.clone(), life_tx, stop_rx));
        Self { part, life, stop, task }
    }

    /// What it does now; changes can be awaited.
    pub(crate) fn life(&self) -> watch::Receiver<Life> {
        self.life.clone()
    }

    /// Asks it to stop (SIGTERM), waits until it has, and kills it after `deadline`.
    pub(crate) async fn stop(self, deadline: Duration) {
        // The watchman is gone only if it panicked; then there is nothing left to stop.
        let _ = self.stop.send(Some(deadline));
        let _ = self.task.await;
    }
}

async fn supervise(part: Part, life: watch::Sender<Life>, mut stop: watch::Receiver<Option<Duration>>) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let started = Instant::now();
        let down = match spawn(&part) {
            Err(error) => format!("could not be started: {error}"),
            Ok(mut child) => {
                life.send_replace(Life::Running(child.id().unwrap_or_default()));
                tokio::select! {
                    status = child.wait() => ended(status),
                    deadline = told_to_stop(&mut stop) => {
                        end(&mut child, deadline).await;
                        life.send_replace(Life::Stopped);
                        return;
                    }
                }
            }
        };
        backoff = if started.elapsed() > WELL_AFTER { BACKOFF_MIN } else { backoff };
        life.send_replace(Life::Down(down));
        tokio::select! {
            () = sleep(backoff) => {}
            _ = told_to_stop(&mut stop) => {
                life.send_replace(Life::Stopped);
                return;
            }
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_default(),
        // Nobody is left who could ask: stop.
        Err(_) => Duration::ZERO,
    }
}

fn spawn(part: &Part) -> io::Result<Child> {
    let log = open_log(&part.log)?;
    Command::new(this_program()?)
        .arg0(std::env::args_os().next().unwrap_or_else(|| "headgate".into()))
        .args(&part.arguments)
        .env(crate::PARENT_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal must reach only this process, which then stops its children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// The program that runs here. On Linux by the kernel's own link to it, which also leads there once the file has been
/// replaced by a newer one: a part that dies after an upgrade comes back, as it was.
fn this_program() -> io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe() }
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

async fn end(child: &mut Child, deadline: Duration) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself in between, which is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(deadline, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn ended(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("lost sight of it: {error}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_log_that_has_grown_large_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let file = File::create(&path).unwrap();
        file.set_len(LOG_BYTES_MAX + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(dir.path().join("x.log.1").exists());
    }
}
