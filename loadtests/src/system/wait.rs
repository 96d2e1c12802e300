//! Waiting until the parts are where they should be.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::sleep;

use super::{System, SystemError, http};

/// How long a part may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is read of the gateway's state.
#[derive(Debug, Deserialize)]
struct Fleet {
    backends: Vec<Seen>,
}

#[derive(Debug, Deserialize)]
struct Seen {
    name: String,
    state: String,
}

impl System {
    /// Waits until the running backends and the gateway say that they are ready.
    pub async fn ready(&mut self) -> Result<(), SystemError> {
        let addresses: Vec<_> = self.running().into_iter().map(|(_, address)| address).chain([self.gateway]).collect();
        for address in addresses {
            self.wait_for(&format!("http://{address}/v2/health/ready"), None).await?;
        }
        Ok(())
    }

    /// Waits until a GET of `url`, or a POST of `body`, answers with 200.
    pub async fn wait_for(&mut self, url: &str, body: Option<Bytes>) -> Result<(), SystemError> {
        let started = Instant::now();
        loop {
            self.check()?;
            let last = match http::call_ok(url, body.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => format!("; at last: {error}"),
            };
            if started.elapsed() > READY_WITHIN {
                return Err(SystemError::Late { what: format!("no 200 from {url}"), patience: READY_WITHIN, last });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the gateway gives each of these backends its full share.
    pub async fn active(&mut self, backends: &[usize]) -> Result<(), SystemError> {
        let started = Instant::now();
        let url = format!("http://{}/state?limit=0", self.admin);
        loop {
            self.check()?;
            let fleet: Fleet = http::get_json(&url).await?;
            let is_active = |at: &usize| {
                let name = self.backends.get(*at).map(|backend| backend.name.as_str());
                fleet.backends.iter().any(|seen| Some(seen.name.as_str()) == name && seen.state == "active")
            };
            if backends.iter().all(is_active) {
                return Ok(());
            }
            if started.elapsed() > READY_WITHIN {
                let last = format!("; at last: {:?}", fleet.backends);
                return Err(SystemError::Late {
                    what: "a backend is not active".to_owned(),
                    patience: READY_WITHIN,
                    last,
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
