//! The load tests' command line.

mod cli;
mod run;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;
use headgate_loadtests::origin;
use headgate_loadtests::relay;
use headgate_loadtests::report::Report;
use headgate_loadtests::scenario::{
    judgement, kill_backend, many_models, placement, publish_to_serving, serving, swap_under_load,
};
use headgate_loadtests::sim;
use headgate_loadtests::stalls;
use headgate_loadtests::system::fleet;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Arguments, Command};

// One thread, the main one: parts are told to end when the *thread* that started them does.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match finish(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtests: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, prints and writes; says whether all held.
async fn finish(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Whichever comes first, the scenario is dropped, and its processes are killed with it.
    let report = tokio::select! {
        report = scenario(&arguments.command) => report?,
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
        _ = terminate.recv() => return Err("terminated".into()),
    };
    print!("{}", report.text());
    report.write(&arguments.files)?;
    Ok(report.holds())
}

async fn scenario(command: &Command) -> Result<Report, Box<dyn Error>> {
    Ok(match command {
        Command::Run(options) => run::run(options).await?,
        Command::SwapUnderLoad(options) => swap_under_load::run(options).await?,
        Command::KillBackend(options) => kill_backend::run(options).await?,
        Command::PublishToServing(options) => publish_to_serving::run(options).await?,
        Command::ManyModels(options) => many_models::run(options).await?,
        Command::Placement(options) => placement::run(options).await?,
        Command::Serving(options) => serving::run(options).await?,
        Command::Judgement(options) => judgement::run(options).await?,
        // It has no one to wait for.
        Command::Sim(options) => {
            let options = options.clone();
            tokio::task::spawn_blocking(move || sim::scenario::run(&options)).await??
        }
        Command::Stalls(options) => {
            let options = options.clone();
            fleet::follow_parent();
            let (ended, end) = tokio::sync::oneshot::channel();
            // A thread that nobody waits for when this process is told to end.
            std::thread::spawn(move || ended.send(stalls::run(&options)));
            end.await??;
            return Err("stalls ended".into());
        }
        // Answers until it is told to end.
        Command::Origin(options) => {
            fleet::follow_parent();
            origin::run(options).await?;
            return Err("origin ended".into());
        }
        Command::Relay(options) => {
            fleet::follow_parent();
            relay::run(options).await?;
            return Err("relay ended".into());
        }
    })
}
