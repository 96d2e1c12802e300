//! What is known of the server and its models: health, metadata, readiness, the index.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use headgate_contract::fleet::{NUDGE_PATH, STATE_PATH, VersionState, WAIT_MS_MAX};
use headgate_contract::route::{self, Choice, Route, Target};
use headgate_contract::{Kind, Version};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::{App, fleet, predict, reply};
use crate::dispatch::{Chosen, resolve};
use crate::refusal::Refusal;
use crate::servable::Servable;
use crate::snapshot::{Model, Snapshot};

/// The largest body of a question.
const QUESTION_BYTES_MAX: usize = 64 << 10;

/// Everything but predictions.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(fleet::metrics))
        .route(STATE_PATH, get(fleet::state))
        .route(NUDGE_PATH, post(fleet::nudge))
        .fallback(answer)
        .layer(RequestBodyLimitLayer::new(QUESTION_BYTES_MAX))
        // The longest poll, and a moment: whoever sends a question slower than that is cut off.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(WAIT_MS_MAX + 5000)))
        .with_state(app)
}

async fn answer(State(app): State<App>, request: Request) -> Response<Body> {
    match route::parse(request.method().as_str(), request.uri().path()) {
        Ok(Route::RepositoryIndex) => index(app, request).await,
        Ok(route) => {
            let asked = predict::chosen(request.headers()).and_then(|chosen| ask(&app, route, chosen));
            asked.unwrap_or_else(|e| reply::refusal(&e).map(Body::new))
        }
        Err(error) => reply::refusal(&Refusal::new(error.kind, error.message)).map(Body::new),
    }
}

fn ask(app: &App, route: Route, chosen: Option<Chosen>) -> Result<Response<Body>, Refusal> {
    let snapshot = app.shared.snapshot.load();
    let ok = |document: Value| Ok(reply::json(StatusCode::OK, &document));
    match route {
        Route::Live => ok(json!({ "live": true })),
        Route::Ready => {
            let ready = app.shared.board.is_ready();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok(reply::json(status, &json!({ "ready": ready })))
        }
        Route::ServerMetadata => ok(json!({
            "name": "headgate", "version": env!("CARGO_PKG_VERSION"), "extensions": ["model_repository"]
        })),
        Route::ModelMetadata(target) => {
            let (model, servable) = servable(&snapshot, &target, chosen)?;
            Ok(reply::of_version(&servable, &metadata(&model, &servable)))
        }
        Route::ModelReady(target) => {
            let (model, servable) = servable(&snapshot, &target, chosen)?;
            Ok(reply::of_version(&servable, &json!({ "name": model.name, "ready": true })))
        }
        Route::ModelStatus(target) => ok(status(resolve::find(&snapshot, &target.model)?.0, &target.choice)?),
        Route::ModelList | Route::Statistics(_) | Route::OpenApi(_) | Route::Ping => {
            Err(Refusal::new(Kind::Unsupported, "not here yet"))
        }
        // Predictions do not come here, and the index was answered before.
        Route::Predict(..) | Route::Invocations | Route::RepositoryIndex => {
            Err(Refusal::new(Kind::MethodNotAllowed, "POST expected"))
        }
    }
}

/// The version that a question is about: the one that a gateway chose; where the release picks, the one with most weight.
fn servable(
    snapshot: &Snapshot,
    target: &Target,
    chosen: Option<Chosen>,
) -> Result<(Arc<Model>, Arc<Servable>), Refusal> {
    if chosen.is_some() || target.choice != Choice::Any {
        let servable = resolve::resolve(snapshot, target, chosen, &http::HeaderMap::new())?.servable;
        return Ok((Arc::clone(resolve::find(snapshot, &target.model)?.0), servable));
    }
    let (model, _) = resolve::find(snapshot, &target.model)?;
    let most = model.serving.iter().max_by_key(|serve| serve.weight);
    let held = most.and_then(|serve| model.held_digest(&serve.digest));
    let servable = held.ok_or_else(|| resolve::not_served(model))?;
    Ok((Arc::clone(model), Arc::clone(servable)))
}

fn metadata(model: &Model, servable: &Servable) -> Value {
    let shape = |width: usize| if width == 1 { json!([-1]) } else { json!([-1, width]) };
    let signature = &servable.manifest.signature;
    let inputs = signature.inputs.iter().map(|i| json!({"name": i.name, "datatype": i.dtype.as_str(), "shape": [-1]}));
    let outputs = signature.outputs.iter().map(|o| {
        let mut output = json!({"name": o.name, "datatype": o.dtype.as_str(), "shape": shape(o.width)});
        if !o.classes.is_empty() {
            output["parameters"] = json!({ "classes": o.classes.join(",") });
        }
        output
    });
    let versions: Vec<String> = model.held.iter().map(|s| s.schema.version.to_string()).collect();
    json!({
        "name": model.name,
        "versions": versions,
        "platform": servable.manifest.engine.name,
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "parameters": {"version": servable.schema.version.to_string(), "digest": servable.schema.digest.to_string()},
    })
}

/// As TF Serving writes it, with what KServe's v1 asks for.
fn status(model: &Model, choice: &Choice) -> Result<Value, Refusal> {
    let wanted: Option<Version> =
        match choice {
            Choice::Any => None,
            Choice::Version(version) => Some(*version),
            Choice::Label(label) => Some(model.release.labels.get(label).map(|l| l.version).ok_or_else(|| {
                Refusal::new(Kind::NotFound, format!("model '{}' has no label '{label}'", model.name))
            })?),
        };
    let states: Vec<Value> = model
        .states
        .iter()
        .filter(|known| wanted.is_none_or(|version| version == known.version))
        .map(|known| {
            let state = match known.state {
                VersionState::Ready => "AVAILABLE",
                VersionState::Retiring => "UNLOADING",
                VersionState::Failed => "END",
                VersionState::Absent | VersionState::Unknown => "START",
                _ => "LOADING",
            };
            let code = if known.state == VersionState::Failed { "FAILED_PRECONDITION" } else { "OK" };
            json!({"version": known.version.to_string(), "state": state,
                   "status": {"error_code": code, "error_message": known.reason}})
        })
        .collect();
    match (wanted, states.is_empty()) {
        (Some(version), true) => {
            Err(Refusal::new(Kind::NotFound, format!("model '{}' has no version {version} here", model.name)))
        }
        _ => Ok(json!({"name": model.name, "ready": !model.serving.is_empty(), "model_version_status": states})),
    }
}

/// All versions, their states, and why they failed; asked with `{"ready": true}`, those that can answer.
async fn index(app: App, request: Request) -> Response<Body> {
    let Ok(body) = request.into_body().collect().await.map(http_body_util::Collected::to_bytes) else {
        return reply::refusal(&Refusal::new(Kind::TooLarge, "the body is too large")).map(Body::new);
    };
    let only_ready = match serde_json::from_slice::<Value>(&body) {
        Ok(question) => question["ready"].as_bool().unwrap_or(false),
        Err(_) if body.is_empty() => false,
        Err(error) => return reply::refusal(&Refusal::invalid(format!("body: {error}"))).map(Body::new),
    };
    let list = move || {
        let mut models = app.shared.board.models();
        models.sort_by(|a, b| a.model.cmp(&b.model));
        let entries = models.iter().flat_map(|model| {
            let versions = model.versions.iter();
            let versions = versions.filter(|v| !only_ready || v.state == VersionState::Ready);
            versions.map(|v| {
                json!({"name": model.model, "version": v.version.to_string(), "state": v.state.as_index(), "reason": v.reason})
            })
        });
        reply::json(StatusCode::OK, &entries.collect::<Vec<_>>())
    };
    fleet::blocking(list).await
}
