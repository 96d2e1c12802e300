//! Gateways in front of origins: real gateways, over backends that are told while they run how fast they are, and whether
//! they fail or hang.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

use super::process::{Process, Program};
use super::{Headgate, SystemError, SystemOptions, binary, folder, free_addresses, headgate, http};
use crate::origin::{COUNTS_PATH, Counts, Law, WORK_PATH, Work};

/// The model that all origins have.
pub const MODEL: &str = "bench";
/// How long a gateway may take until it gives an origin its full share.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How many origins.
    pub origins: usize,
    /// How many gateways, each in front of all origins.
    pub gateways: usize,
    /// Calls that an origin works on at once.
    pub servers: u32,
    /// What origins do at first.
    pub work: Work,
}

/// They run. Dropped, they are killed.
#[derive(Debug)]
pub struct Fleet {
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The origins.
    pub origins: Vec<Origin>,
    dir: PathBuf,
    // Deleted when dropped.
    temporary: Option<TempDir>,
}

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where callers reach it.
    pub address: SocketAddr,
    /// Its admin address.
    pub admin: SocketAddr,
    process: Process,
}

/// An origin, running or not.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    program: Program,
    process: Option<Process>,
}

/// What is read of a gateway's state.
#[derive(Debug, Deserialize)]
struct State {
    backends: Vec<Seen>,
}

/// A backend as a gateway sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// Where it is.
    pub address: SocketAddr,
    /// Where it is in its life.
    pub state: String,
    /// How much longer than expected its replies take.
    pub pace: f64,
    /// Calls that it is given at once.
    pub limit: u64,
}

impl Fleet {
    /// Starts all of them and waits until every gateway gives every origin its full share.
    pub async fn start(options: &SystemOptions, spec: &Spec) -> Result<Self, SystemError> {
        let headgate = Headgate::new(binary::find(options.headgate.clone())?, String::new());
        let (dir, temporary) = folder(options.dir.as_deref()).map_err(SystemError::Dir)?;
        let addresses = free_addresses(spec.origins + 2 * spec.gateways).map_err(SystemError::Dir)?;
        let (backends, edges) = addresses.split_at(spec.origins);
        let mut fleet = Self { gateways: Vec::new(), origins: Vec::new(), dir, temporary };
        for (at, address) in backends.iter().enumerate() {
            let program = origin(&fleet.dir, at, *address, spec)?;
            fleet.origins.push(Origin { address: *address, program, process: None });
            fleet.start_origin(at)?;
        }
        for (at, pair) in edges.chunks_exact(2).enumerate() {
            let (address, admin) = (pair[0], pair[1]);
            let name = format!("gateway-{}", at + 1);
            let program = headgate.gateway(&fleet.dir, &name, address, admin, backends, &options.set);
            fleet.gateways.push(Gateway { address, admin, process: program.start()? });
        }
        let all: Vec<usize> = (0..spec.origins).collect();
        fleet.active(&all).await?;
        Ok(fleet)
    }

    /// Tells origin number `at` what to do from now on.
    pub async fn tell(&self, at: usize, work: &Work) -> Result<(), SystemError> {
        let url = format!("http://{}{WORK_PATH}", self.origins[at].address);
        let body = serde_json::to_vec(work).unwrap_or_default();
        http::call_ok(&url, Some(body.into())).await.map(drop)
    }

    /// What origin number `at` has done.
    pub async fn counts(&self, at: usize) -> Result<Counts, SystemError> {
        http::get_json(&format!("http://{}{COUNTS_PATH}", self.origins[at].address)).await
    }

    /// What all origins have done that run.
    pub async fn all_counts(&self) -> Result<Vec<Counts>, SystemError> {
        let mut all = Vec::with_capacity(self.origins.len());
        for at in 0..self.origins.len() {
            all.push(self.counts(at).await?);
        }
        Ok(all)
    }

    /// Starts origin number `at`, anew where it was killed; it does what origins do at first.
    pub fn start_origin(&mut self, at: usize) -> Result<(), SystemError> {
        let origin = &mut self.origins[at];
        origin.process = Some(origin.program.start()?);
        Ok(())
    }

    /// `kill -9` of origin number `at`.
    pub async fn kill(&mut self, at: usize) -> Result<(), SystemError> {
        match self.origins[at].process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGSTOP, or SIGCONT, of origin number `at`.
    pub fn freeze(&self, at: usize, frozen: bool) -> Result<(), SystemError> {
        self.origins[at].process.as_ref().map_or(Ok(()), |process| process.freeze(frozen))
    }

    /// How a gateway sees the origins.
    pub async fn seen(&self, gateway: usize) -> Result<Vec<Seen>, SystemError> {
        let url = format!("http://{}/state?limit=0", self.gateways[gateway].admin);
        Ok(http::get_json::<State>(&url).await?.backends)
    }

    /// Waits until every gateway gives each of these origins its full share.
    pub async fn active(&mut self, origins: &[usize]) -> Result<(), SystemError> {
        let addresses: Vec<SocketAddr> = origins.iter().map(|at| self.origins[*at].address).collect();
        let started = Instant::now();
        for gateway in 0..self.gateways.len() {
            loop {
                self.check()?;
                let last = match self.seen(gateway).await {
                    Ok(seen) => {
                        let is_active = |address| seen.iter().any(|of| of.address == address && of.state == "active");
                        if addresses.iter().copied().all(is_active) {
                            break;
                        }
                        format!("; at last: {seen:?}")
                    }
                    Err(error) => format!("; at last: {error}"),
                };
                if started.elapsed() > ACTIVE_WITHIN {
                    let what = "an origin is not active".to_owned();
                    return Err(SystemError::Late { what, patience: ACTIVE_WITHIN, last });
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// An error where a process has ended by itself.
    pub fn check(&mut self) -> Result<(), SystemError> {
        self.gateways.iter_mut().try_for_each(|gateway| gateway.process.check())?;
        self.origins.iter_mut().filter_map(|origin| origin.process.as_mut()).try_for_each(Process::check)
    }

    /// Resident memory of the gateways, in bytes.
    pub fn gateways_bytes(&self) -> u64 {
        let of = |gateway: &Gateway| super::usage::of(gateway.process.pid()).map_or(0, |usage| usage.resident_bytes);
        self.gateways.iter().map(of).sum()
    }

    /// Keeps the folder of this run, and says where it is.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        &self.dir
    }
}

fn origin(dir: &Path, at: usize, listen: SocketAddr, spec: &Spec) -> Result<Program, SystemError> {
    let name = format!("origin-{}", at + 1);
    let path = std::env::current_exe().map_err(SystemError::Dir)?;
    let law = if spec.work.law == Law::Constant { "constant" } else { "exponential" };
    let arguments = [
        ("--listen", listen.to_string()),
        ("--model", MODEL.to_owned()),
        ("--name", name.clone()),
        ("--servers", spec.servers.to_string()),
        ("--service-ms", spec.work.service_ms.to_string()),
        ("--law", law.to_owned()),
        ("--line-max", spec.work.line_max.to_string()),
    ];
    let mut words = vec![OsString::from("origin")];
    words.extend(arguments.into_iter().flat_map(|(name, value)| [OsString::from(name), OsString::from(value)]));
    let log = dir.join(format!("{name}.log"));
    Ok(Program { name, path, arguments: words, environment: Default::default(), log })
}

/// Asks the kernel to end this process when the one that started it is gone: an origin that is started by a scenario does.
pub fn follow_parent() {
    if std::env::var_os(headgate::PARENT_VARIABLE).is_some() {
        // Where the kernel can't, a parent that was killed leaves its children running: a nuisance, no harm.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    }
}
