//! Models over real backends that load them on demand.

use std::collections::BTreeMap;

use headgate_balance::place::{self, Member};
use headgate_contract::header;
use headgate_contract::real::Real;

use crate::gateway::{Answer, Gateway, config};
use crate::link::support::{Bucket, Server, linear};
use crate::until;

const ROW: &str = r#"{"instances":[[30,7.5]]}"#;
const WEIGHTS: [f64; 2] = [0.51, -2.03];

fn models(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("m{n}")).collect()
}

async fn bucket(models: &[String]) -> Bucket {
    let bucket = Bucket::new().await;
    for model in models {
        bucket.release(linear(model, WEIGHTS)).await;
    }
    bucket
}

async fn backend(bucket: &Bucket, name: &str) -> Server {
    let quick = [("drain.lame_duck_ms", "0"), ("drain.deadline_ms", "0")];
    let server =
        Server::start_with(bucket, &[("load.mode", "on_demand"), ("instance", name), quick[0], quick[1]]).await;
    server.ready().await;
    server
}

async fn backends(bucket: &Bucket, names: &[&str]) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for name in names {
        servers.insert((*name).to_owned(), backend(bucket, name).await);
    }
    servers
}

fn before(servers: &BTreeMap<String, Server>, more: &str, in_turn: bool) -> headgate_gateway::Config {
    let mut config = config(&[], more);
    config.discovery.backends.extend(servers.values().map(|server| server.addr.to_string()));
    if in_turn {
        config.discovery.backends.reverse();
    }
    config
}

async fn gateway(servers: &BTreeMap<String, Server>, models: &[String], more: &str, in_turn: bool) -> Gateway {
    let gateway = Gateway::start(before(servers, more, in_turn)).await;
    gateway.until_ready(servers.len()).await;
    until("all models are known", async || gateway.state().await["models_total"] == models.len()).await;
    gateway
}

async fn call(gateway: &Gateway, model: &str) -> Answer {
    let answer = gateway.post_body(&format!("/v1/models/{model}:predict"), ROW).await;
    assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    answer
}

/// Where each model is answered.
async fn places(gateway: &Gateway, models: &[String]) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    for model in models {
        places.insert(model.clone(), call(gateway, model).await.header(header::BACKEND).to_owned());
    }
    places
}

/// Where each model belongs.
fn belong(models: &[String], names: &[&str]) -> BTreeMap<String, String> {
    let members: Vec<Member> = names.iter().map(|name| Member::new(name, 1.0)).collect();
    let first = |model: &str| names[place::order(place::key(model), &members)[0]].to_owned();
    models.iter().map(|model| (model.clone(), first(model))).collect()
}

async fn loads(servers: &BTreeMap<String, Server>) -> f64 {
    let mut loads = 0.0;
    for server in servers.values() {
        loads += server.metric("headgate_version_loads_total{result=\"ready\"}").await.parse::<f64>().unwrap();
    }
    loads
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_finds_a_model_in_the_same_place_and_a_loss_moves_its_share_only() {
    let models = models(24);
    let (bucket, names) = (bucket(&models).await, ["b1", "b2", "b3", "b4"]);
    let mut servers = backends(&bucket, &names).await;
    let one = gateway(&servers, &models, "", false).await;
    let two = gateway(&servers, &models, "", true).await;
    let homes = belong(&models, &names);
    assert_eq!(places(&one, &models).await, homes);
    assert_eq!(places(&two, &models).await, homes);
    assert_eq!(loads(&servers).await, 24.0, "a model was loaded twice");
    let mut lost = servers.remove("b2").unwrap();
    lost.terminate();
    // Not a moment is waited: calls that find it gone are answered elsewhere, until then it may answer itself.
    let without = belong(&models, &["b1", "b3", "b4"]);
    for gateway in [&one, &two] {
        until("its models have moved", async || {
            let after = places(gateway, &models).await;
            for (model, home) in &homes {
                assert!(after[model] == *home || home == "b2", "{model} moved from {home} to {}", after[model]);
            }
            after == without
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_backend_takes_its_share_and_no_call_waits_for_that() {
    let models = models(16);
    let bucket = bucket(&models).await;
    let mut servers = backends(&bucket, &["b1", "b2"]).await;
    let gateway = gateway(&servers, &models, "", false).await;
    assert_eq!(places(&gateway, &models).await, belong(&models, &["b1", "b2"]));
    servers.insert("b3".to_owned(), backend(&bucket, "b3").await);
    gateway.reload(before(&servers, "", false));
    gateway.until_ready(3).await;
    let homes = belong(&models, &["b1", "b2", "b3"]);
    assert!(homes.values().any(|home| home == "b3"));
    until("models have moved", async || {
        let mut moved = true;
        for model in &models {
            let answer = call(&gateway, model).await;
            assert_eq!(answer.header(header::WAITED_MS), "", "{model} was cold");
            moved &= answer.header(header::BACKEND) == homes[model];
        }
        moved
    })
    .await;
    assert_eq!(loads(&servers).await, 16.0 + homes.values().filter(|home| *home == "b3").count() as f64);
}

/// Those of the models that belong to a backend.
fn of(homes: &BTreeMap<String, String>, name: &str) -> Vec<String> {
    let models: Vec<String> = homes.iter().filter(|(_, home)| *home == name).map(|(model, _)| model.clone()).collect();
    assert!(!models.is_empty());
    models
}

/// Waits until a gateway knows each of the models to be ready on two backends.
async fn until_on_two(gateway: &Gateway, models: &[String]) {
    until("its models are elsewhere", async || {
        let state = gateway.state().await;
        let known = state["models"].as_array().unwrap();
        let ready = |model: &str| {
            let found = known.iter().find(|known| known["model"] == model).unwrap();
            found["versions"][0]["states"]["ready"].as_u64()
        };
        models.iter().all(|model| ready(model) == Some(2))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_backend_has_its_models_loaded_elsewhere_before_they_are_called() {
    let models = models(12);
    let (bucket, names) = (bucket(&models).await, ["b1", "b2", "b3"]);
    let servers = backends(&bucket, &names).await;
    let gateway = gateway(&servers, &models, "", false).await;
    places(&gateway, &models).await;
    gateway.admin("POST", "/backends/b1/drain", "").await;
    until_on_two(&gateway, &of(&belong(&models, &names), "b1")).await;
    for model in &models {
        assert_eq!(call(&gateway, model).await.header(header::WAITED_MS), "", "{model} was cold");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drained_backend_loads_late_is_loaded_elsewhere_too() {
    let models = models(12);
    let (bucket, names) = (bucket(&models).await, ["b1", "b2", "b3"]);
    let servers = backends(&bucket, &names).await;
    let one = gateway(&servers, &models, "", false).await;
    let two = gateway(&servers, &models, "", false).await;
    let of_b1 = of(&belong(&models, &names), "b1");
    one.admin("POST", "/backends/b1/drain", "").await;
    // The order is the one gateway's, the calls are the other's, each of a model that the backend does not have yet.
    for model in &of_b1 {
        assert_eq!(call(&two, model).await.header(header::BACKEND), "b1");
        until_on_two(&one, std::slice::from_ref(model)).await;
    }
    for model in &of_b1 {
        assert_eq!(call(&one, model).await.header(header::WAITED_MS), "", "{model} was cold");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_model_is_given_another_backend_and_the_others_are_not() {
    let models = models(2);
    let bucket = bucket(&models).await;
    let servers = backends(&bucket, &["b1", "b2", "b3"]).await;
    let more = "place.replica_work=0.001\nplace.replicas_max=2\nplace.work_decay_ms=60000";
    let gateway = gateway(&servers, &models, more, false).await;
    call(&gateway, "m1").await;
    let mut seen = BTreeMap::<String, u32>::new();
    until("another backend answers", async || {
        let answer = call(&gateway, "m0").await;
        *seen.entry(answer.header(header::BACKEND).to_owned()).or_default() += 1;
        seen.len() == 2
    })
    .await;
    for _ in 0..50 {
        call(&gateway, "m0").await;
    }
    assert_eq!(loads(&servers).await, 3.0, "one of one, two of the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_where_it_is_cold_costs_no_call() {
    let models = models(1);
    let bucket = bucket(&models).await;
    let (mut bad, bytes) = linear("m0", [0.6, -2.0]);
    bad.golden.as_mut().unwrap().margins[0] = Real(9.0);
    bucket.release((bad, bytes)).await;
    let servers = backends(&bucket, &["b1", "b2", "b3"]).await;
    let gateway = gateway(&servers, &models, "limits.deadline_ms=10000", false).await;
    for _ in 0..5 {
        assert_eq!(call(&gateway, "m0").await.header(header::VERSION), "1");
    }
    bucket.release(linear("m0", [0.7, -2.0])).await;
    until("the next one serves", async || call(&gateway, "m0").await.header(header::VERSION) == "3").await;
    let named = gateway.post_body("/v1/models/m0/versions/1:predict", ROW).await;
    assert_eq!((named.status.as_u16(), named.header(header::VERSION)), (200, "1"));
    let bad = gateway.post_body("/v1/models/m0/versions/2:predict", ROW).await;
    assert_eq!(bad.status, 503, "{}", bad.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn promotions_of_models_that_are_called_fail_no_call() {
    let models = models(3);
    let bucket = bucket(&models).await;
    let servers = backends(&bucket, &["b1", "b2"]).await;
    let gateway = gateway(&servers, &models, "limits.deadline_ms=10000", false).await;
    let loads: Vec<_> = models.iter().map(|model| gateway.load(2, &format!("/v1/models/{model}:predict"))).collect();
    // Bodies of a load are no rows: what is said is of interest here, and that a version says it.
    for step in 1..=5_u32 {
        for model in &models {
            bucket.release(linear(model, [f64::from(step), -2.0])).await;
        }
        for model in &models {
            let version = (step + 1).to_string();
            until("promoted", async || call(&gateway, model).await.header(header::VERSION) == version).await;
        }
    }
    for load in loads {
        let answers = load.all().await;
        assert!(answers.len() > 10 && answers.iter().all(|answer| answer.status == 400), "{:?}", answers.last());
    }
}
