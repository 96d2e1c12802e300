//! What starts real backends in their own tests.

#[path = "../../../../backend/tests/it/support/certs.rs"]
pub(crate) mod certs;
#[path = "../../../../backend/tests/it/support/client.rs"]
pub(crate) mod client;
#[path = "../../../../backend/tests/it/support/models.rs"]
pub(crate) mod models;
#[path = "../../../../backend/tests/it/support/server.rs"]
pub(crate) mod server;

pub(crate) use client::{get, post, send};
pub(crate) use models::{Bucket, linear};
pub(crate) use server::Server;

use std::future::Future;

pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    crate::until(what, async || condition().await).await;
}
