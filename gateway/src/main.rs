//! The gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;

/// The Headgate gateway
#[derive(Parser)]
#[command(name = "headgate-gateway", version)]
struct Command {
    #[command(flatten)]
    cli: headgate_gateway::Cli,
}

fn main() -> ExitCode {
    headgate_gateway::entry(Command::parse().cli)
}
