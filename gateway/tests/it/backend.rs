//! A server that speaks to gateways as a backend does, and can be told to misbehave.

mod messages;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::fleet::{CatalogSeen, ModelReport, StateReport, VersionReport, VersionState};
use headgate_contract::release::{Entry, Serve};
use headgate_contract::{Digest, Kind, Release, Version, header};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How predictions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As they should be.
    Well,
    /// Never.
    Stall,
    /// Never, nor are probes: as where its process is stopped.
    Hang,
    /// With this kind of error.
    Refuse(Kind),
    /// With this status and nothing else.
    Plain(u16),
    /// By closing the connection.
    Cut,
    /// By closing it where it had been used before.
    CutReused,
    /// By closing it in the middle of the reply.
    CutMidReply,
    /// As if another version had answered.
    Lie,
    /// After so many milliseconds.
    Late(u64),
    /// As one that works on two calls at once, for so many milliseconds each, to the end even where nobody waits any
    /// more.
    Busy(u64),
    /// With a body of so many bytes.
    Large(usize),
    /// With what it was sent, and in its form.
    Echo,
}

/// What it says and does.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    pub(crate) generation: u64,
    pub(crate) zone: String,
    pub(crate) cores: u32,
    pub(crate) models: BTreeMap<String, ModelReport>,
    pub(crate) manner: Manner,
}

/// A running one.
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    name: String,
    boot: String,
    script: watch::Sender<(u64, Script)>,
    calls: AtomicU64,
    probes: Mutex<Vec<String>>,
    nudges: Mutex<Vec<Bytes>>,
    seen: Mutex<Vec<(String, HeaderMap)>>,
    bytes: AtomicU64,
    workers: Arc<tokio::sync::Semaphore>,
    worked: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
    connections: AtomicU64,
}

/// The digest of a version in these tests.
pub(crate) fn digest(version: u64) -> Digest {
    Digest::of(version.to_le_bytes())
}

/// A serve list.
pub(crate) fn serve(list: &[(u64, u32)]) -> Vec<Serve> {
    let one = |&(version, weight): &(u64, u32)| Serve {
        version: Version::new(version).unwrap(),
        digest: digest(version),
        weight,
    };
    list.iter().map(one).collect()
}

/// A release whose history is these lists, the last one today's.
pub(crate) fn release(lists: &[&[(u64, u32)]]) -> Release {
    let entry = |list: &&[(u64, u32)]| Entry {
        change_id: String::new(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        who: "test".into(),
        action: headgate_contract::release::Action::Promote,
        why: String::new(),
        serve: serve(list),
        rolled_back: false,
    };
    let serve = lists.last().map(|list| serve(list)).unwrap_or_default();
    Release { serve, history: lists.iter().map(entry).collect(), ..Release::new() }
}

/// A model of which these versions are ready.
pub(crate) fn model(name: &str, release: Release, ready: &[u64]) -> ModelReport {
    let states: Vec<(u64, VersionState, &str)> = ready.iter().map(|&v| (v, VersionState::Ready, "")).collect();
    model_in(name, release, &states)
}

/// A model whose versions are in these states, for these reasons.
pub(crate) fn model_in(name: &str, release: Release, states: &[(u64, VersionState, &str)]) -> ModelReport {
    let report = |&(version, state, reason): &(u64, VersionState, &str)| VersionReport {
        version: Version::new(version).unwrap(),
        digest: digest(version),
        state,
        reason: reason.into(),
        memory_bytes: 1,
    };
    ModelReport { model: name.parse().unwrap(), release, versions: states.iter().map(report).collect() }
}

impl Script {
    /// Ready, with one version of model `m`.
    pub(crate) fn ready() -> Self {
        Self::with([model("m", release(&[&[(1, 1)]]), &[1])])
    }

    pub(crate) fn with(models: impl IntoIterator<Item = ModelReport>) -> Self {
        let models = models.into_iter().map(|model| (model.model.to_string(), model)).collect();
        Self {
            ready: true,
            draining: false,
            generation: 1,
            zone: String::new(),
            cores: 0,
            models,
            manner: Manner::Well,
        }
    }
}

impl Backend {
    pub(crate) async fn start(name: &str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, name, script)
    }

    pub(crate) fn start_on(listener: TcpListener, name: &str, script: Script) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            name: name.into(),
            boot: format!("{:x}", rand::random::<u64>()),
            script: watch::Sender::new((1, script)),
            calls: AtomicU64::new(0),
            probes: Mutex::default(),
            nudges: Mutex::default(),
            seen: Mutex::default(),
            bytes: AtomicU64::new(0),
            workers: Arc::new(tokio::sync::Semaphore::new(2)),
            worked: Arc::default(),
            waiting: Arc::default(),
            connections: AtomicU64::new(0),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { name: name.into(), address, shared, server }
    }

    /// Changes what it says and does.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        self.shared.script.send_modify(|(seq, script)| {
            *seq += 1;
            change(script);
        });
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.change(|script| script.manner = manner);
    }

    /// Predictions that arrived.
    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(Relaxed)
    }

    /// Calls that were worked on.
    pub(crate) fn worked(&self) -> u64 {
        self.shared.worked.load(Relaxed)
    }

    /// Whether no call waits or is worked on.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.waiting.load(Relaxed) == 0
    }

    /// Bytes of the prediction bodies that arrived.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }

    /// Paths and headers of the calls that arrived.
    pub(crate) fn seen(&self) -> Vec<(String, HeaderMap)> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The queries of the probes that arrived.
    pub(crate) fn probes(&self) -> Vec<String> {
        self.shared.probes.lock().unwrap().clone()
    }

    pub(crate) fn nudges(&self) -> Vec<Bytes> {
        self.shared.nudges.lock().unwrap().clone()
    }

    /// As kill -9 would: its port and all connections close at once.
    pub(crate) async fn kill(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Its connections die with this task.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let open = Arc::clone(&shared);
            open.connections.fetch_add(1, Relaxed);
            let served = Arc::new(AtomicU64::new(0));
            let service = service_fn(move |request: Request<Incoming>| {
                let (shared, before) = (Arc::clone(&shared), served.fetch_add(1, Relaxed));
                async move { shared.answer(request, before > 0).await }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            open.connections.fetch_sub(1, Relaxed);
        });
        while connections.try_join_next().is_some() {}
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|e: Infallible| match e {}).boxed()
}

fn cut() -> std::io::Error {
    std::io::Error::other("told to cut the connection")
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, reused: bool) -> Result<Response<Body>, std::io::Error> {
        match request.uri().path() {
            "/fleet/v1/link" => {
                let mut response = Response::new(body("no"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                Ok(response)
            }
            "/fleet/v1/state" => Ok(self.state(request.uri().query().unwrap_or_default()).await),
            "/fleet/v1/nudge" => {
                let nudge = request.into_body().collect().await.map_err(|_| cut())?.to_bytes();
                self.nudges.lock().unwrap().push(nudge);
                Ok(Response::new(body("")))
            }
            _ => self.predict(request, reused).await,
        }
    }

    async fn state(&self, query: &str) -> Response<Body> {
        self.probes.lock().unwrap().push(query.to_owned());
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let mut script = self.script.subscribe();
        let cursor = |seq: u64| format!("{}.{seq}", self.boot);
        let seq = script.borrow_and_update().0;
        if parameter("since") == Some(&cursor(seq)) {
            let wait = parameter("wait").and_then(|ms| ms.parse().ok()).unwrap_or(0);
            let _ = tokio::time::timeout(Duration::from_millis(wait), script.changed()).await;
        }
        let (seq, script) = script.borrow().clone();
        if script.manner == Manner::Hang {
            std::future::pending::<()>().await;
        }
        let report = StateReport {
            format: 1,
            instance: self.name.clone(),
            build: "test".into(),
            cursor: cursor(seq),
            full: true,
            ready: script.ready,
            draining: script.draining,
            in_flight: 0,
            on_demand: None,
            zone: script.zone,
            cores: script.cores,
            catalog: Some(CatalogSeen { store_id: "store-1".into(), generation: script.generation, error: None }),
            models: script.models.into_values().collect(),
            gone: vec![],
        };
        Response::new(body(serde_json::to_vec(&report).unwrap()))
    }

    async fn predict(&self, request: Request<Incoming>, reused: bool) -> Result<Response<Body>, std::io::Error> {
        let (head, incoming) = request.into_parts();
        self.calls.fetch_add(1, Relaxed);
        let path = head.uri.path().to_owned();
        self.seen.lock().unwrap().push((path.clone(), head.headers.clone()));
        let script = self.script.borrow().1.clone();
        if script.manner == Manner::Cut || (script.manner == Manner::CutReused && reused) {
            return Err(cut());
        }
        let sent = incoming.collect().await.map_err(|_| cut())?.to_bytes();
        self.bytes.fetch_add(sent.len() as u64, Relaxed);
        let mut large = 0;
        match script.manner {
            Manner::Stall | Manner::Hang => std::future::pending().await,
            Manner::Busy(ms) => {
                let (workers, worked) = (Arc::clone(&self.workers), Arc::clone(&self.worked));
                let waiting = Arc::clone(&self.waiting);
                waiting.fetch_add(1, Relaxed);
                let work = tokio::spawn(async move {
                    let _worker = workers.acquire().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    worked.fetch_add(1, Relaxed);
                    waiting.fetch_sub(1, Relaxed);
                });
                work.await.unwrap();
            }
            Manner::Late(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Manner::Refuse(kind) => return Ok(refuse(kind)),
            Manner::Plain(status) => {
                let mut response = Response::new(body("no"));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                return Ok(response);
            }
            Manner::Large(bytes) => large = bytes,
            _ => {}
        }
        if path.ends_with("/stats") {
            return Ok(messages::statistics(&script));
        }
        let chosen: u64 = head.headers[header::CHOSEN_VERSION].to_str().unwrap().parse().unwrap();
        let holds = script.models.values().flat_map(|model| &model.versions).any(|version| {
            version.version.get() == chosen
                && version.digest.to_string() == head.headers[header::CHOSEN_DIGEST].to_str().unwrap()
                && matches!(version.state, VersionState::Ready | VersionState::Retiring)
        });
        // States are told of what it does not hold, too.
        let asks_states = head.method == "GET" && path.starts_with("/v1/");
        if !holds && !asks_states {
            return Ok(refuse(Kind::NotHere));
        }
        let version = if script.manner == Manner::Lie { chosen + 1 } else { chosen };
        if script.manner == Manner::Echo {
            return Ok(said(echo(&head.headers, sent), version));
        }
        let message = messages::answer(&head, &sent, version, large);
        if let Some(answer) = message.filter(|_| script.manner != Manner::CutMidReply) {
            return Ok(said(answer, version));
        }
        let text = if large > 0 { "x".repeat(large) } else { format!("{{\"path\":\"{path}\",\"version\":{version}}}") };
        let mut response = Response::new(body(text.clone()));
        if script.manner == Manner::CutMidReply {
            let frames = [Ok(Frame::data(Bytes::from(text[..5].to_owned()))), Err(cut())];
            response = Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed());
            response.headers_mut().insert("content-length", text.len().into());
        }
        Ok(said(response, version))
    }
}

fn said(mut response: Response<Body>, version: u64) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::VERSION, version.into());
    headers.insert(header::DIGEST, digest(version).to_string().parse().unwrap());
    headers.insert(header::LOAD, 1.into());
    headers.insert(header::ROWS, 1.into());
    response
}

fn echo(headers: &HeaderMap, sent: Bytes) -> Response<Body> {
    let mut response = Response::new(body(sent));
    for name in ["content-type", "content-encoding", header::JSON_LENGTH] {
        if let Some(value) = headers.get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn refuse(kind: Kind) -> Response<Body> {
    let mut response = Response::new(body(format!("{{\"error\":\"{}\"}}", kind.as_str())));
    *response.status_mut() = StatusCode::from_u16(kind.status()).unwrap();
    response.headers_mut().insert(header::ERROR, kind.as_str().parse().unwrap());
    response
}
