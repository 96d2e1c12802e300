//! Backends that fail, deadlines and the choice of versions: as by HTTP.

use headgate_contract::{Kind, Release, header};

use super::client::{Client, question};
use crate::backend::{Backend, Manner, Script, model, release};
use crate::gateway::Gateway;
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_backend_does_the_other_answers() {
    for manner in [
        Manner::Cut,
        Manner::CutMidReply,
        Manner::Lie,
        Manner::Refuse(Kind::Unavailable),
        Manner::Refuse(Kind::NotHere),
        Manner::Plain(503),
    ] {
        let b1 = Backend::start("b1", Script::ready()).await;
        let b2 = Backend::start("b2", Script::ready()).await;
        let gateway = Gateway::before(&[&b1, &b2], "fleet.eject_failures=0").await;
        b1.behave(manner);
        let mut client = Client::connect(&gateway).await;
        // A backend that looks slow for a while gets none of the first few.
        for call in 0..1_000 {
            if call >= 12 && b1.calls() > 0 {
                break;
            }
            let answer = client.infer(&[]).await;
            assert_eq!((answer.code, answer.header(header::BACKEND)), (0, "b2"), "{manner:?}: {}", answer.words);
        }
        assert!(b1.calls() > 0, "{manner:?}: the bad one was never tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_dies_under_load_costs_no_call() {
    let mut b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let gateway = Gateway::before(&[&b1, &b2], "limits.deadline_ms=5000").await;
    b1.behave(Manner::Late(5));
    b2.behave(Manner::Late(5));
    let callers: Vec<_> = (0..4).map(|_| Client::connect(&gateway)).collect();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = Vec::new();
    for client in callers {
        let (mut client, stop) = (client.await, stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut answered = 0;
            while !stop.is_cancelled() {
                let answer = client.infer(&[]).await;
                assert_eq!(answer.code, 0, "{}", answer.words);
                answered += 1;
            }
            answered
        }));
    }
    until("it is under load", async || b1.calls() > 50).await;
    b1.kill().await;
    let before = b2.calls();
    until("the other goes on", async || b2.calls() > before + 100).await;
    stop.cancel();
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_errors_become_codes_with_their_words() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "fleet.eject_failures=0").await;
    let mut client = Client::connect(&gateway).await;
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::NotHere) {
        backend.behave(Manner::Refuse(kind));
        let answer = client.infer(&[]).await;
        assert_eq!((answer.code, answer.words.as_str()), (kind.grpc(), kind.as_str()));
        assert_eq!(answer.header(header::ERROR), kind.as_str());
    }
    // One that knows nothing of kinds.
    backend.behave(Manner::Plain(404));
    assert_eq!(client.infer(&[]).await.code, 5);
    // And one that answers in JSON.
    backend.behave(Manner::Echo);
    let answer = client.call("ModelMetadata", &[], &question("m", "", b"")).await;
    assert_eq!(answer.code, 14, "{}", answer.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_those_that_callers_name() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Late(3_000));
    let gateway = Gateway::before(&[&backend], "limits.deadline_ms=200").await;
    let mut client = Client::connect(&gateway).await;
    for headers in [&[][..], &[("grpc-timeout", "100m")], &[("x-headgate-timeout-ms", "100"), ("grpc-timeout", "9S")]] {
        let began = std::time::Instant::now();
        let answer = client.infer(headers).await;
        assert_eq!(answer.code, 4, "{headers:?}: {}", answer.words);
        assert!(began.elapsed().as_millis() < 2_900, "{headers:?}");
    }
    assert_eq!(client.infer(&[("grpc-timeout", "20S")]).await.code, 0);
    for bad in ["soon", "5", "-1S", "1.5S"] {
        let answer = client.infer(&[("grpc-timeout", bad)]).await;
        assert_eq!(answer.code, 3, "{bad}");
        assert!(answer.words.contains("grpc-timeout"), "{}", answer.words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_get_their_weights_and_a_sticky_caller_stays() {
    let weighed = Release { sticky: Some("x-user".into()), ..release(&[&[(1, 3), (2, 1)]]) };
    let backend = Backend::start("b1", Script::with([model("m", weighed, &[1, 2])])).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut client = Client::connect(&gateway).await;
    let mut second = 0;
    for _ in 0..400 {
        second += u32::from(client.infer(&[]).await.header(header::VERSION) == "2");
    }
    assert!((60..140).contains(&second), "{second} of 400 at a weight of a quarter");
    let asked = question("m", "", b"");
    for _ in 0..20 {
        let of_most = client.call("ModelMetadata", &[], &asked).await;
        assert_eq!(of_most.header(header::VERSION), "1", "a question is about the version with most weight");
        assert_eq!(gateway.get("/v2/models/m").await.header(header::VERSION), "1");
    }
    for user in ["a", "b", "c", "d", "e"] {
        let by_grpc = client.infer(&[("x-user", user)]).await;
        let by_http = gateway.post("/v2/models/m/infer", &[("x-user", user)]).await;
        for _ in 0..5 {
            assert_eq!(
                client.infer(&[("x-user", user)]).await.headers[header::VERSION],
                by_grpc.headers[header::VERSION]
            );
        }
        assert_eq!(by_http.header(header::VERSION), by_grpc.header(header::VERSION), "{user}");
    }
}
