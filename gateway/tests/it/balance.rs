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
        assert!(slow > 0 && slow < of / 6, "{policy}: {slow} of {of} calls went to the slow one");
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
                 fleet.failure_penalty_ms=10\nfleet.eject_ms=300\nretry.min_per_s=10000";
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
    let patient = "fleet.probe_timeout_ms=100\nlimits.deadline_ms=5000\nretry.min_per_s=1000";
    let gateway = Gateway::before(&all(&backends), patient).await;
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

fn worked(backends: &[Backend]) -> u64 {
    backends.iter().map(Backend::worked).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_times_too_many_calls_waste_no_work() {
    let backends = fleet(2).await;
    let gateway =
        Gateway::before(&all(&backends), "limits.deadline_ms=600\nfleet.eject_failures=0\nfleet.limit_start=128").await;
    for backend in &backends {
        backend.behave(Manner::Busy(20));
    }
    for _ in 0..20 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    // So many at once would take 0.8 s each. The first are let in, as nobody knows yet what they do.
    let load = gateway.load(160, "/v2/models/m/infer");
    let found =
        |state: &serde_json::Value| ["b1", "b2"].iter().all(|name| told(state, name)["limit"].as_u64() < Some(30));
    until("limits are found", async || found(&gateway.state().await)).await;
    load.all().await;
    until("nothing is left", async || backends.iter().all(Backend::is_idle)).await;
    let before = worked(&backends);
    let load = gateway.load(160, "/v2/models/m/infer");
    until("work was done", async || worked(&backends) > before + 400).await;
    let answers = load.all().await;
    // What is worked on after nobody waits for it is worked on before this.
    until("nothing is left", async || backends.iter().all(Backend::is_idle)).await;
    let (done, good) =
        (worked(&backends) - before, answers.iter().filter(|answer| answer.status == 200).count() as u64);
    assert!(good * 2 >= done, "of {done} calls that were worked on, {good} were answered in time");
    let shed: Vec<_> = answers.iter().filter(|answer| answer.status != 200 && answer.status != 504).collect();
    assert!(!shed.is_empty() && shed.iter().all(|answer| [429, 503].contains(&answer.status.as_u16())));
    assert!(shed.iter().all(|answer| answer.header("retry-after") == "1"), "{:?}", shed[0]);
    let state = gateway.state().await;
    assert!(told(&state, "b1")["limit"].as_u64().unwrap() < 100, "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_a_call_is_refused_at_once_and_probes_go_on() {
    let backends = fleet(1).await;
    let gateway =
        Gateway::before(&all(&backends), "fleet.limit_start=4\nfleet.limit_min=1\nlimits.deadline_ms=20000").await;
    backends[0].behave(Manner::Stall);
    let load = gateway.load(4, "/v2/models/m/infer");
    until("it is full", async || gateway.state().await["backends"][0]["in_flight"] == 4).await;
    until("all are there", async || backends[0].calls() == 4).await;
    let refused = gateway.infer().await;
    assert!([429, 503].contains(&refused.status.as_u16()), "{refused:?}");
    assert_eq!((refused.header("retry-after"), backends[0].calls()), ("1", 4));
    assert_eq!(gateway.backend_state("b1").await, "active");
    drop(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_longer_than_most_is_sent_to_another_backend_too() {
    let backends = fleet(2).await;
    let gateway = Gateway::before(&all(&backends), "limits.deadline_ms=20000").await;
    for backend in &backends {
        backend.behave(Manner::Late(5));
    }
    for _ in 0..120 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    // Far below half of the deadline: nothing else sends it elsewhere.
    backends[0].behave(Manner::Late(3_000));
    let before = backends[0].calls();
    until("one is hedged", async || {
        let answer = gateway.infer().await;
        assert_eq!((answer.status.as_u16(), answer.header("x-headgate-backend")), (200, "b2"));
        backends[0].calls() > before
    })
    .await;
}
