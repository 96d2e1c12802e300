//! The admin port's paths.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use headgate_contract::Kind;
use headgate_contract::error::ErrorBody;
use headgate_contract::fleet::{NUDGE_PATH, Nudge, REGISTER_PATH, Register};
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::Admin;
use super::report::{self, StateQuery};
use crate::discovery::Refused;
use crate::metrics;

/// A refusal in words.
struct Refusal(Kind, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(headgate_contract::header::ERROR, self.0.as_str())];
        (status, kind, axum::Json(ErrorBody::new(self.1, false))).into_response()
    }
}

/// All paths. Liveness and readiness are open to all; registration has a token of its own.
pub(super) fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/state", get(state))
        .route("/metrics", get(metrics_text))
        .route("/backends/{name}/drain", post(drain))
        .route("/backends/{name}/undrain", post(undrain))
        .route(NUDGE_PATH, post(nudge))
        .route_layer(from_fn_with_state(admin.clone(), guard));
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route(REGISTER_PATH, post(register))
        .merge(guarded)
        .fallback(|| async { Refusal(Kind::NotFound, "nothing is here".to_owned()) })
        .with_state(admin)
}

/// Asks for the admin token, where one is set.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Result<Response, Refusal> {
    if let Some(token) = &admin.edge.config.load().admin.token
        && !bears(request.headers(), token)
    {
        return Err(Refusal(Kind::Unauthenticated, "a valid bearer token is needed".to_owned()));
    }
    Ok(next.run(request).await)
}

async fn ready(State(admin): State<Admin>) -> Result<&'static str, Refusal> {
    admin.edge.is_ready().map(|()| "ready\n").map_err(|why| Refusal(Kind::Unavailable, why.to_owned()))
}

async fn metrics_text(State(admin): State<Admin>) -> Result<impl IntoResponse, Refusal> {
    // With many series this is long work.
    let made = tokio::task::spawn_blocking(move || metrics::render(&admin.edge)).await;
    let text = made.map_err(|e| Refusal(Kind::Internal, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

async fn state(State(admin): State<Admin>, Query(query): Query<StateQuery>) -> Result<Response, Refusal> {
    // With many models this is long work.
    let made = tokio::task::spawn_blocking(move || report::state(&admin.edge, &query)).await;
    made.map(|state| axum::Json(state).into_response()).map_err(|e| Refusal(Kind::Internal, e.to_string()))
}

async fn drain(State(admin): State<Admin>, Path(name): Path<String>) -> Result<&'static str, Refusal> {
    order(&admin, &name, true)
}

async fn undrain(State(admin): State<Admin>, Path(name): Path<String>) -> Result<&'static str, Refusal> {
    order(&admin, &name, false)
}

fn order(admin: &Admin, name: &str, drain: bool) -> Result<&'static str, Refusal> {
    match admin.edge.fleet.order_drain(name, drain) {
        true if drain => Ok("drains\n"),
        true => Ok("serves again\n"),
        false => Err(Refusal(Kind::NotFound, format!("backend '{}' is unknown", name.escape_debug()))),
    }
}

async fn nudge(State(admin): State<Admin>, body: Bytes) -> Result<&'static str, Refusal> {
    admin.edge.fleet.nudge(&read::<Nudge>(&body)?);
    Ok("passed on\n")
}

async fn register(State(admin): State<Admin>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let config = admin.edge.config.load_full();
    let Some(token) = &config.discovery.register_token else {
        let why = "registration is off: 'discovery.register_token' is not set";
        return Err(Refusal(Kind::Forbidden, why.to_owned()));
    };
    if !bears(&headers, token) {
        return Err(Refusal(Kind::Unauthenticated, "a valid bearer token is needed to register".to_owned()));
    }
    match admin.registry.register(&read::<Register>(&body)?) {
        Ok(registered) => Ok(axum::Json(registered).into_response()),
        Err(error @ (Refused::Invalid(_) | Refused::Taken { .. })) => {
            Err(Refusal(Kind::InvalidRequest, error.to_string()))
        }
        Err(error @ Refused::Full) => Err(Refusal(Kind::Overloaded, error.to_string())),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal(Kind::InvalidRequest, format!("body can't be read: {e}")))
}

/// Whether the headers bear a token; takes as long for a wrong one as for a right one.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").or_else(|| given.strip_prefix(b"bearer ")).unwrap_or_default();
    let differs = given.iter().zip(token.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == token.len() && differs == 0
}
