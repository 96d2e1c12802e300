//! Backends that come and go, and the gateway's own end.

use std::time::Duration;

use headgate_contract::header;
use headgate_gateway::server::Drained;

use crate::backend::{Backend, Manner, Script, model, release};
use crate::gateway::{Gateway, config};
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_healthy() {
    let mut script = Script::ready();
    script.ready = false;
    let b1 = Backend::start("b1", script).await;
    let gateway = Gateway::start(config(&[&b1], "")).await;
    until("it was probed", async || b1.probes().len() > 3).await;
    assert_eq!(gateway.backend_state("b1").await, "pending");
    assert_eq!(gateway.get("/v2/health/ready").await.status, 503);
    let b2 = Backend::start("b2", Script::ready()).await;
    gateway.reload(config(&[&b1, &b2], ""));
    gateway.until_ready(1).await;
    for _ in 0..20 {
        assert_eq!(gateway.infer().await.header(header::BACKEND), "b2");
    }
    assert_eq!(b1.calls(), 0);
    b1.change(|script| script.ready = true);
    gateway.until_ready(2).await;
    until("it gets its share", async || {
        gateway.infer().await;
        b1.calls() > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_connections_and_says_nothing_is_told_so() {
    // The system accepts for it, as for a process that is stopped.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = frozen.local_addr().unwrap().to_string();
    let mut config = config(&[], "fleet.probe_ms=50\nfleet.probe_timeout_ms=70");
    config.discovery.backends.push(address);
    let gateway = Gateway::start(config).await;
    until("its silence is told", async || {
        gateway.state().await["backends"][0]["error"]
            .as_str()
            .is_some_and(|e| e.ends_with("did not answer within 120 ms"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_backend_warms_up() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let slow = "fleet.slow_start_ms=4000";
    let gateway = Gateway::before(&[&b1], slow).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    gateway.reload(config(&[&b1, &b2], slow));
    until("it warms", async || gateway.backend_state("b2").await == "warming").await;
    while b2.calls() == 0 || b1.calls() < 100 {
        gateway.infer().await;
    }
    let shares = (b1.calls(), b2.calls());
    assert!(shares.1 * 2 < shares.0, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_backend_gets_nothing_new_and_finishes_what_it_has() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2], "limits.deadline_ms=10000").await;
    b1.behave(Manner::Late(500));
    b2.behave(Manner::Late(500));
    let load = gateway.load(8, "/v2/models/m/infer");
    until("both have work", async || b1.calls() > 0 && b2.calls() > 0).await;
    b1.change(|script| script.draining = true);
    until("it drains", async || gateway.backend_state("b1").await == "draining").await;
    let at_drain = b1.calls();
    b2.behave(Manner::Well);
    let before = b2.calls();
    until("the other goes on", async || b2.calls() > before + 50).await;
    assert_eq!(b1.calls(), at_drain, "a draining backend got a new call");
    load.all_good().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_taken_off_the_list_goes_and_its_models_with_it() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::with([model("n", release(&[&[(1, 1)]]), &[1])])).await;
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    assert_eq!(gateway.post("/v2/models/n/infer", &[]).await.status, 200);
    gateway.reload(config(&[&b1], ""));
    until("it is gone", async || gateway.backend_state("b2").await == "gone").await;
    // Or a backend that comes back on that address would get calls on connections to the one before.
    until("no connection leads there", async || b2.connections() == 0).await;
    until("its model is", async || gateway.post("/v2/models/n/infer", &[]).await.status == 404).await;
    gateway.reload(config(&[&b1, &b2], ""));
    gateway.until_ready(2).await;
    assert_eq!(gateway.post("/v2/models/n/infer", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_healthy_what_is_there_is_tried() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&b1], "").await;
    b1.change(|script| script.ready = false);
    until("it is unready", async || gateway.backend_state("b1").await == "pending").await;
    assert_eq!(gateway.infer().await.status, 200);
    assert_eq!(gateway.get("/v2/health/ready").await.status, 503);
    let state = gateway.state().await;
    assert!(state["models"][0]["why"].as_str().unwrap().contains("are tried"), "{state}");
    b1.change(|script| script.draining = true);
    until("it drains", async || gateway.backend_state("b1").await == "draining").await;
    assert_eq!(gateway.infer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn going_down_under_load_costs_no_request() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let mut gateway = Gateway::before(&[&b1, &b2], "server.lame_duck_ms=1500\nlimits.deadline_ms=10000").await;
    b1.behave(Manner::Late(5));
    b2.behave(Manner::Late(5));
    let load = gateway.load(32, "/v2/models/m/infer");
    until("it is under load", async || b1.calls() + b2.calls() > 200).await;
    gateway.stop();
    // As a balancer does: it looks at readiness, and then sends no more. Until then all is served.
    until("it says that it goes down", async || gateway.get("/v2/health/ready").await.status == 503).await;
    let last = gateway.infer().await;
    assert_eq!((last.status.as_u16(), last.header("connection")), (200, "close"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    load.all_good().await;
    assert_eq!(gateway.stopped().await, Drained::Whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_finished_and_an_idle_connection_holds_nothing_up() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let mut gateway = Gateway::before(&[&b1], "limits.deadline_ms=5000\nserver.drain_ms=60000").await;
    gateway.get("/v2").await;
    let idle = tokio::net::TcpStream::connect(&gateway.address).await.unwrap();
    b1.behave(Manner::Late(600));
    let call = tokio::spawn({
        let request = gateway.request("POST", "/v2/models/m/infer", &[("host", &gateway.address)], "{}");
        let address = gateway.address.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().status()
        }
    });
    until("it is in flight", async || b1.calls() == 1).await;
    gateway.stop();
    assert_eq!(call.await.unwrap(), 200);
    let began = std::time::Instant::now();
    assert_eq!(gateway.stopped().await, Drained::Whole);
    assert!(began.elapsed() < Duration::from_secs(30), "it slept its drain time out");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_limits_while_it_serves() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&b1], "").await;
    let body = || vec![b'x'; 2_000];
    assert_eq!(gateway.post_body("/v2/models/m/infer", body()).await.status, 200);
    gateway.reload(config(&[&b1], "limits.buffer_bytes_max=100\nlimits.body_bytes_max=1000"));
    assert_eq!(gateway.post_body("/v2/models/m/infer", body()).await.status, 413);
}
