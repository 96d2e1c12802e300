//! What is known of the server and its models: health, metadata, readiness, the index.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::routing::{get, post};
use headgate_contract::fleet::{NUDGE_PATH, STATE_PATH, VersionState, WAIT_MS_MAX, WANT_PATH};
use headgate_contract::proto::ModelReadyResponse;
use headgate_contract::route::{self, Choice, Route, Target};
use headgate_contract::{Kind, ModelName, Version, openapi, repository};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_http::timeout::TimeoutLayer;

use super::{App, fleet, form, predict, reply};
use crate::dispatch::{Chosen, resolve};
use crate::encode::Content;
use crate::life::demand::Demand;
use crate::refusal::Refusal;
use crate::servable::Servable;
use crate::snapshot::{Model, Snapshot};

pub(super) mod index;
pub(super) mod metadata;
pub(super) mod statistics;

/// What a backend has of the extensions of the Open Inference Protocol. The repository's index, but no loading by calls.
pub(super) const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_repository", "statistics"];
/// The largest body of a question.
const QUESTION_BYTES_MAX: usize = 64 << 10;

/// Everything but predictions.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(fleet::metrics))
        .route(STATE_PATH, get(fleet::state))
        .route(NUDGE_PATH, post(fleet::nudge))
        .route(WANT_PATH, post(fleet::want))
        .fallback(answer)
        .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX))
        // The longest poll, and a moment: whoever sends a question slower than that is cut off.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(WAIT_MS_MAX + 5000)))
        .with_state(app)
}

async fn answer(State(app): State<App>, request: Request) -> Response<Body> {
    let refused = |refusal| reply::refusal(&refusal).map(Body::new);
    let route = match route::parse(request.method().as_str(), request.uri().path()) {
        Ok(Route::RepositoryIndex) => return index(app, request).await,
        Ok(route) => route,
        Err(error) => return refused(error.into()),
    };
    let chosen = match predict::chosen(request.headers()) {
        Ok(chosen) => chosen,
        Err(refusal) => return refused(refusal),
    };
    if let Err(refusal) = bring(&app, &route, chosen, request.headers()).await {
        return refused(refusal);
    }
    let question = Question { chosen, protobuf: form::accepts(request.headers(), Content::Protobuf) };
    // Of many models, or of a model of many features.
    let is_long =
        matches!(route, Route::ModelList | Route::Statistics(None) | Route::OpenApi(Some(_)) | Route::ModelMetadata(_));
    let answer = move || ask(&app, route, question).unwrap_or_else(|e| reply::refusal(&e).map(Body::new));
    if is_long { fleet::blocking(answer).await } else { answer() }
}

/// Has the model of a question loaded, where that is done on demand, as for a call. What is there, or does not come, is
/// found by who answers.
async fn bring(app: &App, route: &Route, chosen: Option<Chosen>, headers: &HeaderMap) -> Result<(), Refusal> {
    let (Some(demand), Route::ModelMetadata(target) | Route::ModelReady(target) | Route::OpenApi(Some(target))) =
        (&app.shared.demand, route)
    else {
        return Ok(());
    };
    if servable(&app.shared.snapshot.load(), target, chosen).is_ok() {
        return Ok(());
    }
    let (limits, now) = (&app.shared.limits, Instant::now());
    let within = predict::timeout(headers)?.map_or(limits.timeout, |given| given.min(limits.timeout_max));
    let until = Demand::until(now, now + within);
    let found = app.shared.bring(demand, target, chosen, until, |snapshot| servable(snapshot, target, chosen)).await;
    found.map_or(Ok(()), |found| found.map(drop))
}

/// What a question says beside its path.
struct Question {
    /// The version that a gateway chose.
    chosen: Option<Chosen>,
    /// Whether the answer is to be a message of gRPC.
    protobuf: bool,
}

fn ask(app: &App, route: Route, question: Question) -> Result<Response<Body>, Refusal> {
    let snapshot = app.shared.snapshot.load();
    let ok = |document: Value| Ok(reply::json(StatusCode::OK, &document));
    let Question { chosen, protobuf } = question;
    match route {
        Route::Live => ok(json!({ "live": true, "status": "alive" })),
        Route::Ready | Route::Ping => Ok(ready(app)),
        Route::ServerMetadata => ok(json!({
            "name": "headgate", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS
        })),
        Route::ModelMetadata(target) => {
            let (model, servable) = servable(&snapshot, &target, chosen)?;
            let metadata = metadata::metadata(&model, &servable);
            Ok(match protobuf {
                true => reply::of_version(&servable, reply::message(&metadata)),
                false => {
                    reply::of_version(&servable, reply::json(StatusCode::OK, &metadata::document(metadata, &servable)))
                }
            })
        }
        Route::ModelReady(target) => {
            let (model, servable) = servable(&snapshot, &target, chosen)?;
            Ok(match protobuf {
                true => reply::of_version(&servable, reply::message(&ModelReadyResponse { ready: true })),
                false => {
                    let document = json!({ "name": model.name, "ready": true });
                    reply::of_version(&servable, reply::json(StatusCode::OK, &document))
                }
            })
        }
        Route::ModelStatus(target) => ok(status(resolve::find(&snapshot, &target.model)?.0, &target.choice)?),
        Route::ModelList => ok(list(&snapshot)),
        Route::Statistics(target) => {
            let statistics = statistics::statistics(&snapshot, target.as_ref(), chosen)?;
            if protobuf {
                Ok(reply::message(&statistics))
            } else {
                ok(headgate_contract::statistics::document(&statistics))
            }
        }
        Route::OpenApi(None) => Ok(reply::written(openapi::SERVER)),
        Route::OpenApi(Some(target)) => {
            let (model, servable) = servable(&snapshot, &target, chosen)?;
            let document = crate::openapi::document(&target, &servable, model.release.strict);
            Ok(reply::of_version(&servable, reply::json(StatusCode::OK, &document)))
        }
        // Predictions do not come here, and the index was answered before.
        Route::Predict(..) | Route::Invocations | Route::RepositoryIndex => {
            Err(Refusal::new(Kind::MethodNotAllowed, "POST expected"))
        }
    }
}

fn ready(app: &App) -> Response<Body> {
    if app.shared.board.is_ready() {
        return reply::json(StatusCode::OK, &json!({ "ready": true }));
    }
    let why = "the models that are released are not all loaded yet, or the backend is about to stop";
    let mut response = reply::refusal(&Refusal::new(Kind::Unavailable, why)).map(Body::new);
    // As the Open Inference Protocol spells it, beside what every error says.
    *response.body_mut() = Body::from(json!({ "ready": false, "error": why }).to_string());
    response
}

/// The names of all models, as KServe's v1 lists them.
fn list(snapshot: &Snapshot) -> Value {
    let mut names: Vec<&ModelName> = snapshot.models().map(|model| &model.name).collect();
    names.sort_unstable();
    json!({ "models": names })
}

/// The version that a question is about: the one that a gateway chose; where the release picks, the one with most weight.
pub(super) fn servable(
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
    let refused = |refusal| reply::refusal(&refusal).map(Body::new);
    let read = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect();
    let body = match tokio::time::timeout(app.shared.limits.body_timeout, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return refused(Refusal::new(
                Kind::TooLarge,
                format!("the body is larger than {QUESTION_BYTES_MAX} bytes"),
            ));
        }
        Ok(Err(error)) => return refused(Refusal::invalid(format!("the body can't be read: {error}"))),
        Err(_) => return refused(Refusal::new(Kind::DeadlineExceeded, "the body did not arrive in time")),
    };
    let only_ready = match repository::only_ready(&body) {
        Ok(only_ready) => only_ready,
        Err(words) => return refused(Refusal::invalid(words)),
    };
    let list = move || reply::json(StatusCode::OK, &index::document(&index::index(&app, only_ready)));
    fleet::blocking(list).await
}
