//! What an operator can set, as it is written ([`written`]) and as it is meant ([`Config`]).

mod written;

use std::net::SocketAddr;
use std::time::Duration;

use headgate_balance::{admit, budget, choose, life, limit, load, outlier, place, share, zone};
use headgate_contract::ModelName;
use headgate_contract::config::{ConfigError, Sources, read};

use crate::discovery::Endpoint;
use crate::foreign::Spec;
use crate::upstream::tls;
use crate::workers::Stay;
use written::Written;
pub(crate) use written::is_host_and_port;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where and how it listens. Only the listener and the threads need a restart.
    pub server: Server,
    /// The admin port.
    pub admin: Admin,
    /// Where backends come from.
    pub discovery: Discovery,
    /// What a caller may use up.
    pub limits: Limits,
    /// How backends are probed, warmed, ejected and admitted.
    pub fleet: Fleet,
    /// How often a call is tried.
    pub retry: Retry,
    /// What is written to the log.
    pub log: Log,
}

/// Where and how it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The callers' address.
    pub listen: SocketAddr,
    /// Worker threads.
    pub threads: usize,
    /// How long a worker stays awake.
    pub stay: Stay,
    /// How long it goes on accepting, and says that it is about to stop.
    pub lame_duck: Duration,
    /// How long calls in flight may take after that.
    pub drain: Duration,
    /// The gateway's stable name; none: a random one.
    pub name: Option<String>,
    /// The zone that it runs in; empty: zones don't count.
    pub zone: String,
    /// The model that `/invocations` asks.
    pub default_model: Option<ModelName>,
}

/// The admin port.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Its address.
    pub listen: SocketAddr,
    /// The bearer token that it asks for.
    pub token: Option<String>,
}

/// Where backends come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// A fixed list of `host:port`.
    pub backends: Vec<String>,
    /// Servers that are none of ours.
    pub foreign: Vec<Spec>,
    /// The bearer token with which backends may register; without one they may not.
    pub register_token: Option<String>,
}

/// What a caller may use up.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bodies up to this are read whole, so that the call can be retried; larger ones stream through.
    pub buffer_bytes_max: u64,
    /// All bodies that are read whole together, small ones aside; what finds no room streams through too.
    pub buffers_bytes_max: u64,
    /// Larger bodies are refused.
    pub body_bytes_max: u64,
    /// Connections at once.
    pub connections_max: usize,
    /// Requests at once.
    pub in_flight_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// The longest silence while a body is read, and the whole time for one that is read whole.
    pub body_timeout: Duration,
    /// How long a connection may idle between requests.
    pub keep_alive: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long a connection may be busy with one request.
    pub request_max: Duration,
    /// The deadline of a call that names none.
    pub deadline: Duration,
    /// The longest deadline that a call can name.
    pub deadline_max: Duration,
    /// The deadline of a call that streams through and names none.
    pub stream_deadline: Duration,
}

/// How backends are probed, warmed, ejected and admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The probe interval: how long a state report may wait for a change.
    pub probe: Duration,
    /// How much longer than that an answer may take.
    pub probe_timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a connection to a backend may idle in the pool.
    pub idle: Duration,
    /// Idle connections per backend.
    pub pool_max: usize,
    /// Links per backend at most; 0: calls go by HTTP/1.1.
    pub link_connections: usize,
    /// States of a backend.
    pub life: life::Rules,
    /// Ejection.
    pub outlier: outlier::Rules,
    /// Admission of versions.
    pub admit: admit::Rules,
    /// Choice of a backend.
    pub choose: choose::Rules,
    /// What replies say about a backend's load.
    pub load: load::Rules,
    /// How many calls a backend is given at once.
    pub limit: limit::Rules,
    /// How backends are spoken to; none: without TLS.
    pub tls: Option<tls::Files>,
    /// Backends to which connections are kept open; 0: all.
    pub subset_size: usize,
    /// The gateway's number, which says which ones; none: its name does.
    pub subset_index: Option<u32>,
    /// How many calls stay in the gateway's zone.
    pub zone: zone::Rules,
    /// Who is refused where there is not room for all.
    pub share: share::Rules,
    /// How many backends hold a model that they load on demand.
    pub place: place::Rules,
}

/// How often a call is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts of one call, the first one included.
    pub attempts_max: u32,
    /// The quantile of a model's replies after which another attempt is sent beside one.
    pub hedge_quantile: f64,
    /// The budget of all.
    pub budget: budget::Rules,
}

/// What is written to the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// JSON lines and not text.
    pub json: bool,
    /// `tracing` directives.
    pub filter: String,
    /// One request in so many is logged at info; 0: none. All are at debug, and failed ones at info.
    pub access_every: u64,
}

impl Discovery {
    /// All that is listed.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let ours = self.backends.iter().map(|address| Endpoint::ours(address, None));
        ours.chain(self.foreign.iter().map(Endpoint::foreign)).collect()
    }
}

impl Config {
    /// Reads, overlays and checks. Every error names its place.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        read::<Written>(sources)?.mean()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(file: &str) -> Result<Config, ConfigError> {
        Config::load(&Sources { file: Some(("gateway.toml".into(), file.into())), ..Sources::default() })
    }

    #[test]
    fn the_default_is_a_gateway_on_loopback() {
        let config = load("").unwrap();
        assert!(config.server.listen.ip().is_loopback() && config.admin.listen.ip().is_loopback());
        assert!(config.discovery.register_token.is_none(), "nobody may register without a token");
        assert_eq!((config.limits.deadline.as_millis(), config.fleet.probe.as_millis()), (1_000, 250));
        assert!(config.server.threads > 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, name) in [
            ("[server]\nlisten = \"nowhere\"", "server.listen"),
            ("[server]\nbusy_poll_us = 10001", "server.busy_poll_us"),
            ("[server]\nreply_poll_us = 10001", "server.reply_poll_us"),
            ("[server]\ndefault_model = \"a/b/c\"", "server.default_model"),
            ("[server]\nzone = \"a zone\"", "server.zone"),
            ("[fleet]\nzone_hot = 0.0", "fleet.zone_hot"),
            ("[server]\nname = \"a name\"", "server.name"),
            ("[fleet.tls]\nca = \"nowhere.pem\"", "nowhere.pem"),
            ("[fleet.tls]\nserver_name = \"x\"", "fleet.tls.ca"),
            ("[fleet.tls]\nca = \"ca.pem\"\nkey = \"key.pem\"", "fleet.tls.cert"),
            ("[fleet]\nsubset_index = -2", "fleet.subset_index"),
            ("[limits]\nstreams_max = 0", "limits.streams_max"),
            ("[admin]\nlisten = \"0.0.0.0:9000\"", "admin.token"),
            ("[admin]\ntoken = \"short\"", "admin.token"),
            ("[discovery]\nbackends = [\"localhost\"]", "discovery.backends"),
            ("[discovery]\nbackends = [\"h:1\", \"h:1\"]", "twice"),
            ("[discovery]\nforeign = [\"h:1\"]", "discovery.foreign"),
            ("[discovery]\nbackends = [\"h:1\"]\nforeign = [\"triton=h:1\"]", "twice"),
            ("[discovery]\nforeign = [\"triton=h:1\", \"kserve=h:1\"]", "twice"),
            ("[limits]\nbuffer_bytes_max = 10\nbody_bytes_max = 5", "limits.buffer_bytes_max"),
            ("[limits]\ndeadline_ms = 0", "limits.deadline_ms"),
            ("[limits]\ndeadline_ms = 10\ndeadline_max_ms = 5", "limits.deadline_ms"),
            ("[fleet]\nprobe_ms = 40000", "fleet.probe_ms"),
            ("[fleet]\neject_share_max = 1.5", "fleet.eject_share_max"),
            ("[fleet]\nbalance = \"roundrobin\"", "fleet.balance"),
            ("[fleet]\nhot_quantile = 2.0", "fleet.hot_quantile"),
            ("[fleet]\nlimit_min = 10\nlimit_max = 5", "fleet.limit_min"),
            ("[fleet]\nlimit_tolerance = -0.5", "fleet.limit_tolerance"),
            ("[fleet]\nlimit_wait_ms = 0", "fleet.limit_wait_ms"),
            ("[place]\nreplicas_min = 5\nreplicas_max = 2", "place.replicas_max"),
            ("[place]\nreplica_work = 0.0", "place.replica_work"),
            ("[retry]\nattempts_max = 0", "retry.attempts_max"),
            ("[retry]\nratio = -1.0", "retry.ratio"),
            ("[log]\nfilter = \"info,=x=y\"", "log.filter"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(name), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = load("[limits]\nbody_byte_max = 1").unwrap_err().to_string();
        assert!(error.contains("limits.body_byte_max") && error.contains("'body_bytes_max'"), "{error}");
    }
}
