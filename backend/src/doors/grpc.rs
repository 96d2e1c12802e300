//! gRPC: the same calls over HTTP/2, as the Open Inference Protocol has them, with health and reflection.
//!
//! Predictions are read and written frame by frame here; the small questions go through tonic.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use headgate_contract::proto::{DESCRIPTOR, SERVICE};
use headgate_contract::{Kind, grpc};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyStream, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::Semaphore;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder as Reflection;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::App;
use super::names::REQUEST_ID;
use super::reply::{self, ReplyBody};
use crate::refusal::{Refusal, shorten};

mod ask;
mod frames;
mod health;
mod infer;
mod status;
mod stream_infer;

/// Streams that stay open as long as their callers want, all connections together.
const HELD_OPEN_MAX: usize = 1024;
/// The largest message of a question.
const QUESTION_BYTES_MAX: usize = 64 << 10;

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

type Service = BoxCloneSyncService<Request<Incoming>, Response<tonic::body::Body>, Infallible>;

/// The gRPC door.
#[derive(Debug)]
pub(super) struct Door {
    app: App,
    health: Service,
    /// v1 and v1alpha.
    reflection: Option<[Service; 2]>,
    held_open: Arc<Semaphore>,
}

/// Whether a request is one of gRPC.
pub(super) fn is(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(grpc::CONTENT_TYPE.as_bytes()))
}

impl Door {
    pub(super) fn new(app: App) -> Self {
        let health = HealthServer::new(health::Health::new(app.clone()))
            .max_decoding_message_size(QUESTION_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Gzip);
        let health = Service::new(health);
        Self { app, health, reflection: reflection(), held_open: Arc::new(Semaphore::new(HELD_OPEN_MAX)) }
    }

    /// Answers a call.
    pub(super) async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<ReplyBody> {
        let id = reply::Id::of(request.headers()).header();
        let path = request.uri().path().to_owned();
        let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        let mut response = match (service, method, &self.reflection) {
            (SERVICE, "ModelInfer", _) => infer::answer(&self.app, peer, request, &id).await,
            (SERVICE, "ModelStreamInfer", _) => match Arc::clone(&self.held_open).try_acquire_owned() {
                Ok(permit) => stream_infer::answer(self.app.clone(), peer, request, id.clone(), permit),
                Err(_) => status::refused(&too_many()),
            },
            (SERVICE, method, _) => ask::answer(&self.app, method, request).await,
            (HEALTH, "Watch", _) => self.held_open(&self.health, request).await,
            (HEALTH, _, _) => call(&self.health, request).await.map(|body| Either::Right(axum::body::Body::new(body))),
            (REFLECTION, _, Some([v1, _])) => self.held_open(v1, request).await,
            (REFLECTION_ALPHA, _, Some([_, alpha])) => self.held_open(alpha, request).await,
            _ => {
                let words = format!("'{}' is not offered here: '{SERVICE}' is", shorten(service, 80));
                status::refused(&Refusal::new(Kind::Unsupported, words))
            }
        };
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    /// A call whose reply goes on as long as the caller wants, but not beyond the server's life.
    async fn held_open(&self, service: &Service, request: Request<Incoming>) -> Response<ReplyBody> {
        let Ok(permit) = Arc::clone(&self.held_open).try_acquire_owned() else {
            return status::refused(&too_many());
        };
        let stopping = self.app.stopping.clone();
        call(service, request).await.map(|body| {
            let frames = BodyStream::new(body).map(move |frame| {
                let _held = &permit;
                frame
            });
            let end = stream::once(async { Ok(Frame::trailers(status::trailers(Some(&stopped())))) });
            let frames = frames.take_until(stopping.cancelled_owned()).chain(end);
            Either::Right(axum::body::Body::new(StreamBody::new(frames)))
        })
    }
}

async fn call(service: &Service, request: Request<Incoming>) -> Response<tonic::body::Body> {
    match service.clone().oneshot(request).await {
        Ok(response) => response,
    }
}

/// None where the descriptor is no such thing.
fn reflection() -> Option<[Service; 2]> {
    let describe = || Reflection::configure().register_encoded_file_descriptor_set(DESCRIPTOR);
    let describe = || describe().register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let v1 = describe().build_v1().ok()?.max_decoding_message_size(QUESTION_BYTES_MAX);
    let alpha = describe().build_v1alpha().ok()?.max_decoding_message_size(QUESTION_BYTES_MAX);
    Some([
        Service::new(v1.accept_compressed(CompressionEncoding::Gzip)),
        Service::new(alpha.accept_compressed(CompressionEncoding::Gzip)),
    ])
}

fn too_many() -> Refusal {
    Refusal::new(Kind::Overloaded, format!("{HELD_OPEN_MAX} streams are open already"))
}

fn stopped() -> Refusal {
    Refusal::new(Kind::Unavailable, "the backend stops")
}
