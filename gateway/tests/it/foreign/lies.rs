//! Servers that do not do what they say, and those that say what makes no sense.

use std::time::Duration;

use headgate_contract::header;

use super::scripted::{INDEX, INFER, LIVE, READY, Scripted};
use crate::backend::{Backend, Script};
use crate::gateway::{Gateway, config};
use crate::until;

/// A gateway before servers that it takes for Triton, ready as soon as all of them are.
async fn before(servers: &[&Scripted], more: &str) -> Gateway {
    let gateway = start(servers, more).await;
    gateway.until_ready(servers.len()).await;
    gateway
}

async fn start(servers: &[&Scripted], more: &str) -> Gateway {
    let list: Vec<String> = servers.iter().map(|server| format!("triton={}", server.address)).collect();
    let list = serde_json::to_string(&list).unwrap();
    Gateway::start(config(&[], format!("discovery.foreign={list}\n{more}").trim_end())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_put_in_the_servers_words_and_nothing_of_ours_passes() {
    let server = Scripted::start().await;
    server.lists(&[("m", "1", "READY"), ("m", "2", "READY"), ("n", "v1.2", "READY"), ("o", "", "READY")]);
    let gateway = before(&[&server], "").await;
    for (path, theirs, version) in [
        ("/v2/models/m/infer?x=1", "/v2/models/m/versions/2/infer", "2"),
        ("/v2/models/m/versions/1/infer", "/v2/models/m/versions/1/infer", "1"),
        ("/v2/models/n/labels/v1.2/infer", "/v2/models/n/versions/v1.2/infer", "1002000"),
        ("/v2/models/o/infer", "/v2/models/o/infer", "1"),
    ] {
        let headers = [("x-headgate-chosen-version", "9"), ("x-kept", "1"), ("x-headgate-timeout-ms", "900")];
        let answer = gateway.post(path, &headers).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, r#"{"model_name":"m","outputs":[]}"#), "{path}");
        assert_eq!((answer.header(header::VERSION), answer.header(header::DIGEST)), (version, ""), "{path}");
        assert_eq!(answer.header(header::BACKEND), server.address);
        let asked = server.asked("/infer").pop().unwrap();
        assert_eq!((asked.path.as_str(), &asked.body[..]), (theirs, &b"{\"inputs\":[]}"[..]));
        assert_eq!(
            (asked.headers["x-kept"].as_bytes(), asked.headers["content-type"].as_bytes()),
            (&b"1"[..], &b"application/json"[..])
        );
        assert!(asked.headers.keys().all(|name| !name.as_str().starts_with("x-headgate-")), "{:?}", asked.headers);
    }
    for path in ["/v1/models/m:predict", "/endpoints/m/invocations"] {
        let answer = gateway.post(path, &[]).await;
        assert_eq!(answer.status, 501, "{path}");
        assert!(answer.text().contains("on servers (triton) that take no"), "{}", answer.text());
    }
    assert_eq!(gateway.post("/v2/models/m/infer", &[("content-type", "text/csv")]).await.status, 501);
    assert_eq!(gateway.get("/v2/models/m/openapi.json").await.status, 501);
    assert!(!server.was_taken_for_ours());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_what_it_lists_is_asked_no_more() {
    let (good, liar) = (Scripted::start().await, Scripted::start().await);
    for server in [&good, &liar] {
        server.lists(&[("m", "1", "READY"), ("n", "1", "READY")]);
    }
    let gateway = before(&[&good, &liar], "retry.min_per_s=0\nretry.burst=0").await;
    liar.answer(INFER, 404, "no such model");
    let answers = gateway.load(4, "/v2/models/m/infer");
    let until_believed = async || {
        let index = gateway.admin("GET", "/state", "").await.json();
        let models = index["models"].as_array().unwrap().clone();
        let m = models.iter().find(|model| model["model"] == "m").unwrap();
        m["serves"][0]["backends"] == serde_json::json!([good.address])
    };
    until("the liar is not believed", until_believed).await;
    let lies = liar.asked("/infer").len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(liar.asked("/infer").len(), lies, "it was asked again");
    answers.all_good().await;
    assert_eq!(gateway.backend_state(&liar.address).await, "active", "it has other models");
    let index = gateway.post("/v2/repository/index", &[]).await;
    assert!(index.text().contains("listed as ready, and not there"), "{}", index.text());
    liar.answer(INFER, 200, "{}");
    until("it is believed again", async || !until_believed().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_ready_and_refuses_all_calls_is_ejected() {
    let (good, liar) = (Scripted::start().await, Scripted::start().await);
    let gateway = before(&[&good, &liar], "fleet.eject_ms=60000\nfleet.eject_max_ms=60000").await;
    liar.answer(INFER, 503, "");
    let load = gateway.load(4, "/v2/models/m/infer");
    until("it is ejected", async || gateway.backend_state(&liar.address).await == "ejected").await;
    load.all_good().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_wrong_eject_nobody() {
    let servers = [Scripted::start().await, Scripted::start().await];
    let gateway = before(&[&servers[0], &servers[1]], "fleet.eject_failures=3").await;
    // As Triton answers to what is no JSON.
    servers.iter().for_each(|server| server.answer(INFER, 500, r#"{"error":"failed to parse"}"#));
    for _ in 0..30 {
        let answer = gateway.infer().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (500, r#"{"error":"failed to parse"}"#));
        assert_eq!(answer.header(header::ERROR), "model_failed");
    }
    for server in &servers {
        assert_eq!(gateway.backend_state(&server.address).await, "active");
    }
    // A queue that is full is no fault.
    servers.iter().for_each(|server| server.answer(INFER, 503, r#"{"error":"Exceeds maximum queue size"}"#));
    for _ in 0..30 {
        assert_eq!(gateway.infer().await.header(header::ERROR), "overloaded");
    }
    for server in &servers {
        assert_eq!(gateway.backend_state(&server.address).await, "active");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_makes_no_sense_changes_nothing() {
    let (server, garbled) = (Scripted::start().await, Scripted::start().await);
    garbled.answer(INDEX, 200, "<html>");
    let gateway = start(&[&server, &garbled], "").await;
    gateway.until_ready(1).await;
    let error = async |address: &str| {
        let state = gateway.state().await;
        let backends = state["backends"].as_array().unwrap().clone();
        let found = backends.iter().find(|backend| backend["address"] == address).unwrap().clone();
        found["error"].as_str().unwrap_or_default().to_owned()
    };
    until("it says why", async || error(&garbled.address).await.contains("can't be read")).await;
    assert_eq!(gateway.backend_state(&garbled.address).await, "pending", "nobody knows what it has");
    let asked = server.asked(INDEX).len();
    server.answer(INDEX, 500, "[");
    until("it is asked again", async || server.asked(INDEX).len() > asked + 1).await;
    assert!(error(&server.address).await.contains("answered 500"));
    assert_eq!(gateway.infer().await.status, 200, "the last list stands");
    garbled.lists(&[("m", "1", "READY")]);
    gateway.until_ready(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_that_does_not_come_back_is_a_missed_probe() {
    let (good, slow) = (Scripted::start().await, Scripted::start().await);
    let gateway = before(&[&good, &slow], "fleet.probe_timeout_ms=200").await;
    slow.answer_after(Duration::from_secs(5), READY, 200, "");
    until("it counts as silent", async || gateway.backend_state(&slow.address).await == "pending").await;
    slow.answer(READY, 200, "");
    gateway.until_ready(2).await;
    // A list that is slow to come holds up nothing.
    slow.answer_after(Duration::from_secs(3), INDEX, 200, r#"[{"name":"m","version":"1","state":"READY"}]"#);
    let asked = slow.asked(INDEX).len();
    until("it is asked for its models", async || slow.asked(INDEX).len() > asked).await;
    let probes = slow.asked(READY).len();
    until("it is probed", async || slow.asked(READY).len() > probes + 5).await;
    assert_eq!(gateway.backend_state(&slow.address).await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_that_fails_does_not_take_the_others_away() {
    let server = Scripted::start().await;
    let gateway = before(&[&server], "").await;
    // As Triton is by default where a model could not be loaded.
    server.answer(READY, 400, "");
    let entries = r#"[{"name":"m","version":"1","state":"READY"},
        {"name":"n","version":"1","state":"UNAVAILABLE","reason":"out of memory"}]"#;
    server.answer(INDEX, 200, entries);
    until("the failed model is told of", async || {
        gateway.post("/v2/models/n/infer", &[]).await.text().contains("out of memory")
    })
    .await;
    assert_eq!(gateway.infer().await.status, 200);
    // One that is about to stop says that it is not live, either.
    server.answer(LIVE, 400, "");
    until("it drains", async || gateway.backend_state(&server.address).await == "draining").await;
    server.answer(READY, 200, "");
    gateway.until_ready(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_ours_is_answered_by_ours() {
    let (ours, server) = (Backend::start("b1", Script::ready()).await, Scripted::start().await);
    server.lists(&[("m", "7", "READY"), ("theirs", "1", "READY")]);
    let list = serde_json::to_string(&[format!("triton={}", server.address)]).unwrap();
    let gateway = Gateway::start(config(&[&ours], &format!("discovery.foreign={list}"))).await;
    gateway.until_ready(2).await;
    assert_eq!(gateway.post("/v2/models/theirs/infer", &[]).await.status, 200);
    for _ in 0..20 {
        let answer = gateway.infer().await;
        assert_eq!((answer.header(header::BACKEND), answer.header(header::VERSION)), ("b1", "1"));
    }
}
