//! A call and its reply by HTTP: the path and the headers in the server's words, and what an error means in ours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::error::ErrorBody;
use headgate_contract::route::Choice;
use headgate_contract::{Kind, ModelName, Version, header as ours};
use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};

use super::grpc::Asked;
use super::{Door, Foreign, Server};
use crate::upstream::{Body, BoxError, CallError, Options, Reply, Upstream};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a call is for, in the server's words.
struct Named {
    door: Door,
    /// Model and version; none: all of them.
    of: Option<(ModelName, Version)>,
    /// What it calls the version; empty: nothing.
    version: Arc<str>,
}

impl Named {
    fn model(&self) -> &str {
        self.of.as_ref().map_or("", |(model, _)| model.as_str())
    }
}

impl Foreign {
    /// Sends a call and waits for the reply, as [`Upstream::call`] does. One that the server does not take is refused
    /// here, in words.
    pub(crate) async fn call(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
        options: &Options,
    ) -> Result<Reply, CallError> {
        let Some(named) = self.name(&request) else {
            return Ok(refusal(Kind::Unsupported, format!("'{}' is no call to a model", request.uri().path())));
        };
        if !self.takes(named.door) {
            let server = self.spec.server.as_str();
            let message = format!("a backend ({server}) takes no {}", named.door.words());
            return Ok(refusal(Kind::Unsupported, message));
        }
        let reply = match &self.grpc {
            Some(grpc) if named.door.is_grpc() => {
                let asked = Asked { door: named.door, model: named.model(), version: &named.version };
                grpc.call(&asked, request, options).await?
            }
            _ => {
                let request = self.translate(&named, request);
                let mut reply = upstream.by_http(request, options).await?;
                strip_ours(&mut reply.head.headers);
                if let Some(kind) = meaning(self.spec.server, named.door, &reply) {
                    reply.head.headers.insert(ours::ERROR, HeaderValue::from_static(kind.as_str()));
                }
                reply
            }
        };
        if kind_of(&reply) == Some(Kind::NotHere)
            && let Some((model, version)) = &named.of
        {
            self.astray.note(model, *version);
        }
        Ok(reply)
    }

    /// Whom a call is for: the gateway has chosen the version, whatever the path says.
    fn name(&self, request: &Request<Body>) -> Option<Named> {
        let headers = request.headers();
        let (door, target) = Door::of(request.method().as_str(), request.uri().path(), headers).ok()?;
        let of = |name: &str| headers.get(name)?.to_str().ok();
        let Some(target) = target else { return Some(Named { door, of: None, version: Arc::default() }) };
        let model = of(ours::MODEL).and_then(|name| name.parse().ok()).unwrap_or(target.model);
        let chosen = of(ours::CHOSEN_VERSION).and_then(|number| number.parse().ok());
        let asked = match target.choice {
            Choice::Version(version) => Some(version),
            _ => None,
        };
        let key = (model, chosen.or(asked).unwrap_or(Version::FIRST));
        // Of a model all versions are counted, unless one is named.
        let any = door == Door::Statistics && asked.is_none();
        let version = self.names.load().get(&key).cloned().filter(|_| !any).unwrap_or_default();
        Some(Named { door, of: Some(key), version })
    }

    fn translate(&self, named: &Named, mut request: Request<Body>) -> Request<Body> {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let model = escaped(named.model());
        let version = if named.version.is_empty() { String::new() } else { format!("/versions/{}", named.version) };
        let path = match named.door {
            Door::Instances => format!("/v1/models/{model}:predict{query}"),
            Door::Status => format!("/v1/models/{model}{query}"),
            Door::Ready => format!("/v2/models/{model}{version}/ready{query}"),
            Door::Metadata => format!("/v2/models/{model}{version}{query}"),
            _ => format!("/v2/models/{model}{version}/infer{query}"),
        };
        // A name that was read fits a path, and a query that came in one, too.
        if let Ok(path) = path.parse::<Uri>() {
            *request.uri_mut() = path;
        }
        strip_ours(request.headers_mut());
        // Callers of ours need not say what they send; MLServer and KServe read nothing that is not said to be JSON.
        if matches!(named.door, Door::Json | Door::Instances) {
            request.headers_mut().insert(header::CONTENT_TYPE, JSON);
        }
        request
    }
}

/// Asks a question of the poller's.
pub(super) async fn ask(
    upstream: &Upstream,
    method: Method,
    path: &str,
    options: &Options,
) -> Result<(StatusCode, Bytes), BoxError> {
    let body = if method == Method::POST { Bytes::from_static(b"{}") } else { Bytes::new() };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, JSON);
    let reply = upstream.by_http(request.body(Body::whole(body))?, options).await;
    let reply = reply.map_err(|error| error.to_string())?;
    match reply.body {
        Body::Whole(body) => Ok((reply.head.status, body.unwrap_or_default())),
        Body::Streaming(_) => Err(format!("{path} answered with more than {} bytes", options.whole_bytes_max).into()),
    }
}

/// A model's name as a path has it.
pub(super) fn escaped(model: &str) -> String {
    model.replace('/', "%2F")
}

/// What a reply means that is not just what it says; the body stays as it is.
fn meaning(server: Server, door: Door, reply: &Reply) -> Option<Kind> {
    let body = match &reply.body {
        Body::Whole(Some(body)) => body.as_ref(),
        _ => b"",
    };
    let says = |words: &str| body.windows(words.len()).take(2_000).any(|window| window == words.as_bytes());
    match reply.head.status {
        StatusCode::NOT_FOUND => Some(Kind::NotHere),
        // Triton's word for a version that is not ready, and MLServer's.
        StatusCode::BAD_REQUEST if door == Door::Ready => Some(Kind::NotHere),
        StatusCode::BAD_REQUEST if server == Server::MlServer && says("is not ready yet") => Some(Kind::NotHere),
        StatusCode::TOO_MANY_REQUESTS => Some(Kind::Overloaded),
        // Triton refuses so what finds no room in a model's queue.
        StatusCode::SERVICE_UNAVAILABLE if says("maximum queue size") => Some(Kind::Overloaded),
        // All of them answer so where a model fails and where a call is wrong: it can't be told whose fault it is.
        StatusCode::INTERNAL_SERVER_ERROR if door.is_prediction() => Some(Kind::ModelFailed),
        _ => None,
    }
}

fn kind_of(reply: &Reply) -> Option<Kind> {
    Kind::from_name(reply.head.headers.get(ours::ERROR)?.to_str().ok()?)
}

/// A reply of our own in a server's place.
pub(super) fn refusal(kind: Kind, message: String) -> Reply {
    let body = serde_json::to_vec(&ErrorBody::new(message, false)).unwrap_or_default();
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(ours::ERROR, HeaderValue::from_static(kind.as_str()));
    Reply { head: response.into_parts().0, body: Body::whole(body.into()) }
}

/// Takes away what only parts of ours say to each other: it means nothing there, and is not believed from there.
pub(super) fn strip_ours(headers: &mut HeaderMap) {
    let strange: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-headgate-")).cloned().collect();
    for name in strange {
        headers.remove(name);
    }
}

/// How much time a call has left, as the gateway says.
pub(super) fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let ms = headers.get(ours::TIMEOUT_MS)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(ms))
}
