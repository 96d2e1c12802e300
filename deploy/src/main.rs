//! The one command that ops, trainers and newcomers type.
//!
//! # Layout
//! - [`cli`]: what can be typed
//! - [`command`]: one file for each command that works on a store or a running system
//! - [`up`]: the whole system on this machine
//! - [`client`], [`output`], [`place`]: HTTP calls, printing, where store and gateway are

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod client;
mod command;
mod output;
mod place;
mod up;

/// Set for children: they end when their parent does, however it ends.
const PARENT_VARIABLE: &str = "HEADGATE_PARENT";

fn main() -> ExitCode {
    if let Some(code) = headgate_backend::guard() {
        return code;
    }
    follow_parent();
    let arguments = cli::Arguments::parse();
    match arguments.command {
        // Servers bring their own runtime, telemetry and shutdown.
        cli::Command::Gateway(args) => headgate_gateway::entry(args),
        cli::Command::Backend(args) => headgate_backend::entry(args),
        command => run(arguments.global, command),
    }
}

fn run(global: cli::Global, command: cli::Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("headgate: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::run(&global, command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("headgate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the kernel to end this process when the one that started it as its child is gone.
fn follow_parent() {
    let Some(parent) = std::env::var(PARENT_VARIABLE).ok().and_then(|id| id.parse::<i32>().ok()) else { return };
    // Where the kernel can't, a parent that was killed leaves its children running: a nuisance, no harm.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    // The parent may have died before that call.
    if rustix::process::getppid().is_none_or(|id| id.as_raw_nonzero().get() != parent) {
        std::process::exit(1);
    }
}
