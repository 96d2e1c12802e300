//! `train` and `publish`: progress on the terminal, a nudge after a promotion.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headgate_registry::StoreOptions;
use headgate_trainer::report::{OnEvent, Release};
use headgate_trainer::{Event, ModelReport, ModelResult, PublishArgs, TrainArgs};

use super::release::nudge;
use super::{CommandError, open_store};
use crate::cli::{Admin, Global};
use crate::output::{self, say};

/// Rounds and uploads are shown at most this often.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// `headgate train`.
pub(crate) async fn train(global: &Global, args: TrainArgs) -> Result<ExitCode, CommandError> {
    let report = headgate_trainer::train::train(args, context(global).await?).await?;
    let nudged = tell(report.release.as_ref()).await;
    output::print(global.style(), &report, || {
        let end = end(report.release.as_ref(), report.not_released.as_deref(), nudged);
        summary(report.models.len(), report.failed()) + &end
    });
    Ok(if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `headgate publish`.
pub(crate) async fn publish(global: &Global, args: PublishArgs) -> Result<ExitCode, CommandError> {
    let report = headgate_trainer::publish::publish(args, context(global).await?).await?;
    let nudged = tell(report.release.as_ref()).await;
    output::print(global.style(), &report, || end(report.release.as_ref(), report.not_released.as_deref(), nudged));
    Ok(if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What training works with: the store, and somebody to tell of progress.
async fn context(global: &Global) -> Result<headgate_trainer::train::Context, CommandError> {
    let store = open_store(global).await?;
    Ok(headgate_trainer::train::Context { store, options: StoreOptions::from_env(), on_event: narrator() })
}

/// Tells the gateway that is known from the environment or from `headgate up` in this directory.
async fn tell(release: Option<&Release>) -> bool {
    let Some(release) = release.filter(|r| r.changed) else { return false };
    let admin =
        Admin { admin: std::env::var("HEADGATE_ADMIN").ok(), admin_token: std::env::var("HEADGATE_ADMIN_TOKEN").ok() };
    nudge(&admin, &release.store_id, release.generation).await
}

/// Prints events to standard error: on a terminal the last line moves, elsewhere only what is final is written.
pub(crate) fn narrator() -> OnEvent {
    let terminal = std::io::stderr().is_terminal();
    let last = Mutex::new(Instant::now() - SHOWN_EVERY);
    Arc::new(move |event| {
        if let Some(line) = passing(&event) {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if terminal && last.elapsed() >= SHOWN_EVERY {
                *last = Instant::now();
                say(&format!("\r\x1b[2K{line}"));
            }
        } else if let Some(line) = lasting(&event) {
            say(&format!("{}{line}\n", if terminal { "\r\x1b[2K" } else { "" }));
        }
    })
}

/// A line that the next one replaces.
fn passing(event: &Event) -> Option<String> {
    match event {
        Event::Round { model, round, of, metric } => {
            let metric = metric.as_ref().map_or_else(String::new, |(name, value)| format!(", {name} {value:.5}"));
            Some(format!("{model}: round {round} of at most {of}{metric}"))
        }
        Event::Uploading { model, file, done, bytes } => {
            Some(format!("{model}: {file} {} %", 100 * done / (*bytes).max(1)))
        }
        _ => None,
    }
}

/// A line that stays.
fn lasting(event: &Event) -> Option<String> {
    match event {
        Event::Read { files, rows, columns, taken } => {
            let taken = if taken == rows { String::new() } else { format!(", {taken} of them taken") };
            Some(format!("read {rows} rows of {columns} columns from {files} file(s){taken}"))
        }
        Event::Scopes { count } => Some(format!("{count} scopes")),
        Event::Note { model: Some(model), text } => Some(format!("{model}: {text}")),
        Event::Note { model: None, text } => Some(text.clone()),
        Event::Finished(report) => Some(finished(report)),
        Event::Promoted { .. } | Event::Round { .. } | Event::Uploading { .. } => None,
    }
}

fn finished(report: &ModelReport) -> String {
    let model = &report.model;
    match &report.result {
        ModelResult::Failed { why } => format!("{model}: failed: {why}"),
        ModelResult::Skipped { why } => format!("{model}: skipped: {why}"),
        ModelResult::Published(p) if p.existing => {
            format!("{model}: version {} is this build already; nothing was done", p.version)
        }
        ModelResult::Published(p) => {
            let seconds = p.seconds.map_or_else(String::new, |s| format!(" (trained in {s:.1} s)"));
            let metrics = output::metrics(&p.metrics);
            let colon = if metrics.is_empty() { "" } else { ": " };
            format!("{model}: version {} published{seconds}{colon}{metrics}", p.version)
        }
    }
}

fn summary(models: usize, failed: usize) -> String {
    match (models, failed) {
        (0 | 1, 0) => String::new(),
        (models, failed) => format!("{models} models, {failed} failed\n"),
    }
}

fn end(release: Option<&Release>, not_released: Option<&str>, nudged: bool) -> String {
    match (release, not_released) {
        (_, Some(why)) => format!("not promoted: {why}\n"),
        (Some(r), _) if !r.changed => "served already\n".to_owned(),
        (Some(r), _) => {
            let told = if nudged { "; the gateway was told" } else { "; backends see it at their next poll" };
            format!("promoted: catalog generation {}{told}\n", r.generation)
        }
        (None, None) => "not promoted (`headgate promote` lets it serve)\n".to_owned(),
    }
}
