//! A loaded version: everything that a prediction needs of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use headgate_contract::Manifest;
use headgate_contract::manifest::signature::Role;
use headgate_engine::{Categorical, Engine};
use http::HeaderValue;

use crate::metrics::Series;
use crate::runtime::{Predictor, Runtime};
use crate::schema::Schema;

/// What writing a contribution costs, about.
const NS_PER_CONTRIBUTION: f64 = 60.0;

/// A loaded version. Its engine is freed on a thread of its own, wherever the last hold on it goes.
#[derive(Debug)]
pub struct Servable {
    /// What it takes and gives.
    pub schema: Schema,
    /// The manifest; without its evidence once proven.
    pub manifest: Manifest,
    /// Where its calls are counted.
    pub series: Arc<Series>,
    /// The version, as a reply's header.
    pub version_header: HeaderValue,
    /// The digest, as a reply's header.
    pub digest_header: HeaderValue,
    /// When it was called last, by [`crate::life::demand::Demand::clock`].
    used: AtomicU64,
    runtime: Option<Runtime>,
    /// What is held as long as the runtime is: memory of the budget, files of the cache.
    holds: Box<dyn std::any::Any + Send + Sync>,
}

impl Servable {
    /// Puts a version together. `holds` is dropped with it.
    pub fn new(
        schema: Schema,
        manifest: Manifest,
        series: Arc<Series>,
        runtime: impl Into<Runtime>,
        holds: impl std::any::Any + Send + Sync,
    ) -> Self {
        let version_header = HeaderValue::from(schema.version.get());
        // Hex digits are always a header's value.
        let digest_header =
            HeaderValue::from_str(&schema.digest.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            version_header,
            digest_header,
            schema,
            manifest,
            series,
            used: AtomicU64::new(0),
            runtime: Some(runtime.into()),
            holds: Box::new(holds),
        }
    }

    /// It is called at a time.
    pub fn touch(&self, at: u64) {
        // Most calls of a busy one come in the same millisecond: they leave its cache line alone.
        if self.used.load(Relaxed) != at {
            self.used.store(at, Relaxed);
        }
    }

    /// When it was called last.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Drops what was only needed to prove the version: a manifest's golden rows and statistics are often larger than
    /// the model itself.
    pub fn forget_evidence(&mut self) {
        self.manifest.golden = None;
        self.manifest.statistics = Vec::new();
        self.manifest.metrics.clear();
        self.manifest.extra.clear();
    }

    /// What scores in the calling thread; none where that is done elsewhere, or while it is being dropped.
    pub fn engine(&self) -> Option<&dyn Engine> {
        match &self.runtime {
            Some(Runtime::Engine(engine)) => Some(engine.as_ref()),
            _ => None,
        }
    }

    /// What scores elsewhere.
    pub fn predictor(&self) -> Option<&Arc<dyn Predictor>> {
        match &self.runtime {
            Some(Runtime::Predictor(predictor)) => Some(predictor),
            _ => None,
        }
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.runtime.as_ref().map_or(0, |r| r.memory_bytes() as u64)
    }

    /// An estimate of what rows of one call cost to score, in nanoseconds; with their contributions to compute and
    /// write, where they are asked for.
    pub fn cost_ns(&self, rows: usize, contributions: bool) -> f64 {
        let Some(runtime) = &self.runtime else { return 0.0 };
        let scoring = runtime.cost_ns(rows);
        if !contributions {
            return scoring;
        }
        let written = NS_PER_CONTRIBUTION * self.contributions_per_row() as f64;
        scoring + (runtime.contributions_cost_ns_per_row() + written) * rows as f64
    }

    /// Why contributions can't be had; none where they can.
    pub fn no_contributions(&self) -> Option<&'static str> {
        self.runtime.as_ref().and_then(Runtime::no_contributions)
    }

    /// How many a row has: one for each feature and the bias, for each margin.
    pub fn contributions_per_row(&self) -> usize {
        let margins = self.engine().map_or_else(|| self.schema.width(Role::Margin), Engine::margin_width);
        margins.max(1) * (self.schema.features.len() + 1)
    }
}

impl Drop for Servable {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Memory is given back to the budget, and files to the cache, when they are used no more.
        let held = (runtime, std::mem::replace(&mut self.holds, Box::new(())));
        // Freeing a large model takes milliseconds, which no request's thread has. Where no thread can be started it is
        // freed here, as the closure is dropped.
        let _ = std::thread::Builder::new().name("headgate-free".to_owned()).spawn(move || drop(held));
    }
}

/// Why a model does not fit the signature that it came with, in words; none where it does.
pub fn misfit(runtime: &Runtime, schema: &Schema) -> Option<String> {
    match runtime {
        Runtime::Engine(engine) => engine_misfit(engine.as_ref(), schema),
        Runtime::Predictor(predictor) => predictor.misfit(schema),
    }
}

fn engine_misfit(engine: &dyn Engine, schema: &Schema) -> Option<String> {
    let features = &schema.features;
    let names = engine.input_names();
    if engine.inputs() != features.len() {
        let surplus = names.get(features.len()).map_or_else(String::new, |n| format!(", the first beyond is '{n}'"));
        return Some(format!("the model has {} features, the signature {}{surplus}", engine.inputs(), features.len()));
    }
    for (at, (name, feature)) in names.iter().zip(features).enumerate() {
        if !same_name(name, &feature.name, at) {
            return Some(format!("feature {at} is '{name}' in the model and '{}' in the signature", feature.name));
        }
    }
    for (at, feature) in features.iter().enumerate() {
        let expected = if engine.takes_text(at) { "texts" } else { "numbers" };
        if feature.is_text() != engine.takes_text(at) {
            return Some(format!("feature '{}' is to be {expected}, the signature says otherwise", feature.name));
        }
    }
    for (known, feature) in engine.categorical().iter().zip(features) {
        if let (Some(Categorical { max_code: Some(code) }), Some(count)) = (known, feature.category_count())
            && *code as usize >= count
        {
            return Some(format!(
                "the model knows category {code} of feature '{}', the signature lists {count}",
                feature.name
            ));
        }
    }
    for (role, what, width) in
        [(Role::Value, "outputs", engine.output_width()), (Role::Margin, "margins", engine.margin_width())]
    {
        let signed = schema.width(role);
        if signed != width && !(role == Role::Margin && signed == 0) {
            return Some(format!("the model gives {width} {what} a row, the signature {signed}"));
        }
    }
    None
}

/// Libraries rename what their formats can't hold, and number features that have no name.
pub(crate) fn same_name(model: &str, signature: &str, at: usize) -> bool {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    model == signature
        || model.chars().map(plain).eq(signature.chars().map(plain))
        || model == format!("Column_{at}")
        || model == format!("f{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_libraries_change_are_the_same() {
        assert!(same_name("age", "age", 0));
        assert!(same_name("marital_status", "marital status", 3));
        assert!(same_name("Column_3", "age", 3));
        assert!(same_name("f3", "age", 3));
        assert!(!same_name("Column_2", "age", 3));
        assert!(!same_name("balance", "age", 0));
    }
}
