//! Small HTTP calls to the parts of a running Headgate.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

const REPLY_BYTES_MAX: usize = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answered; a retry can help.
    #[error("{address} does not answer: {reason}")]
    Unreachable {
        /// Where the call went.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The answer was an error.
    #[error("{address}{path} answered {status}: {body}")]
    Status {
        /// Where the call went.
        address: String,
        /// The path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The answer is not what was expected.
    #[error("{address}{path} answered what this build can't read: {reason}")]
    Garbled {
        /// Where the call went.
        address: String,
        /// The path.
        path: String,
        /// What the parser said.
        reason: String,
    },
}

/// GET, with a bearer token where there is one, expecting JSON.
pub(crate) async fn get<T: DeserializeOwned>(address: &str, path: &str, token: Option<&str>) -> Result<T, ClientError> {
    read(address, path, &call(address, Method::GET, path, Bytes::new(), token).await?)
}

/// POST of JSON, with a bearer token where there is one; the reply's bytes.
pub(crate) async fn post(
    address: &str,
    path: &str,
    body: &impl Serialize,
    token: Option<&str>,
) -> Result<Bytes, ClientError> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    call(address, Method::POST, path, body.into(), token).await
}

/// Whether a GET answers with a status of success.
pub(crate) async fn ok(address: &str, path: &str) -> bool {
    call(address, Method::GET, path, Bytes::new(), None).await.is_ok()
}

async fn call(
    address: &str,
    method: Method,
    path: &str,
    body: Bytes,
    token: Option<&str>,
) -> Result<Bytes, ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable { address: address.to_owned(), reason };
    let host = address.trim_start_matches("http://").trim_end_matches('/');
    let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    request = request.header("host", host).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(body)).map_err(|e| unreachable(e.to_string()))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let reply = client.request(request).await.map_err(|e| unreachable(root_cause(&e)))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|e| unreachable(e.to_string()))?.to_bytes()))
    };
    let (status, body) = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))??;
    if status.is_success() {
        return Ok(body);
    }
    let body = String::from_utf8_lossy(&body).chars().take(400).collect();
    Err(ClientError::Status { address: address.to_owned(), path: path.to_owned(), status: status.as_u16(), body })
}

fn read<T: DeserializeOwned>(address: &str, path: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|e| ClientError::Garbled {
        address: address.to_owned(),
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

/// The innermost error: `connection refused` rather than `client error (Connect)`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
