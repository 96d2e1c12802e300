//! Which backend gets a call: fewer for those that are slow, fail or are full.

use headgate_contract::Kind;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::Gateway;
use crate::until;

async fn fleet(size: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for n in 1..=size {
        backends.push(Backend::start(&format!("b{n}"), Script::ready()).await);
    }
    backends
}

fn all(backends: &[Backend]) -> Vec<&Backend> {
    backends.iter().collect()
}

fn calls(backends: &[Backend]) -> u64 {
    backends.iter().map(Backend::calls).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_backend_gets_few_calls_whatever_the_rule() {
    for policy in ["peak_ewma", "hot_cold"] {
        let backends = fleet(4).await;
        let gateway = Gateway::before(&all(&backends), &format!("fleet.balance={policy}")).await;
        for backend in &backends {
            backend.behave(Manner::Late(5));
        }
        backends[0].behave(Manner::Late(40));
        let load = gateway.load(12, "/v2/models/m/infer");
        until("calls were made", async || calls(&backends) > 600).await;
        load.all_good().await;
        let (slow, of) = (backends[0].calls(), calls(&backends));
        assert!(slow > 0 && slow < of / 8, "{policy}: {slow} of {of} calls went to the slow one");
        let state = gateway.state().await;
        let slow = told(&state, "b1");
        assert!(slow["pace"].as_f64().unwrap() > 2.0, "{state}");
        assert!(slow["latency_us"].as_u64().unwrap() > 20_000, "{state}");
    }
}

/// What the admin port tells of a backend.
fn told<'a>(state: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    state["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_more_often_than_the_others_is_ejected() {
    let backends = fleet(4).await;
    let quick = "fleet.eject_failures=0\nfleet.eject_rate_window_ms=300\nfleet.eject_rate_calls_min=3\n\
                 fleet.failure_penalty_ms=10\nfleet.eject_ms=300";
    let gateway = Gateway::before(&all(&backends), quick).await;
    for backend in &backends {
        backend.behave(Manner::Late(2));
    }
    backends[0].behave(Manner::Plain(503));
    let load = gateway.load(4, "/v2/models/m/infer");
    until("b1 is ejected", async || gateway.backend_state("b1").await == "ejected").await;
    let state = gateway.state().await;
    assert_eq!(told(&state, "b1")["ejected_for"], "success_rate", "{state}");
    backends[0].behave(Manner::Well);
    until("b1 is back", async || gateway.backend_state("b1").await == "active").await;
    load.all_good().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_few_serve_those_that_hang_are_tried_and_calls_succeed() {
    let backends = fleet(3).await;
    let gateway = Gateway::before(&all(&backends), "fleet.probe_timeout_ms=100\nlimits.deadline_ms=5000").await;
    for backend in &backends[..2] {
        backend.behave(Manner::Hang);
    }
    until("two hang", async || gateway.state().await["panic"] == true).await;
    let state = gateway.state().await;
    assert_eq!((&told(&state, "b1")["state"], &told(&state, "b2")["state"]), (&"pending".into(), &"pending".into()));
    let answers = futures_util::future::join_all((0..20).map(|_| gateway.infer())).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(backends[0].calls() + backends[1].calls() > 0, "one was to carry all");
    backends[0].behave(Manner::Well);
    until("half serve", async || gateway.state().await["panic"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_fails_at_once_does_not_look_idle() {
    for manner in [Manner::Plain(503), Manner::Refuse(Kind::Overloaded), Manner::Cut] {
        let backends = fleet(4).await;
        let gateway = Gateway::before(&all(&backends), "fleet.eject_failures=0\nretry.min_per_s=1000").await;
        for backend in &backends {
            backend.behave(Manner::Late(5));
        }
        backends[0].behave(manner);
        let load = gateway.load(12, "/v2/models/m/infer");
        until("calls were made", async || calls(&backends) > 600).await;
        load.all_good().await;
        let (failing, of) = (backends[0].calls(), calls(&backends));
        assert!(failing < of / 8, "{manner:?}: {failing} of {of} calls went to the one that fails");
    }
}
