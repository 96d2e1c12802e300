//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use headgate_loadtests::driver::schedule::Law;
use headgate_loadtests::origin;
use headgate_loadtests::relay;
use headgate_loadtests::report::Files;
use headgate_loadtests::scenario::{
    judgement, kill_backend, many_models, placement, positive, publish_to_serving, serving, swap_under_load,
};
use headgate_loadtests::sim;
use headgate_loadtests::stalls;

/// Open-loop load, scenarios and faults against real Headgate processes.
///
/// Arrivals do not wait for replies, and latency counts from when a request was due: a stall shows in every request that
/// it delays. Exit codes: 0, all that must hold did; 1, something did not, or the run failed; 2, usage.
#[derive(Debug, Parser)]
#[command(name = "loadtests", version, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What to run.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Where the report goes.
    #[command(flatten)]
    pub(crate) files: Files,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load any HTTP/1.1 server
    Run(Run),
    /// Swap a model's version again and again under load: nothing fails, the tail stays
    SwapUnderLoad(swap_under_load::Options),
    /// Kill one backend of two again and again under load: nothing fails
    KillBackend(kill_backend::Options),
    /// Time from a promotion to the new version's first reply of every backend
    PublishToServing(publish_to_serving::Options),
    /// Train, publish and serve many scoped models: time and memory
    ManyModels(many_models::Options),
    /// More models than a backend holds, one backend killed: what moves, what waits
    Placement(placement::Options),
    /// Processor time and latency of several servers that answer the same calls
    Serving(serving::Options),
    /// What a gateway makes of slow, failing and lost backends, of deadlines and of overload
    Judgement(judgement::Options),
    /// A fleet in virtual time: the gateway's own judgement before backends that are slow, fail, or have too much to do
    Sim(sim::scenario::Options),
    /// A server whose every reply is the same: what stands behind the proxies of a bench
    Origin(origin::Options),
    /// A proxy that passes bytes on and does nothing else: the least that a bench of proxies can find
    Relay(relay::Options),
    /// Tell when this core stood still: lines of begin and end, in nanoseconds of the system's clock that never jumps
    Stalls(stalls::Options),
}

/// `loadtests run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where requests go: http://host:port/path
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Requests a second
    #[arg(long, value_name = "N", value_parser = positive, required_unless_present = "closed")]
    pub(crate) rate: Option<f64>,
    /// No schedule: each connection sends its next request when it has its reply (finds the most, hides stalls)
    #[arg(long, conflicts_with = "rate")]
    pub(crate) closed: bool,
    /// For how long, in seconds
    #[arg(long, default_value_t = 10.0, value_name = "S", value_parser = positive)]
    pub(crate) duration: f64,
    /// Post this file; without a body requests are GETs
    #[arg(long, value_name = "FILE", conflicts_with = "body_json")]
    pub(crate) body: Option<PathBuf>,
    /// Post this JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) body_json: Option<String>,
    /// Send this header too, as "name: value"
    #[arg(long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The most connections; requests that find none wait in line
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// A request fails when its reply is not whole this long after it was due, in milliseconds
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) timeout_ms: u64,
    /// How requests arrive
    #[arg(long, default_value = "poisson")]
    pub(crate) arrivals: Law,
    /// Send and read bytes, without a client library: for servers that cost less than one
    #[arg(long)]
    pub(crate) bare: bool,
    /// The seed of the arrivals
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
}
