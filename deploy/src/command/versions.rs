//! `versions`: what is in the store.

use std::collections::BTreeMap;

use headgate_contract::{ModelName, Release};
use headgate_registry::Store;
use headgate_registry::versions::{VersionInfo, VersionState, models, versions};
use headgate_registry::watch::{WatchError, Watcher};
use serde_json::{Value, json};

use super::release::describe;
use super::{CommandError, open_store};
use crate::cli::{Global, Versions};
use crate::output;

/// `headgate versions [MODEL]`.
pub(crate) async fn run(global: &Global, args: Versions) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    match args.model {
        Some(model) => one(global, &store, &model).await,
        None => all(global, &store).await,
    }
}

async fn all(global: &Global, store: &Store) -> Result<(), CommandError> {
    let models = models(store).await?;
    let releases = releases(store).await?;
    let document: Vec<Value> =
        models.iter().map(|m| json!({"model": m, "serve": releases.get(m).map(|r| &r.serve)})).collect();
    output::print(global.style(), &document, || {
        if models.is_empty() {
            return format!("{} holds no model yet; `headgate train` and `headgate publish` make one\n", store.url());
        }
        let serves = |m| releases.get(m).map_or_else(|| "nothing".to_owned(), |r| describe(&r.serve));
        let rows: Vec<_> = models.iter().map(|m| vec![m.to_string(), serves(m)]).collect();
        output::table(&["MODEL", "SERVES"], &rows)
    });
    Ok(())
}

async fn one(global: &Global, store: &Store, model: &ModelName) -> Result<(), CommandError> {
    let versions = versions(store, model).await?;
    let release = releases(store).await?.remove(model);
    let document: Vec<Value> = versions.iter().map(|v| as_json(v, release.as_ref())).collect();
    output::print(global.style(), &document, || {
        if versions.is_empty() {
            return format!("model {model} has no version in {}\n", store.url());
        }
        let rows: Vec<_> = versions.iter().map(|v| row(v, release.as_ref())).collect();
        output::table(&["VERSION", "STATE", "CREATED (UTC)", "ENGINE", "SIZE", "RELEASED AS", "METRICS"], &rows)
    });
    Ok(())
}

/// The releases of the store; none where nothing was promoted yet.
async fn releases(store: &Store) -> Result<BTreeMap<ModelName, Release>, CommandError> {
    let mut watcher = Watcher::new(store.clone());
    match watcher.poll().await {
        Ok(Some(catalog)) => Ok(catalog.releases().map(|(m, r)| (m.clone(), r.clone())).collect()),
        Ok(None) | Err(WatchError::NoCatalog { .. }) => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

/// What a release says of a version: its share, its labels, or that it is dead.
fn roles(info: &VersionInfo, release: Option<&Release>) -> Vec<String> {
    let Some(release) = release else { return Vec::new() };
    let total: u64 = release.serve.iter().map(|s| u64::from(s.weight)).sum();
    let served = release.serve.iter().filter(|s| s.version == info.version);
    let mut roles: Vec<String> =
        served.map(|s| format!("{:.0} %", 100.0 * f64::from(s.weight) / total.max(1) as f64)).collect();
    roles.extend(release.labels.iter().filter(|(_, l)| l.version == info.version).map(|(name, _)| name.clone()));
    if release.dead.contains(&info.version) {
        roles.push("dead".to_owned());
    }
    roles
}

fn row(info: &VersionInfo, release: Option<&Release>) -> Vec<String> {
    let number = info.version.to_string();
    let roles = roles(info, release).join(", ");
    let plain = |state: String| vec![number.clone(), state, String::new(), String::new(), String::new(), roles.clone()];
    match &info.state {
        VersionState::Complete { created, engine, metrics, bytes, .. } => {
            let engine = format!("{} {}", engine.name, engine.version.as_deref().unwrap_or(""));
            let created = created.strftime("%Y-%m-%d %H:%M:%S").to_string();
            vec![number, "whole".into(), created, engine.trim().into(), size(*bytes), roles, output::metrics(metrics)]
        }
        VersionState::Unfinished { who, since } => {
            let who = who.as_deref().unwrap_or("somebody");
            let since = since.map_or_else(String::new, |at| format!(" since {}", at.strftime("%Y-%m-%d %H:%M:%S")));
            plain(format!("unfinished, claimed by {who}{since}"))
        }
        VersionState::Abandoned { why } => plain(format!("abandoned: {why}")),
        VersionState::Broken { why } => plain(format!("broken: {why}")),
    }
}

fn as_json(info: &VersionInfo, release: Option<&Release>) -> Value {
    let mut document = match &info.state {
        VersionState::Complete { digest, created, build_key, engine, metrics, bytes } => json!({
            "state": "complete", "digest": digest, "created": created, "build_key": build_key,
            "engine": engine, "metrics": metrics, "bytes": bytes,
        }),
        VersionState::Unfinished { who, since } => json!({"state": "unfinished", "who": who, "since": since}),
        VersionState::Abandoned { why } => json!({"state": "abandoned", "why": why}),
        VersionState::Broken { why } => json!({"state": "broken", "why": why}),
    };
    document["version"] = json!(info.version);
    document["released_as"] = json!(roles(info, release));
    document
}

/// Bytes in words, as in `1.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_400_000), "1.4 MB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}
