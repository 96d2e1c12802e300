//! The line to one start of a process: HTTP/1.1 over its Unix socket, on connections that are kept.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use headgate_contract::error::ErrorBody;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::refusal::shorten;

/// Characters of an error's words that are passed on.
const WORDS_MAX: usize = 500;

/// A line. Calls on it are bounded by its user.
#[derive(Debug)]
pub(super) struct Line {
    socket: PathBuf,
    answer_bytes_max: usize,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// The connection can't be made, or broke.
    #[error("{0}")]
    Broken(String),
    /// It answers, but not as it must.
    #[error("{0}")]
    Protocol(String),
    /// It says that the call is wrong.
    #[error("{0}")]
    Refused(String),
    /// It says that it has no room.
    #[error("{0}")]
    Busy(String),
    /// It says that it failed.
    #[error("{0}")]
    Failed(String),
}

impl Line {
    /// A line to a socket; nothing is connected yet.
    pub(super) fn new(socket: PathBuf, answer_bytes_max: usize) -> Self {
        Self { socket, answer_bytes_max, idle: Mutex::default() }
    }

    /// Whether it says that it is ready.
    pub(super) async fn is_ready(&self) -> Result<bool, LineError> {
        let (status, _) = self.call(Method::GET, "/v2/health/ready", Bytes::new()).await?;
        Ok(status == StatusCode::OK)
    }

    /// Posts a body to a path, and gives the answer's.
    pub(super) async fn post(&self, path: &str, body: Bytes) -> Result<Bytes, LineError> {
        let (status, answer) = self.call(Method::POST, path, body).await?;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let words = serde_json::from_slice::<ErrorBody>(&answer).map_or_else(|_| status.to_string(), |body| body.error);
        let words = shorten(&words, WORDS_MAX);
        Err(match status.as_u16() {
            429 | 503 => LineError::Busy(words),
            400..=499 => LineError::Refused(words),
            500..=599 => LineError::Failed(words),
            other => LineError::Protocol(format!("status {other} came, 200 expected")),
        })
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), LineError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(kept) = kept
            && !kept.is_closed()
        {
            // It may close what it kept open at this very moment; a call may be made twice, as it changes nothing.
            match self.exchange(kept, &method, path, body.clone()).await {
                Err(LineError::Broken(_)) => {}
                done => return done,
            }
        }
        let fresh = self.connect().await?;
        self.exchange(fresh, &method, path, body).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LineError> {
        let broken = |e: &dyn std::fmt::Display| LineError::Broken(format!("its socket can't be connected to: {e}"));
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| broken(&e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        // Ends with the sender, or when the process closes it.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), LineError> {
        let request = Request::builder().method(method).uri(path).header(HOST, "process");
        let request = match body.is_empty() {
            true => request,
            false => request.header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, body.len()),
        };
        let request = request.body(Full::new(body)).map_err(|e| LineError::Protocol(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| match error.is_parse() {
            true => LineError::Protocol(format!("its answer is no HTTP: {error}")),
            false => LineError::Broken(format!("the connection broke: {error}")),
        })?;
        let status = response.status();
        let body = self.read(response.into_body()).await?;
        if sender.is_ready() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok((status, body))
    }

    async fn read(&self, mut body: Incoming) -> Result<Bytes, LineError> {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| match e.is_parse() {
                true => LineError::Protocol(format!("its answer is no HTTP: {e}")),
                false => LineError::Broken(format!("its answer broke off: {e}")),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > self.answer_bytes_max {
                let most = self.answer_bytes_max;
                return Err(LineError::Protocol(format!("its answer has more than {most} bytes")));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}
