//! The list in the configuration; a reload changes it.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Discover, DiscoverError, Endpoint};

/// The list in the configuration.
pub struct Fixed {
    list: watch::Receiver<Vec<String>>,
    told: bool,
}

impl Fixed {
    /// Follows a list.
    pub fn new(list: watch::Receiver<Vec<String>>) -> Self {
        Self { list, told: false }
    }
}

#[async_trait]
impl Discover for Fixed {
    fn name(&self) -> &'static str {
        "static"
    }

    async fn next(&mut self) -> Result<Vec<Endpoint>, DiscoverError> {
        if self.told && self.list.changed().await.is_err() {
            // Nobody can change it any more.
            std::future::pending::<()>().await;
        }
        self.told = true;
        let list = self.list.borrow_and_update();
        Ok(list.iter().map(|address| Endpoint { address: address.clone(), name: None }).collect())
    }
}
