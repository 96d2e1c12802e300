//! Health (`grpc.health.v1`) and reflection: the services that tools ask for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use headgate_contract::{Kind, proto};
use http::{Request, Response};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::ServiceExt;

use super::reply;
use crate::edge::Edge;
use crate::edge::reply::Failed;
use crate::upstream::{Body, BodyError};

/// The largest message of a question.
const QUESTION_BYTES_MAX: usize = 64 << 10;
/// How often a watcher's answer is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Health,
    ReflectionV1,
    ReflectionV1Alpha,
}

macro_rules! bounded {
    ($service:expr) => {
        $service.max_decoding_message_size(QUESTION_BYTES_MAX).accept_compressed(CompressionEncoding::Gzip)
    };
}

impl Service {
    /// The one of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "grpc.health.v1.Health" => Some(Service::Health),
            "grpc.reflection.v1.ServerReflection" => Some(Service::ReflectionV1),
            "grpc.reflection.v1alpha.ServerReflection" => Some(Service::ReflectionV1Alpha),
            _ => None,
        }
    }
}

impl Edge {
    pub(super) async fn answer(self: &Arc<Self>, service: Service, request: Request<Incoming>) -> Response<Body> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let unbuilt = |error| reply::failed(&Failed::new(Kind::Internal, format!("reflection: {error}")));
        let request = self.ending(request);
        let answered = match service {
            Service::Health => bounded!(HealthServer::new(Asked(Arc::clone(self)))).oneshot(request).await,
            Service::ReflectionV1 => match reflection().build_v1() {
                Ok(service) => bounded!(service).oneshot(request).await,
                Err(error) => return unbuilt(error),
            },
            Service::ReflectionV1Alpha => match reflection().build_v1alpha() {
                Ok(service) => bounded!(service).oneshot(request).await,
                Err(error) => return unbuilt(error),
            },
        };
        let broke = |status: Status| BodyError(status.to_string());
        match answered {
            Ok(response) => response.map(|body| Body::Streaming(body.map_err(broke).boxed_unsync())),
            Err(never) => match never {},
        }
    }

    /// The same request, whose stream of messages ends when the gateway goes.
    fn ending(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Request<StreamBody<impl Stream<Item = Result<Frame<bytes::Bytes>, hyper::Error>> + Send + use<>>> {
        let edge = Arc::clone(self);
        let end = async move { edge.gate.goes().await };
        request.map(|incoming| StreamBody::new(BodyStream::new(incoming).take_until(Box::pin(end))))
    }
}

/// The health of the gateway.
struct Asked(Arc<Edge>);

impl Asked {
    /// None for a service that is not here.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let known = service.is_empty() || service == proto::SERVICE;
        known.then(|| if self.0.is_ready().is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Asked {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        let unknown =
            || Status::not_found(format!("service '{service}' is not known: '' or '{}' expected", proto::SERVICE));
        Ok(tonic::Response::new(said(self.status(service).ok_or_else(unknown)?)))
    }

    /// Tells what changes; ends when the gateway is about to stop.
    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let (edge, service) = (Arc::clone(&self.0), request.into_inner().service);
        let now = move || Asked(Arc::clone(&edge)).status(&service).unwrap_or(ServingStatus::ServiceUnknown);
        let changes = stream::unfold((None, now), |(told, now)| async move {
            loop {
                let status = now();
                if told != Some(status) {
                    return Some((Ok(said(status)), (Some(status), now)));
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        let edge = Arc::clone(&self.0);
        let end = async move {
            edge.gate.goes().await;
            // The watcher is told first.
            tokio::time::sleep(2 * LOOK).await;
        };
        let last = stream::iter([Err(Status::unavailable("the gateway is about to stop"))]);
        Ok(tonic::Response::new(changes.take_until(Box::pin(end)).chain(last).boxed()))
    }
}
