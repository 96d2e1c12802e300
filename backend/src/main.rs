//! The model server as a program of its own; `headgate backend` is the same.

use std::process::ExitCode;

use clap::Parser;
use headgate_backend::Cli;

#[derive(Parser)]
#[command(name = "headgate-backend", version, about = "Serves models from a bucket")]
struct Program {
    #[command(flatten)]
    cli: Cli,
}

fn main() -> ExitCode {
    if let Some(code) = headgate_backend::guard() {
        return code;
    }
    headgate_backend::entry(Program::parse().cli)
}
