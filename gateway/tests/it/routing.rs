//! What is asked for, and who answers.

use headgate_contract::fleet::VersionState;
use headgate_contract::header;

use crate::backend::{Backend, Script, digest, model, model_in, release};
use crate::gateway::{Gateway, config};
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_says_who_answered_with_what() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let answer = gateway.post("/v2/models/m/infer?x=1", &[("x-request-id", "abc-1")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["path"], "/v2/models/m/infer");
    let named = [header::VERSION, header::BACKEND, header::REQUEST_ID].map(|name| answer.header(name));
    assert_eq!(named, ["1", "b1", "abc-1"]);
    assert_eq!(answer.header(header::DIGEST), digest(1).to_string());
    assert!(!answer.headers.contains_key(header::LOAD), "what parts say to each other got out");
    assert_eq!(gateway.infer().await.header(header::REQUEST_ID).len(), 32, "an id is made where there is none");
    assert_eq!(gateway.post("/v1/models/m:predict", &[]).await.status, 200);
    assert_eq!(gateway.get("/v2/models/m").await.status, 200);
    assert_eq!(gateway.get("/v2/models/m/ready").await.status, 200);
    assert_eq!(gateway.get("/v1/models/m").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_between_parts_are_not_taken_from_callers() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let sent = [
        ("x-headgate-chosen-version", "9"),
        ("x-headgate-model", "other"),
        ("x-headgate-load", "9"),
        ("x-headgate-timeout-ms", "700"),
        ("connection", "x-secret"),
        ("x-secret", "1"),
        ("x-mine", "1"),
    ];
    assert_eq!(gateway.post("/v2/models/m/infer", &sent).await.status, 200);
    let (_, seen) = backend.seen().pop().unwrap();
    assert_eq!(seen[header::CHOSEN_VERSION], "1");
    assert_eq!(seen[header::CHOSEN_DIGEST].to_str().unwrap(), digest(1).to_string());
    assert!(!seen.contains_key(header::MODEL) && !seen.contains_key(header::LOAD) && !seen.contains_key("x-secret"));
    assert_eq!(seen["x-mine"], "1");
    let left: u64 = seen[header::TIMEOUT_MS].to_str().unwrap().parse().unwrap();
    assert!((1..=700).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_is_503_until_a_backend_was_heard_and_404_after() {
    let mut deaf = Backend::start("b1", Script::ready()).await;
    deaf.kill().await;
    let gateway = Gateway::start(config(&[&deaf], "")).await;
    let answer = gateway.infer().await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (503, "unavailable"));
    assert!(answer.header("retry-after") == "1" && answer.text().contains("'m'"), "{}", answer.text());
    assert_eq!(gateway.get("/v2/health/ready").await.status, 503);
    assert_eq!(gateway.get("/v2/health/live").await.status, 200);

    let backend = Backend::start("b2", Script::ready()).await;
    gateway.reload(config(&[&deaf, &backend], ""));
    gateway.until_ready(1).await;
    let answer = gateway.post("/v2/models/nobody/infer", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (404, "not_found"));
    assert_eq!(gateway.post("/v2/models/m/versions/7/infer", &[]).await.status, 404);
    assert_eq!(gateway.post("/v1/models/m/labels/canary:predict", &[]).await.status, 404);
    assert_eq!(gateway.get("/v2/health/ready").await.status, 200);
    assert_eq!(gateway.get("/nothing").await.status, 404);
    let refused = gateway.get("/v2/models/m/infer").await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "POST"));
    let answer = gateway.post("/v2/models/m/infer", &[("x-headgate-timeout-ms", "soon")]).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_ready_version_says_why() {
    let states = [(1, VersionState::Failed, "golden row 3 differs"), (2, VersionState::Loading, "")];
    let script = Script::with([
        model_in("bad", release(&[&[(1, 1)]]), &states[..1]),
        model_in("slow", release(&[&[(2, 1)]]), &states[1..]),
    ]);
    let backend = Backend::start("b1", script).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let answer = gateway.post("/v2/models/bad/infer", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (503, "unavailable"));
    assert!(answer.text().contains("golden row 3 differs"), "{}", answer.text());
    let answer = gateway.post("/v2/models/slow/infer", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (503, "loading"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scope_goes_to_the_fallback_where_there_is_one() {
    let mut base = release(&[&[(1, 1)]]);
    base.fallback = Some("general".parse().unwrap());
    let script = Script::with([
        model("flights", base, &[1]),
        model("flights/JFK", release(&[&[(2, 1)]]), &[2]),
        model("general", release(&[&[(3, 1)]]), &[3]),
        model("trains", release(&[&[(4, 1)]]), &[4]),
    ]);
    let backend = Backend::start("b1", script).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let known = gateway.post("/v2/models/flights/JFK/infer", &[]).await;
    assert_eq!((known.header(header::VERSION), known.header(header::MODEL)), ("2", ""));
    let unknown = gateway.post("/v2/models/flights/S%C3%A3o%20Paulo/infer", &[]).await;
    assert_eq!((unknown.header(header::VERSION), unknown.header(header::MODEL)), ("3", "general"));
    let (path, seen) = backend.seen().pop().unwrap();
    assert_eq!(
        (path.as_str(), seen[header::MODEL].to_str().unwrap()),
        ("/v2/models/flights/S%C3%A3o%20Paulo/infer", "general")
    );
    assert_eq!(gateway.post("/v2/models/trains/X/infer", &[]).await.status, 404);
    assert_eq!(gateway.post("/v2/models/flights/X/versions/3/infer", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_merges_what_the_backends_say() {
    let failed = [(1, VersionState::Ready, ""), (2, VersionState::Failed, "no room")];
    let b1 = Backend::start("b1", Script::with([model_in("m", release(&[&[(1, 1)]]), &failed)])).await;
    let b2 = Backend::start("b2", Script::with([model("m", release(&[&[(1, 1)]]), &[1, 2])])).await;
    let b3 = Backend::start("b3", Script::with([model_in("n", release(&[&[(1, 1)]]), &failed[1..])])).await;
    let gateway = Gateway::before(&[&b1, &b2, &b3], "").await;
    let index = gateway.post_body("/v2/repository/index", "").await.json();
    let expected = serde_json::json!([
        {"name": "m", "version": "1", "state": "READY", "reason": ""},
        {"name": "m", "version": "2", "state": "READY", "reason": "b1: unavailable: no room"},
        {"name": "n", "version": "2", "state": "UNAVAILABLE", "reason": "b3: unavailable: no room"},
    ]);
    assert_eq!(index, expected);
    let ready = gateway.post_body("/v2/repository/index", "{\"ready\":true}").await.json();
    assert_eq!(ready.as_array().unwrap().len(), 2);
    assert_eq!(gateway.post_body("/v2/repository/index", "{\"ready\":3}").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_leave_a_backend_leave_the_gateway() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&b1], "").await;
    b1.change(|script| {
        script.models.clear();
        let model = model("n", release(&[&[(1, 1)]]), &[1]);
        script.models.insert("n".into(), model);
    });
    until("m is unknown", async || gateway.infer().await.status == 404).await;
    assert_eq!(gateway.post("/v2/models/n/infer", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_told_of_a_model_that_nothing_can_serve() {
    let failed = [(1, VersionState::Failed, "its file is broken")];
    let b1 = Backend::start("b1", Script::with([model("other", release(&[&[(1, 1)]]), &[1])])).await;
    let b2 = Backend::start("b2", Script::with([model_in("m", release(&[&[(1, 1)]]), &failed)])).await;
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    assert_eq!(gateway.infer().await.status, 503);
    for path in ["/v1/models/m", "/v1/models/m/versions/1"] {
        let told = gateway.get(path).await;
        assert_eq!((told.status.as_u16(), told.header(header::BACKEND)), (200, "b2"), "{path}: {}", told.text());
        assert_eq!(told.header(header::VERSION), "", "no version answered");
    }
    assert_eq!(gateway.get("/v1/models/nobody").await.status, 404);
    b2.change(|script| script.ready = false);
    until("it is unready", async || gateway.backend_state("b2").await == "pending").await;
    assert_eq!(gateway.get("/v1/models/m").await.status, 200, "it is asked all the same");
}
