//! A load: everything between Absent and Ready, off the request threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headgate_contract::{Manifest, ModelName};
use headgate_registry::Store;
use tokio::time::Instant;

use super::Stage;
use super::plan::Wanted;
use super::stage::{self, Failure, Memory};
use crate::cache::Cache;
use crate::engines::{self, Files};
use crate::metrics::Metrics;
use crate::prove;
use crate::runtime::Runtime;
use crate::schema::Schema;
use crate::servable::{Servable, misfit};

/// What loads need.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The bucket.
    pub store: Store,
    /// The local cache.
    pub cache: Cache,
    /// Where calls will be counted.
    pub metrics: Arc<Metrics>,
    /// What engines share.
    pub engines: engines::Context,
    /// Memory of all loaded models, in bytes.
    pub memory_used: Arc<AtomicU64>,
    /// How much of it there may be.
    pub memory_bytes_max: u64,
    /// Whether models make room for others.
    pub makes_room: bool,
}

/// How long a load waits for room that others are to make: for calls in flight to end, and engines to be freed.
const ROOM_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const ROOM_LOOK: Duration = Duration::from_millis(5);

/// What a load tells on its way.
pub trait Tells {
    /// It came to a stage.
    fn reached(&self, stage: Stage);
    /// What remains is done by a process.
    fn aside(&self);
    /// So many bytes of memory are to be free.
    fn needs(&self, bytes: u64);
}

impl Workshop {
    /// Makes a version ready; `load` is told how far it is.
    pub async fn prepare(
        &self,
        model: &ModelName,
        wanted: Wanted,
        load: &(impl Tells + Sync),
    ) -> Result<Arc<Servable>, Failure> {
        let Wanted { version, digest, .. } = wanted;
        let manifest = stage::fetch_manifest(&self.store, &self.cache, model, version, digest).await?;
        let pins = self.cache.pin(manifest.files.iter().map(|f| f.sha256).chain([digest]).collect());
        self.check_room(&manifest)?;
        stage::fetch_files(&self.store, &self.cache, &manifest).await?;
        load.reached(Stage::Verifying);
        let files = stage::verify_files(&self.store, &self.cache, &manifest).await?;
        load.reached(Stage::Loading);
        if engines::loads_elsewhere(&manifest.engine.name) {
            load.aside();
        }
        let (runtime, memory) = match self.makes_room {
            true => self.build_in_room(&manifest, files, load).await?,
            false => {
                let left = self.memory_bytes_max.saturating_sub(self.memory_used.load(Ordering::Acquire));
                let runtime = engines::build(&self.engines, &manifest, files, left).await?;
                let bytes = runtime.memory_bytes() as u64;
                (runtime, self.take(bytes).ok_or_else(|| not_left(bytes))?)
            }
        };
        let series = self.metrics.series.series(&manifest.model, manifest.version);
        let built = stage::off_thread(move || -> Result<Servable, Failure> {
            let schema = Schema::new(manifest.model.clone(), manifest.version, digest, &manifest.signature)
                .map_err(Failure::own)?;
            match misfit(&runtime, &schema) {
                Some(why) => Err(Failure::own(why)),
                None => Ok(Servable::new(schema, manifest, series, runtime, (memory, pins))),
            }
        });
        let servable = built.await??;
        load.reached(Stage::Proving);
        if servable.manifest.golden.is_none() {
            tracing::warn!(%model, %version, "it has no golden rows: served without a proof");
        }
        let mut servable = prove::prove(servable).await?;
        servable.forget_evidence();
        Ok(Arc::new(servable))
    }

    /// Builds what scores a version, once others have made room for it.
    async fn build_in_room(
        &self,
        manifest: &Manifest,
        files: Files,
        load: &(impl Tells + Sync),
    ) -> Result<(Runtime, Memory), Failure> {
        // About what it will take, so that loads at once do not count on the same room.
        let about = self.room(manifest.files.iter().fold(0, |sum, f| sum.saturating_add(f.size)), load).await?;
        let runtime = engines::build(&self.engines, manifest, files, self.memory_bytes_max).await?;
        drop(about);
        let memory = self.room(runtime.memory_bytes() as u64, load).await?;
        Ok((runtime, memory))
    }

    /// Takes memory, and has others make room for it where there is not enough.
    async fn room(&self, bytes: u64, load: &(impl Tells + Sync)) -> Result<Memory, Failure> {
        let began = Instant::now();
        loop {
            if let Some(memory) = self.take(bytes) {
                return Ok(memory);
            }
            if bytes > self.memory_bytes_max || began.elapsed() >= ROOM_WITHIN {
                return Err(not_left(bytes));
            }
            load.needs(bytes);
            tokio::time::sleep(ROOM_LOOK).await;
        }
    }

    fn take(&self, bytes: u64) -> Option<Memory> {
        Memory::take(&self.memory_used, bytes, self.memory_bytes_max)
    }

    /// Refuses what can't fit before it is fetched: a model in memory is about as large as its file, or larger.
    fn check_room(&self, manifest: &Manifest) -> Result<(), Failure> {
        let size = manifest.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.size));
        if size > self.memory_bytes_max {
            return Err(Failure::own(format!(
                "its files have {size} bytes, the memory for all models is {}",
                self.memory_bytes_max
            )));
        }
        Ok(())
    }
}

fn not_left(bytes: u64) -> Failure {
    Failure::passing(format!("{bytes} bytes of memory are not left for it"))
}
