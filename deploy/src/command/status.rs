//! `status`: what the catalog says, what the gateway does, and why where they differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::release::Serve;
use headgate_contract::{ModelName, Version};
use headgate_registry::watch::{Catalog, WatchError, Watcher};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::release::describe;
use super::{CommandError, open_store};
use crate::cli::{Global, Status};
use crate::{client, output, place};

/// How long the store is waited for: what the gateway says matters most while the store hangs.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's `/state`, as far as it is shown.
#[derive(Debug, Serialize, Deserialize)]
struct Edge {
    lame_duck: bool,
    in_flight: u64,
    requests: u64,
    backends: Vec<Backend>,
    models_total: usize,
    models: Vec<Model>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Backend {
    name: String,
    address: String,
    state: String,
    in_flight: u64,
    generation: Option<u64>,
    error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Model {
    model: ModelName,
    serves: Vec<Served>,
    current: bool,
    why: String,
    versions: Vec<VersionStates>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Served {
    #[serde(flatten)]
    serve: Serve,
    backends: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct VersionStates {
    version: Version,
    states: BTreeMap<String, usize>,
    reason: String,
}

/// What could be learned.
struct Seen {
    store: Result<(String, Option<Arc<Catalog>>), String>,
    admin: String,
    edge: Result<Edge, String>,
}

/// `headgate status [MODEL] [--watch]`.
pub(crate) async fn run(global: &Global, args: Status) -> Result<(), CommandError> {
    loop {
        let seen = look(global, &args).await?;
        if args.watch && !global.json {
            // Clear the screen and go to its corner, as `watch` does.
            print!("\x1b[2J\x1b[H");
        }
        output::print(global.style(), &document(&seen), || text(&seen, args.model.as_ref()));
        if !args.watch {
            return match seen.edge {
                Ok(_) => Ok(()),
                Err(why) => Err(CommandError::Unproven(format!("the gateway can't be asked: {why}"))),
            };
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn look(global: &Global, args: &Status) -> Result<Seen, CommandError> {
    let admin = place::admin(args.admin.admin.as_deref())?;
    let wanted = args.model.as_ref().map_or_else(String::new, |model| format!("?model={model}"));
    let path = format!("/state{wanted}");
    let store = tokio::time::timeout(STORE_TIMEOUT, read_store(global)).await;
    let store = store.unwrap_or_else(|_| Err(format!("no reply within {} ms", STORE_TIMEOUT.as_millis())));
    let edge = client::get(&admin, &path, args.admin.admin_token.as_deref()).await.map_err(|e| e.to_string());
    Ok(Seen { store, admin, edge })
}

async fn read_store(global: &Global) -> Result<(String, Option<Arc<Catalog>>), String> {
    let store = open_store(global).await.map_err(|e| e.to_string())?;
    let url = store.url().to_string();
    match Watcher::new(store).poll().await {
        Ok(catalog) => Ok((url, catalog)),
        Err(WatchError::NoCatalog { .. }) => Ok((url, None)),
        Err(error) => Err(error.to_string()),
    }
}

fn document(seen: &Seen) -> serde_json::Value {
    let catalog = seen.store.as_ref().ok().and_then(|(_, catalog)| catalog.as_deref());
    let releases: BTreeMap<_, _> = catalog.map(|c| c.releases().collect()).unwrap_or_default();
    json!({
        "store": seen.store.as_ref().map(|(url, _)| url).ok(),
        "store_error": seen.store.as_ref().err(),
        "catalog": catalog.map(Catalog::head),
        "releases": releases,
        "admin": seen.admin,
        "gateway": seen.edge.as_ref().ok(),
        "gateway_error": seen.edge.as_ref().err(),
    })
}

fn text(seen: &Seen, only: Option<&ModelName>) -> String {
    let mut out = String::new();
    let catalog = match &seen.store {
        Err(why) => {
            out.push_str(&format!("store     can't be read: {why}\n"));
            None
        }
        Ok((url, None)) => {
            out.push_str(&format!("store     {url}, nothing was promoted yet\n"));
            None
        }
        Ok((url, Some(catalog))) => {
            let head = catalog.head();
            out.push_str(&format!("store     {url}, generation {}: {}\n", head.generation, head.what));
            if let Some(frozen) = &head.frozen {
                out.push_str(&format!("frozen    by {} since {}: {}\n", frozen.who, frozen.since, frozen.why));
            }
            Some(catalog.as_ref())
        }
    };
    match &seen.edge {
        Err(why) => out.push_str(&format!("gateway   {why}\n")),
        Ok(edge) => {
            let duck = if edge.lame_duck { ", about to stop" } else { "" };
            out.push_str(&format!(
                "gateway   admin {}, {} requests so far, {} in flight{duck}\n\n",
                seen.admin, edge.requests, edge.in_flight
            ));
            out.push_str(&backends(edge));
            out.push('\n');
            out.push_str(&models(edge, catalog, only));
        }
    }
    out
}

fn backends(edge: &Edge) -> String {
    if edge.backends.is_empty() {
        return "no backend is known\n".to_owned();
    }
    let rows = edge.backends.iter().map(|b| {
        let generation = b.generation.map_or_else(|| "-".to_owned(), |g| g.to_string());
        let note = b.error.clone().unwrap_or_default();
        vec![b.name.clone(), b.address.clone(), b.state.clone(), generation, b.in_flight.to_string(), note]
    });
    let heading = ["BACKEND", "ADDRESS", "STATE", "GENERATION", "IN FLIGHT", ""];
    output::table(&heading, &rows.collect::<Vec<_>>())
}

fn models(edge: &Edge, catalog: Option<&Catalog>, only: Option<&ModelName>) -> String {
    let shown: Vec<_> = edge.models.iter().filter(|m| only.is_none_or(|o| *o == m.model)).collect();
    let mut rows: Vec<_> = shown.iter().map(|m| row(m, edge, catalog)).collect();
    rows.extend(unseen(edge, catalog, only));
    if rows.is_empty() {
        return "no model is served\n".to_owned();
    }
    let mut out = output::table(&["MODEL", "SERVES", "RELEASED", "BACKENDS HOLD"], &rows);
    for model in &shown {
        if !model.why.is_empty() {
            out.push_str(&format!("{}: {}\n", model.model, model.why));
        }
        for version in model.versions.iter().filter(|v| !v.reason.is_empty()) {
            out.push_str(&format!("{} version {}: {}\n", model.model, version.version, version.reason));
        }
    }
    if edge.models_total > edge.models.len() {
        out.push_str(&format!("... and {} more models\n", edge.models_total - edge.models.len()));
    }
    out
}

fn row(model: &Model, edge: &Edge, catalog: Option<&Catalog>) -> Vec<String> {
    let serve: Vec<Serve> = model.serves.iter().map(|s| s.serve.clone()).collect();
    let on = model.serves.iter().map(|s| s.backends.len()).min().unwrap_or(0);
    let serves = match serve.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{} on {on} of {}", describe(&serve), edge.backends.len()),
    };
    let released = catalog.and_then(|c| c.release(&model.model)).map_or_else(String::new, |r| describe(&r.serve));
    let holds = model.versions.iter().map(|version| {
        let states = version.states.iter().map(|(state, n)| format!("{state} on {n}"));
        format!("{} {}", version.version, states.collect::<Vec<_>>().join(" and "))
    });
    vec![model.model.to_string(), serves, released, holds.collect::<Vec<_>>().join(", ")]
}

/// Released models of which the gateway has not heard yet.
fn unseen(edge: &Edge, catalog: Option<&Catalog>, only: Option<&ModelName>) -> Vec<Vec<String>> {
    // A list that was cut says nothing of what it leaves out.
    let Some(catalog) = catalog.filter(|_| edge.models_total == edge.models.len() || only.is_some()) else {
        return Vec::new();
    };
    let known = |name: &ModelName| edge.models.iter().any(|m| m.model == *name);
    let released = catalog.releases().filter(|(name, _)| only.is_none_or(|o| o == *name) && !known(name));
    let row = |(name, release): (&ModelName, &headgate_contract::Release)| {
        vec![name.to_string(), "nothing yet".to_owned(), describe(&release.serve), String::new()]
    };
    let mut rows: Vec<_> = released.map(row).collect();
    rows.sort();
    rows
}
