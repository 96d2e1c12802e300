//! A backend on port 0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use headgate_backend::{Config, Error, run};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Bucket, get, send, until};

/// A backend that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) running: JoinHandle<Result<(), Error>>,
    _cache: Option<TempDir>,
}

impl Server {
    /// A backend with a cache of its own, that has become ready.
    pub(crate) async fn start(bucket: &Bucket) -> Self {
        let server = Self::start_with(bucket, &[]).await;
        server.ready().await;
        server
    }

    pub(crate) async fn start_with(bucket: &Bucket, flags: &[(&str, &str)]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut server = Self::start_at(bucket, cache.path(), flags).await;
        server._cache = Some(cache);
        server
    }

    pub(crate) async fn start_at(bucket: &Bucket, cache: &Path, flags: &[(&str, &str)]) -> Self {
        let mut all = BTreeMap::from([
            ("store".to_owned(), bucket.store.url().to_string()),
            ("cache.dir".to_owned(), cache.display().to_string()),
            ("poll_interval_ms".to_owned(), "30".to_owned()),
            ("drain.lame_duck_ms".to_owned(), "200".to_owned()),
            ("drain.deadline_ms".to_owned(), "5000".to_owned()),
            ("limits.timeout_ms".to_owned(), "20000".to_owned()),
        ]);
        all.extend(flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let config = Config::from_flags(all).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(run(config, listener, async move {
            let _ = stopped.await;
        }));
        Self { addr, stop: Some(stop), running, _cache: None }
    }

    /// One that runs elsewhere.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self { addr, stop: None, running: tokio::spawn(async { Ok(()) }), _cache: None }
    }

    pub(crate) async fn ready(&self) {
        until("ready", || async { get(self.addr, "/v2/health/ready").await.status == 200 }).await;
    }

    /// What SIGTERM does.
    pub(crate) fn terminate(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// State and reason of a version in the index.
    pub(crate) async fn state(&self, model: &str, version: u64) -> (String, String) {
        let index = get(self.addr, "/v2/repository/index").await.json();
        let version = version.to_string();
        let entry = index.as_array().unwrap().iter().find(|e| e["name"] == model && e["version"] == version.as_str());
        let text = |key: &str| entry.map_or(String::new(), |e| e[key].as_str().unwrap().to_owned());
        (text("state"), text("reason"))
    }

    pub(crate) async fn until_state(&self, model: &str, version: u64, state: &str) -> String {
        until(&format!("{model} {version} {state}"), || async { self.state(model, version).await.0 == state }).await;
        self.state(model, version).await.1
    }

    /// The version that answers a call of `age` 30.
    pub(crate) async fn answers(&self, model: &str) -> String {
        let answer =
            super::post(self.addr, &format!("/v1/models/{model}:predict"), r#"{"instances":[[30,7.5]]}"#).await;
        answer.header("x-headgate-version").to_owned()
    }

    pub(crate) async fn until_answers(&self, model: &str, version: u64) {
        let version = version.to_string();
        until(&format!("{model} answers with {version}"), || async { self.answers(model).await == version }).await;
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> String {
        let page = String::from_utf8(get(self.addr, "/metrics").await.body.to_vec()).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{page}")).to_owned()
    }

    /// What a gateway is told.
    pub(crate) async fn fleet_state(&self, query: &str) -> Value {
        let headers = [("x-headgate-gateway", "g1")];
        let path = format!("/fleet/v1/state?{query}");
        send(self.addr, Method::GET, &path, &headers, Bytes::new()).await.unwrap().json()
    }
}
