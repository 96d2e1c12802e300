//! What the sections mean, and their check: each error names its key.

use std::time::Duration;

use headgate_balance::{admit, budget, choose, life, limit, load, nanos, outlier, place, share, zone};
use headgate_contract::config::ConfigError;
use headgate_contract::fleet::{WAIT_MS_MAX, is_zone};

use super::values::{address, is_host_and_port, part, refuse, time, time_or_none, token};
use super::{
    AdminWritten, DiscoveryWritten, FleetWritten, LimitsWritten, LogWritten, PlaceWritten, RetryWritten, ServerWritten,
    TlsWritten, Written,
};
use crate::config::{Admin, Config, Discovery, Fleet, Limits, Log, Retry, Server};
use crate::foreign::Spec;
use crate::upstream::tls;
use crate::workers::Stay;

/// The longest time without work that a thread may stay awake for.
const POLL_US_MAX: u64 = 10_000;

impl Written {
    /// What it means, or why it makes no sense.
    pub(in crate::config) fn mean(self) -> Result<Config, ConfigError> {
        Ok(Config {
            server: self.server.mean()?,
            admin: self.admin.mean()?,
            discovery: self.discovery.mean()?,
            limits: self.limits.mean()?,
            fleet: self.fleet.mean(self.place.mean()?)?,
            retry: self.retry.mean()?,
            log: self.log.mean()?,
        })
    }
}

/// How long a thread stays awake.
fn poll(name: &str, us: u64) -> Result<Duration, ConfigError> {
    match us {
        0..=POLL_US_MAX => Ok(Duration::from_micros(us)),
        _ => refuse(format!("'{name}' is {us}: at most {POLL_US_MAX} (10 ms)")),
    }
}

impl ServerWritten {
    fn mean(self) -> Result<Server, ConfigError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Server {
            listen: address("server.listen", &self.listen)?,
            threads: if self.threads == 0 { cores() } else { self.threads.min(1_024) },
            stay: Stay {
                busy_poll: poll("server.busy_poll_us", self.busy_poll_us)?,
                reply_poll: poll("server.reply_poll_us", self.reply_poll_us)?,
            },
            lame_duck: time_or_none("server.lame_duck_ms", self.lame_duck_ms)?,
            drain: time_or_none("server.drain_ms", self.drain_ms)?,
            name: match self.name.as_str() {
                "" => None,
                name if name.len() <= 128 && name.bytes().all(|b| b.is_ascii_graphic()) => Some(self.name),
                name => return refuse(format!("'server.name' is '{name}': visible ASCII, 128 at most, expected")),
            },
            zone: match is_zone(&self.zone) {
                true => self.zone,
                false => {
                    return refuse(format!("'server.zone' is '{}': visible ASCII, 64 at most, expected", self.zone));
                }
            },
            default_model: match self.default_model.as_str() {
                "" => None,
                name => Some(name.parse().or_else(|error| refuse(format!("'server.default_model': {error}")))?),
            },
        })
    }
}

impl AdminWritten {
    fn mean(self) -> Result<Admin, ConfigError> {
        let listen = address("admin.listen", &self.listen)?;
        let token = token("admin.token", self.token)?;
        if token.is_none() && !listen.ip().is_loopback() {
            return refuse(format!("'admin.token' is needed where 'admin.listen' is not on loopback: it is {listen}"));
        }
        Ok(Admin { listen, token })
    }
}

impl DiscoveryWritten {
    fn mean(self) -> Result<Discovery, ConfigError> {
        for (at, backend) in self.backends.iter().enumerate() {
            if !is_host_and_port(backend) {
                return refuse(format!("'discovery.backends': '{backend}' is no host:port"));
            }
            if self.backends[..at].contains(backend) {
                return refuse(format!("'discovery.backends' names '{backend}' twice"));
            }
        }
        let mut foreign: Vec<Spec> = Vec::with_capacity(self.foreign.len());
        for text in &self.foreign {
            let spec: Spec = text.parse().or_else(|error| refuse(format!("'discovery.foreign': {error}")))?;
            let address = &spec.address;
            if self.backends.contains(address) || foreign.iter().any(|other| other.address == *address) {
                return refuse(format!("'discovery' names '{address}' twice"));
            }
            foreign.push(spec);
        }
        let register_token = token("discovery.register_token", self.register_token)?;
        Ok(Discovery { backends: self.backends, foreign, register_token })
    }
}

impl LimitsWritten {
    fn mean(self) -> Result<Limits, ConfigError> {
        if self.buffer_bytes_max > self.body_bytes_max {
            return refuse("'limits.buffer_bytes_max' is above 'limits.body_bytes_max'".to_owned());
        }
        if self.deadline_ms > self.deadline_max_ms {
            return refuse("'limits.deadline_ms' is above 'limits.deadline_max_ms'".to_owned());
        }
        for (name, value) in [
            ("limits.connections_max", self.connections_max),
            ("limits.in_flight_max", self.in_flight_max),
            ("limits.headers_max", self.headers_max),
            ("limits.streams_max", self.streams_max as usize),
        ] {
            if value == 0 {
                return refuse(format!("'{name}' is 0: nothing would be served"));
            }
        }
        Ok(Limits {
            buffer_bytes_max: self.buffer_bytes_max,
            buffers_bytes_max: self.buffers_bytes_max,
            body_bytes_max: self.body_bytes_max,
            connections_max: self.connections_max,
            in_flight_max: self.in_flight_max,
            streams_max: self.streams_max,
            headers_max: self.headers_max,
            // The parser's own least is 8 KiB.
            head_bytes_max: self.head_bytes_max.max(8 << 10),
            head_timeout: time("limits.head_timeout_ms", self.head_timeout_ms)?,
            body_timeout: time("limits.body_timeout_ms", self.body_timeout_ms)?,
            keep_alive: time("limits.keep_alive_ms", self.keep_alive_ms)?,
            request_max: time("limits.request_max_ms", self.request_max_ms)?,
            deadline: time("limits.deadline_ms", self.deadline_ms)?,
            deadline_max: time("limits.deadline_max_ms", self.deadline_max_ms)?,
            stream_deadline: time("limits.stream_deadline_ms", self.stream_deadline_ms)?,
        })
    }
}

impl PlaceWritten {
    fn mean(self) -> Result<place::Rules, ConfigError> {
        if self.replicas_min == 0 || self.replicas_min > self.replicas_max {
            return refuse(format!(
                "'place.replicas_min' is {}: 1 to 'place.replicas_max' expected, which is {}",
                self.replicas_min, self.replicas_max
            ));
        }
        if !(1e-3..=1e6).contains(&self.replica_work) {
            return refuse(format!("'place.replica_work' is {}: 0.001 or more expected", self.replica_work));
        }
        part("place.replica_slack", self.replica_slack)?;
        time("place.work_decay_ms", self.work_decay_ms)?;
        Ok(place::Rules {
            min: self.replicas_min,
            max: self.replicas_max,
            work: self.replica_work,
            slack: self.replica_slack,
            decay: nanos(self.work_decay_ms),
        })
    }
}

impl FleetWritten {
    fn mean(self, place: place::Rules) -> Result<Fleet, ConfigError> {
        if self.probe_ms > WAIT_MS_MAX {
            return refuse(format!("'fleet.probe_ms' is {}: at most {WAIT_MS_MAX}", self.probe_ms));
        }
        part("fleet.eject_share_max", self.eject_share_max)?;
        part("fleet.panic_below", self.panic_below)?;
        part("fleet.free_share", self.free_share)?;
        if !(0.05..=8.0).contains(&self.zone_hot) {
            return refuse(format!("'fleet.zone_hot' is {}: 0.05 to 8 expected", self.zone_hot));
        }
        if self.limit_min == 0 || self.limit_min > self.limit_max {
            return refuse(format!("'fleet.limit_min' is {}: 1 to 'fleet.limit_max' expected", self.limit_min));
        }
        if !(0.0..=1e6).contains(&self.limit_tolerance) {
            return refuse(format!("'fleet.limit_tolerance' is {}: 0 or more expected", self.limit_tolerance));
        }
        time("fleet.limit_wait_ms", self.limit_wait_ms)?;
        time_or_none("fleet.eject_rate_window_ms", self.eject_rate_window_ms)?;
        if !(0.0..=100.0).contains(&self.eject_rate_deviations) {
            return refuse(format!(
                "'fleet.eject_rate_deviations' is {}: 0 to 100 expected",
                self.eject_rate_deviations
            ));
        }
        part("fleet.hot_quantile", self.hot_quantile)?;
        time("fleet.latency_decay_ms", self.latency_decay_ms)?;
        time_or_none("fleet.failure_penalty_ms", self.failure_penalty_ms)?;
        Ok(Fleet {
            probe: time("fleet.probe_ms", self.probe_ms)?,
            probe_timeout: time("fleet.probe_timeout_ms", self.probe_timeout_ms)?,
            connect_timeout: time("fleet.connect_timeout_ms", self.connect_timeout_ms)?,
            idle: time("fleet.idle_ms", self.idle_ms)?,
            pool_max: self.pool_max,
            link_connections: self.link_connections,
            life: life::Rules {
                slow_start_ms: self.slow_start_ms,
                misses_max: self.misses_max.max(1),
                drain_ms: self.drain_ms,
                panic_below: self.panic_below,
            },
            outlier: outlier::Rules {
                failures: self.eject_failures,
                base_ms: self.eject_ms,
                max_ms: self.eject_max_ms,
                share_max: self.eject_share_max,
                rate_window_ms: self.eject_rate_window_ms,
                rate_calls_min: self.eject_rate_calls_min,
                rate_deviations: self.eject_rate_deviations,
            },
            admit: admit::Rules { patience_ms: self.admit_patience_ms },
            choose: choose::Rules {
                policy: policy(&self.balance)?,
                hot_quantile: self.hot_quantile,
                ..choose::Rules::default()
            },
            load: load::Rules {
                decay_ms: self.latency_decay_ms,
                penalty_ms: self.failure_penalty_ms,
                ..load::Rules::default()
            },
            limit: limit::Rules {
                start: self.limit_start,
                min: self.limit_min,
                max: self.limit_max,
                wait_ms: self.limit_wait_ms,
                tolerance: self.limit_tolerance,
                ..limit::Rules::default()
            },
            tls: self.tls.mean()?,
            subset_size: self.subset_size,
            subset_index: match self.subset_index {
                -1 => None,
                index => Some(u32::try_from(index).or_else(|_| {
                    refuse(format!("'fleet.subset_index' is {index}: 0 or more, or -1 for none, expected"))
                })?),
            },
            zone: zone::Rules {
                hot: self.zone_hot as f32,
                backends_min: self.zone_backends_min,
                settle_ms: self.latency_decay_ms.saturating_mul(2),
            },
            share: share::Rules { free: self.free_share },
            place,
        })
    }
}

impl TlsWritten {
    fn mean(self) -> Result<Option<tls::Files>, ConfigError> {
        if self.ca.is_empty() {
            return match self.server_name.is_empty() && self.cert.is_empty() && self.key.is_empty() {
                true => Ok(None),
                false => refuse("'fleet.tls.ca' is not set: without it backends are spoken to without TLS".to_owned()),
            };
        }
        let server_name = match self.server_name.as_str() {
            "" => None,
            name => Some(
                name.to_owned()
                    .try_into()
                    .or_else(|_| refuse(format!("'fleet.tls.server_name': '{name}' is no name")))?,
            ),
        };
        let own = match (self.cert.is_empty(), self.key.is_empty()) {
            (true, true) => None,
            (false, false) => Some((self.cert.into(), self.key.into())),
            _ => return refuse("'fleet.tls.cert' and 'fleet.tls.key' are needed together".to_owned()),
        };
        let files = tls::Files { ca: self.ca.into(), server_name, own };
        files.load().or_else(|error| refuse(format!("'fleet.tls': {error}")))?;
        Ok(Some(files))
    }
}

impl RetryWritten {
    fn mean(self) -> Result<Retry, ConfigError> {
        part("retry.ratio", self.ratio)?;
        part("retry.hedge_ratio", self.hedge_ratio)?;
        part("retry.hedge_quantile", self.hedge_quantile)?;
        if !(1..=10).contains(&self.attempts_max) {
            return refuse(format!("'retry.attempts_max' is {}: 1 to 10 expected", self.attempts_max));
        }
        Ok(Retry {
            attempts_max: self.attempts_max,
            hedge_quantile: self.hedge_quantile,
            budget: budget::Rules {
                ratio: self.ratio,
                hedge_ratio: self.hedge_ratio,
                min_per_s: self.min_per_s,
                burst: self.burst,
                reserve: self.reserve,
            },
        })
    }
}

impl LogWritten {
    fn mean(self) -> Result<Log, ConfigError> {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.filter) {
            return refuse(format!("'log.filter': '{}': {error}", self.filter));
        }
        Ok(Log { json: self.json, filter: self.filter, access_every: self.access_every })
    }
}

fn policy(name: &str) -> Result<choose::Policy, ConfigError> {
    let names = || choose::Policy::ALL.map(choose::Policy::as_str).join(", ");
    choose::Policy::from_name(name)
        .map_or_else(|| refuse(format!("'fleet.balance' is '{name}': {} expected", names())), Ok)
}
