//! One-off calls to the parts.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SystemError;
use crate::driver::target::Target;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Calls `url` on a connection of its own: a GET, or a POST of `body`.
pub async fn call(url: &str, body: Option<Bytes>) -> Result<Reply, SystemError> {
    let failed = |error: String| SystemError::Call { url: url.to_owned(), error };
    let target: Target = url.parse().map_err(|e| failed(format!("{e}")))?;
    match timeout(PATIENCE, exchange(&target, body)).await {
        Ok(reply) => reply.map_err(|e| failed(e.to_string())),
        Err(_) => Err(failed(format!("no reply within {PATIENCE:?}"))),
    }
}

/// Calls `url` and wants a reply of status 200.
pub async fn call_ok(url: &str, body: Option<Bytes>) -> Result<Reply, SystemError> {
    let reply = call(url, body).await?;
    if reply.status == StatusCode::OK {
        return Ok(reply);
    }
    let words = String::from_utf8_lossy(&reply.body[..reply.body.len().min(500)]).into_owned();
    Err(SystemError::Call { url: url.to_owned(), error: format!("{}: {words}", reply.status) })
}

/// GETs JSON.
pub async fn get_json<T: DeserializeOwned>(url: &str) -> Result<T, SystemError> {
    let reply = call_ok(url, None).await?;
    let garbled = |error| SystemError::Call { url: url.to_owned(), error: format!("reply can't be read: {error}") };
    serde_json::from_slice(&reply.body).map_err(garbled)
}

async fn exchange(target: &Target, body: Option<Bytes>) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(&target.address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let request = Request::builder()
        .method(method)
        .uri(target.path.clone())
        .header(http::header::HOST, target.host.clone())
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.unwrap_or_default()))?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await?.to_bytes();
    connection.abort();
    Ok(Reply { status: parts.status, headers: parts.headers, body })
}
