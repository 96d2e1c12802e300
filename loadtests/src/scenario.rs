//! Scenarios: each starts a system of its own, loads it, changes something, and says whether what had to hold did.

mod capacity;
pub mod judgement;
pub mod kill_backend;
pub mod many_models;
pub mod placement;
pub mod publish_to_serving;
pub mod serving;
mod stage;
pub mod swap_under_load;

use std::time::Duration;

use crate::driver::DriverError;
use crate::driver::schedule::Law;
use crate::system::SystemError;

/// How requests arrive while a scenario runs.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// Requests a second; without it, half of what one backend does through the gateway, measured first
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rate: Option<f64>,
    /// How requests arrive
    #[arg(long, default_value = "poisson")]
    pub arrivals: Law,
    /// The seed of the arrivals
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// The most connections to the gateway; requests that find none wait in line
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
}

/// Why a scenario could not be run to its end. What it measured and did not like is no error: see [`Report::holds`].
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A part of the system did not do what it should.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The load could not be driven.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A file could not be written.
    #[error("file for the run could not be written: {0}")]
    File(#[from] std::io::Error),
    /// Two backends answer differently as the same version.
    #[error(
        "{model} version {version}: {backend} answers differently than another backend, or without saying its version"
    )]
    Differ {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The backend.
        backend: String,
    },
    /// A plan makes no sense.
    #[error(transparent)]
    Plan(#[from] serving::PlanError),
    /// Something did not happen in time.
    #[error("{what} did not happen within {patience:?}")]
    Late {
        /// What.
        what: String,
        /// How long was waited.
        patience: Duration,
    },
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0 expected".to_owned()),
    }
}

/// Says on standard error how far a scenario is.
fn progress(text: &str) {
    eprintln!("{text}");
}
