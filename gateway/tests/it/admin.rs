//! What operators see and do.

use crate::backend::{Backend, Script};
use crate::gateway::{Gateway, config};
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn state_and_metrics_tell_what_happens() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&b1], "").await;
    for _ in 0..3 {
        gateway.infer().await;
    }
    let state = gateway.state().await;
    let backend = &state["backends"][0];
    assert_eq!((&backend["name"], &backend["state"], &backend["calls"]), (&"b1".into(), &"active".into(), &3.into()));
    assert_eq!((&backend["generation"], &backend["store_id"]), (&1.into(), &"store-1".into()));
    let model = &state["models"][0];
    assert_eq!((&model["model"], &model["current"], &model["why"]), (&"m".into(), &true.into(), &"".into()));
    assert_eq!(model["serves"][0]["backends"], serde_json::json!(["b1"]));
    assert_eq!(gateway.admin("GET", "/state?model=nobody", "").await.json()["models"], serde_json::json!([]));
    let metrics = gateway.admin("GET", "/metrics", "").await;
    let text = metrics.text();
    for line in [
        "headgate_gateway_requests_total{model=\"m\",version=\"1\",code=\"200\"}",
        "headgate_gateway_request_seconds_bucket{le=\"0.001\"}",
        "headgate_gateway_backends{state=\"active\"}",
        "headgate_gateway_backend_in_flight{backend=\"b1\"}",
        "headgate_gateway_retry_tokens{kind=\"lost\"}",
        "headgate_gateway_ejections_total",
        "headgate_gateway_in_flight",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(gateway.admin("GET", "/live", "").await.status, 200);
    assert_eq!(gateway.admin("GET", "/ready", "").await.status, 200);
    assert_eq!(gateway.admin("GET", "/elsewhere", "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_drains_by_order_and_serves_again() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    assert_eq!(gateway.admin("POST", "/backends/b1/drain", "").await.status, 200);
    assert_eq!(gateway.backend_state("b1").await, "draining");
    for _ in 0..30 {
        assert_eq!(gateway.infer().await.status, 200);
    }
    assert_eq!((b1.calls(), b2.calls()), (0, 30));
    let path = format!("/backends/{}/undrain", b1.address);
    assert_eq!(gateway.admin("POST", &path, "").await.status, 200);
    assert_eq!(gateway.backend_state("b1").await, "active");
    assert_eq!(gateway.admin("POST", "/backends/nobody/drain", "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nudge_reaches_all_backends() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    let nudge = "{\"store_id\":\"store-1\",\"generation\":42}";
    assert_eq!(gateway.admin("POST", "/fleet/v1/nudge", nudge).await.status, 200);
    until("both got it", async || b1.nudges().len() == 1 && b2.nudges().len() == 1).await;
    assert_eq!(b1.nudges()[0], nudge);
    until("probes tell it too", async || b1.probes().last().unwrap().contains("generation=42")).await;
    let other = "{\"store_id\":\"store-2\",\"generation\":5}";
    assert_eq!(gateway.admin("POST", "/fleet/v1/nudge", other).await.status, 200);
    assert_eq!(gateway.state().await["generations"], serde_json::json!({"store-1": 42}), "no backend serves store-2");
    assert_eq!(gateway.admin("POST", "/fleet/v1/nudge", "{}").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_what_matters() {
    let gateway = Gateway::start(config(&[], "admin.token=0x-some-admin-token")).await;
    for (method, path) in
        [("GET", "/state"), ("GET", "/metrics"), ("POST", "/backends/b/drain"), ("POST", "/fleet/v1/nudge")]
    {
        assert_eq!(gateway.admin(method, path, "").await.status, 401, "{path}");
    }
    assert_eq!(gateway.admin("GET", "/live", "").await.status, 200);
    assert_eq!(gateway.admin("GET", "/ready", "").await.status, 503);
    let request = http::Request::get(format!("http://{}/state", gateway.admin))
        .header("authorization", "Bearer 0x-some-admin-token")
        .body(Default::default())
        .unwrap();
    assert_eq!(gateway.send(request).await.unwrap().status, 200);
}
