//! Statistics of models: those of several backends added up, and as JSON in the form of Triton's statistics extension.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::proto::{InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration};

/// Sums by model and version.
#[derive(Debug, Default)]
pub struct Sum {
    /// By name and number: texts would put version 10 before 9.
    models: BTreeMap<(String, u64, String), ModelStatistics>,
}

impl Sum {
    /// Adds what one backend has counted.
    pub fn add(&mut self, statistics: ModelStatisticsResponse) {
        for more in statistics.model_stats {
            let key = (more.name.clone(), more.version.parse().unwrap_or(u64::MAX), more.version.clone());
            match self.models.get_mut(&key) {
                Some(sum) => add(sum, more),
                None => drop(self.models.insert(key, more)),
            }
        }
    }

    /// What was added up, by model and version.
    pub fn total(self) -> ModelStatisticsResponse {
        ModelStatisticsResponse { model_stats: self.models.into_values().collect() }
    }
}

/// Counts and times add up, memory too; the last call is the latest of all.
fn add(sum: &mut ModelStatistics, more: ModelStatistics) {
    sum.last_inference = sum.last_inference.max(more.last_inference);
    sum.inference_count = sum.inference_count.saturating_add(more.inference_count);
    sum.execution_count = sum.execution_count.saturating_add(more.execution_count);
    let parts = more.inference_stats.unwrap_or_default();
    let sums = sum.inference_stats.get_or_insert_default();
    let pairs = [
        (&mut sums.success, parts.success),
        (&mut sums.fail, parts.fail),
        (&mut sums.queue, parts.queue),
        (&mut sums.compute_input, parts.compute_input),
        (&mut sums.compute_infer, parts.compute_infer),
        (&mut sums.compute_output, parts.compute_output),
        (&mut sums.cache_hit, parts.cache_hit),
        (&mut sums.cache_miss, parts.cache_miss),
    ];
    for (sum, part) in pairs {
        let (sum, part) = (sum.get_or_insert_default(), part.unwrap_or_default());
        sum.count = sum.count.saturating_add(part.count);
        sum.ns = sum.ns.saturating_add(part.ns);
    }
    for part in more.memory_usage {
        match sum.memory_usage.iter_mut().find(|held| held.r#type == part.r#type && held.id == part.id) {
            Some(held) => held.byte_size = held.byte_size.saturating_add(part.byte_size),
            None => sum.memory_usage.push(part),
        }
    }
}

/// Statistics as JSON.
pub fn document(statistics: &ModelStatisticsResponse) -> Value {
    json!({ "model_stats": statistics.model_stats.iter().map(of_version).collect::<Vec<_>>() })
}

fn of_version(of: &ModelStatistics) -> Value {
    let memory = of.memory_usage.iter().map(|m| json!({"type": m.r#type, "id": m.id, "byte_size": m.byte_size}));
    json!({
        "name": of.name, "version": of.version, "last_inference": of.last_inference,
        "inference_count": of.inference_count, "execution_count": of.execution_count,
        "inference_stats": calls(&of.inference_stats.unwrap_or_default()),
        "batch_stats": [],
        "memory_usage": memory.collect::<Vec<_>>(),
    })
}

fn calls(parts: &InferStatistics) -> Value {
    let took = |part: &Option<StatisticDuration>| {
        let part = part.unwrap_or_default();
        json!({"count": part.count, "ns": part.ns})
    };
    json!({
        "success": took(&parts.success), "fail": took(&parts.fail), "queue": took(&parts.queue),
        "compute_input": took(&parts.compute_input), "compute_infer": took(&parts.compute_infer),
        "compute_output": took(&parts.compute_output),
        "cache_hit": took(&parts.cache_hit), "cache_miss": took(&parts.cache_miss),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::MemoryUsage;

    fn one(name: &str, version: &str, count: u64) -> ModelStatistics {
        let success = Some(StatisticDuration { count, ns: count * 1_000 });
        ModelStatistics {
            name: name.into(),
            version: version.into(),
            last_inference: count,
            inference_count: 10 * count,
            execution_count: count,
            inference_stats: Some(InferStatistics { success, ..InferStatistics::default() }),
            memory_usage: vec![MemoryUsage { r#type: "CPU".into(), id: 0, byte_size: 5 }],
        }
    }

    #[test]
    fn versions_add_up_over_backends() {
        let mut sum = Sum::default();
        sum.add(ModelStatisticsResponse { model_stats: vec![one("m", "10", 1), one("m", "9", 2)] });
        sum.add(ModelStatisticsResponse { model_stats: vec![one("a", "1", u64::MAX / 10_000), one("m", "9", 3)] });
        let total = document(&sum.total());
        let of = |at: usize| &total["model_stats"][at];
        assert_eq!((&of(0)["name"], &of(1)["version"], &of(2)["version"]), (&"a".into(), &"9".into(), &"10".into()));
        assert_eq!((&of(1)["inference_count"], &of(1)["last_inference"]), (&50.into(), &3.into()));
        assert_eq!(of(1)["inference_stats"]["success"], json!({"count": 5, "ns": 5_000}));
        assert_eq!(of(1)["inference_stats"]["queue"], json!({"count": 0, "ns": 0}));
        assert_eq!(of(1)["memory_usage"], json!([{"type": "CPU", "id": 0, "byte_size": 10}]));
    }
}
