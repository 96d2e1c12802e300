//! Backends that hang or are slow, and what that may cost.

use std::time::Duration;

use headgate_contract::header;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::Gateway;
use crate::until;

async fn two() -> (Backend, Backend) {
    (Backend::start("b1", Script::ready()).await, Backend::start("b2", Script::ready()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_costs_no_call() {
    let (b1, b2) = two().await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.probe_timeout_ms=750").await;
    b1.behave(Manner::Late(5));
    b2.behave(Manner::Late(5));
    let load = gateway.load(4, "/v2/models/m/infer");
    until("both have work", async || b1.calls() > 10 && b2.calls() > 10).await;
    let before = b1.calls();
    b1.behave(Manner::Hang);
    until("its silence is seen", async || gateway.backend_state("b1").await == "pending").await;
    assert!(b1.calls() > before, "no call met it");
    load.all_good().await;
    let state = gateway.state().await;
    assert_eq!(state["backends"][0]["in_flight"], 0, "a call that was given up still counts: {state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_goes_elsewhere_when_its_backend_falls_silent() {
    let (b1, b2) = two().await;
    // Only what is lost may be retried, so that nothing goes elsewhere for being slow.
    let lost = "retry.ratio=0.0\nretry.min_per_s=0\nlimits.deadline_ms=10000\nfleet.probe_timeout_ms=200";
    let gateway = Gateway::before(&[&b1, &b2], lost).await;
    b1.behave(Manner::Hang);
    let answers = futures_util::future::join_all((0..6).map(|_| gateway.infer())).await;
    assert!(b1.calls() > 0, "no call met it");
    for answer in answers {
        assert_eq!((answer.status.as_u16(), answer.header(header::BACKEND)), (200, "b2"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_backends_lose_no_call_and_get_no_more_than_the_budget_allows() {
    let (b1, b2) = two().await;
    let tight = "retry.ratio=0.1\nretry.min_per_s=2\nfleet.eject_failures=5\nlimits.deadline_ms=2000";
    let gateway = Gateway::before(&[&b1, &b2], tight).await;
    b1.behave(Manner::Late(1_200));
    b2.behave(Manner::Late(1_200));
    let answers = futures_util::future::join_all((0..40).map(|_| gateway.infer())).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 40, "a call that was slow was lost");
    let more = b1.calls() + b2.calls() - 40;
    assert!((1..=10).contains(&more), "{more} calls more than there were");
    assert_eq!(gateway.state().await["ejections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_another_backend_or_budget_waits() {
    let (b1, b2) = two().await;
    let none = "retry.ratio=0.0\nretry.min_per_s=0\nretry.reserve=0\nlimits.deadline_ms=600";
    let gateway = Gateway::before(&[&b1, &b2], none).await;
    b1.behave(Manner::Stall);
    b2.behave(Manner::Stall);
    assert_eq!(gateway.infer().await.status, 504);
    assert_eq!(b1.calls() + b2.calls(), 1, "there was no budget for another");
    let alone = Gateway::before(&[&b1], "limits.deadline_ms=1000").await;
    b1.behave(Manner::Late(700));
    let before = b1.calls();
    assert_eq!(alone.infer().await.status, 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(b1.calls() - before, 1, "it was asked twice");
}
