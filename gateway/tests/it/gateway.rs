//! A gateway in the test's process, and a caller.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::config::Sources;
use headgate_gateway::server::{Drained, ServeError};
use headgate_gateway::{Config, Gateway as Served, Listeners};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

use crate::backend::Backend;
use crate::until;

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) address: String,
    pub(crate) admin: String,
    client: Client<HttpConnector, Full<Bytes>>,
    reload: Box<dyn Fn(Config) + Send + Sync>,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<Result<Drained, ServeError>>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the tests set: quick steps, no slow start.
pub(crate) fn config(backends: &[&Backend], more: &str) -> Config {
    let list: Vec<&str> = backends.iter().map(|backend| backend.address.as_str()).collect();
    let mut flags = vec![
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("server.lame_duck_ms".to_owned(), "0".to_owned()),
        ("server.drain_ms".to_owned(), "5000".to_owned()),
        ("discovery.backends".to_owned(), serde_json::to_string(&list).unwrap()),
        ("fleet.slow_start_ms".to_owned(), "0".to_owned()),
        ("fleet.probe_ms".to_owned(), "100".to_owned()),
    ];
    for line in more.lines() {
        let (key, value) = line.split_once('=').unwrap();
        flags.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Config::load(&Sources { flags, ..Sources::default() }).unwrap()
}

impl Gateway {
    /// A gateway in front of these backends, ready as soon as one of them is.
    pub(crate) async fn before(backends: &[&Backend], more: &str) -> Self {
        let gateway = Self::start(config(backends, more)).await;
        gateway.until_ready(backends.len()).await;
        gateway
    }

    pub(crate) async fn start(config: Config) -> Self {
        let edge = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, admin_address) =
            (edge.local_addr().unwrap().to_string(), admin.local_addr().unwrap().to_string());
        let (stop, stopped) = oneshot::channel();
        let gateway = Served::new(config).unwrap();
        let reload = Box::new(gateway.reload());
        let served =
            tokio::spawn(async move { gateway.serve(Listeners { edge, admin }, async { drop(stopped.await) }).await });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, admin: admin_address, client, reload, stop: Some(stop), served }
    }

    pub(crate) async fn until_ready(&self, backends: usize) {
        until("backends are active", async || {
            let state = self.state().await;
            let backends_now = state["backends"].as_array().unwrap();
            backends_now.iter().filter(|backend| backend["state"] == "active").count() == backends
        })
        .await;
    }

    pub(crate) fn reload(&self, config: Config) {
        (self.reload)(config);
    }

    /// As SIGTERM would.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn stopped(self) -> Drained {
        self.served.await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self) -> serde_json::Value {
        self.admin("GET", "/state", "").await.json()
    }

    /// The state of a backend.
    pub(crate) async fn backend_state(&self, name: &str) -> String {
        let state = self.state().await;
        let found = state["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == name).cloned();
        found.map_or_else(|| "gone".to_owned(), |backend| backend["state"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.admin));
        self.send(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path, &[], "")).await.unwrap()
    }

    /// A prediction of model `m`.
    pub(crate) async fn infer(&self) -> Answer {
        self.post("/v2/models/m/infer", &[]).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(self.request("POST", path, headers, "{\"inputs\":[]}")).await.unwrap()
    }

    pub(crate) async fn post_body(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post(format!("http://{}{path}", self.address)).body(Full::new(body.into())).unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    }

    /// Sends, within twenty seconds.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        send(&self.client, request).await
    }

    /// Keeps `clients` callers busy until told to stop; gives the answers.
    pub(crate) fn load(&self, clients: usize, path: &str) -> Load {
        let stop = tokio_util::sync::CancellationToken::new();
        let tasks = (0..clients).map(|_| {
            let (client, stop) = (self.client.clone(), stop.clone());
            let uri = format!("http://{}{path}", self.address);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.is_cancelled() {
                    let request = Request::post(&uri).body(Full::new(Bytes::from_static(b"{}"))).unwrap();
                    let answer = send(&client, request).await;
                    // Who is refused waits a little, less than it is told to.
                    if answer.as_ref().is_ok_and(|answer| answer.headers.contains_key("retry-after")) {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    answers.push(answer);
                }
                answers
            })
        });
        Load { stop: stop.clone(), tasks: tasks.collect() }
    }
}

/// Callers that go on until they are told to stop.
pub(crate) struct Load {
    pub(crate) stop: tokio_util::sync::CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<Vec<Result<Answer, String>>>>,
}

impl Load {
    /// Ends it; all answers, each of them good.
    pub(crate) async fn all_good(self) -> Vec<Answer> {
        let answers = self.all().await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        answers
    }

    /// Ends it; all answers.
    pub(crate) async fn all(self) -> Vec<Answer> {
        self.stop.cancel();
        let mut answers = Vec::new();
        for task in self.tasks {
            answers.extend(task.await.unwrap().into_iter().map(Result::unwrap));
        }
        answers
    }
}

pub(crate) async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let sent = async {
        let response = client.request(request).await.map_err(|e| format!("{e:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap()
}
