//! One model of a training: looked up, else trained and published.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_contract::manifest::{EngineSpec, Lineage};
use headgate_contract::{Digest, ModelName};
use headgate_registry::{NewVersion, Progress, lookup_build, publish};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::{Shared, blocking};
use crate::error::TrainError;
use crate::fit::{Fitted, fit};
use crate::key;
use crate::lightgbm::{self, rounds::Round};
use crate::report::{Event, PublishedModel};
use crate::scope::Scope;

/// The artifact's name in a version.
const FILE: &str = "model.txt";
/// Rounds are told no more often than this.
const ROUND_EVERY: Duration = Duration::from_millis(200);

/// Makes a scope's model a version, unless it is one already.
pub(super) async fn make(shared: &Arc<Shared>, scope: Scope) -> Result<PublishedModel, TrainError> {
    let salt = shared.salt.as_deref();
    let key =
        key::train(&shared.args, &shared.parameters, &shared.digests, &shared.library, scope.value.as_deref(), salt);
    let store = &shared.context.store;
    if let Some(there) = lookup_build(store, &scope.model, &key).await? {
        return Ok(there.into());
    }
    let permit = shared.training.acquire().await.map_err(|error| TrainError::Internal(error.to_string()))?;
    let begun = Instant::now();
    let (model, value) = (scope.model.clone(), scope.value.clone());
    let for_training = shared.clone();
    let (fitted, file) = blocking(move || fit_to_file(&for_training, &scope)).await??;
    drop(permit);
    let seconds = begun.elapsed().as_secs_f64();
    let (new, calibration, notes) = new_version(shared, &model, value, key, fitted, &file);
    for text in &notes {
        (shared.context.on_event)(Event::Note { model: Some(model.clone()), text: text.clone() });
    }
    let metrics = new.metrics.clone();
    let on_event = shared.context.on_event.clone();
    let mut progress = |progress: Progress| {
        if let Progress::Uploading { name, done, bytes } = progress {
            on_event(Event::Uploading { model: model.clone(), file: name, done, bytes });
        }
    };
    let published = publish(store, new, &mut progress).await?;
    Ok(PublishedModel { metrics, calibration, notes, seconds: Some(seconds), ..published.into() })
}

fn fit_to_file(shared: &Shared, scope: &Scope) -> Result<(Fitted, NamedTempFile), TrainError> {
    let mut told: Option<Instant> = None;
    let mut on_round = |Round { round, of, metric }: Round| {
        if told.is_none_or(|told| told.elapsed() >= ROUND_EVERY) {
            told = Some(Instant::now());
            (shared.context.on_event)(Event::Round { model: scope.model.clone(), round, of, metric });
        }
    };
    let fitted = fit(&shared.library, &shared.table, &scope.rows, &shared.fit, &mut on_round)?;
    let failed = |source| TrainError::Write { path: std::env::temp_dir().display().to_string(), source };
    let mut file = NamedTempFile::new().map_err(failed)?;
    file.write_all(fitted.text.as_bytes()).map_err(failed)?;
    Ok((fitted, file))
}

fn new_version(
    shared: &Shared,
    model: &ModelName,
    scope: Option<String>,
    build_key: Digest,
    fitted: Fitted,
    file: &NamedTempFile,
) -> (NewVersion, Vec<crate::evaluate::Bin>, Vec<String>) {
    let engine = EngineSpec {
        name: lightgbm::NAME.to_owned(),
        version: Some(shared.library.version().to_owned()),
        requires: Vec::new(),
    };
    let lineage = Lineage {
        inputs: shared.uris.clone(),
        code: Some(key::code(&shared.library)),
        image: None,
        parameters: parameters(shared, &fitted),
        scope,
    };
    let new = NewVersion {
        model: model.clone(),
        build_key,
        engine,
        signature: fitted.signature,
        golden: Some(fitted.golden),
        metrics: fitted.metrics,
        lineage,
        statistics: fitted.statistics,
        files: vec![(FILE.to_owned(), file.path().to_owned())],
        who: shared.who.clone(),
    };
    (new, fitted.calibration, fitted.notes)
}

/// What the model was trained with, for people.
fn parameters(shared: &Shared, fitted: &Fitted) -> BTreeMap<String, Value> {
    let args = &shared.args;
    let given = shared.parameters.given().iter().map(|(name, value)| (name.clone(), plain(value)));
    let mut all: BTreeMap<String, Value> = given.collect();
    all.insert("target".to_owned(), args.target.clone().into());
    all.insert("objective".to_owned(), fitted.objective.clone().into());
    all.insert("seed".to_owned(), args.seed.into());
    if let Some(filter) = &args.filter {
        all.insert("where".to_owned(), filter.clone().into());
    }
    if let Some(column) = &args.scope_by {
        all.insert("scope_by".to_owned(), column.clone().into());
    }
    all
}

/// A number or boolean where the text is one.
pub(crate) fn plain(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::from(text),
    }
}
