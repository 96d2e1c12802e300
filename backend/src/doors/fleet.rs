//! What gateways and operators ask: the state, by long poll; the nudge; the metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use headgate_contract::fleet::{Nudge, StateQuery, WAIT_MS_MAX, WANTED_MAX, Want};
use headgate_contract::header;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};

use super::{App, reply};
use crate::refusal::Refusal;

/// `GET /fleet/v1/state`
pub(super) async fn state(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<StateQuery>,
) -> Response<Body> {
    if let Some(generation) = query.generation {
        app.watcher.heard_of(query.store.as_deref(), generation);
    }
    let board = Arc::clone(&app.shared.board);
    // Who else asks, an operator say, routes nothing: what leaves does not wait for them.
    let gateway = headers.get(header::GATEWAY).and_then(|name| name.to_str().ok());
    let gateway: Option<String> = gateway.map(|name| name.chars().take(128).collect());
    let wait = Duration::from_millis(query.wait.min(WAIT_MS_MAX));
    let known = tokio::select! {
        known = board.wait(gateway.as_deref(), query.since.as_deref(), wait) => known,
        // About to close: what is known now is the answer.
        () = app.stopping.cancelled() => None,
    };
    let in_flight = app.shared.in_flight.load(Ordering::Relaxed) as u64;
    // After a promotion of ten thousand scopes, and at first, that takes a while.
    blocking(move || reply::json(StatusCode::OK, &board.report(known, in_flight))).await
}

/// `POST /fleet/v1/nudge`, whatever its content type.
pub(super) async fn nudge(State(app): State<App>, body: Bytes) -> Response<Body> {
    match serde_json::from_slice::<Nudge>(&body) {
        Ok(nudge) => {
            app.watcher.heard_of(Some(&nudge.store_id), nudge.generation);
            StatusCode::ACCEPTED.into_response()
        }
        Err(error) => reply::refusal(&Refusal::invalid(format!("nudge: {error}"))).map(Body::new),
    }
}

/// `POST /fleet/v1/want`, whatever its content type: of a backend that holds all models, it changes nothing.
pub(super) async fn want(State(app): State<App>, body: Bytes) -> Response<Body> {
    match serde_json::from_slice::<Want>(&body) {
        Ok(want) if want.models.len() <= WANTED_MAX => {
            if let Some(demand) = &app.shared.demand {
                demand.want(&want.models);
            }
            StatusCode::ACCEPTED.into_response()
        }
        Ok(want) => {
            let words = format!("want: {} models are named, {WANTED_MAX} at most", want.models.len());
            reply::refusal(&Refusal::invalid(words)).map(Body::new)
        }
        Err(error) => reply::refusal(&Refusal::invalid(format!("want: {error}"))).map(Body::new),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>) -> Response<Body> {
    let render = move || {
        let metrics = &app.shared.metrics;
        metrics.in_flight.set(app.shared.in_flight.load(Ordering::Relaxed) as f64);
        metrics.compute_waiting.set(app.shared.compute.waiting() as f64);
        metrics.model_bytes.set(app.memory_used.load(Ordering::Relaxed) as f64);
        let page = metrics.render();
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
    };
    blocking(render).await
}

/// Work that may take longer than a request's thread has.
pub(super) async fn blocking(work: impl FnOnce() -> Response<Body> + Send + 'static) -> Response<Body> {
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR.into_response();
    tokio::task::spawn_blocking(work).await.unwrap_or_else(failed)
}
