//! A whole Headgate on loopback: a store, backends and a gateway as child processes, started as a user starts them.
//! What the `headgate` command is called with is here and nowhere else.

mod binary;
mod error;
pub mod fleet;
mod headgate;
pub mod http;
pub mod model;
mod process;
pub mod server;
pub mod usage;
mod wait;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

pub use error::SystemError;
pub use headgate::Headgate;
use process::{Process, Program};
use usage::Usage;

/// How long a part may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What to run, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct SystemOptions {
    /// The `headgate` executable; without it the one beside this program
    #[arg(long, value_name = "PATH", env = "HEADGATE_BIN")]
    pub headgate: Option<PathBuf>,
    /// The store; without it a folder that is deleted afterwards
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Keep store, caches and logs in this folder; without it they are deleted afterwards
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Set a key of the gateway's configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A running system. Dropped, its processes are killed.
#[derive(Debug)]
pub struct System {
    /// The command line, for its store.
    pub headgate: Headgate,
    /// The gateway's address.
    pub gateway: SocketAddr,
    /// The gateway's admin address.
    pub admin: SocketAddr,
    /// The backends.
    pub backends: Vec<Backend>,
    gateway_process: Process,
    dir: PathBuf,
    // Deleted when dropped.
    temporary: Option<TempDir>,
}

/// A backend, running or not.
#[derive(Debug)]
pub struct Backend {
    /// Its stable name.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    program: Program,
    process: Option<Process>,
}

impl System {
    /// Starts a gateway that knows of `backends` backends, and the first `running` of those. Nothing is published yet.
    pub async fn start(options: &SystemOptions, backends: usize, running: usize) -> Result<Self, SystemError> {
        Self::start_with(options, backends, running, &[]).await
    }

    /// The same, with settings of the backends: `key=value`.
    pub async fn start_with(
        options: &SystemOptions,
        backends: usize,
        running: usize,
        settings: &[String],
    ) -> Result<Self, SystemError> {
        let binary = binary::find(options.headgate.clone())?;
        let (dir, temporary) = folder(options.dir.as_deref()).map_err(SystemError::Dir)?;
        let store = options.store.clone().unwrap_or_else(|| format!("file://{}", dir.join("store").display()));
        let headgate = Headgate::new(binary, store);
        let addresses = free_addresses(backends + 2).map_err(SystemError::Dir)?;
        let (gateway, admin) = (addresses[0], addresses[1]);
        let program = headgate.gateway(&dir, "gateway", gateway, admin, &addresses[2..], &options.set);
        let mut system = Self {
            gateway_process: program.start()?,
            backends: Vec::with_capacity(backends),
            headgate,
            gateway,
            admin,
            dir,
            temporary,
        };
        for (at, address) in addresses[2..].iter().enumerate() {
            let name = format!("backend-{}", at + 1);
            let program = system.headgate.backend(&system.dir, &name, *address, settings);
            system.backends.push(Backend { name, address: *address, program, process: None });
        }
        for at in 0..running {
            system.start_backend(at)?;
        }
        Ok(system)
    }

    /// A folder of this run, for files that are published.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the folder of this run, and says where it is.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        &self.dir
    }

    /// What each part takes, by its name; this program is `driver`.
    pub fn usage(&self) -> BTreeMap<String, Usage> {
        let backends = self.backends.iter().filter_map(|b| Some((b.name.clone(), b.process.as_ref()?.pid())));
        let others = [("gateway".to_owned(), self.gateway_process.pid()), ("driver".to_owned(), std::process::id())];
        backends.chain(others).filter_map(|(name, pid)| Some((name, usage::of(pid)?))).collect()
    }

    /// Starts backend number `at`, anew where it was killed.
    pub fn start_backend(&mut self, at: usize) -> Result<(), SystemError> {
        let backend = &mut self.backends[at];
        backend.process = Some(backend.program.start()?);
        Ok(())
    }

    /// `kill -9` of backend number `at`.
    pub async fn kill_backend(&mut self, at: usize) -> Result<(), SystemError> {
        match self.backends[at].process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// An error where a process has ended by itself.
    pub fn check(&mut self) -> Result<(), SystemError> {
        self.gateway_process.check()?;
        self.backends.iter_mut().filter_map(|backend| backend.process.as_mut()).try_for_each(Process::check)
    }

    /// Names and addresses of the backends that run.
    pub fn running(&self) -> Vec<(String, SocketAddr)> {
        let running = self.backends.iter().filter(|backend| backend.process.is_some());
        running.map(|backend| (backend.name.clone(), backend.address)).collect()
    }

    /// Stops all by SIGTERM, the gateway first; an error where a part does not end with exit code 0.
    pub async fn stop(self) -> Result<(), SystemError> {
        self.gateway_process.stop(STOP_WITHIN).await?;
        for process in self.backends.into_iter().filter_map(|backend| backend.process) {
            process.stop(STOP_WITHIN).await?;
        }
        Ok(())
    }
}

fn folder(dir: Option<&Path>) -> std::io::Result<(PathBuf, Option<TempDir>)> {
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir)?;
        return Ok((dir.canonicalize()?, None));
    }
    let temporary = tempfile::Builder::new().prefix("headgate-loadtests-").tempdir()?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// Loopback addresses whose ports are free now; all are held until all are known, so that no two are the same.
fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_are_free_and_differ() {
        let addresses = free_addresses(20).unwrap();
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(addresses.iter().all(|address| TcpListener::bind(address).is_ok()));
    }
}
