//! A fleet that is too large to keep connections open to all of it.

use std::collections::BTreeSet;

use crate::backend::{Backend, Script, model, release};
use crate::gateway::Gateway;
use crate::until;

async fn fleet(size: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for n in 0..size {
        backends.push(Backend::start(&format!("b{n}"), Script::ready()).await);
    }
    backends
}

async fn gateway(backends: &[Backend], more: &str) -> Gateway {
    Gateway::before(&backends.iter().collect::<Vec<_>>(), &format!("fleet.subset_size=3\n{more}")).await
}

/// The names of those that the gateway keeps connections to.
async fn inside(gateway: &Gateway) -> BTreeSet<String> {
    let state = gateway.state().await;
    let inside = state["backends"].as_array().unwrap().iter().filter(|backend| backend["in_subset"] == true);
    inside.map(|backend| backend["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_connections_go_to_the_subset_and_news_come_from_all() {
    let backends = fleet(6).await;
    let gateway = gateway(&backends, "fleet.subset_index=0\nretry.hedge_ratio=0").await;
    let inside = inside(&gateway).await;
    assert_eq!(inside.len(), 3);
    let before: Vec<u64> = backends.iter().map(Backend::calls).collect();
    for _ in 0..60 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    for (backend, before) in backends.iter().zip(before) {
        let is_inside = inside.contains(&backend.name);
        assert!(is_inside || backend.calls() == before, "{} got calls", backend.name);
        until("connections are closed", async || is_inside || backend.connections() == 0).await;
        assert!(!is_inside || backend.connections() > 0);
    }
    let outside = backends.iter().find(|backend| !inside.contains(&backend.name)).unwrap();
    outside.change(|script| script.draining = true);
    until("it is known to drain", async || gateway.backend_state(&outside.name).await == "draining").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_others_hold_is_served_all_the_same() {
    let mut backends = fleet(6).await;
    let gateway = gateway(&backends, "fleet.subset_index=0\nretry.min_per_s=1000").await;
    let inside = inside(&gateway).await;
    let outside = backends.iter().find(|backend| !inside.contains(&backend.name)).unwrap();
    outside.change(|script| {
        script.models.insert("n".to_owned(), model("n", release(&[&[(1, 1)]]), &[1]));
    });
    until("n is served", async || gateway.post("/v2/models/n/versions/1/infer", &[]).await.status == 200).await;
    for backend in backends.iter_mut().filter(|backend| inside.contains(&backend.name)) {
        backend.kill().await;
        until("it is known to be gone", async || gateway.backend_state(&backend.name).await == "pending").await;
    }
    for _ in 0..20 {
        assert_eq!(gateway.infer().await.status, 200, "those outside serve where none inside does");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_a_fleet_out_and_a_reload_changes_that() {
    let backends = fleet(6).await;
    let first = gateway(&backends, "fleet.subset_index=0").await;
    let again = gateway(&backends, "fleet.subset_index=0").await;
    let second = gateway(&backends, "fleet.subset_index=1").await;
    let named = gateway(&backends, "server.name=g7").await;
    assert_eq!(inside(&first).await, inside(&again).await);
    assert!(inside(&first).await.is_disjoint(&inside(&second).await));
    assert_eq!(inside(&named).await.len(), 3);
    second.reload(crate::gateway::config(&backends.iter().collect::<Vec<_>>(), "fleet.subset_size=0"));
    until("all are inside", async || inside(&second).await.len() == 6).await;
}
