//! ONNX models, through ONNX Runtime: a library that is loaded when the first version needs it.
//!
//! What a file asks for is read by [`headgate_engine::onnx`] before the library sees it. Calls wait in a line for each
//! version and are gathered into runs, which a gang of threads shared by all versions does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headgate_contract::{Kind, Manifest};
use headgate_engine::{Batch, Outputs, Want};
use tokio::time::Instant;

use super::Files;
use crate::config::Onnx;
use crate::life::stage::{Failure, off_thread};
use crate::refusal::Refusal;
use crate::runtime::{Predictor, Scored};
use crate::schema::Schema;

mod gang;
mod library;
mod line;
mod model;
mod plan;
mod stop;
mod tensors;

use gang::Gang;
use line::{Bounds, Line};
use model::Model;
use plan::Plan;

/// The name that manifests have for it.
pub const NAME: &str = "onnx";

/// How long the first row of a version may take.
const FIRST_ROW_MAX: Duration = Duration::from_secs(10);
/// What the library holds for the smallest graph, in bytes: about what a session of one node was measured at.
const SESSION_BYTES: u64 = 256 << 10;

/// What all ONNX versions share. Nothing is loaded or started before one comes.
#[derive(Debug)]
pub struct Shop {
    bounds: Onnx,
    gang: Mutex<Option<Arc<Gang>>>,
    /// Held while a session is made, so that what its making took can be told from what another's took.
    making: Arc<Mutex<()>>,
}

/// A version that is served.
#[derive(Debug)]
struct Served {
    line: Arc<Line>,
    gang: Arc<Gang>,
    memory_bytes: usize,
}

// === impl Shop ===

impl Shop {
    /// Bounded by the configuration.
    pub fn new(bounds: Onnx) -> Self {
        Self { bounds, gang: Mutex::default(), making: Arc::default() }
    }

    /// Loads a version and scores its first row. Without the library it fails in a way that may pass: once the library is
    /// there, the next attempt succeeds.
    pub(super) async fn load(
        &self,
        manifest: &Manifest,
        files: Files,
        memory_left: u64,
    ) -> Result<Arc<dyn Predictor>, Failure> {
        let gang = self.gang().map_err(|e| Failure::passing(format!("no threads for ONNX Runtime: {e}")))?;
        let (for_reading, features) = (manifest.clone(), manifest.signature.inputs.len());
        let (bytes, plan) = off_thread(move || read(&for_reading, files, memory_left)).await??;
        // Not on a loading thread, whose low priority the library's own threads would keep.
        let bounds = self.bounds.clone();
        let environment = tokio::task::spawn_blocking(move || library::environment(&bounds)).await;
        let environment = environment.map_err(Failure::passing)?.map_err(Failure::lacking)?;
        let name = format!("model '{}' version {}", manifest.model, manifest.version);
        let (making, rows_max) = (Arc::clone(&self.making), self.bounds.batch_rows_max);
        let make = move || make(&making, &bytes, || Model::load(name, &environment, &bytes, plan, rows_max));
        let (model, memory_bytes) = off_thread(make).await??;
        let bounds = Bounds {
            rows_max: self.bounds.batch_rows_max,
            delay: self.bounds.batch_delay,
            waiting_max: self.bounds.queue_rows_max,
        };
        let served = Served { line: Line::new(Box::new(model), bounds), gang, memory_bytes };
        served.warm_up(features).await?;
        Ok(Arc::new(served))
    }

    fn gang(&self) -> std::io::Result<Arc<Gang>> {
        let mut gang = self.gang.lock().unwrap_or_else(PoisonError::into_inner);
        match &*gang {
            Some(gang) => Ok(Arc::clone(gang)),
            None => Ok(Arc::clone(gang.insert(Arc::new(Gang::new(self.bounds.threads)?)))),
        }
    }
}

/// A version's graph, and how its signature fits it.
fn read(manifest: &Manifest, files: Files, memory_left: u64) -> Result<(Vec<u8>, Plan), Failure> {
    let bytes = files.single(NAME)?.bytes()?;
    let graph = headgate_engine::onnx::describe(&bytes).map_err(|e| Failure::own(format!("model file: {e}")))?;
    let plan = Plan::new(&graph, &manifest.signature).map_err(Failure::own)?;
    let size = bytes.len() as u64;
    if size > memory_left {
        return Err(Failure::passing(format!("its file has {size} bytes, the memory left is {memory_left}")));
    }
    Ok((bytes, plan))
}

/// Makes a session, and says what it holds, in bytes.
fn make(
    making: &Mutex<()>,
    file: &[u8],
    load: impl FnOnce() -> Result<Model, String>,
) -> Result<(Model, usize), Failure> {
    let _making = making.lock().unwrap_or_else(PoisonError::into_inner);
    let before = resident_bytes();
    let model = load().map_err(|why| match model::is_of_memory(&why) {
        true => Failure::passing(why),
        false => Failure::own(format!("model file: {why}")),
    })?;
    // What others took meanwhile is counted too: rather too much than too little.
    let grown = resident_bytes().saturating_sub(before);
    let held = grown.max(file.len() as u64).saturating_add(SESSION_BYTES);
    Ok((model, usize::try_from(held).unwrap_or(usize::MAX)))
}

/// Memory of this process in RAM, in bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

// === impl Served ===

impl Served {
    /// Scores a row of zeros, then two: the library makes much on the first run, and who gives no row for a row shows it on
    /// the second. A graph that does not take such rows may take others.
    async fn warm_up(&self, features: usize) -> Result<(), Failure> {
        for count in 1..=2 {
            self.line.forget_cost();
            let mut rows = Batch::new(features, count);
            let empty = rows.texts_mut().push("") as f64;
            (0..features).for_each(|feature| rows.column_mut(feature).fill(empty));
            match self.line.score(&self.gang, rows, Instant::now() + FIRST_ROW_MAX).await {
                Ok(_) => {}
                Err(Refusal { kind: Kind::InvalidRequest, message, .. }) => {
                    tracing::debug!(message, "rows of zeros are not scored");
                }
                Err(Refusal { kind: Kind::DeadlineExceeded, .. }) => {
                    let limit = FIRST_ROW_MAX.as_secs();
                    return Err(Failure::own(format!("its first rows take more than {limit} s to score")));
                }
                Err(Refusal { kind: Kind::Overloaded, message, .. }) => return Err(Failure::passing(message)),
                Err(refusal) => return Err(Failure::own(format!("it can't be scored: {refusal}"))),
            }
        }
        Ok(())
    }
}

impl Predictor for Served {
    fn score(&self, batch: Batch, _: Want, deadline: Instant) -> Scored<'_> {
        Box::pin(async move {
            match batch.rows() {
                0 => Ok(Outputs::default()),
                _ => self.line.score(&self.gang, batch, deadline).await,
            }
        })
    }

    fn misfit(&self, _: &Schema) -> Option<String> {
        // It was loaded with its signature, and would have been refused.
        None
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn cost_ns_per_row(&self) -> f64 {
        self.line.row_ns() as f64
    }
}
