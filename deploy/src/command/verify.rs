//! `verify`: what a backend would do with a version, here and now.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use headgate_backend::Config;
use headgate_backend::cache::Cache;
use headgate_backend::engines::Context;
use headgate_backend::life::Stage;
use headgate_backend::life::job::{Tells, Workshop};
use headgate_backend::life::plan::Wanted;
use headgate_backend::metrics::Metrics;
use headgate_contract::config::Sources;
use headgate_registry::versions;
use serde_json::json;

use super::{CommandError, open_store};
use crate::cli::{Global, Verify};
use crate::output;

/// A version is read into a cache of its own, that goes again.
const CACHE_BYTES_MAX: u64 = 1 << 40;

/// Says on standard error how far a version is.
struct Stages {
    text: bool,
}

impl Tells for Stages {
    fn reached(&self, stage: Stage) {
        if self.text {
            eprintln!("{stage:?}");
        }
    }

    fn aside(&self) {}

    // There is room for all.
    fn needs(&self, _: u64) {}
}

/// `headgate verify MODEL VERSION`.
pub(crate) async fn run(global: &Global, args: Verify) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    let Verify { model, version } = args;
    let (manifest, digest) = versions::manifest(&store, &model, version).await?;
    let folder = tempfile::tempdir()?;
    // Engines as a backend here would have them, from its variables.
    let flags = vec![("store".to_owned(), store.url().to_string())];
    let sources = Sources { environment: std::env::vars().collect(), flags, ..Sources::default() };
    let engines = Context::new(&Config::read(&sources)?);
    let workshop = Workshop {
        store,
        cache: Cache::new(folder.path().to_owned(), CACHE_BYTES_MAX),
        metrics: Arc::new(Metrics::new()),
        engines,
        memory_used: Arc::new(AtomicU64::new(0)),
        memory_bytes_max: u64::MAX,
        makes_room: false,
    };
    let stages = Stages { text: !global.json };
    let wanted = Wanted { version, digest, rank: 0 };
    let servable = workshop.prepare(&model, wanted, &stages).await.map_err(|failure| {
        CommandError::Unproven(format!("version {version} of model {model} would be refused: {}", failure.reason))
    })?;
    let (rows, tolerance) = manifest.golden.as_ref().map_or((0, 0.0), |golden| (golden.rows, golden.tolerance));
    let document = json!({
        "model": model, "version": version, "digest": digest, "golden_rows": rows,
        "memory_bytes": servable.memory_bytes(), "cost_ns_per_row": servable.cost_ns(1, false),
    });
    output::print(global.style(), &document, || {
        let proof = match rows {
            0 => "it has no golden rows, so nothing proves its scores".to_owned(),
            rows if tolerance > 0.0 => format!("{rows} golden rows reproduce, within {tolerance}"),
            rows => format!("{rows} golden rows reproduce, margins to the bit"),
        };
        format!(
            "version {version} of model {model} is good: digests agree, {proof}; {} in memory, about {:.1} us a row",
            super::versions::size(servable.memory_bytes()),
            servable.cost_ns(1, false) / 1000.0
        )
    });
    Ok(())
}
