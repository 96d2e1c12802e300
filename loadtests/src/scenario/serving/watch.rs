//! The watchers of the cores while servers are measured: see [`crate::stalls`].

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::stalls::Stall;
use crate::system::SystemError;
use crate::system::server;

/// How long a watcher may take until it says that it watches.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// How many stalls are kept; a machine that stands still more often is not worth measuring on.
const STALLS_MAX: usize = 1_000_000;

/// Watchers that run. Dropped, they are killed.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watchers: Vec<Child>,
    stalls: Arc<Mutex<Vec<Stall>>>,
}

impl Watch {
    /// Starts these watchers and waits until each of them watches.
    pub(super) async fn start(commands: &[server::Command]) -> Result<Self, SystemError> {
        let mut watch = Self::default();
        for command in commands {
            let failed = |error| SystemError::Start {
                name: command.name.clone(),
                path: Path::new(&command.program).to_owned(),
                error,
            };
            let mut child = Command::new(&command.program)
                .args(&command.arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(failed)?;
            let silent = || failed(std::io::Error::other("it does not watch"));
            let mut lines = BufReader::new(child.stdout.take().ok_or_else(silent)?).lines();
            let first = timeout(BEGINS_WITHIN, lines.next_line()).await;
            first.ok().and_then(Result::ok).flatten().ok_or_else(silent)?;
            watch.watchers.push(child);
            let stalls = Arc::clone(&watch.stalls);
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut stalls = stalls.lock().unwrap_or_else(PoisonError::into_inner);
                    if let (Ok(stall), true) = (line.parse(), stalls.len() < STALLS_MAX) {
                        stalls.push(stall);
                    }
                }
            });
        }
        Ok(watch)
    }

    /// Whether any core is watched.
    pub(super) fn watches(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// What was noted so far.
    pub(super) fn stalls(&self) -> Vec<Stall> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
