//! Backends that announce themselves.

use headgate_contract::fleet::{Register, Registered};

use crate::backend::{Backend, Script};
use crate::gateway::{Answer, Gateway, config};
use crate::until;

const TOKEN: &str = "a-token-of-some-length";

async fn register(gateway: &Gateway, backend: &Backend, lease_ms: u64, token: &str) -> Answer {
    let announced = Register { instance: backend.name.clone(), address: backend.address.clone(), lease_ms };
    let body = serde_json::to_vec(&announced).unwrap();
    let request = http::Request::post(format!("http://{}/fleet/v1/register", gateway.admin))
        .header("authorization", format!("Bearer {token}"))
        .body(http_body_util::Full::new(body.into()))
        .unwrap();
    gateway.send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_registers_and_its_lease_ends() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let gateway = Gateway::start(config(&[&b1], &format!("discovery.register_token={TOKEN}"))).await;
    let answer = register(&gateway, &b2, 700, TOKEN).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(serde_json::from_slice::<Registered>(&answer.body).unwrap().lease_ms, 700);
    gateway.until_ready(2).await;
    until("its lease ended", async || gateway.backend_state("b2").await == "gone").await;
    assert_eq!(gateway.backend_state("b1").await, "active", "the fixed list stands");
    register(&gateway, &b2, 60_000, TOKEN).await;
    gateway.until_ready(2).await;
    assert_eq!(register(&gateway, &b2, 0, TOKEN).await.status, 200);
    until("it left", async || gateway.backend_state("b2").await == "gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_without_the_token() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::start(config(&[], &format!("discovery.register_token={TOKEN}"))).await;
    for wrong in ["", "wrong", "a-token-of-some-lengtx", "a-token-of-some-length-and-more"] {
        assert_eq!(register(&gateway, &b1, 1_000, wrong).await.status, 401, "{wrong:?}");
    }
    assert_eq!(gateway.state().await["backends"].as_array().unwrap().len(), 0);
    let closed = Gateway::start(config(&[], "")).await;
    let answer = register(&closed, &b1, 1_000, "").await;
    assert!(answer.status == 403 && answer.text().contains("discovery.register_token"), "{}", answer.text());
    let request = gateway.admin("POST", "/fleet/v1/register", "{}").await;
    assert_eq!(request.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backend_listed_twice_is_one() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::start(config(&[&b1], &format!("discovery.register_token={TOKEN}"))).await;
    register(&gateway, &b1, 600, TOKEN).await;
    gateway.until_ready(1).await;
    assert_eq!(gateway.state().await["backends"].as_array().unwrap().len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    assert_eq!(gateway.backend_state("b1").await, "active", "it is still on the fixed list");
}
