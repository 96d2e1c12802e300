//! What scores a version's rows, wherever that is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use headgate_engine::{Batch, Engine, Outputs, Want};
use tokio::time::Instant;

use crate::refusal::Refusal;
use crate::schema::Schema;

/// What scores a version's rows.
#[derive(Debug)]
pub enum Runtime {
    /// In the thread that asks.
    Engine(Box<dyn Engine>),
    /// Elsewhere: behind a queue, in a process, on a device.
    Predictor(Arc<dyn Predictor>),
}

/// Results on their way.
pub type Scored<'a> = Pin<Box<dyn Future<Output = Result<Outputs, Refusal>> + Send + 'a>>;

/// What scores rows elsewhere. Its queues, threads and devices live behind it, each with a bound.
pub trait Predictor: Send + Sync + Debug {
    /// Scores the rows by the deadline; what can't meet it is refused early. Dropping the future gives the work up.
    fn score(&self, batch: Batch, want: Want, deadline: Instant) -> Scored<'_>;

    /// Why it does not fit the signature that it came with, in words; none where it does.
    fn misfit(&self, schema: &Schema) -> Option<String>;

    /// Why [`Want::contributions`] can't be answered; none where they can.
    fn no_contributions(&self) -> Option<&'static str> {
        Some("the model's engine does not explain")
    }

    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize;

    /// An estimate of what a row costs to score, in nanoseconds.
    fn cost_ns_per_row(&self) -> f64;
}

// === impl Runtime ===

impl Runtime {
    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Engine(engine) => engine.memory_bytes(),
            Self::Predictor(predictor) => predictor.memory_bytes(),
        }
    }

    /// Why contributions can't be had; none where they can.
    pub fn no_contributions(&self) -> Option<&'static str> {
        match self {
            Self::Engine(engine) => engine.no_contributions(),
            Self::Predictor(predictor) => predictor.no_contributions(),
        }
    }

    /// An estimate of what contributions add to a row's cost, in nanoseconds.
    pub fn contributions_cost_ns_per_row(&self) -> f64 {
        match self {
            Self::Engine(engine) => engine.contributions_cost_ns_per_row(),
            // They are computed elsewhere, or not at all.
            Self::Predictor(_) => 0.0,
        }
    }

    /// An estimate of what rows of one call cost to score, in nanoseconds.
    pub fn cost_ns(&self, rows: usize) -> f64 {
        match self {
            Self::Engine(engine) => engine.cost_ns(rows),
            Self::Predictor(predictor) => predictor.cost_ns_per_row() * rows as f64,
        }
    }
}

impl From<Box<dyn Engine>> for Runtime {
    fn from(engine: Box<dyn Engine>) -> Self {
        Self::Engine(engine)
    }
}
