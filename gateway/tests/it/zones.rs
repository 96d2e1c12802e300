//! Own zone first, others when it is hot or out.

use crate::backend::{Backend, Manner, Script};
use crate::gateway::Gateway;
use crate::until;

/// Backends `a1`, `a2`, ... in zone `a`, and so on.
async fn fleet(zones: &[(&str, usize)]) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (zone, size) in zones {
        for n in 1..=*size {
            let script = Script { zone: (*zone).to_owned(), cores: 2, ..Script::ready() };
            backends.push(Backend::start(&format!("{zone}{n}"), script).await);
        }
    }
    backends
}

async fn gateway(backends: &[Backend], more: &str) -> Gateway {
    Gateway::before(&backends.iter().collect::<Vec<_>>(), more).await
}

/// Calls that each got.
fn calls(backends: &[Backend]) -> Vec<u64> {
    backends.iter().map(Backend::calls).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_stay_in_their_zone_while_it_has_room() {
    let backends = fleet(&[("a", 2), ("b", 2)]).await;
    let gateway = gateway(&backends, "server.zone=a\nretry.hedge_ratio=0").await;
    for _ in 0..100 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    let calls = calls(&backends);
    assert!(calls[0] + calls[1] == 100 && calls[2..] == [0, 0], "{calls:?}");
    let state = gateway.state().await;
    for backend in state["backends"].as_array().unwrap() {
        assert!(backend["name"].as_str().unwrap().starts_with(backend["zone"].as_str().unwrap()), "{backend}");
    }
    assert!(state["backends"][0]["zone"] != "", "{state}");
    assert_eq!((&state["zone"], &state["zone_kept"], &state["spilled"]), (&"a".into(), &1.0.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_zone_all_are_alike() {
    let backends = fleet(&[("a", 1), ("b", 1)]).await;
    let gateway = gateway(&backends, "").await;
    for _ in 0..60 {
        gateway.infer().await;
    }
    let calls = calls(&backends);
    assert!(calls.iter().all(|&calls| calls > 0), "{calls:?}");
    assert_eq!(gateway.state().await["spilled"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_out_is_left_and_come_back_to() {
    let mut backends = fleet(&[("a", 1), ("b", 2)]).await;
    let gateway = gateway(&backends, "server.zone=a\nretry.min_per_s=1000").await;
    backends[0].kill().await;
    for _ in 0..50 {
        assert_eq!(gateway.infer().await.status, 200, "a call that the zone can't answer is answered elsewhere");
    }
    until("it is known to be out", async || gateway.state().await["zone_kept"] == 0.0).await;
    until("calls are counted that left", async || gateway.state().await["spilled"].as_u64().unwrap() > 40).await;
    let page = gateway.admin("GET", "/metrics", "").await;
    assert!(page.text().contains("headgate_gateway_spilled_calls_total"), "{}", page.text());
    let listener = tokio::net::TcpListener::bind(&backends[0].address).await.unwrap();
    backends[0] = Backend::start_on(listener, "a1", Script { zone: "a".to_owned(), ..Script::ready() });
    gateway.until_ready(3).await;
    until("calls come back", async || {
        let before = calls(&backends[1..]);
        for _ in 0..10 {
            assert_eq!(gateway.infer().await.status, 200);
        }
        calls(&backends[1..]) == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_crosses_zones() {
    let backends = fleet(&[("a", 1), ("b", 1)]).await;
    let gateway = gateway(&backends, "server.zone=a\nfleet.eject_failures=0\nretry.min_per_s=1000").await;
    backends[0].behave(Manner::Cut);
    for _ in 0..20 {
        assert_eq!(gateway.infer().await.header("x-headgate-backend"), "b1");
    }
    assert_eq!(calls(&backends), [20, 20], "each was tried at home first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_zone_spills_and_takes_its_calls_back() {
    let backends = fleet(&[("a", 1), ("b", 2)]).await;
    let quick = "server.zone=a\nfleet.latency_decay_ms=200\nlimits.deadline_ms=10000\nretry.hedge_ratio=0";
    let gateway = gateway(&backends, quick).await;
    backends.iter().for_each(|backend| backend.behave(Manner::Busy(4)));
    // What a call takes alone.
    for _ in 0..30 {
        gateway.infer().await;
    }
    assert_eq!(calls(&backends)[1..], [0, 0]);
    let load = gateway.load(8, "/v2/models/m/infer");
    until("calls spill", async || calls(&backends)[1..].iter().all(|&calls| calls > 20)).await;
    let kept = gateway.state().await["zone_kept"].as_f64().unwrap();
    assert!(kept > 0.0 && kept < 1.0, "{kept}");
    load.all_good().await;
    until("the zone has room again", async || gateway.state().await["zone_kept"].as_f64().unwrap() > 0.99).await;
}
