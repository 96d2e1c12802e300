//! Which version answers.

use std::collections::HashMap;

use headgate_contract::Version;
use headgate_contract::fleet::VersionState;
use headgate_contract::header;
use headgate_contract::release::Labelled;

use crate::backend::{Backend, Script, digest, model, model_in, release};
use crate::gateway::Gateway;
use crate::until;

async fn versions(gateway: &Gateway, calls: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..calls {
        let answer = gateway.infer().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["version"].to_string(), answer.header(header::VERSION));
        *counts.entry(answer.header(header::VERSION).to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_weight_and_sticky_callers_stay() {
    let mut canary = release(&[&[(1, 3), (2, 1)]]);
    canary.sticky = Some("x-user".into());
    let backend = Backend::start("b1", Script::with([model("m", canary, &[1, 2])])).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let counts = versions(&gateway, 800).await;
    // Four standard deviations of a binomial of 800 and a quarter.
    assert!((150..=250).contains(&counts["2"]), "{counts:?}");
    let mut of_user = HashMap::new();
    for round in 0..3 {
        for user in 0..60 {
            let user = format!("user-{user}");
            let answer = gateway.post("/v2/models/m/infer", &[("x-user", &user)]).await;
            let version = answer.header(header::VERSION).to_owned();
            if round == 0 {
                of_user.insert(user, version);
            } else {
                assert_eq!(of_user[&user], version, "{user} moved");
            }
        }
    }
    assert!(of_user.values().any(|v| v == "1") && of_user.values().any(|v| v == "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_waits_until_all_have_it() {
    let old = || model("m", release(&[&[(1, 1)]]), &[1]);
    let b1 = Backend::start("b1", Script::with([old()])).await;
    let b2 = Backend::start("b2", Script::with([old()])).await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.admit_patience_ms=600000").await;
    let promoted = release(&[&[(1, 1)], &[(2, 1)]]);
    let both = model("m", promoted.clone(), &[1, 2]);
    let states = [(1, VersionState::Ready, ""), (2, VersionState::Loading, "")];
    let half = model_in("m", promoted, &states);
    b1.change(|script| {
        script.generation = 2;
        script.models.insert("m".into(), both.clone());
    });
    b2.change(|script| {
        script.generation = 2;
        script.models.insert("m".into(), half);
    });
    until("both have told", async || {
        let state = gateway.state().await;
        let models = state["models"][0]["versions"].as_array().unwrap();
        models.len() == 2 && models[1]["states"] == serde_json::json!({"ready": 1, "loading": 1})
    })
    .await;
    let state = gateway.state().await;
    assert_eq!(
        (&state["models"][0]["current"], &state["models"][0]["serves"][0]["version"]),
        (&false.into(), &1.into())
    );
    assert_eq!(versions(&gateway, 30).await.len(), 1);
    b2.change(|script| {
        script.models.insert("m".into(), both);
    });
    until("the new one serves", async || gateway.infer().await.header(header::VERSION) == "2").await;
    assert_eq!(versions(&gateway, 30).await["2"], 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_backends_do_after_a_while() {
    let promoted = || release(&[&[(1, 1)], &[(2, 1)]]);
    let b1 = Backend::start("b1", Script::with([model("m", promoted(), &[1, 2])])).await;
    let failed = [(1, VersionState::Ready, ""), (2, VersionState::Failed, "no room")];
    let b2 = Backend::start("b2", Script::with([model_in("m", promoted(), &failed)])).await;
    let gateway = Gateway::before(&[&b1, &b2], "fleet.admit_patience_ms=1500").await;
    until("the new one serves", async || gateway.infer().await.header(header::VERSION) == "2").await;
    let answers = versions(&gateway, 20).await;
    assert_eq!(answers["2"], 20);
    assert!(
        b2.seen().iter().all(|(_, headers)| headers[header::CHOSEN_VERSION] == "1"),
        "b2 got what it does not hold"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_under_load_costs_no_request_and_each_reply_is_of_one_version() {
    let old = || model("m", release(&[&[(1, 1)]]), &[1]);
    let b1 = Backend::start("b1", Script::with([old()])).await;
    let b2 = Backend::start("b2", Script::with([old()])).await;
    let gateway = Gateway::before(&[&b1, &b2], "limits.deadline_ms=10000").await;
    let load = gateway.load(16, "/v2/models/m/infer");
    for swap in 2..8_u64 {
        let states = [(swap - 1, VersionState::Ready, ""), (swap, VersionState::Ready, "")];
        for backend in [&b1, &b2] {
            backend.change(|script| {
                script.generation = swap;
                let release = release(&[&[(swap - 1, 1)], &[(swap, 1)]]);
                script.models.insert("m".into(), model_in("m", release, &states));
            });
        }
        until("swapped", async || gateway.infer().await.header(header::VERSION) == swap.to_string()).await;
    }
    for answer in load.all_good().await {
        assert_eq!(answer.json()["version"].to_string(), answer.header(header::VERSION));
        let version = answer.header(header::VERSION).parse().unwrap();
        assert_eq!(answer.header(header::DIGEST), digest(version).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_labels_can_be_named() {
    let mut labelled = release(&[&[(1, 1)], &[(2, 1)]]);
    let two = Labelled { version: Version::new(1).unwrap(), digest: digest(1) };
    labelled.labels.insert("stable".into(), two);
    let states = [(1, VersionState::Ready, ""), (2, VersionState::Ready, ""), (3, VersionState::Retiring, "")];
    let backend = Backend::start("b1", Script::with([model_in("m", labelled, &states)])).await;
    let gateway = Gateway::before(&[&backend], "").await;
    for (path, version) in [
        ("/v2/models/m/infer", "2"),
        ("/v2/models/m/versions/1/infer", "1"),
        ("/v2/models/m/versions/3/infer", "3"),
        ("/v1/models/m/labels/stable:predict", "1"),
    ] {
        assert_eq!(gateway.post(path, &[]).await.header(header::VERSION), version, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_catalog_does_not_take_a_release_back() {
    let b1 = Backend::start("b1", Script::with([model("m", release(&[&[(1, 1)], &[(2, 1)]]), &[1, 2])])).await;
    b1.change(|script| script.generation = 5);
    let gateway = Gateway::before(&[&b1], "").await;
    let behind = Script::with([model("m", release(&[&[(1, 1)]]), &[1, 2])]);
    let b2 = Backend::start("b2", behind).await;
    gateway.reload(crate::gateway::config(&[&b1, &b2], ""));
    gateway.until_ready(2).await;
    assert_eq!(versions(&gateway, 20).await["2"], 20);
    until("the one behind is told", async || {
        b2.probes().last().is_some_and(|query| query.contains("generation=5&store=store-1"))
    })
    .await;
}
