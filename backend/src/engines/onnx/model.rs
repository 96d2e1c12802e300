//! One version's session, and its runs.

use std::sync::{Arc, Mutex, PoisonError};

use headgate_contract::Kind;
use headgate_engine::onnx::Element;
use headgate_engine::{Batch, Outputs};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session};
use ort::value::DynValue;

use super::library::guarded;
use super::line::Work;
use super::plan::Plan;
use super::stop::Stop;
use super::tensors::{self, Rows, words};
use crate::refusal::Refusal;

/// A version that is loaded.
#[derive(Debug)]
pub(super) struct Model {
    /// In words, for refusals: model and version.
    name: String,
    plan: Plan,
    /// The most rows of one run.
    rows_max: usize,
    /// One run at a time: the binding says that the library allows no more, whatever the library says.
    session: Mutex<Session>,
}

impl Model {
    /// Loads a graph. The error, in words, is the file's fault, or memory's.
    pub(super) fn load(
        name: String,
        environment: &Environment,
        bytes: &[u8],
        plan: Plan,
        rows_max: usize,
    ) -> Result<Self, String> {
        let session = guarded(|| session(environment, bytes).map_err(words))?;
        Ok(Self { name, plan, rows_max, session: Mutex::new(session) })
    }

    /// One run of the library.
    fn run(&self, rows: Rows<'_>, stop: &Stop, into: &mut Outputs) -> Result<(), Refusal> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |why: ort::Error| {
            let why = words(why);
            if stop.is_asked() {
                return Refusal::new(Kind::DeadlineExceeded, "the deadline passed while it was scored");
            }
            // Else the rows themselves are what it can't score: the same version has scored others.
            let kind = if is_of_memory(&why) { Kind::Overloaded } else { Kind::InvalidRequest };
            Refusal::new(kind, format!("{} can't score these rows: {why}", self.name))
        };
        let options = Arc::new(RunOptions::new().map_err(failed)?);
        let ends = Arc::clone(&options);
        stop.by(move || _ = ends.terminate());
        let inputs = tensors::inputs(&self.plan, rows).map_err(failed)?;
        let outputs = session.run_with_options(inputs, &*options).map_err(failed)?;
        let value = |name: &str| -> Option<&DynValue> { outputs.get(name) };
        tensors::take(&self.plan, rows, value, into)
    }
}

/// Whether a failure is one of memory that was not left: of the library's kinds of errors none says so.
pub(super) fn is_of_memory(why: &str) -> bool {
    why.contains("vailable memory of") || why.contains("Failed to allocate memory")
}

fn session(environment: &Environment, bytes: &[u8]) -> ort::Result<Session> {
    let builder = Session::builder(environment)?
        // Of all formats that the library reads, the one that was checked.
        .with_config_entry("session.load_model_format", "ONNX")?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_env_allocators()?
        // Runs differ in their rows: a pattern of the first would hold memory for the others.
        .with_memory_pattern(false)?;
    { builder }.commit_from_memory(bytes)
}

impl Work for Model {
    fn check(&self, batch: &Batch) -> Result<(), Refusal> {
        tensors::check(&self.plan, batch)
    }

    fn score(&self, calls: &[&Batch], stop: &Stop) -> Result<Vec<Outputs>, Refusal> {
        let joined;
        let batch = match calls {
            [one] => one,
            several => {
                joined = join(&self.plan, several);
                &joined
            }
        };
        let step = self.plan.rows.unwrap_or(self.rows_max.max(1));
        let mut whole = Outputs::default();
        for from in (0..batch.rows()).step_by(step) {
            let count = self.plan.rows.unwrap_or(step.min(batch.rows() - from));
            self.run(Rows { batch, from, count }, stop, &mut whole)?;
        }
        if let [_] = calls {
            return Ok(vec![whole]);
        }
        let mut from = 0;
        let part = |batch: &&Batch| {
            from += batch.rows();
            tensors::part(&self.plan, &whole, from - batch.rows(), batch.rows())
        };
        Ok(calls.iter().map(part).collect())
    }
}

/// Several calls' rows as one batch.
fn join(plan: &Plan, calls: &[&Batch]) -> Batch {
    let columns = calls.first().map_or(0, |batch| batch.columns());
    let mut joined = Batch::new(columns, calls.iter().map(|batch| batch.rows()).sum());
    let mut from = 0;
    for batch in calls {
        let texts = joined.texts().len() as f64;
        for place in 0..batch.texts().len() {
            joined.texts_mut().push(batch.texts().get(place).unwrap_or_default());
        }
        for feed in &plan.inputs {
            // Places among a call's texts become places among all; NaN, for none, stays.
            let shift = if feed.element == Element::Text { texts } else { 0.0 };
            for column in feed.first..feed.first + feed.features.len() {
                let into = &mut joined.column_mut(column)[from..from + batch.rows()];
                into.iter_mut().zip(batch.column(column)).for_each(|(into, value)| *into = value + shift);
            }
        }
        from += batch.rows();
    }
    joined
}
