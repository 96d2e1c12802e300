//! The command: configuration, sockets, signals.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use headgate_contract::config::{ConfigError, Sources};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Log};
use crate::server::{Drained, Gateway, Listeners};

/// Exit code of a wrong configuration or command line.
const USAGE: u8 = 2;
/// Threads for all that is not callers': probes, discovery, the admin port.
const CONTROL_THREADS_MAX: usize = 2;

/// Runs the gateway: the edge that finds backends, checks them, spreads the load, retries, and moves traffic between
/// versions.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Cli {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address for callers [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Address of the admin port [default: 127.0.0.1:9090]
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<String>,
    /// A backend; can be given several times
    #[arg(long = "backend", value_name = "HOST:PORT")]
    pub backends: Vec<String>,
    /// A server of another make as a backend, such as triton=HOST:PORT,grpc=HOST:PORT; can be given several times
    #[arg(long = "foreign", value_name = "SERVER=HOST:PORT[,...]")]
    pub foreign: Vec<String>,
    /// Any key of the configuration, as SECTION.KEY=VALUE; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Checks the configuration and ends
    #[arg(long)]
    pub check: bool,
}

impl Cli {
    /// The configuration that the flags, the process's environment and the file make.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.sources(std::env::vars().collect())?)
    }

    fn sources(&self, mut environment: Vec<(String, String)>) -> Result<Sources, ConfigError> {
        if let Some((_, filter)) = environment.iter().find(|(name, _)| name == "HEADGATE_LOG").cloned() {
            environment.insert(0, ("HEADGATE__LOG__FILTER".to_owned(), filter));
        }
        let file = match &self.config {
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{name}: {e}")))?;
                Some((name, text))
            }
            None => None,
        };
        let mut flags = Vec::new();
        for set in &self.set {
            let Some((key, value)) = set.split_once('=') else {
                return Err(ConfigError(format!("--set '{set}': KEY=VALUE expected")));
            };
            flags.push((key.to_owned(), value.to_owned()));
        }
        let given = [("server.listen", &self.listen), ("admin.listen", &self.admin)];
        flags.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        for (key, list) in [("discovery.backends", &self.backends), ("discovery.foreign", &self.foreign)] {
            if !list.is_empty() {
                flags.push((key.to_owned(), serde_json::to_string(list).unwrap_or_default()));
            }
        }
        Ok(Sources { file, environment, flags })
    }
}

/// Runs the command to its end: 0 after a graceful stop or a good check, 1 when something broke, 2 when the
/// configuration makes no sense.
pub fn entry(args: Cli) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("headgate gateway: {error}");
            return ExitCode::from(USAGE);
        }
    };
    if args.check {
        println!("configuration is good");
        return ExitCode::SUCCESS;
    }
    start_log(&config.log);
    match serve(&args, config) {
        Ok(Drained::Whole) => ExitCode::SUCCESS,
        Ok(Drained::Cut(connections)) => {
            tracing::warn!(connections, "connections cut: the time to drain had passed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("headgate gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Cli, config: Config) -> Result<Drained, Box<dyn std::error::Error>> {
    let listeners = Listeners { edge: bind(config.server.listen)?, admin: bind(config.admin.listen)? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.server.threads.min(CONTROL_THREADS_MAX))
        .thread_name("gateway")
        .enable_all()
        .build()?;
    let drained = runtime.block_on(async {
        let stop = signals()?;
        let gateway = Gateway::new(config)?;
        let reloading = tokio::spawn(reload_on_hangup(args.clone(), gateway.reload(), signal(SignalKind::hangup())?));
        let (first, second) = stop;
        let drained = tokio::select! {
            drained = gateway.serve(listeners, first) => drained.map_err(Into::into),
            () = second => Err("stopped at once by a second signal".into()),
        };
        reloading.abort();
        drained
    });
    runtime.shutdown_background();
    drained
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("can't listen on {address}: {error}"))
}

/// The first signal to stop, and the second.
fn signals() -> std::io::Result<(impl Future<Output = ()> + Send, impl Future<Output = ()> + Send)> {
    async fn either((mut term, mut int): (Signal, Signal), times: usize) {
        for _ in 0..times {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        }
    }
    let both = || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    Ok((either(both()?, 1), either(both()?, 2)))
}

/// Reads the configuration anew at each SIGHUP; one that makes no sense changes nothing.
async fn reload_on_hangup(args: Cli, reload: impl Fn(Config), mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let args = args.clone();
        match tokio::task::spawn_blocking(move || args.load()).await {
            Ok(Ok(config)) => reload(config),
            Ok(Err(error)) => tracing::error!(%error, "configuration not reloaded"),
            Err(error) => tracing::error!(%error, "configuration not reloaded"),
        }
    }
}

fn start_log(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    // Told where? Standard error is what can't be written, and telling it there panics.
    let builder = builder.log_internal_errors(false);
    // A process that has a log already keeps it.
    let started = if log.json { builder.json().try_init() } else { builder.try_init() };
    if let Err(error) = started {
        tracing::debug!(%error, "log was started before");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_over_environment() {
        let cli = Cli {
            listen: Some("127.0.0.1:1".into()),
            backends: vec!["a:1".into(), "b:2".into()],
            foreign: vec!["triton=c:3,grpc=c:4".into()],
            set: vec!["limits.deadline_ms=70".into()],
            ..Cli::default()
        };
        let environment = [
            ("HEADGATE__SERVER__LISTEN", "127.0.0.1:2"),
            ("HEADGATE__LIMITS__DEADLINE_MS", "60"),
            ("HEADGATE_LOG", "debug"),
            ("HEADGATE_GATEWAY_SERVICE_PORT", "80"),
        ];
        let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let config = Config::load(&cli.sources(environment).unwrap()).unwrap();
        assert_eq!(config.server.listen.port(), 1);
        assert_eq!(config.discovery.backends, ["a:1", "b:2"]);
        assert_eq!(config.discovery.foreign[0].grpc.as_deref(), Some("c:4"));
        assert_eq!((config.limits.deadline.as_millis(), config.log.filter.as_str()), (70, "debug"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let cli = Cli { config: Some("nowhere.toml".into()), ..Cli::default() };
        assert!(cli.load().unwrap_err().to_string().starts_with("nowhere.toml: "));
    }
}
