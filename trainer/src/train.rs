//! `headgate train`: data in, versions in the store, perhaps released.

use std::sync::Arc;

use futures_util::StreamExt;
use headgate_contract::{Digest, ModelName};
use headgate_registry::store::Intent;
use headgate_registry::{Store, StoreOptions};
use tokio::sync::Semaphore;

use crate::args::TrainArgs;
use crate::data::{self, Data, Source};
use crate::error::TrainError;
use crate::filter::Filter;
use crate::fit::{FitError, FitOptions};
use crate::key;
use crate::lightgbm::Library;
use crate::lightgbm::params::Parameters;
use crate::plan::{Overrides, PlanError};
use crate::release;
use crate::report::{Event, ModelReport, ModelResult, OnEvent, TrainReport};
use crate::scope::{self, Scope, Scopes};
use crate::table::Table;

mod model;

pub(crate) use model::plain;

/// Versions that are published at a time, beside those that are trained.
const PUBLISHES_MAX: usize = 16;

/// What a training works with.
#[derive(Clone)]
pub struct Context {
    /// Where versions go.
    pub store: Store,
    /// How other stores, that data comes from, are reached.
    pub options: StoreOptions,
    /// Told of what happens.
    pub on_event: OnEvent,
}

/// What all scopes share.
struct Shared {
    context: Context,
    args: TrainArgs,
    library: Library,
    parameters: Parameters,
    table: Table,
    uris: Vec<String>,
    digests: Vec<Digest>,
    fit: FitOptions,
    salt: Option<String>,
    who: String,
    training: Semaphore,
}

/// Trains on `args.data`.
pub async fn train(args: TrainArgs, context: Context) -> Result<TrainReport, TrainError> {
    let sources: Vec<Source> = args.data.iter().cloned().map(Source::Uri).collect();
    train_sources(args, sources, context).await
}

/// Trains on `sources`; `args.data` is not looked at.
pub async fn train_sources(args: TrainArgs, sources: Vec<Source>, context: Context) -> Result<TrainReport, TrainError> {
    if let Some(condition) = &args.condition {
        release::check_condition(condition)?;
    }
    // Before minutes of work: can its result be kept?
    context.store.probe(Intent::Publish(&args.model)).await?;
    let inputs = data::resolve(&sources, &context.options).await?;
    let for_events = context.on_event.clone();
    let prepared = blocking(move || prepare(args, context, inputs)).await??;
    let (shared, scopes, mut notes) = prepared;
    if scopes.rows_without > 0 {
        notes.push(format!("{} rows have no scope: left out", scopes.rows_without));
    }
    for text in &notes {
        for_events(Event::Note { model: None, text: text.clone() });
    }
    let shared = Arc::new(shared);
    let mut models = unnamed(&shared.args.model, &scopes);
    models.extend(run(&shared, scopes.scopes).await?);
    models.sort_by(|a, b| (&a.model, &a.scope).cmp(&(&b.model, &b.scope)));
    let mut report = TrainReport { models, notes, release: None, not_released: None };
    if shared.args.promote {
        promote(&shared, &mut report).await;
    }
    Ok(report)
}

/// Runs work that blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TrainError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| TrainError::Internal(error.to_string()))
}

/// Everything before the first model: the library, the parameters, the table, the rows, the scopes.
fn prepare(
    args: TrainArgs,
    context: Context,
    inputs: Vec<data::Input>,
) -> Result<(Shared, Scopes, Vec<String>), TrainError> {
    let filter = args.filter.as_deref().map(Filter::parse).transpose()?;
    let library = Library::open(args.lightgbm.as_deref())?;
    let parameters = Parameters::resolve(&library, &args.params)?;
    let Data { mut table, uris, digests, notes } = data::read(&inputs)?;
    let rows = taken(&table, filter.as_ref())?;
    let overrides: Overrides = args.overrides();
    overrides.apply(&mut table)?;
    (context.on_event)(Event::Read {
        files: uris.len(),
        rows: table.rows,
        columns: table.columns.len(),
        taken: rows.len(),
    });
    let scopes = scope::divide(&table, rows, &args.model, args.scope_by.as_deref())?;
    if args.scope_by.is_some() {
        (context.on_event)(Event::Scopes { count: scopes.scopes.len() });
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (jobs, threads) = workers(&args, cores);
    let objective = args.objective.clone().or_else(|| parameters.objective().map(str::to_owned));
    let fit = FitOptions {
        target: args.target.clone(),
        scope_by: args.scope_by.clone(),
        overrides,
        objective,
        positive: args.positive.clone(),
        parameters: parameters.clone(),
        seed: args.seed,
        threads,
        categories_max: args.categories_max,
        rows_min: args.min_rows,
    };
    let salt = args.force.then(key::salt);
    let who = headgate_registry::whoami();
    let training = Semaphore::new(jobs);
    let shared = Shared { context, args, library, parameters, table, uris, digests, fit, salt, who, training };
    Ok((shared, scopes, notes))
}

fn taken(table: &Table, filter: Option<&Filter>) -> Result<Vec<u32>, TrainError> {
    let all = 0..u32::try_from(table.rows).unwrap_or(u32::MAX);
    let rows: Vec<u32> = match filter {
        None => all.collect(),
        Some(filter) => all.zip(filter.rows(table)?).filter(|(_, taken)| *taken).map(|(row, _)| row).collect(),
    };
    if rows.is_empty() { Err(TrainError::NoRows { rows: table.rows }) } else { Ok(rows) }
}

/// How many models are trained side by side, and with how many threads each.
fn workers(args: &TrainArgs, cores: usize) -> (usize, usize) {
    let scoped = args.scope_by.is_some();
    let threads = args.threads.map_or(if scoped { 1 } else { cores }, usize::from);
    let jobs = args.jobs.map_or(if scoped { (cores / threads).max(1) } else { 1 }, usize::from);
    (jobs, threads)
}

fn unnamed(base: &ModelName, scopes: &Scopes) -> Vec<ModelReport> {
    let report = |(value, why): &(String, String)| ModelReport {
        model: base.clone(),
        scope: Some(value.clone()),
        result: ModelResult::Failed { why: why.clone() },
    };
    scopes.unnamed.iter().map(report).collect()
}

async fn run(shared: &Arc<Shared>, scopes: Vec<Scope>) -> Result<Vec<ModelReport>, TrainError> {
    let jobs = shared.training.available_permits();
    let one = |scope: Scope| async move {
        let (model, value) = (scope.model.clone(), scope.value.clone());
        let result = match model::make(shared, scope).await {
            Ok(published) => ModelResult::Published(published),
            // Without scopes there is nothing else to go on with.
            Err(error) if value.is_none() => return Err(error),
            Err(TrainError::Fit(FitError::Plan(why @ (PlanError::FewRows { .. } | PlanError::Target { .. })))) => {
                ModelResult::Skipped { why: why.to_string() }
            }
            Err(error) => ModelResult::Failed { why: error.to_string() },
        };
        let report = ModelReport { model, scope: value, result };
        (shared.context.on_event)(Event::Finished(Box::new(report.clone())));
        Ok(report)
    };
    let mut reports = Vec::with_capacity(scopes.len());
    let mut running = futures_util::stream::iter(scopes).map(one).buffer_unordered(jobs + PUBLISHES_MAX);
    while let Some(report) = running.next().await {
        reports.push(report?);
    }
    Ok(reports)
}

async fn promote(shared: &Shared, report: &mut TrainReport) {
    let failed = report.failed();
    if failed > 0 && !shared.args.keep_going {
        let of = report.models.len();
        let why = format!("{failed} of {of} models failed; --keep-going releases the others");
        report.not_released = Some(why);
        return;
    }
    let new = report.models.iter().filter_map(|model| Some((model.model.clone(), model.published()?.version)));
    let made = release::release(
        &shared.context.store,
        new.collect(),
        shared.args.condition.as_deref(),
        "headgate train",
        &shared.who,
    );
    match made.await {
        Ok(release) => {
            let (models, generation) = (release.models, release.generation);
            (shared.context.on_event)(Event::Promoted { models, generation });
            report.release = Some(release);
        }
        Err(why) => report.not_released = Some(why),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scopes_share_the_processors() {
        let mut args = TrainArgs::new("m".parse().unwrap(), "y");
        assert_eq!(workers(&args, 8), (1, 8));
        args.scope_by = Some("s".to_owned());
        assert_eq!(workers(&args, 8), (8, 1));
        args.threads = Some(3);
        assert_eq!(workers(&args, 8), (2, 3));
        args.jobs = Some(5);
        assert_eq!(workers(&args, 8), (5, 3));
    }
}
