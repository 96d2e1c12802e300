//! The configuration as it is written, and its checks.

use std::path::PathBuf;
use std::time::Duration;

use headgate_contract::ModelName;
use headgate_contract::fleet::{ZONE_BYTES_MAX, is_zone};
use headgate_registry::StoreOptions;
use serde::{Deserialize, Serialize};

use super::process::ProcessWritten;
use super::{Cache, Config, Drain, Limits, Load, Log, Mode, Onnx, Register, Tls};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Written {
    pub listen: String,
    pub store: String,
    pub instance: String,
    pub zone: String,
    pub default_model: String,
    pub poll_interval_ms: u64,
    pub retire_max_ms: u64,
    pub store_options: StoreOptionsWritten,
    pub tls: TlsWritten,
    pub cache: CacheWritten,
    pub limits: LimitsWritten,
    pub load: LoadWritten,
    pub onnx: OnnxWritten,
    pub process: ProcessWritten,
    pub drain: DrainWritten,
    pub register: RegisterWritten,
    pub log: LogWritten,
}

/// `[store_options]`: empty and 0 leave the choice to the registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct StoreOptionsWritten {
    pub endpoint: String,
    pub region: String,
    pub path_style: Option<bool>,
    pub connect_timeout_ms: u64,
    pub operation_timeout_ms: u64,
    pub attempts: u32,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct TlsWritten {
    pub cert: String,
    pub key: String,
    pub client_ca: String,
}

/// `[cache]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CacheWritten {
    pub dir: String,
    pub bytes_max: u64,
}

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LimitsWritten {
    pub body_bytes_max: u64,
    pub bodies_bytes_max: u64,
    pub rows_max: usize,
    pub timeout_ms: u64,
    pub timeout_ms_max: u64,
    pub in_flight_max: usize,
    pub connections_max: usize,
    pub idle_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub compute_threads: usize,
    pub compute_queue_max: usize,
    pub compress_bytes_min: usize,
}

/// `[load]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LoadWritten {
    pub mode: String,
    pub concurrency: usize,
    pub memory_bytes_max: u64,
    pub models_max: usize,
}

/// `[onnx]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct OnnxWritten {
    pub library: String,
    pub threads: usize,
    pub intra_threads: usize,
    pub memory_bytes_max: u64,
    pub batch_rows_max: usize,
    pub batch_delay_us: u64,
    pub queue_rows_max: usize,
}

/// `[drain]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DrainWritten {
    pub lame_duck_ms: u64,
    pub deadline_ms: u64,
}

/// `[register]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RegisterWritten {
    pub gateways: Vec<String>,
    pub token: String,
    pub lease_ms: u64,
    pub advertise: String,
}

/// `[log]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LogWritten {
    pub format: String,
    pub filter: String,
}

// === defaults ===

impl Default for Written {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8500".to_owned(),
            store: String::new(),
            instance: String::new(),
            zone: String::new(),
            default_model: String::new(),
            poll_interval_ms: 1000,
            retire_max_ms: 15_000,
            store_options: StoreOptionsWritten::default(),
            tls: TlsWritten::default(),
            cache: CacheWritten { dir: String::new(), bytes_max: 20 << 30 },
            limits: LimitsWritten::default(),
            load: LoadWritten { mode: "all".to_owned(), concurrency: 2, memory_bytes_max: 8 << 30, models_max: 0 },
            onnx: OnnxWritten {
                library: String::new(),
                threads: 0,
                intra_threads: 1,
                memory_bytes_max: 0,
                batch_rows_max: 1024,
                batch_delay_us: 0,
                queue_rows_max: 16_384,
            },
            process: ProcessWritten::default(),
            drain: DrainWritten { lame_duck_ms: 1000, deadline_ms: 30_000 },
            register: RegisterWritten {
                gateways: Vec::new(),
                token: String::new(),
                lease_ms: 10_000,
                advertise: String::new(),
            },
            log: LogWritten { format: "pretty".to_owned(), filter: "info".to_owned() },
        }
    }
}

impl Default for LimitsWritten {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            bodies_bytes_max: 1 << 30,
            rows_max: 100_000,
            timeout_ms: 1000,
            timeout_ms_max: 300_000,
            in_flight_max: 1024,
            connections_max: 8192,
            idle_timeout_ms: 75_000,
            body_timeout_ms: 30_000,
            compute_threads: 0,
            compute_queue_max: 256,
            compress_bytes_min: 16_384,
        }
    }
}

macro_rules! default_from_whole {
    ($($part:ident: $type:ty),*) => {
        $(impl Default for $type {
            fn default() -> Self {
                Written::default().$part
            }
        })*
    };
}

default_from_whole!(cache: CacheWritten, load: LoadWritten, onnx: OnnxWritten, drain: DrainWritten, register: RegisterWritten, log: LogWritten);

// === checks ===

impl Written {
    /// Checks every value. The error is for the operator and names the key.
    pub fn check(self) -> Result<Config, String> {
        if self.store.is_empty() {
            return Err(
                "'store' is not set: s3://bucket/prefix or file:///dir expected (--store, HEADGATE_STORE)".into()
            );
        }
        let listen = self.listen.parse().map_err(|e| format!("'listen' is '{}': {e}", self.listen))?;
        let store = self.store.parse().map_err(|e| format!("'store': {e}"))?;
        if self.instance.len() > 128 || self.instance.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err("'instance' holds more than 128 bytes or one that is no visible ASCII".into());
        }
        if !is_zone(&self.zone) {
            return Err(format!(
                "'zone' is '{}': at most {ZONE_BYTES_MAX} visible ASCII characters expected",
                self.zone
            ));
        }
        let cache = self.cache.check()?;
        let memory_bytes_max = self.load.memory_bytes_max;
        Ok(Config {
            listen,
            store,
            store_options: self.store_options.options(),
            instance: none_if_empty(self.instance),
            zone: self.zone,
            default_model: default_model(&self.default_model)?,
            poll_interval: at_least("poll_interval_ms", self.poll_interval_ms, 10)?,
            process: self.process.check(&cache.dir)?,
            cache,
            tls: self.tls.check()?,
            limits: self.limits.check()?,
            load: self.load.check()?,
            onnx: self.onnx.check(memory_bytes_max)?,
            drain: Drain {
                lame_duck: Duration::from_millis(self.drain.lame_duck_ms),
                deadline: Duration::from_millis(self.drain.deadline_ms),
            },
            register: self.register.check()?,
            retire_max: Duration::from_millis(self.retire_max_ms),
            log: self.log.check()?,
        })
    }
}

impl LoadWritten {
    fn check(self) -> Result<Load, String> {
        let mode = match (self.mode.as_str(), self.models_max) {
            ("all", 0) => Mode::All,
            ("all", _) => return Err("'load.models_max' is set, and 'load.mode' is \"all\": on_demand expected".into()),
            ("on_demand", 0) => Mode::OnDemand { models_max: usize::MAX },
            ("on_demand", models_max) => Mode::OnDemand { models_max },
            (mode, _) => return Err(format!("'load.mode' is '{mode}': all or on_demand expected")),
        };
        let concurrency = one_or_more("load.concurrency", self.concurrency)?;
        Ok(Load { concurrency, memory_bytes_max: self.memory_bytes_max, mode })
    }
}

impl StoreOptionsWritten {
    fn options(self) -> StoreOptions {
        let mut options = StoreOptions::from_env();
        options.endpoint = none_if_empty(self.endpoint).or(options.endpoint);
        options.region = none_if_empty(self.region).or(options.region);
        options.path_style = self.path_style.or(options.path_style);
        if self.connect_timeout_ms > 0 {
            options.connect_timeout_ms = self.connect_timeout_ms;
        }
        if self.operation_timeout_ms > 0 {
            options.operation_timeout_ms = self.operation_timeout_ms;
        }
        if self.attempts > 0 {
            options.attempts = self.attempts;
        }
        options
    }
}

impl TlsWritten {
    fn check(self) -> Result<Option<Tls>, String> {
        let client_ca = none_if_empty(self.client_ca).map(PathBuf::from);
        let tls = match (none_if_empty(self.cert), none_if_empty(self.key)) {
            (None, None) if client_ca.is_none() => return Ok(None),
            (Some(cert), Some(key)) => Tls { cert: cert.into(), key: key.into(), client_ca },
            _ => return Err("'tls.cert' and 'tls.key' are needed together, and for 'tls.client_ca'".into()),
        };
        crate::doors::Tls::load(&tls).map_err(|error| error.to_string())?;
        Ok(Some(tls))
    }
}

impl CacheWritten {
    fn check(self) -> Result<Cache, String> {
        let dir = if self.dir.is_empty() { default_cache_dir() } else { PathBuf::from(self.dir) };
        if !dir.is_absolute() {
            return Err(format!("'cache.dir' is '{}': an absolute path expected", dir.display()));
        }
        Ok(Cache { dir, bytes_max: self.bytes_max })
    }
}

impl LimitsWritten {
    fn check(self) -> Result<Limits, String> {
        Ok(Limits {
            body_bytes_max: self.body_bytes_max.max(1),
            bodies_bytes_max: self.bodies_bytes_max.max(self.body_bytes_max),
            rows_max: one_or_more("limits.rows_max", self.rows_max)?,
            timeout: at_least("limits.timeout_ms", self.timeout_ms, 1)?,
            timeout_max: at_least("limits.timeout_ms_max", self.timeout_ms_max, self.timeout_ms)?,
            in_flight_max: one_or_more("limits.in_flight_max", self.in_flight_max)?,
            connections_max: one_or_more("limits.connections_max", self.connections_max)?,
            idle_timeout: at_least("limits.idle_timeout_ms", self.idle_timeout_ms, 1)?,
            body_timeout: at_least("limits.body_timeout_ms", self.body_timeout_ms, 1)?,
            compute_threads: or_cores(self.compute_threads),
            compute_queue_max: one_or_more("limits.compute_queue_max", self.compute_queue_max)?,
            compress_bytes_min: self.compress_bytes_min,
        })
    }
}

impl OnnxWritten {
    fn check(self, memory_bytes_max: u64) -> Result<Onnx, String> {
        let library = none_if_empty(self.library).map(PathBuf::from);
        if let Some(library) = library.as_ref().filter(|path| !path.is_absolute()) {
            return Err(format!("'onnx.library' is '{}': an absolute path expected", library.display()));
        }
        Ok(Onnx {
            library,
            threads: or_cores(self.threads),
            intra_threads: one_or_more("onnx.intra_threads", self.intra_threads)?,
            memory_bytes_max: if self.memory_bytes_max == 0 { memory_bytes_max } else { self.memory_bytes_max },
            batch_rows_max: one_or_more("onnx.batch_rows_max", self.batch_rows_max)?,
            batch_delay: Duration::from_micros(self.batch_delay_us),
            queue_rows_max: one_or_more("onnx.queue_rows_max", self.queue_rows_max)?,
        })
    }
}

impl RegisterWritten {
    fn check(self) -> Result<Option<Register>, String> {
        if self.gateways.is_empty() {
            return Ok(None);
        }
        if self.token.is_empty() || self.token.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err("'register.token' is empty or holds a byte that is no visible ASCII".into());
        }
        let gateways = self.gateways.iter().map(|text| {
            let uri: http::Uri = text.parse().map_err(|e| format!("'register.gateways': '{text}': {e}"))?;
            match (uri.scheme_str(), uri.authority()) {
                (Some("http"), Some(_)) => Ok(uri),
                _ => Err(format!("'register.gateways': '{text}': http://host:port expected")),
            }
        });
        Ok(Some(Register {
            gateways: gateways.collect::<Result<_, _>>()?,
            token: self.token,
            lease: at_least("register.lease_ms", self.lease_ms, 300)?,
            advertise: none_if_empty(self.advertise),
        }))
    }
}

impl LogWritten {
    fn check(self) -> Result<Log, String> {
        let json = match self.format.as_str() {
            "json" => true,
            "pretty" => false,
            other => return Err(format!("'log.format' is '{other}': 'pretty' or 'json' expected")),
        };
        Ok(Log { json, filter: self.filter })
    }
}

fn default_model(name: &str) -> Result<Option<ModelName>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|e| format!("'default_model' is '{name}': {e}"))
}

fn none_if_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// As many as the machine has cores, where none are given.
fn or_cores(given: usize) -> usize {
    match given {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    }
}

pub(super) fn one_or_more(key: &str, value: usize) -> Result<usize, String> {
    if value == 0 { Err(format!("'{key}' is 0: 1 or more expected")) } else { Ok(value) }
}

pub(super) fn at_least(key: &str, value_ms: u64, least_ms: u64) -> Result<Duration, String> {
    if value_ms < least_ms {
        return Err(format!("'{key}' is {value_ms}: {least_ms} or more expected"));
    }
    Ok(Duration::from_millis(value_ms))
}

/// As the XDG base directory specification has it, else where a service keeps its cache.
fn default_cache_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    match (from("XDG_CACHE_HOME"), from("HOME")) {
        (Some(cache), _) => cache.join("headgate"),
        (None, Some(home)) => home.join(".cache/headgate"),
        (None, None) => PathBuf::from("/var/cache/headgate"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(flags: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_flags(flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_page_names_every_key_with_its_default() {
        let page = include_str!("../../../docs/CONFIGURATION.md");
        let (_, block) = page.split_once("```toml backend\n").unwrap();
        let documented: toml::Table = block.split_once("```").unwrap().0.parse().unwrap();
        let mut documented = serde_json::to_value(documented).unwrap();
        // One has no default, the other none that TOML can write.
        documented["store"] = "".into();
        documented["store_options"]["path_style"] = serde_json::Value::Null;
        assert_eq!(documented, serde_json::to_value(Written::default()).unwrap());
    }

    #[test]
    fn the_default_needs_a_store_only() {
        assert!(read(&[]).unwrap_err().contains("'store' is not set"));
        let config = read(&[("store", "file:///models")]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8500".parse().unwrap());
        assert!(config.register.is_none());
        assert!(config.limits.compute_threads > 0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |key, value| read(&[("store", "file:///models"), (key, value)]).unwrap_err();
        for (key, value, says) in [
            ("listen", "nowhere", "'listen'"),
            ("store", "/models", "write file:///models"),
            ("default_model", "a b", "'default_model' is 'a b'"),
            ("tls.cert", "cert.pem", "'tls.key'"),
            ("tls.client_ca", "ca.pem", "'tls.cert'"),
            ("zone", "a zone", "'zone' is 'a zone'"),
            ("log.format", "xml", "'pretty' or 'json'"),
            ("poll_interval_ms", "0", "'poll_interval_ms'"),
            ("limits.rows_max", "0", "'limits.rows_max'"),
            ("cache.dir", "relative", "'cache.dir'"),
            ("load.mode", "lazy", "'load.mode' is 'lazy'"),
            ("load.models_max", "5", "on_demand expected"),
            ("process.concurrency", "0", "'process.concurrency'"),
            ("process.dir", "relative", "'process.dir'"),
            ("process.commands.x", "{}", "'process.commands.x.argv' is empty"),
            ("process.commands.x.argv", "[\"./x\"]", "an absolute path expected"),
            ("process.commands.x.arg", "[]", "the nearest known one is 'argv'"),
            ("process.commands.a/b.argv", "[\"x\"]", "'a/b' is no name"),
            ("onnx.library", "relative.so", "'onnx.library'"),
            ("onnx.batch_rows_max", "0", "'onnx.batch_rows_max'"),
            ("register.gateways", "[\"https://x\"]", "'register.token'"),
            ("pol_interval_ms", "5", "the nearest known one is 'poll_interval_ms'"),
            ("cache.siz", "5", "unknown key 'cache.siz'"),
        ] {
            let error = with(key, value);
            assert!(error.contains(says), "{key}: {error}");
        }
        let gateways = ("register.gateways", "[\"https://x\"]");
        let error = read(&[("store", "file:///models"), gateways, ("register.token", "t")]).unwrap_err();
        assert!(error.contains("http://host:port"), "{error}");
    }
}
