//! The backend as a program: telemetry, configuration, build, serve, drain.

use std::future::Future;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Cli, Config, Log};
use crate::serve::{io, run};

/// Runs a backend until SIGTERM or SIGINT, a second of which ends it at once. Exit codes: 0 drained, 1 failed or ended at
/// once, 2 a configuration that is no good.
pub fn entry(cli: Cli) -> ExitCode {
    let config = match cli.read() {
        Ok(config) => config,
        Err(error) => return say(2, &error),
    };
    if cli.check {
        println!("the configuration is good");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = telemetry(&config.log) {
        return say(2, &error);
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(1, &error),
    }
}

fn say(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("headgate backend: {error}");
    ExitCode::from(code)
}

fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| io("start the runtime", e))?;
    let ended = runtime.block_on(async {
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|e| io(&format!("listen on {listen}"), e))?;
        let (first, second) = stop_signals().map_err(|e| io("listen for signals", e))?;
        tokio::select! {
            ended = run(config, listener, first) => ended.map_err(Into::into),
            () = second => Err("stopped at once by a second signal".into()),
        }
    });
    // A read that hangs in a network folder must not keep the process.
    runtime.shutdown_background();
    ended
}

/// The first SIGTERM or SIGINT, and the second.
fn stop_signals() -> std::io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    async fn either((mut term, mut int): (Signal, Signal), times: usize) {
        for _ in 0..times {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        }
    }
    let both = || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    Ok((either(both()?, 1), either(both()?, 2)))
}

/// Lines on standard error, as text or JSON. One who has set up logging already keeps it.
fn telemetry(log: &Log) -> Result<(), String> {
    let filter: EnvFilter = log.filter.parse().map_err(|e| format!("'log.filter' is '{}': {e}", log.filter))?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    // Told where? Standard error is what can't be written, and telling it there panics.
    let builder = builder.log_internal_errors(false);
    let _ = match log.json {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
    Ok(())
}
