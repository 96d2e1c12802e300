//! The path of a request: connection, head, body, version, backend, reply.

mod answer;
pub mod body;
mod call;
mod chance;
mod choose;
mod connection;
mod gate;
mod grpc;
mod handle;
mod http1;
mod id;
mod log;
mod offences;
mod opening;
mod own;
mod passthrough;
mod patience;
mod predict;
mod reply;
mod room;
mod sound;
mod statistics;
mod streams;
mod timed;

use std::sync::Arc;

use arc_swap::ArcSwap;
use headgate_balance::budget::Budget;
use headgate_balance::choose::Chooser;
use headgate_balance::share::Shares;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::fleet::Fleet;
use crate::workers::Threads;

pub use gate::Gate;

/// What the request path shares. Cloning is cheap.
#[derive(Clone)]
pub struct Edge {
    /// The configuration; a reload swaps it.
    pub config: Arc<ArcSwap<Config>>,
    /// What is known of backends and models.
    pub fleet: Arc<Fleet>,
    /// How many retries the fleet bears.
    pub budget: Arc<Budget>,
    /// Who is in, and whether more may come.
    pub gate: Arc<Gate>,
    /// Whose calls are in flight.
    pub shares: Arc<Shares>,
    threads: Threads,
    chooser: Arc<Chooser>,
    sampler: Arc<log::Sampler>,
    offences: Arc<offences::Offences>,
    held_open: Arc<Semaphore>,
}

impl Edge {
    /// An edge in front of a fleet.
    pub fn new(config: Arc<ArcSwap<Config>>, fleet: Arc<Fleet>, threads: Threads) -> Self {
        let budget = Arc::new(Budget::new(fleet.now(), &config.load().retry.budget));
        Self {
            config,
            fleet,
            budget,
            gate: Arc::default(),
            shares: Arc::default(),
            threads,
            chooser: Arc::default(),
            sampler: Arc::default(),
            offences: Arc::default(),
            held_open: grpc::room(),
        }
    }
}
