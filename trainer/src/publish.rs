//! `headgate publish`: a model file that was made elsewhere becomes a version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headgate_contract::manifest::{EngineSpec, Golden, Lineage, Signature, golden};
use headgate_contract::real::Real;
use headgate_contract::{Digest, ModelName};
use headgate_engine::{Batch, Engine, Limits, Outputs, Scratch, Want};
use headgate_registry::store::Intent;
use headgate_registry::{NewVersion, Progress};
use tempfile::TempDir;

use crate::args::PublishArgs;
use crate::error::PublishError;
use crate::key;
use crate::proof;
use crate::release;
use crate::report::{Event, ModelReport, ModelResult, OnEvent, PublishReport, PublishedModel};
use crate::train::{Context, plain};

mod derive;
mod onnx;
mod process;
mod rows;

pub use derive::Derived;

/// Changed when the same file would make another version.
const FORMAT: &str = "headgate.publish/1";

/// What a version is made of.
struct Parts {
    engine: EngineSpec,
    signature: Signature,
    golden: Option<Golden>,
    /// Of everything that was read.
    digests: Vec<Digest>,
    /// Names in the version, and copies of the files.
    files: Vec<(String, PathBuf)>,
}

/// Publishes `args.file`.
pub async fn publish(args: PublishArgs, context: Context) -> Result<PublishReport, PublishError> {
    if let Some(condition) = &args.condition {
        release::check_condition(condition)?;
    }
    context.store.probe(Intent::Publish(&args.model)).await?;
    let for_reading = args.clone();
    let (mut new, copy, notes) = tokio::task::spawn_blocking(move || match &for_reading.process {
        Some(command) => process::read(&for_reading, command),
        None => read(&for_reading),
    })
    .await
    .map_err(|error| PublishError::Internal(error.to_string()))??;
    new.who = headgate_registry::whoami();
    for text in &notes {
        (context.on_event)(Event::Note { model: Some(args.model.clone()), text: text.clone() });
    }
    let (metrics, who) = (new.metrics.clone(), new.who.clone());
    let mut progress = tell(args.model.clone(), context.on_event.clone());
    let published = headgate_registry::publish(&context.store, new, &mut progress).await?;
    drop(copy);
    let (model, version) = (args.model.clone(), published.version);
    let published = PublishedModel { metrics, notes, ..published.into() };
    let model = ModelReport { scope: model.scope_text(), model, result: ModelResult::Published(published) };
    (context.on_event)(Event::Finished(Box::new(model.clone())));
    let mut report = PublishReport { model, release: None, not_released: None };
    if args.promote {
        let new = vec![(args.model, version)];
        match release::release(&context.store, new, args.condition.as_deref(), "headgate publish", &who).await {
            Ok(release) => {
                let (models, generation) = (release.models, release.generation);
                (context.on_event)(Event::Promoted { models, generation });
                report.release = Some(release);
            }
            Err(why) => report.not_released = Some(why),
        }
    }
    Ok(report)
}

fn tell(model: ModelName, on_event: OnEvent) -> impl FnMut(Progress) + Send {
    move |progress| {
        if let Progress::Uploading { name, done, bytes } = progress {
            on_event(Event::Uploading { model: model.clone(), file: name, done, bytes });
        }
    }
}

/// The version to be, a copy of the file that it was read from, and what the user should know. Blocks.
fn read(args: &PublishArgs) -> Result<(NewVersion, TempDir, Vec<String>), PublishError> {
    let load = |path: &Path| {
        std::fs::read(path).map_err(|source| PublishError::Read { path: path.display().to_string(), source })
    };
    let path = args.file.display().to_string();
    let bytes = load(&args.file)?;
    if headgate_engine::onnx::sniff(&bytes) {
        return onnx::read(args, &bytes);
    }
    let no_model = |why: String| PublishError::Model { path: path.clone(), why };
    let format = headgate_engine::sniff(&bytes).ok_or_else(|| {
        let known = "it is neither LightGBM's text nor XGBoost's JSON or UBJSON nor CatBoost's JSON nor ONNX nor a forest \
                     or linear model of Headgate's own";
        no_model(known.to_owned())
    })?;
    let engine = headgate_engine::load(format, &bytes, &Limits::default()).map_err(|e| no_model(e.to_string()))?;
    let mut notes = Vec::new();
    let derived = derive::derive(args, format, &bytes, engine.as_ref(), &mut notes)?;
    let mut digests = vec![Digest::of(&bytes)];
    let golden = match &args.golden {
        None => {
            notes.push("no golden rows: nothing proves that backends score as the training library does".to_owned());
            None
        }
        Some(file) => {
            let rows = load(file)?;
            digests.push(Digest::of(&rows));
            let broken = |why: String| PublishError::Golden { path: file.display().to_string(), why };
            let mut golden = rows::read(&rows, &derived.signature, &mut notes).map_err(broken)?;
            golden.tolerance = tolerance(args, derived.engine)?;
            if golden.outputs.is_empty() {
                notes.push("golden rows without outputs: the margins are proven, outputs follow from them".to_owned());
                fill_outputs(engine.as_ref(), &derived, &mut golden)?;
            } else if golden.margins.is_empty() {
                let within = match golden.tolerance {
                    0.0 => "2 units in the last place".to_owned(),
                    stated => stated.to_string(),
                };
                notes.push(format!("golden rows without margins: the outputs are proven, within {within}"));
            }
            golden.check(&derived.signature).map_err(broken)?;
            proof::prove(derived.engine, engine.as_ref(), &derived.signature, &golden)?;
            Some(golden)
        }
    };
    let (copies, file) = copy(&bytes, derived.file)?;
    let engine = EngineSpec { name: derived.engine.to_owned(), version: derived.version, requires: Vec::new() };
    let files = vec![(derived.file.to_owned(), file)];
    let new = new_version(args, Parts { engine, signature: derived.signature, golden, digests, files })?;
    Ok((new, copies, notes))
}

/// Golden rows of an engine that is not here: their outputs are compared within a tolerance, by backends.
fn golden_outputs(
    path: &Path,
    stated: Option<f64>,
    otherwise: f64,
    signature: &Signature,
    notes: &mut Vec<String>,
) -> Result<(Golden, Digest), PublishError> {
    let read_failed = |source| PublishError::Read { path: path.display().to_string(), source };
    let bytes = std::fs::read(path).map_err(read_failed)?;
    let broken = |why: String| PublishError::Golden { path: path.display().to_string(), why };
    let mut golden = rows::read(&bytes, signature, notes).map_err(broken)?;
    if golden.outputs.is_empty() {
        return Err(broken("its rows have no 'output'".to_owned()));
    }
    golden.tolerance = stated.unwrap_or(otherwise);
    golden.check(signature).map_err(broken)?;
    if stated.is_none() {
        notes.push(format!("results may be {otherwise} from the golden ones (--tolerance)"));
    }
    Ok((golden, Digest::of(&bytes)))
}

/// What golden rows may be apart by.
fn tolerance(args: &PublishArgs, engine: &str) -> Result<f64, PublishError> {
    match args.tolerance {
        Some(_) if !golden::is_tolerant(engine) => {
            let words = format!("--tolerance: a model of engine '{engine}' is held to the training library's own bits");
            Err(PublishError::Option(words))
        }
        stated => Ok(stated.unwrap_or_default()),
    }
}

/// The bytes that were looked at, in a file of our own: the user's may be another before it has gone up.
fn copy(bytes: &[u8], name: &str) -> Result<(TempDir, PathBuf), PublishError> {
    let failed = |source| PublishError::Write { path: std::env::temp_dir().display().to_string(), source };
    let folder = tempfile::tempdir().map_err(failed)?;
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).map_err(failed)?;
    Ok((folder, file))
}

/// Outputs of rows whose margins are known, by the engine that the margins then prove.
fn fill_outputs(engine: &dyn Engine, derived: &Derived, golden: &mut Golden) -> Result<(), PublishError> {
    let batch: Batch = proof::batch(&derived.signature, golden)?;
    let mut out = Outputs::default();
    let want = Want { margins: false, outputs: true, contributions: false };
    let scored = engine.score(&batch, &mut Scratch::default(), &mut out, want);
    scored.map_err(|error| PublishError::Internal(error.to_string()))?;
    golden.outputs = out.values.into_iter().map(Real).collect();
    Ok(())
}

fn new_version(args: &PublishArgs, parts: Parts) -> Result<NewVersion, PublishError> {
    let mut metrics = BTreeMap::new();
    for (name, value) in pairs("metric", &args.metrics)? {
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        let number =
            number.ok_or_else(|| PublishError::Option(format!("--metric '{name}={value}': a number expected")))?;
        metrics.insert(name.to_owned(), number);
    }
    let parameters = pairs("param", &args.params)?.into_iter().map(|(name, value)| (name.to_owned(), plain(value)));
    let lineage = Lineage {
        inputs: args.data.clone(),
        code: args.code.clone(),
        image: None,
        parameters: parameters.collect(),
        scope: args.model.scope_text(),
    };
    Ok(NewVersion {
        model: args.model.clone(),
        build_key: build_key(args, &parts.digests),
        engine: parts.engine,
        signature: parts.signature,
        golden: parts.golden,
        metrics,
        lineage,
        statistics: Vec::new(),
        files: parts.files,
        who: String::new(),
    })
}

fn pairs<'a>(option: &str, pairs: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, PublishError> {
    let split = |pair: &'a String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(PublishError::Option(format!("--{option} '{pair}': K=V expected"))),
    };
    pairs.iter().map(split).collect()
}

fn build_key(args: &PublishArgs, digests: &[Digest]) -> Digest {
    let mut parts = vec![FORMAT.to_owned()];
    let mut named = |name: &str, values: &[String]| {
        parts.push(format!("{name} {}", values.len()));
        parts.extend_from_slice(values);
    };
    named("files", &digests.iter().map(Digest::to_string).collect::<Vec<_>>());
    named("features", &args.name_features);
    named("classes", &args.classes);
    named("metrics", &args.metrics);
    named("params", &args.params);
    named("data", &args.data);
    named("code", args.code.as_slice());
    if let Some(tolerance) = args.tolerance {
        named("tolerance", &[tolerance.to_string()]);
    }
    named("salt", args.force.then(key::salt).as_slice());
    Digest::of_parts(parts.iter().map(String::as_bytes))
}
