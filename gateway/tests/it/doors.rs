//! Every form of an HTTP call passes as it is, and what the gateway answers itself.

use headgate_contract::{Kind, header};
use http::Request;
use http_body_util::Full;

use crate::backend::{Backend, Manner, Script, model, release};
use crate::gateway::{Answer, Gateway, config};

async fn send(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::post(format!("http://{}{path}", gateway.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_form_pass_untouched_both_ways_small_and_large() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Echo);
    let gateway = Gateway::before(&[&backend], "limits.buffer_bytes_max=100000").await;
    let forms: [&[(&str, &str)]; 6] = [
        &[("content-type", "application/octet-stream"), (header::JSON_LENGTH, "37")],
        &[("content-type", "application/json"), ("content-encoding", "gzip"), ("accept-encoding", "gzip, deflate")],
        &[("content-type", "application/octet-stream"), ("content-encoding", "deflate"), (header::JSON_LENGTH, "9")],
        &[("content-type", "application/vnd.apache.arrow.stream"), ("accept", "application/vnd.apache.arrow.stream")],
        &[("content-type", "text/csv; header=present"), ("accept", "text/csv")],
        &[("content-type", "application/x-protobuf"), ("accept", "application/x-protobuf")],
    ];
    for path in ["/v2/models/m/infer", "/endpoints/m/invocations"] {
        for (form, bytes) in forms.iter().flat_map(|form| [(form, 5_000_usize), (form, 3_000_000)]) {
            let body: Vec<u8> = (0..bytes).map(|at| (at * 7 % 256) as u8).collect();
            let answer = send(&gateway, path, form, body.clone()).await;
            assert_eq!(answer.status, 200, "{form:?}");
            assert!(answer.body == body, "{form:?}: {bytes} bytes were changed");
            let (at, seen) = backend.seen().pop().unwrap();
            assert_eq!(at, path);
            for (name, value) in form.iter() {
                assert_eq!(seen[*name], *value, "to the backend");
                if ["content-type", "content-encoding", header::JSON_LENGTH].contains(name) {
                    assert_eq!(answer.header(name), *value, "to the caller");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_ask_the_default_model_by_its_name() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let none = gateway.post("/invocations", &[]).await;
    assert_eq!((none.status.as_u16(), none.header(header::ERROR)), (404, "not_found"));
    assert!(none.text().contains("server.default_model"), "{}", none.text());
    gateway.reload(config(&[&backend], "server.default_model=m"));
    let answer = gateway.post("/invocations?x=1", &[("content-type", "text/csv")]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::VERSION)), (200, "1"));
    let (path, headers) = backend.seen().pop().unwrap();
    assert_eq!((path.as_str(), headers["content-type"].as_bytes()), ("/endpoints/m/invocations", &b"text/csv"[..]));
    gateway.reload(config(&[&backend], "server.default_model=n"));
    let unknown = gateway.post("/invocations", &[]).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("model 'n' is unknown"), "{}", unknown.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_here_is_answered_here() {
    let models = ["m", "a", "m/JFK"].map(|name| model(name, release(&[&[(1, 1)]]), &[1]));
    let backend = Backend::start("b1", Script::with(models)).await;
    let gateway = Gateway::before(&[&backend], "").await;
    assert_eq!(gateway.get("/v1/models").await.text(), "{\"models\":[\"a\",\"m\",\"m/JFK\"]}");
    let ping = gateway.get("/ping").await;
    assert_eq!((ping.status.as_u16(), ping.body.len()), (200, 0));
    for path in ["/openapi.json", "/v2/openapi.json"] {
        assert_eq!(gateway.get(path).await.json()["openapi"], "3.0.3");
    }
    let metadata = gateway.get("/v2").await.json();
    assert_eq!(metadata["extensions"], serde_json::json!(["binary_tensor_data", "model_repository", "statistics"]));
    assert_eq!(backend.calls(), 0);
    assert_eq!(gateway.get("/v2/models/m/openapi.json").await.status, 200);
    assert_eq!(backend.seen().pop().unwrap().0, "/v2/models/m/openapi.json");
    backend.change(|script| script.ready = false);
    crate::until("it is not ready", async || gateway.get("/ping").await.status == 503).await;
    let unready = gateway.get("/v2/health/ready").await;
    assert_eq!((unready.status.as_u16(), unready.json()["ready"].as_bool()), (503, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_added_up_over_all_backends_and_name_those_that_are_missing() {
    let both = || Script::with([model("m", release(&[&[(10, 1)]]), &[9, 10])]);
    let (b1, b2) = (Backend::start("b1", both()).await, Backend::start("b2", both()).await);
    let other = Script::with([model("a", release(&[&[(1, 1)]]), &[1])]);
    let b3 = Backend::start("b3", other).await;
    let gateway = Gateway::before(&[&b1, &b2, &b3], "limits.deadline_ms=500").await;
    let all = gateway.get("/v2/models/stats").await;
    assert_eq!((all.status.as_u16(), all.header(header::UNHEARD)), (200, ""));
    let all = all.json();
    let counted: Vec<(&str, &str, u64)> = all["model_stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| {
            (of["name"].as_str().unwrap(), of["version"].as_str().unwrap(), of["inference_count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(counted, [("a", "1", 10), ("m", "9", 20), ("m", "10", 20)]);
    let before = b3.calls();
    let of_m = gateway.get("/v2/models/m/stats").await.json();
    assert_eq!(of_m["model_stats"][1]["inference_stats"]["success"], serde_json::json!({"count": 2, "ns": 2_000}));
    assert_eq!(b3.calls(), before, "one that does not have the model was asked");
    b2.behave(Manner::Refuse(Kind::Internal));
    let rest = gateway.get("/v2/models/m/versions/9/stats").await;
    assert_eq!((rest.status.as_u16(), rest.header(header::UNHEARD)), (200, "b2"));
    assert_eq!(rest.json()["model_stats"][0]["inference_count"], 10);
    b1.behave(Manner::Stall);
    let nobody = gateway.get("/v2/models/m/stats").await;
    assert_eq!((nobody.status.as_u16(), nobody.header(header::ERROR)), (503, "unavailable"));
    assert!(nobody.text().contains("b1, b2"), "{}", nobody.text());
    let unknown = gateway.get("/v2/models/x/stats").await;
    assert_eq!((unknown.status.as_u16(), unknown.header(header::ERROR)), (404, "not_found"));
}
