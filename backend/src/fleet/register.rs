//! Makes this backend known to gateways: announces itself with a lease, again and again, and leaves when it stops.

use std::time::Duration;

use bytes::Bytes;
use headgate_contract::fleet::{REGISTER_PATH, Register, Registered};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config;

/// How long one announcement may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest pause between announcements.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The largest reply.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// A backend that announces itself.
#[derive(Clone, Debug)]
struct Announcer {
    client: Client<HttpConnector, Full<Bytes>>,
    gateway: Uri,
    token: String,
    register: Register,
}

/// Announces `instance` at `address` to every gateway until `leave`, and then says that it leaves. Ends once all know, or
/// could not be told.
pub async fn announce(config: config::Register, instance: String, address: String, leave: CancellationToken) {
    let lease_ms = config.lease.as_millis() as u64;
    let mut announcers = JoinSet::new();
    for gateway in config.gateways {
        let announcer = Announcer {
            client: Client::builder(TokioExecutor::new()).build_http(),
            gateway,
            token: config.token.clone(),
            register: Register { instance: instance.clone(), address: address.clone(), lease_ms },
        };
        announcers.spawn(announcer.run(leave.clone()));
    }
    while announcers.join_next().await.is_some() {}
}

impl Announcer {
    async fn run(mut self, leave: CancellationToken) {
        let asked = Duration::from_millis(self.register.lease_ms);
        let mut known = None;
        loop {
            let result = tokio::select! {
                () = leave.cancelled() => break,
                result = self.call() => result,
            };
            let gateway = &self.gateway;
            let lease = match &result {
                Ok(lease) => *lease,
                Err(_) => asked,
            };
            match (&result, known) {
                (Ok(_), Some(true)) | (Err(_), Some(false)) => {}
                (Ok(lease), _) => tracing::info!(%gateway, lease_ms = lease.as_millis() as u64, "registered"),
                (Err(error), _) => tracing::warn!(%gateway, error, "can't register: tried again"),
            }
            known = Some(result.is_ok());
            // A third of the lease, so that two announcements may be lost; sooner where it was not heard.
            let pause = if result.is_ok() { lease / 3 } else { (lease / 10).min(Duration::from_secs(1)) };
            let pause = pause.mul_f64(0.9 + 0.1 * rand::random::<f64>()).max(PAUSE_MIN);
            tokio::select! {
                () = leave.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.register.lease_ms = 0;
        if let Err(error) = self.call().await {
            tracing::warn!(gateway = %self.gateway, error, "can't say that it leaves: its lease will end");
        }
    }

    /// One announcement. The lease that was granted.
    async fn call(&self) -> Result<Duration, String> {
        tokio::time::timeout(CALL_TIMEOUT, self.exchange()).await.map_err(|_| "no reply in time".to_owned())?
    }

    async fn exchange(&self) -> Result<Duration, String> {
        let base = self.gateway.to_string();
        let request = Request::post(format!("{}{REGISTER_PATH}", base.trim_end_matches('/')))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&self.register).map_err(|e| e.to_string())?)))
            .map_err(|e| e.to_string())?;
        let response = self.client.request(request).await.map_err(|e| words(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body).chars().take(200).collect::<String>()));
        }
        match serde_json::from_slice::<Registered>(&body) {
            Ok(registered) => Ok(Duration::from_millis(registered.lease_ms)),
            Err(_) if status == StatusCode::NO_CONTENT => Ok(Duration::from_millis(self.register.lease_ms)),
            Err(error) => Err(format!("reply: {error}")),
        }
    }
}

/// An error with what caused it: hyper's own words do not say.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
