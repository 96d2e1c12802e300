//! From a version's files to what scores its rows: one entry for each engine that this build has.

use std::path::PathBuf;
use std::sync::Arc;

use headgate_contract::Manifest;

use crate::config::Config;
use crate::life::stage::{Failure, off_thread};
use crate::runtime::Runtime;

mod mapped;
mod native;
pub mod onnx;
pub mod process;

/// A version's files, each checked against its digest and pinned in the cache, in the order of the manifest.
#[derive(Debug)]
pub struct Files {
    /// Name in the manifest, and what it holds.
    pub list: Vec<(String, Content)>,
}

/// A file's content.
#[derive(Debug)]
pub enum Content {
    /// In memory: small enough to be read whole.
    Bytes(Vec<u8>),
    /// In the cache, to be mapped or given to a library.
    Path(PathBuf),
}

/// What the versions of an engine share: libraries, queues, threads. Made once, held by all loads; it costs nothing
/// before a version needs it.
#[derive(Clone, Debug)]
pub struct Context {
    /// ONNX Runtime.
    pub onnx: Arc<onnx::Shop>,
    /// Processes of versions that bring their own code.
    pub processes: Arc<process::Yard>,
}

/// Whether an engine takes its files as [`Content::Bytes`].
pub fn reads_into_memory(engine: &str) -> bool {
    engine != process::NAME && !native::maps(engine)
}

/// Whether an engine's versions are loaded and proven outside of this program, for as long as they like: at most so many at
/// once as [`Context`] lets.
pub fn loads_elsewhere(engine: &str) -> bool {
    engine == process::NAME
}

/// Builds what scores a version: off the request threads, in `memory_left` bytes. What the manifest asks for and this
/// build lacks is the version's own fault.
pub async fn build(context: &Context, manifest: &Manifest, files: Files, memory_left: u64) -> Result<Runtime, Failure> {
    if manifest.engine.name == process::NAME {
        return context.processes.start(manifest, files, memory_left).await.map(Runtime::Predictor);
    }
    if let Some(unknown) = manifest.engine.requires.iter().find(|r| !known(r)) {
        return Err(Failure::own(format!("it requires '{unknown}', which this build does not have")));
    }
    if manifest.engine.name == onnx::NAME {
        return context.onnx.load(manifest, files, memory_left).await.map(Runtime::Predictor);
    }
    let name = manifest.engine.name.clone();
    off_thread(move || native::load(&name, files, memory_left)).await?.map(Runtime::Engine)
}

/// What this build has, as manifests require it.
fn known(required: &str) -> bool {
    native::known(required) || required == onnx::NAME
}

// === impl Context ===

impl Context {
    /// As the configuration has it.
    pub fn new(config: &Config) -> Self {
        Self {
            onnx: Arc::new(onnx::Shop::new(config.onnx.clone())),
            processes: Arc::new(process::Yard::new(config.process.clone(), config.load.concurrency)),
        }
    }
}

// === impl Files ===

impl Files {
    /// The one file of an engine that takes one.
    pub(crate) fn single(self, engine: &str) -> Result<Content, Failure> {
        match <[(String, Content); 1]>::try_from(self.list) {
            Ok([(_, content)]) => Ok(content),
            Err(files) => {
                Err(Failure::own(format!("engine '{engine}' takes one file, the manifest lists {}", files.len())))
            }
        }
    }
}

impl Content {
    /// All of it.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Path(path) => {
                std::fs::read(&path).map_err(|e| Failure::passing(format!("reading {}: {e}", path.display())))
            }
        }
    }
}
