//! Calls by version, in the form of Triton's statistics extension.
//!
//! What is counted is counted since the version was loaded here. A call is timed as a whole; what would have to be timed
//! by itself (waiting, the parts of computing, a cache that is not there) is 0.

use std::sync::Arc;

use headgate_contract::proto::{
    InferStatistics, MemoryUsage, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};
use headgate_contract::route::{Choice, Target};

use crate::dispatch::{Chosen, resolve};
use crate::refusal::Refusal;
use crate::servable::Servable;
use crate::snapshot::{Model, Snapshot};

/// The statistics of all versions that are held: of all models, of one, or of the one version that is asked for or that a
/// gateway chose. By model and version.
pub(in crate::doors) fn statistics(
    snapshot: &Snapshot,
    target: Option<&Target>,
    chosen: Option<Chosen>,
) -> Result<ModelStatisticsResponse, Refusal> {
    let model_stats: Vec<ModelStatistics> = match target {
        None => {
            let mut models: Vec<&Arc<Model>> = snapshot.models().collect();
            models.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            models.into_iter().flat_map(|model| of_model(model)).collect()
        }
        Some(target) if target.choice == Choice::Any && chosen.is_none() => {
            of_model(resolve::find(snapshot, &target.model)?.0)
        }
        Some(target) => {
            let servable = resolve::resolve(snapshot, target, chosen, &http::HeaderMap::new())?.servable;
            vec![of_version(&servable)]
        }
    };
    Ok(ModelStatisticsResponse { model_stats })
}

fn of_model(model: &Model) -> Vec<ModelStatistics> {
    let mut held: Vec<&Arc<Servable>> = model.held.iter().collect();
    held.sort_unstable_by_key(|servable| servable.schema.version);
    held.into_iter().map(|servable| of_version(servable)).collect()
}

fn of_version(servable: &Servable) -> ModelStatistics {
    let totals = servable.series.totals();
    let took = |count, ns| Some(StatisticDuration { count, ns });
    let unmeasured = || took(0, 0);
    ModelStatistics {
        name: servable.schema.model.to_string(),
        version: servable.schema.version.to_string(),
        last_inference: totals.last_ms,
        inference_count: totals.rows,
        execution_count: totals.answered,
        inference_stats: Some(InferStatistics {
            success: took(totals.answered, totals.answered_ns),
            fail: took(totals.refused, totals.refused_ns),
            queue: unmeasured(),
            compute_input: unmeasured(),
            compute_infer: unmeasured(),
            compute_output: unmeasured(),
            cache_hit: unmeasured(),
            cache_miss: unmeasured(),
        }),
        memory_usage: vec![MemoryUsage { r#type: "CPU".to_owned(), id: 0, byte_size: servable.memory_bytes() }],
    }
}
