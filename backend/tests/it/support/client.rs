//! HTTP requests.

use std::net::SocketAddr;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Checks that it is an error of this status that names all of this.
    #[track_caller]
    pub(crate) fn says(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].as_str().unwrap_or_default().to_owned();
        for word in words {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
    }
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    send(addr, Method::GET, path, &[], Bytes::new()).await.unwrap()
}

pub(crate) async fn post(addr: SocketAddr, path: &str, body: impl ToString) -> Answer {
    post_with(addr, path, &[], body).await
}

pub(crate) async fn post_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: impl ToString) -> Answer {
    send(addr, Method::POST, path, headers, body.to_string().into()).await.unwrap()
}

pub(crate) async fn send(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Answer, hyper_util::client::legacy::Error> {
    // No connection outlives its test's runtime.
    static EXECUTOR: LazyLock<TokioExecutor> = LazyLock::new(TokioExecutor::new);
    let client: Client<_, Full<Bytes>> = Client::builder(EXECUTOR.clone()).pool_max_idle_per_host(0).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{addr}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(Full::new(body)).unwrap()).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
