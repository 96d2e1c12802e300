//! Where backends come from: any number of providers at once, each a stream of full answers. When one fails, its last
//! good answer stands.

mod fixed;
mod registration;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::foreign::Spec;

pub use fixed::Fixed;
pub use registration::{Refused, Registry};

/// How long a provider that failed is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// A backend as a provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Its stable name, where the provider knows it.
    pub name: Option<String>,
    /// What it is, where it is none of ours.
    pub foreign: Option<Spec>,
}

impl Endpoint {
    /// A backend of ours.
    pub fn ours(address: &str, name: Option<&str>) -> Self {
        Self { address: address.to_owned(), name: name.map(str::to_owned), foreign: None }
    }

    /// A server that is none of ours.
    pub fn foreign(spec: &Spec) -> Self {
        Self { address: spec.address.clone(), name: None, foreign: Some(spec.clone()) }
    }

    /// What tells it from others: one that is listed as something else is another one.
    pub(crate) fn key(&self) -> String {
        self.foreign.as_ref().map_or_else(|| self.address.clone(), ToString::to_string)
    }
}

/// Why a provider has no answer; a retry can help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DiscoverError(pub String);

/// A source of backends.
#[async_trait]
pub trait Discover: Send {
    /// Its name in logs.
    fn name(&self) -> &'static str;

    /// Waits until what it lists has changed (the first time: not at all), and lists all of it.
    async fn next(&mut self) -> Result<Vec<Endpoint>, DiscoverError>;
}

/// Tells the fleet what a provider lists, until `stop`.
pub async fn follow(fleet: Arc<Fleet>, mut provider: Box<dyn Discover>, stop: CancellationToken) {
    while let Some(answer) = stop.run_until_cancelled(provider.next()).await {
        match answer {
            Ok(endpoints) => fleet.list(provider.name(), endpoints),
            Err(error) => {
                tracing::warn!(provider = provider.name(), %error, "discovery failed: its last answer stands");
                let _ = stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;

    use arc_swap::ArcSwap;
    use headgate_contract::config::Sources;

    use super::*;
    use crate::config::Config;
    use crate::workers::{Stay, Workers};

    /// Answers as it is told to, then stays silent.
    struct Scripted(VecDeque<Result<Vec<Endpoint>, DiscoverError>>);

    #[async_trait]
    impl Discover for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        async fn next(&mut self) -> Result<Vec<Endpoint>, DiscoverError> {
            match self.0.pop_front() {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_stands() {
        let config = Config::load(&Sources::default()).unwrap();
        let stop = CancellationToken::new();
        let fleet = Fleet::new(
            Arc::new(ArcSwap::from_pointee(config)),
            Workers::start(1, Stay::default()).unwrap().threads(),
            stop.clone(),
        );
        let endpoint = |address: &str| Endpoint::ours(address, None);
        let answers = [
            Ok(vec![endpoint("127.0.0.1:1"), endpoint("127.0.0.1:2")]),
            Err(DiscoverError("down".into())),
            Ok(vec![endpoint("127.0.0.1:2"), endpoint("127.0.0.1:3")]),
        ];
        let task = tokio::spawn(follow(fleet.clone(), Box::new(Scripted(answers.into())), stop.clone()));
        tokio::time::sleep(AGAIN / 2).await;
        let draining = |fleet: &Fleet| {
            let snapshot = fleet.snapshot();
            let drains = |s: &&crate::fleet::Seen| s.state == headgate_balance::life::State::Draining;
            (snapshot.backends.len(), snapshot.backends.iter().filter(drains).count())
        };
        assert_eq!(draining(&fleet), (2, 0));
        tokio::time::sleep(AGAIN).await;
        assert_eq!(draining(&fleet), (3, 1));
        stop.cancel();
        task.await.unwrap();
    }
}
