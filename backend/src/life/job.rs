//! A load: everything between Absent and Ready, off the request threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headgate_contract::ModelName;
use headgate_registry::Store;

use super::Stage;
use super::plan::Wanted;
use super::stage::{self, Failure, Memory};
use crate::cache::Cache;
use crate::engines;
use crate::metrics::Metrics;
use crate::prove;
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
}

impl Workshop {
    /// Makes a version ready; `reached` is told each stage, `aside` is called when what remains is done by a process.
    pub async fn prepare(
        &self,
        model: &ModelName,
        wanted: Wanted,
        reached: impl Fn(Stage) + Send,
        aside: impl Fn() + Send,
    ) -> Result<Arc<Servable>, Failure> {
        let Wanted { version, digest, .. } = wanted;
        let manifest = stage::fetch_manifest(&self.store, &self.cache, model, version, digest).await?;
        let pins = self.cache.pin(manifest.files.iter().map(|f| f.sha256).chain([digest]).collect());
        self.check_room(&manifest)?;
        stage::fetch_files(&self.store, &self.cache, &manifest).await?;
        reached(Stage::Verifying);
        let files = stage::verify_files(&self.store, &self.cache, &manifest).await?;
        reached(Stage::Loading);
        if engines::loads_elsewhere(&manifest.engine.name) {
            aside();
        }
        let left = self.memory_bytes_max.saturating_sub(self.memory_used.load(Ordering::Acquire));
        let runtime = engines::build(&self.engines, &manifest, files, left).await?;
        let bytes = runtime.memory_bytes();
        let memory = Memory::take(&self.memory_used, bytes as u64, self.memory_bytes_max)
            .ok_or_else(|| Failure::passing(format!("{bytes} bytes of memory are not left for it")))?;
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
        reached(Stage::Proving);
        if servable.manifest.golden.is_none() {
            tracing::warn!(%model, %version, "it has no golden rows: served without a proof");
        }
        let mut servable = prove::prove(servable).await?;
        servable.forget_evidence();
        Ok(Arc::new(servable))
    }

    /// Refuses what can't fit before it is fetched: a model in memory is about as large as its file, or larger.
    fn check_room(&self, manifest: &headgate_contract::Manifest) -> Result<(), Failure> {
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
