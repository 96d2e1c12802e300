//! The engines of `headgate-engine`: forests and linear models, scored in the thread that asks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use headgate_engine::{Engine, Format, Limits, LoadError, linear};

use super::{Content, Files, mapped};
use crate::life::stage::Failure;

/// The names that manifests have for one or several formats, and these.
const FAMILIES: [(&str, &[Format]); 5] = [
    ("lightgbm", &[Format::LightgbmText]),
    ("xgboost", &[Format::XgboostJson, Format::XgboostUbj]),
    ("catboost", &[Format::CatboostJson]),
    ("forest", &[Format::ForestJson]),
    ("linear", &[Format::LinearJson, Format::LinearHashed]),
];

/// Whether a manifest may require it.
pub(super) fn known(required: &str) -> bool {
    required.parse::<Format>().is_ok() || FAMILIES.iter().any(|(name, _)| *name == required)
}

/// Whether an engine may map its file.
pub(super) fn maps(engine: &str) -> bool {
    matches!(engine, "linear" | "linear-hashed")
}

/// Builds an engine from its one model file.
pub(super) fn load(name: &str, files: Files, memory_left: u64) -> Result<Box<dyn Engine>, Failure> {
    let content = files.single(name)?;
    let budget = usize::try_from(memory_left).unwrap_or(usize::MAX);
    let limits = Limits { max_memory_bytes: budget, ..Limits::default() };
    let loaded = match &content {
        Content::Path(path) if maps(name) && begins_hashed(path).map_err(|e| unread(path, &e))? => {
            let file = mapped::map(path).map_err(|e| unread(path, &e))?;
            linear::open(Box::new(file), &limits)
        }
        _ => {
            let bytes = content.bytes()?;
            headgate_engine::load(format(name, &bytes)?, &bytes, &limits)
        }
    };
    loaded.map_err(|e| match e {
        // Too large for what is free now; when something else has left it may fit.
        LoadError::TooLarge { limit, .. } if limit == budget => {
            Failure::passing(format!("model file: {e}, the memory left"))
        }
        e => Failure::own(format!("model file: {e}")),
    })
}

fn begins_hashed(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut start)?;
    Ok(linear::is_hashed(&start))
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::passing(format!("reading {}: {error}", path.display()))
}

fn format(name: &str, bytes: &[u8]) -> Result<Format, Failure> {
    if let Ok(format) = name.parse() {
        return Ok(format);
    }
    let Some((_, family)) = FAMILIES.iter().find(|(family, _)| *family == name) else {
        let elsewhere = [super::onnx::NAME, super::process::NAME];
        let known: Vec<_> = FAMILIES.iter().map(|(name, _)| *name).chain(elsewhere).collect();
        return Err(Failure::own(format!("engine '{name}' is not in this build: {} expected", known.join(", "))));
    };
    match headgate_engine::sniff(bytes) {
        Some(format) if family.contains(&format) => Ok(format),
        Some(format) => Err(Failure::own(format!("the model file is {format}, its manifest says '{name}'"))),
        // Its loader says best what is wrong with it.
        None => Ok(family[0]),
    }
}
