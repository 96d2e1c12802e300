//! `grpc.health.v1`: of the server, by the empty name, and of the inference service by its own.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use headgate_contract::proto::SERVICE;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::super::App;

/// Answers from the board: serving while it can answer predictions.
#[derive(Debug)]
pub(super) struct Health {
    app: App,
}

type Reports = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

impl Health {
    pub(super) fn new(app: App) -> Self {
        Self { app }
    }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE
}

fn report(app: &App, known: bool) -> ServingStatus {
    match app.shared.board.is_ready() {
        _ if !known => ServingStatus::ServiceUnknown,
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Reports;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_known(&service) {
            return Err(Status::not_found(format!("service '{service}' is not known: '' or '{SERVICE}' expected")));
        }
        Ok(Response::new(HealthCheckResponse { status: report(&self.app, true).into() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Reports>, Status> {
        let known = is_known(&request.into_inner().service);
        let (app, changed) = (self.app.clone(), self.app.shared.board.changed());
        // What changes on the board is mostly not this: only what differs from the last report is sent.
        let reports = stream::unfold((changed, None), move |(mut changed, last)| {
            let app = app.clone();
            async move {
                loop {
                    // Seen before it is read, so that no change is missed.
                    changed.borrow_and_update();
                    let now = report(&app, known);
                    if Some(now) != last {
                        return Some((Ok(HealthCheckResponse { status: now.into() }), (changed, Some(now))));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Ok(Response::new(reports.boxed()))
    }
}
