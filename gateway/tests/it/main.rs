//! The gateway as its users see it, in front of real HTTP servers that speak to it as backends do, or lie.
#![allow(clippy::unwrap_used)]

mod admin;
mod backend;
mod balance;
mod discovery;
mod doors;
mod floods;
mod foreign;
mod gateway;
mod grpc;
mod http2;
mod lifecycle;
mod limits;
mod link;
mod patience;
mod place;
mod process;
mod rawh2;
mod release;
mod retry;
mod rogue;
mod routing;
mod smuggling;
mod subset;
mod tls;
mod zones;

use std::time::Duration;

/// Waits until something holds, for ten seconds at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within ten seconds");
}
