//! Configuration: as written, and as meant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headgate_contract::ModelName;
use headgate_contract::config::{ConfigError, Sources};
use headgate_registry::{StoreOptions, StoreUrl};

pub mod cli;
pub mod process;
pub mod written;

pub use cli::Cli;
pub use process::Process;
use written::Written;

/// The configuration as meant: every value checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The store that it serves from.
    pub store: StoreUrl,
    /// How the store is reached.
    pub store_options: StoreOptions,
    /// The backend's stable name; none: host and port.
    pub instance: Option<String>,
    /// The zone that it runs in; empty: none.
    pub zone: String,
    /// The model that answers `/invocations`; none: calls there are refused.
    pub default_model: Option<ModelName>,
    /// How often the catalog's head is read.
    pub poll_interval: Duration,
    /// The local cache.
    pub cache: Cache,
    /// TLS; none: the port speaks without.
    pub tls: Option<Tls>,
    /// What bounds calls.
    pub limits: Limits,
    /// What bounds loading.
    pub load: Load,
    /// What versions may bring their own code to.
    pub process: Process,
    /// ONNX Runtime.
    pub onnx: Onnx,
    /// How it stops.
    pub drain: Drain,
    /// Where it announces itself; none: nowhere.
    pub register: Option<Register>,
    /// How long a version that left waits for gateways to say that they route without it.
    pub retire_max: Duration,
    /// How it logs.
    pub log: Log,
}

/// TLS on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The backend's certificate, with those between it and its authority's.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Certificates of the authorities that sign callers'; none: callers need none.
    pub client_ca: Option<PathBuf>,
}

/// The local cache.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its folder.
    pub dir: PathBuf,
    /// Its size in bytes; what is in use may go beyond.
    pub bytes_max: u64,
}

/// What bounds calls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes_max: u64,
    /// All bodies together, in bytes.
    pub bodies_bytes_max: u64,
    /// The most rows of a call.
    pub rows_max: usize,
    /// The deadline of a call that brings none.
    pub timeout: Duration,
    /// The longest deadline that a call may bring.
    pub timeout_max: Duration,
    /// The most predictions at once.
    pub in_flight_max: usize,
    /// The most connections at once.
    pub connections_max: usize,
    /// How long a connection may take to send a request's head, idle time included.
    pub idle_timeout: Duration,
    /// How long a call may take to send its body.
    pub body_timeout: Duration,
    /// Threads for calls that are too large to be scored inline.
    pub compute_threads: usize,
    /// The most such calls that wait.
    pub compute_queue_max: usize,
    /// The shortest reply that is compressed, in bytes, where the caller takes that.
    pub compress_bytes_min: usize,
}

/// What bounds loading.
#[derive(Clone, Debug)]
pub struct Load {
    /// The most versions loading at once.
    pub concurrency: usize,
    /// Memory of all loaded models together, in bytes.
    pub memory_bytes_max: u64,
    /// Which models are loaded.
    pub mode: Mode,
}

/// Which models are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that are released.
    All,
    /// Those that are called; they make room for others when there is none.
    OnDemand {
        /// The most that are resident at once.
        models_max: usize,
    },
}

/// ONNX Runtime and what bounds it. The first version that needs it settles `library`, `intra_threads` and
/// `memory_bytes_max` for the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onnx {
    /// Its library; none: where `ORT_DYLIB_PATH` says, else where the system keeps libraries.
    pub library: Option<PathBuf>,
    /// The most runs at once; of one version one.
    pub threads: usize,
    /// Threads that share the work of a run.
    pub intra_threads: usize,
    /// Memory of its models and runs together, in bytes.
    pub memory_bytes_max: u64,
    /// The most rows of one run.
    pub batch_rows_max: usize,
    /// How long a run waits for rows of other calls.
    pub batch_delay: Duration,
    /// The most rows of a version that wait.
    pub queue_rows_max: usize,
}

/// How it stops.
#[derive(Clone, Debug)]
pub struct Drain {
    /// How long it says that it is stopping, and still serves.
    pub lame_duck: Duration,
    /// How long it then waits for calls in flight.
    pub deadline: Duration,
}

/// Where it announces itself.
#[derive(Clone, Debug)]
pub struct Register {
    /// Admin URLs of gateways: `http://host:port`.
    pub gateways: Vec<http::Uri>,
    /// The bearer token.
    pub token: String,
    /// How long an announcement stands.
    pub lease: Duration,
    /// Host and port where gateways reach it; none: where it listens.
    pub advertise: Option<String>,
}

/// How it logs.
#[derive(Clone, Debug)]
pub struct Log {
    /// Whether lines are JSON.
    pub json: bool,
    /// What is logged: `info`, `headgate_backend=debug`, ...
    pub filter: String,
}

impl Config {
    /// Reads and checks a configuration. The error names the key and where it comes from.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let written: Written = headgate_contract::config::read(sources)?;
        written.check().map_err(ConfigError)
    }

    /// Reads a configuration from flags over environment over defaults only, as tests and `headgate up` do.
    pub fn from_flags(flags: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::read(&Sources { flags: flags.into_iter().collect(), ..Sources::default() })
    }
}
