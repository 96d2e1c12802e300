//! Calls over links: in front of real backends, and of sides of it that do what they should not.

mod peer;
mod real;
#[allow(dead_code, unreachable_pub)]
pub(crate) mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_contract::header;

use crate::backend::{Backend, Script};
use crate::gateway::{Gateway, config};
use crate::until;
use peer::{Manner, Peer};

/// Whether a reply came over the link.
fn over_link(answer: &crate::gateway::Answer) -> bool {
    answer.text().contains("link")
}

/// A gateway before these, once their states are known.
async fn before(peers: &[&Peer], backends: &[&Backend], more: &str) -> Gateway {
    // Each thread opens a link: with one, it is known how many there are.
    let mut config = config(backends, more);
    config.server.threads = 1;
    config.discovery.backends.extend(peers.iter().map(|peer| peer.address.clone()));
    let gateway = Gateway::start(config).await;
    gateway.until_ready(peers.len() + backends.len()).await;
    gateway
}

async fn links(gateway: &Gateway, address: &str) -> u64 {
    let state = gateway.state().await;
    let backends = state["backends"].as_array().unwrap();
    let found = backends.iter().find(|backend| backend["address"] == address);
    found.unwrap()["links"].as_u64().unwrap()
}

/// A peer in front of a server, and a gateway in front of it.
async fn one(manner: Manner, more: &str) -> (Backend, Peer, Gateway) {
    let backend = Backend::start("b1", Script::ready()).await;
    let peer = Peer::before(&backend, manner).await;
    let gateway = before(&[&peer], &[], more).await;
    (backend, peer, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn small_predictions_go_over_the_link_and_all_else_by_http() {
    let (backend, peer, gateway) = one(Manner::Well, "").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    for path in ["/v2/models/m/infer", "/v1/models/m:predict", "/endpoints/m/invocations"] {
        let answer = gateway.post(path, &[("traceparent", "00-1")]).await;
        assert!(answer.status == 200 && over_link(&answer), "{path}: {}", answer.text());
        assert_eq!((answer.header(header::VERSION), answer.header(header::BACKEND)), ("1", "b1"));
        assert!(answer.header(header::LOAD).is_empty() && !answer.header(header::DIGEST).is_empty());
    }
    assert_eq!(backend.calls(), 0);
    assert!(!over_link(&gateway.get("/v2/models/m").await));
    assert!(!over_link(&gateway.post_body("/v2/models/m/infer", vec![b'x'; 70_000]).await));
    let long = "x".repeat(9_000);
    assert!(!over_link(&gateway.post("/v2/models/m/infer", &[("x-long", &long)]).await));
    assert_eq!(backend.calls(), 3);
    // One head for calls that have it in common, whatever their ids.
    let (calls, heads) = (peer.seen.calls.load(Relaxed), peer.seen.heads.load(Relaxed));
    for n in 0..20 {
        let id = format!("id-{n}");
        assert!(over_link(&gateway.post("/v2/models/m/infer", &[("x-request-id", &id), ("traceparent", &id)]).await));
    }
    assert_eq!(peer.seen.calls.load(Relaxed) - calls, 20);
    assert!(peer.seen.heads.load(Relaxed) - heads <= 2, "{} heads", peer.seen.heads.load(Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_links_gets_its_calls_by_http() {
    for manner in [
        Manner::Answers("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        Manner::Answers("HTTP/1.1 426 Upgrade Required\r\nx-headgate-link: 2-3\r\ncontent-length: 0\r\n\r\n"),
        Manner::Answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        Manner::Answers("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"),
        Manner::Answers("garbage\r\n\r\n"),
        Manner::Answers(""),
        Manner::Speaks(2),
        Manner::Grants(0),
    ] {
        let (_backend, peer, gateway) = one(manner, "").await;
        until("a link was asked for", async || peer.seen.asked.load(Relaxed) > 0).await;
        for _ in 0..5 {
            let answer = gateway.infer().await;
            assert!(answer.status == 200 && !over_link(&answer), "{manner:?}: {}", answer.text());
        }
        assert_eq!(links(&gateway, &peer.address).await, 0, "{manner:?}");
    }
    let (_backend, peer, gateway) = one(Manner::Well, "fleet.link_connections=0").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((gateway.infer().await.status.as_u16(), peer.seen.asked.load(Relaxed)), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_backend_does_on_its_link_another_answers_and_the_link_ends() {
    for manner in [
        Manner::Sends(&[0xff; 64]),
        Manner::Sends(&[0; 64]),
        Manner::Sends(b"HTTP/1.1 200 OK\r\n\r\n"),
        // A frame that only gateways send, and a hello again.
        Manner::Sends(&[9, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0]),
        Manner::Sends(&[16, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        Manner::Unknown,
        Manner::Cuts,
        Manner::Stalls,
    ] {
        let (b1, b2) = (Backend::start("b1", Script::ready()).await, Backend::start("b2", Script::ready()).await);
        let bad = Peer::before(&b1, Manner::Well).await;
        let more = "fleet.eject_failures=0\nlimits.deadline_ms=8000\nlimits.deadline_max_ms=20000";
        let gateway = before(&[&bad], &[&b2], more).await;
        until("a link is open", async || links(&gateway, &bad.address).await == 1).await;
        bad.behave(manner);
        until("calls met it", async || {
            let answer = gateway.infer().await;
            assert_eq!(answer.status, 200, "{manner:?}: {}", answer.text());
            bad.seen.calls.load(Relaxed) > 0
        })
        .await;
        until("the link is closed", async || bad.seen.open.load(Relaxed) == 0 || bad.seen.asked.load(Relaxed) > 1)
            .await;
        // Another is opened, and good again.
        bad.behave(Manner::Well);
        until("links are good again", async || over_link(&gateway.infer().await)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reply_ends_the_link_but_not_the_call() {
    let (_backend, peer, gateway) = one(Manner::Twice, "fleet.eject_failures=0").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    for _ in 0..10 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    until("the link is closed, and another asked for", async || peer.seen.asked.load(Relaxed) > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_cancelled_and_its_late_reply_harms_nobody() {
    for manner in [Manner::Waits, Manner::AnswersCancelled] {
        let (_backend, peer, gateway) = one(manner, "fleet.eject_failures=0").await;
        until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
        for _ in 0..3 {
            let answer = gateway.post("/v2/models/m/infer", &[("x-headgate-timeout-ms", "60")]).await;
            assert_eq!(answer.status, 504);
        }
        until("they are cancelled", async || peer.seen.cancels.load(Relaxed) == peer.seen.calls.load(Relaxed)).await;
        peer.behave(Manner::Well);
        assert!(over_link(&gateway.infer().await));
        assert_eq!(peer.seen.asked.load(Relaxed), 1, "{manner:?}: the link was closed");
        // It was silent for longer than a call, and answered pings.
        peer.behave(Manner::Waits);
        let answer = gateway.post("/v2/models/m/infer", &[("x-headgate-timeout-ms", "2500")]).await;
        assert_eq!((answer.status.as_u16(), peer.seen.asked.load(Relaxed)), (504, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_holds_its_cost_until_it_is_closed() {
    let (_backend, peer, gateway) = one(Manner::Keeps, "fleet.eject_failures=0\nserver.name=gateway-7").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    assert_eq!(*peer.seen.name.lock().unwrap(), "gateway-7");
    let cost = async || gateway.state().await["backends"][0]["cost_us"].as_u64().unwrap();
    assert_eq!(cost().await, 0);
    let answer = gateway.post("/v2/models/m/infer", &[("x-headgate-timeout-ms", "60")]).await;
    assert_eq!(answer.status, 504);
    until("it is cancelled", async || peer.seen.cancels.load(Relaxed) == 1).await;
    assert!(cost().await > 0, "the backend may still work on it");
    // With its link it is gone.
    peer.behave(Manner::Cuts);
    gateway.infer().await;
    until("it holds nothing", async || cost().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_fits_no_frame_comes_by_http() {
    let (backend, peer, gateway) = one(Manner::TooLarge, "").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    let answer = gateway.infer().await;
    assert!(answer.status == 200 && !over_link(&answer));
    assert_eq!((peer.seen.calls.load(Relaxed), backend.calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_go_over_a_link_than_were_granted() {
    let (backend, peer, gateway) = one(Manner::Grants(3), "limits.deadline_ms=10000").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    let load = gateway.load(16, "/v2/models/m/infer");
    until("it is under load", async || peer.seen.calls.load(Relaxed) > 50 && backend.calls() > 50).await;
    load.all_good().await;
    assert!(peer.seen.most.load(Relaxed) <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_backend_gets_no_more_calls_over_its_link() {
    let (_backend, peer, gateway) = one(Manner::Drains, "").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    assert!(over_link(&gateway.infer().await), "what crosses the news is answered");
    until("the link is closed", async || peer.seen.open.load(Relaxed) == 0).await;
    for _ in 0..5 {
        let answer = gateway.infer().await;
        assert!(answer.status == 200 && !over_link(&answer));
    }
    assert_eq!((peer.seen.asked.load(Relaxed), peer.seen.calls.load(Relaxed)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_leaves_the_list_keeps_no_link() {
    let (_backend, peer, gateway) = one(Manner::Well, "").await;
    until("a link is open", async || links(&gateway, &peer.address).await == 1).await;
    gateway.reload(config(&[], ""));
    until("its link is closed", async || peer.seen.open.load(Relaxed) == 0).await;
}
