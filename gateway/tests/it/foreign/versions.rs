//! Which version answers, and where.

use headgate_contract::header;

use super::scripted::Scripted;
use crate::gateway::{Gateway, config};
use crate::until;

async fn before(servers: &[&Scripted]) -> Gateway {
    let list: Vec<String> = servers.iter().map(|server| format!("mlserver={}", server.address)).collect();
    let list = serde_json::to_string(&list).unwrap();
    let gateway =
        Gateway::start(config(&[], &format!("discovery.foreign={list}\nfleet.admit_patience_ms=600000"))).await;
    gateway.until_ready(servers.len()).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_served_once_all_that_have_the_model_have_it() {
    let (one, two, other) = (Scripted::start().await, Scripted::start().await, Scripted::start().await);
    other.lists(&[("n", "1", "READY")]);
    let gateway = before(&[&one, &two, &other]).await;
    let version = async || gateway.infer().await.header(header::VERSION).to_owned();
    assert_eq!(version().await, "1");
    one.lists(&[("m", "1", "READY"), ("m", "2", "READY")]);
    until("one has it", async || gateway.post("/v2/models/m/versions/2/infer", &[]).await.status == 200).await;
    assert_eq!(version().await, "1", "one server would carry all the traffic");
    two.lists(&[("m", "1", "READY"), ("m", "2", "LOADING")]);
    until("two is told of", async || gateway.post("/v2/repository/index", &[]).await.text().contains("loading")).await;
    assert_eq!(version().await, "1");
    two.lists(&[("m", "1", "READY"), ("m", "2", "READY")]);
    until("both have it", async || version().await == "2").await;
    // The order in which they report does not matter, nor which reported last.
    one.lists(&[("m", "1", "UNLOADING"), ("m", "2", "READY")]);
    two.lists(&[("m", "2", "READY")]);
    until("the old one goes", async || gateway.post("/v2/models/m/versions/1/infer", &[]).await.status == 404).await;
    assert_eq!(version().await, "2");
    [&one, &two].iter().for_each(|server| server.lists(&[]));
    until("the model goes", async || gateway.infer().await.status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_changes_in_a_reload_makes_another_backend() {
    let (one, two) = (Scripted::start().await, Scripted::start().await);
    let gateway = before(&[&one, &two]).await;
    one.lists(&[("m", "1", "READY"), ("n", "1", "READY")]);
    until("n is known", async || gateway.post("/v2/models/n/infer", &[]).await.status == 200).await;
    // Asked for by name, a model needs no index.
    let list = serde_json::to_string(&[format!("kserve={},model=m", one.address)]).unwrap();
    gateway.reload(config(&[], &format!("discovery.foreign={list}")));
    until("only m is left", async || gateway.post("/v2/models/n/infer", &[]).await.status == 404).await;
    let state = gateway.state().await;
    let server =
        state["backends"].as_array().unwrap().iter().find(|backend| backend["address"] == one.address.as_str());
    assert_eq!(server.unwrap()["server"], "kserve");
}
