//! TLS with backends: calls and links by it, and whom the gateway does not believe.

use serde_json::json;

use crate::gateway::{Answer, Gateway, config};
use crate::link::support::certs::{Authority, Signed};
use crate::link::support::models::score;
use crate::link::support::{Bucket, Server, linear};
use crate::until;

const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn served(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, flags).await;
    (bucket, server)
}

async fn before(server: &Server, keys: &str) -> Gateway {
    let mut config = config(&[], &format!("limits.deadline_ms=10000\nfleet.connect_timeout_ms=1000\n{keys}"));
    config.discovery.backends.push(server.addr.to_string());
    Gateway::start(config).await
}

/// The gateway's keys for an authority, and for a certificate of its own.
fn keys(ca: &str, own: Option<&Signed>) -> String {
    let own = own.map(|own| format!("\nfleet.tls.cert={}\nfleet.tls.key={}", own.cert, own.key));
    format!("fleet.tls.ca={ca}{}", own.unwrap_or_default())
}

async fn predicts(gateway: &Gateway, rows: usize) -> Answer {
    let row = [30.0, 7.5];
    let answer = gateway.post_body("/v1/models/bank:predict", json!({"instances": vec![row; rows]}).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"predictions": vec![score(WEIGHTS, row); rows]}));
    answer
}

/// Waits until the admin port says this of the only backend, which is not active.
async fn until_said(gateway: &Gateway, words: &str) {
    until(words, async || {
        let state = gateway.state().await;
        let backend = &state["backends"][0];
        backend["state"] == "pending" && backend["error"].as_str().is_some_and(|error| error.contains(words))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_by_tls_over_links_and_beside_them() {
    let authority = Authority::new();
    let (own, gateways, ca) = (authority.signs("127.0.0.1"), authority.signs("gateway"), authority.ca());
    let flags = [own.flags().as_slice(), &[("tls.client_ca", ca.as_str())]].concat();
    let (_bucket, mut server) = served(&flags).await;
    let linked = before(&server, &keys(&ca, Some(&gateways))).await;
    let plain = before(&server, &format!("{}\nfleet.link_connections=0", keys(&ca, Some(&gateways)))).await;
    for gateway in [&linked, &plain] {
        gateway.until_ready(1).await;
    }
    until("a link is open", async || linked.state().await["backends"][0]["links"].as_u64() > Some(0)).await;
    for gateway in [&linked, &plain] {
        for rows in [1, 3, 20_000] {
            predicts(gateway, rows).await;
        }
    }
    let load = linked.load(16, "/v1/models/bank:predict");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for answer in load.all().await {
        assert_eq!(answer.status, 400, "an empty object has no instances: {}", answer.text());
    }
    server.terminate();
    (&mut server.running).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_believed_stays_pending_and_why_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.ca();
    let (host, b_internal) = ("127.0.0.1", "\nfleet.tls.server_name=b.internal");
    for (signed, keys, words) in [
        (authority.signs(host), keys(&other.ca(), None), "UnknownIssuer"),
        (authority.signs("10.1.2.3"), keys(&ca, None), "not valid for name"),
        (authority.signs(host), keys(&ca, None) + b_internal, "not valid for name"),
        (authority.signs(host), String::new(), "this port speaks TLS"),
        (Authority::signs_expired(&authority, "old"), keys(&ca, None), "expired"),
    ] {
        let (_bucket, server) = served(&signed.flags()).await;
        let gateway = before(&server, &keys).await;
        until_said(&gateway, words).await;
        assert_eq!(gateway.post("/v1/models/bank:predict", &[]).await.status, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_tls_is_not_spoken_to_without() {
    let authority = Authority::new();
    let (_bucket, server) = served(&[]).await;
    let gateway = before(&server, &keys(&authority.ca(), None)).await;
    until_said(&gateway, "does not speak TLS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_certificate_is_told_that_one_is_asked_for() {
    let authority = Authority::new();
    let (own, ca) = (authority.signs("127.0.0.1"), authority.ca());
    let flags = [own.flags().as_slice(), &[("tls.client_ca", ca.as_str())]].concat();
    let (_bucket, server) = served(&flags).await;
    let gateway = before(&server, &keys(&ca, None)).await;
    until_said(&gateway, "CertificateRequired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_on_both_sides_while_calls_go_on() {
    let (authority, next) = (Authority::new(), Authority::new());
    let own = authority.signs("b.internal");
    let (_bucket, server) = served(&own.flags()).await;
    // One that believes both, as where authorities change.
    let both = authority.ca();
    let gateway = before(&server, &format!("{}\nfleet.tls.server_name=b.internal", keys(&both, None))).await;
    gateway.until_ready(1).await;
    predicts(&gateway, 1).await;
    let text = [&both, &next.ca()].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    std::fs::write(&both, text).unwrap();
    next.signs("b.internal").replaces(&own);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    until("it is active again", async || gateway.backend_state(&server.addr.to_string()).await == "active").await;
    predicts(&gateway, 1).await;
    // The one before is believed no more.
    std::fs::copy(next.ca(), &both).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    until("it is active still", async || gateway.backend_state(&server.addr.to_string()).await == "active").await;
    predicts(&gateway, 1).await;
    predicts(&gateway, 20_000).await;
}
