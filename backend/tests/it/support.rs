//! A store, backends that serve it, and a client.

pub(crate) mod certs;
pub(crate) mod client;
pub(crate) mod models;
pub(crate) mod server;

pub(crate) use client::{Answer, get, post, post_with, send};
pub(crate) use models::{Bucket, linear};
pub(crate) use server::Server;

use std::future::Future;
use std::time::{Duration, Instant};

/// Waits until `condition` holds; fails where it does not within half a minute.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(30), "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
