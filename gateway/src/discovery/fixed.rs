//! The lists in the configuration, of our backends and of others; a reload changes them.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Discover, DiscoverError, Endpoint};

/// The list in the configuration.
pub struct Fixed {
    list: watch::Receiver<Vec<Endpoint>>,
    told: bool,
}

impl Fixed {
    /// Follows a list.
    pub fn new(list: watch::Receiver<Vec<Endpoint>>) -> Self {
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
        Ok(self.list.borrow_and_update().clone())
    }
}
