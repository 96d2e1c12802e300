//! What is known of the server and its models: the questions that HTTP's door answers, with the same answers.

use headgate_contract::Kind;
use headgate_contract::proto::{
    ModelMetadataRequest, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, RepositoryIndexRequest,
    ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use headgate_contract::route::{NO_LOADING, Target};
use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::super::info::{EXTENSIONS, index, metadata, servable, statistics};
use super::super::reply::ReplyBody;
use super::super::{App, predict};
use super::QUESTION_BYTES_MAX;
use super::status::{refused, status};
use crate::dispatch::Chosen;
use crate::refusal::{Refusal, shorten};

/// Answers a call.
pub(super) async fn answer(app: &App, method: &str, request: Request<Incoming>) -> Response<ReplyBody> {
    let chosen = match predict::chosen(request.headers()) {
        Ok(chosen) => chosen,
        Err(refusal) => return refused(&refusal),
    };
    let at = app.clone();
    let answered = async {
        match method {
            "ServerLive" => unary(request, |_: ServerLiveRequest| Ok(ServerLiveResponse { live: true })).await,
            "ServerReady" => {
                unary(request, move |_: ServerReadyRequest| {
                    Ok(ServerReadyResponse { ready: at.shared.board.is_ready() })
                })
                .await
            }
            "ServerMetadata" => unary(request, |_: ServerMetadataRequest| Ok(server())).await,
            "ModelReady" => unary(request, move |asked| ready(&at, &asked, chosen)).await,
            "ModelMetadata" => unary(request, move |asked| model(&at, &asked, chosen)).await,
            "ModelStatistics" => {
                unary(request, move |asked: ModelStatisticsRequest| {
                    let of = (!asked.name.is_empty()).then(|| target(&asked.name, &asked.version)).transpose()?;
                    statistics::statistics(&at.shared.snapshot.load(), of.as_ref(), chosen)
                })
                .await
            }
            "RepositoryIndex" => {
                unary(request, move |asked: RepositoryIndexRequest| Ok(index::index(&at, asked.ready))).await
            }
            _ => refused(&Refusal::new(Kind::Unsupported, not_offered(method))),
        }
    };
    match tokio::time::timeout(app.shared.limits.body_timeout, answered).await {
        Ok(response) => response,
        Err(_) => refused(&Refusal::new(Kind::DeadlineExceeded, "the message did not arrive in time")),
    }
}

fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "headgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).into(),
    }
}

/// What is on its way is not ready; what is not known is an error.
fn ready(app: &App, asked: &ModelReadyRequest, chosen: Option<Chosen>) -> Result<ModelReadyResponse, Refusal> {
    let target = target(&asked.name, &asked.version)?;
    match servable(&app.shared.snapshot.load(), &target, chosen) {
        Ok(_) => Ok(ModelReadyResponse { ready: true }),
        Err(refusal) if matches!(refusal.kind, Kind::Loading | Kind::Unavailable) => {
            Ok(ModelReadyResponse { ready: false })
        }
        Err(refusal) => Err(refusal),
    }
}

fn model(
    app: &App,
    asked: &ModelMetadataRequest,
    chosen: Option<Chosen>,
) -> Result<headgate_contract::proto::ModelMetadataResponse, Refusal> {
    let target = target(&asked.name, &asked.version)?;
    let (model, servable) = servable(&app.shared.snapshot.load(), &target, chosen)?;
    Ok(metadata::metadata(&model, &servable))
}

fn target(name: &str, version: &str) -> Result<Target, Refusal> {
    Ok(Target::named(name, version)?)
}

/// Why a method is not here.
fn not_offered(method: &str) -> String {
    match method {
        "RepositoryModelLoad" | "RepositoryModelUnload" => NO_LOADING.to_owned(),
        "ModelConfig" => "ModelConfig is not offered: ModelMetadata says what a model takes and gives".to_owned(),
        _ => format!("{} is not offered", shorten(method, 80)),
    }
}

/// One question, one answer. Answers are made off the server's threads: of ten thousand models some take a while.
async fn unary<Q, A>(
    request: Request<Incoming>,
    answer: impl Fn(Q) -> Result<A, Refusal> + Send + Sync + 'static,
) -> Response<ReplyBody>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let answer = std::sync::Arc::new(answer);
    let service = tower::service_fn(move |asked: tonic::Request<Q>| {
        let answer = std::sync::Arc::clone(&answer);
        async move {
            let answered = tokio::task::spawn_blocking(move || answer(asked.into_inner())).await;
            let answered = answered.unwrap_or_else(|_| Err(Refusal::new(Kind::Internal, "answering panicked")));
            answered.map(tonic::Response::new).map_err(|refusal| status(&refusal))
        }
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(QUESTION_BYTES_MAX)
        .accept_compressed(CompressionEncoding::Gzip);
    grpc.unary(service, request).await.map(|body| Either::Right(axum::body::Body::new(body)))
}
