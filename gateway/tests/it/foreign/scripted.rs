//! A server of the Open Inference Protocol that answers what it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What is answered at one path: after how long, with which status, with what.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) after: Duration,
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A running one; it has model `m`, version 1.
pub(crate) struct Scripted {
    pub(crate) address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<&'static str, Answered>>,
    asked: Mutex<Vec<Asked>>,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) const READY: &str = "/v2/health/ready";
pub(crate) const LIVE: &str = "/v2/health/live";
pub(crate) const INDEX: &str = "/v2/repository/index";
/// All predictions.
pub(crate) const INFER: &str = "infer";
const UPGRADE: &str = "upgrade";

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        let scripted = Self { address, shared, server };
        for path in [READY, LIVE] {
            scripted.answer(path, 200, "");
        }
        scripted.lists(&[("m", "1", "READY")]);
        scripted.answer(INFER, 200, r#"{"model_name":"m","outputs":[]}"#);
        scripted
    }

    pub(crate) fn answer(&self, path: &'static str, status: u16, body: &str) {
        self.answer_after(Duration::ZERO, path, status, body);
    }

    pub(crate) fn answer_after(&self, after: Duration, path: &'static str, status: u16, body: &str) {
        self.shared.answers.lock().unwrap().insert(path, Answered { after, status, body: body.to_owned() });
    }

    /// Its index: models, versions, states.
    pub(crate) fn lists(&self, entries: &[(&str, &str, &str)]) {
        let entries = entries
            .iter()
            .map(|(name, version, state)| serde_json::json!({"name": name, "version": version, "state": state}));
        self.answer(INDEX, 200, &serde_json::Value::from_iter(entries).to_string());
    }

    /// What it was asked at paths that end so.
    pub(crate) fn asked(&self, end: &str) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().iter().filter(|asked| asked.path.ends_with(end)).cloned().collect()
    }

    /// Whether anybody asked for another protocol, or for what only our backends have.
    pub(crate) fn was_taken_for_ours(&self) -> bool {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().any(|asked| asked.path.starts_with("/fleet") || asked.headers.contains_key(UPGRADE))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    shared.asked.lock().unwrap().push(Asked { path: path.clone(), headers: head.headers, body });
    let key = if path.ends_with("/infer") { INFER } else { &path };
    let answered = shared.answers.lock().unwrap().get(key).cloned();
    let answered = answered.unwrap_or(Answered { after: Duration::ZERO, status: 404, body: String::new() });
    tokio::time::sleep(answered.after).await;
    Ok(Response::builder().status(answered.status).body(Full::new(answered.body.into())).unwrap())
}
