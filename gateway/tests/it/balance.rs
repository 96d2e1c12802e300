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
        let slow = state["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "b1").unwrap();
        assert!(slow["pace"].as_f64().unwrap() > 2.0, "{state}");
        assert!(slow["latency_us"].as_u64().unwrap() > 20_000, "{state}");
    }
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
