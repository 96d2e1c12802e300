//! Backends that fail, and callers that notice nothing.

use std::time::Duration;

use headgate_contract::{Kind, header};
use tokio::net::TcpListener;

use crate::backend::{Backend, Manner, Script, model, release};
use crate::gateway::{Gateway, config};
use crate::until;

async fn two() -> (Backend, Backend) {
    (Backend::start("b1", Script::ready()).await, Backend::start("b2", Script::ready()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_backend_does_the_other_answers() {
    for manner in [
        Manner::Cut,
        Manner::CutMidReply,
        Manner::Lie,
        Manner::Refuse(Kind::Unavailable),
        Manner::Refuse(Kind::Overloaded),
        Manner::Refuse(Kind::Loading),
        Manner::Refuse(Kind::NotHere),
        Manner::Refuse(Kind::BadGateway),
        Manner::Refuse(Kind::Internal),
        Manner::Plain(500),
        Manner::Plain(502),
        Manner::Plain(503),
        Manner::Plain(421),
    ] {
        let (b1, b2) = two().await;
        let gateway = Gateway::before(&[&b1, &b2], "fleet.eject_failures=0").await;
        b1.behave(manner);
        // A backend that looks slow for a while gets none of the first few.
        for call in 0..1_000 {
            if call >= 12 && b1.calls() > 0 {
                break;
            }
            let answer = gateway.infer().await;
            assert_eq!((answer.status.as_u16(), answer.header(header::BACKEND)), (200, "b2"), "{manner:?}");
        }
        assert!(b1.calls() > 0, "{manner:?}: the bad one was never tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_callers_fault_is_not_tried_again() {
    let (b1, b2) = two().await;
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    for kind in [Kind::InvalidRequest, Kind::TooLarge, Kind::UnsupportedMedia, Kind::DeadlineExceeded] {
        b1.behave(Manner::Refuse(kind));
        b2.behave(Manner::Refuse(kind));
        let before = b1.calls() + b2.calls();
        let answer = gateway.infer().await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (kind.status(), kind.as_str()));
        assert_eq!(b1.calls() + b2.calls() - before, 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_on_a_stale_connection_succeeds() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::CutReused);
    let gateway = Gateway::before(&[&backend], "fleet.eject_failures=0").await;
    for _ in 0..10 {
        let answer = gateway.infer().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_retry_once_the_budget_is_spent() {
    let (b1, b2) = two().await;
    let none = "retry.ratio=0.0\nretry.min_per_s=0\nretry.reserve=3\nfleet.eject_failures=0";
    let gateway = Gateway::before(&[&b1, &b2], none).await;
    b1.behave(Manner::Refuse(Kind::Overloaded));
    b2.behave(Manner::Refuse(Kind::Overloaded));
    for _ in 0..10 {
        let answer = gateway.infer().await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (503, "overloaded"));
    }
    assert_eq!(b1.calls() + b2.calls(), 10, "an overloaded fleet got more calls than there were");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_kills_two_backends_gets_no_third() {
    let (b1, b2) = two().await;
    let b3 = Backend::start("b3", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2, &b3], "fleet.eject_failures=0\nretry.attempts_max=10").await;
    for backend in [&b1, &b2, &b3] {
        backend.behave(Manner::Cut);
    }
    let answer = gateway.infer().await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (502, "bad_gateway"));
    assert!(answer.text().contains("two backends were lost"), "{}", answer.text());
    assert_eq!(b1.calls() + b2.calls() + b3.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_holds() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.deadline_ms=300").await;
    backend.behave(Manner::Stall);
    let answer = gateway.post("/v2/models/m/infer", &[("x-headgate-timeout-ms", "50")]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (504, "deadline_exceeded"));
    assert!(answer.text().contains("'m'") && answer.text().contains("50 ms"), "{}", answer.text());
    assert_eq!(gateway.infer().await.status, 504, "the default deadline");
    backend.behave(Manner::Well);
    assert_eq!(gateway.infer().await.status, 200);
    assert_eq!(gateway.state().await["backends"][0]["in_flight"], 0, "a call that was given up still counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_under_load_costs_no_request() {
    let (b1, b2) = two().await;
    let mut victim = Backend::start("b3", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2, &victim], "limits.deadline_ms=10000").await;
    for backend in [&b1, &b2, &victim] {
        backend.behave(Manner::Late(2));
    }
    let load = gateway.load(32, "/v2/models/m/infer");
    until("all have work", async || victim.calls() > 50).await;
    victim.kill().await;
    let before = b1.calls();
    until("the others go on", async || b1.calls() > before + 200).await;
    let answers = load.all_good().await;
    assert!(answers.len() > 300);
    assert_eq!(gateway.backend_state("b3").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_comes_back_on_its_port_serves_again() {
    let mut b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&b1], "").await;
    assert_eq!(gateway.infer().await.status, 200);
    let address = b1.address.clone();
    b1.kill().await;
    until("its death is seen", async || gateway.backend_state("b1").await == "pending").await;
    assert_eq!(gateway.infer().await.status, 502, "what was known of the model is kept");
    let again = Backend::start_on(TcpListener::bind(&address).await.unwrap(), "b1", Script::ready());
    gateway.until_ready(1).await;
    assert_eq!(gateway.infer().await.status, 200);
    assert_eq!(again.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_again_and_again_is_ejected_and_comes_back_by_probe() {
    let (b1, b2) = two().await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.eject_ms=2000\nfleet.failure_penalty_ms=10").await;
    b1.behave(Manner::Plain(503));
    until("b1 is ejected", async || {
        assert_eq!(gateway.infer().await.status, 200);
        gateway.backend_state("b1").await == "ejected"
    })
    .await;
    assert_eq!(gateway.state().await["ejections"], 1);
    let at_ejection = b1.calls();
    b2.behave(Manner::Plain(503));
    for _ in 0..20 {
        gateway.infer().await;
    }
    assert_eq!(gateway.backend_state("b2").await, "active", "more than half of the fleet was ejected");
    assert!(b1.calls() >= at_ejection);
    b1.behave(Manner::Well);
    until("b1 is back", async || gateway.backend_state("b1").await == "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_ejects_no_backend() {
    let (b1, b2) = two().await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.eject_failures=2").await;
    for backend in [&b1, &b2] {
        backend.behave(Manner::Refuse(Kind::ModelFailed));
    }
    for _ in 0..10 {
        let answer = gateway.infer().await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (502, "model_failed"));
    }
    assert_eq!(gateway.state().await["ejections"], 0);
    for backend in ["b1", "b2"] {
        assert_eq!(gateway.backend_state(backend).await, "active");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_nowhere_is_picked_anew_unless_it_was_named() {
    let script = Script::with([model("m", release(&[&[(1, 1)], &[(2, 1)]]), &[1, 2])]);
    let backend = Backend::start("b1", script).await;
    let gateway = Gateway::start(config(&[&backend], "fleet.probe_ms=30000\nfleet.probe_timeout_ms=60000")).await;
    gateway.until_ready(1).await;
    assert_eq!(gateway.infer().await.header(header::VERSION), "2");
    // The test's server tells of the change at once; one that lies does not.
    backend.behave(Manner::Refuse(Kind::NotHere));
    let named = gateway.post("/v2/models/m/versions/2/infer", &[]).await;
    assert_eq!((named.status.as_u16(), named.header(header::ERROR)), (503, "unavailable"));
    let before = backend.calls();
    let open = gateway.infer().await;
    assert_eq!(open.status, 503);
    assert_eq!(backend.calls() - before, 2, "the version was not picked anew");
    let versions: Vec<String> = backend.seen()[before as usize..]
        .iter()
        .map(|(_, headers)| headers[header::CHOSEN_VERSION].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(versions, ["2", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_backend_is_left_by_its_missed_probes() {
    let (b1, b2) = two().await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.probe_timeout_ms=100").await;
    let stalled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = stalled.local_addr().unwrap().to_string();
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            connections.push(stalled.accept().await.unwrap());
        }
    });
    let list = serde_json::to_string(&[&b1.address, &b2.address, &silent]).unwrap();
    gateway.reload(config(&[], &format!("discovery.backends={list}\nfleet.probe_timeout_ms=100")));
    until("it is listed", async || gateway.backend_state(&silent).await == "pending").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(gateway.backend_state(&silent).await, "pending", "it has never answered");
    for _ in 0..20 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    held.abort();
}
