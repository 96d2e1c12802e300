//! `ModelStreamInfer`: calls in a stream.

use std::time::Duration;

use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::proto::ModelStreamInferResponse;
use prost::Message;

use super::client::{Client, Incoming, frame, path, pour, question};
use crate::backend::{Backend, Manner, Script, model, release};
use crate::gateway::Gateway;
use crate::until;

fn asked(id: &str, model: &str) -> Bytes {
    let mut question = question(model, "", id.as_bytes());
    question.id = id.into();
    frame(&question.encode_to_vec(), false)
}

async fn next(answers: &mut Incoming) -> ModelStreamInferResponse {
    ModelStreamInferResponse::decode(answers.next().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_answered_in_order_and_one_that_fails_ends_nothing() {
    let backend = Backend::start("b1", Script::with(["m", "n"].map(|m| model(m, release(&[&[(1, 1)]]), &[1])))).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[]).await;
    let mut answers = Incoming::of(reply).await;
    for round in 0..50 {
        let model = ["m", "n", "x"][round % 3];
        pour(&mut stream, asked(&round.to_string(), model), false).await.unwrap();
    }
    for round in 0..50 {
        let answer = next(&mut answers).await;
        let response = answer.infer_response.unwrap();
        assert_eq!(response.id, round.to_string());
        if round % 3 == 2 {
            assert_eq!(answer.error_message, "model 'x' is unknown");
        } else {
            assert_eq!((answer.error_message.as_str(), response.raw_output_contents.len()), ("", 1));
        }
    }
    pour(&mut stream, frame(b"\x0a", false), false).await.unwrap();
    assert!(next(&mut answers).await.error_message.contains("the message is broken"));
    // One by one, too.
    pour(&mut stream, asked("last", "m"), true).await.unwrap();
    assert_eq!(next(&mut answers).await.infer_response.unwrap().id, "last");
    assert_eq!(answers.next().await, Err((0, String::new())));
    until("nothing is left", async || gateway.state().await["in_flight"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_of_a_stream_are_in_flight_and_no_more() {
    let backend = Backend::start("b1", Script::ready()).await;
    backend.behave(Manner::Stall);
    let gateway = Gateway::before(&[&backend], "limits.deadline_ms=600\nretry.attempts_max=1").await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[]).await;
    let mut answers = Incoming::of(reply).await;
    for id in 0..40 {
        pour(&mut stream, asked(&id.to_string(), "m"), false).await.unwrap();
    }
    until("some are in flight", async || backend.calls() == 16).await;
    backend.behave(Manner::Well);
    for id in 0..40 {
        let answer = next(&mut answers).await;
        assert_eq!(answer.infer_response.unwrap().id, id.to_string());
        assert_eq!(answer.error_message.contains("did not answer within 600 ms"), id < 16, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_frame_or_the_deadline_ends_a_stream_after_what_was_asked() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.body_bytes_max=100000\nlimits.buffer_bytes_max=1000").await;
    let mut client = Client::connect(&gateway).await;
    let too_long = frame(&vec![0; 100_001], false);
    for (bad, code) in
        [(too_long, 8), (Bytes::from_static(b"\x09\x00\x00\x00\x00"), 3), (asked("q", "m").slice(..9), 3)]
    {
        let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[]).await;
        let mut answers = Incoming::of(reply).await;
        pour(&mut stream, asked("first", "m"), false).await.unwrap();
        let _ = pour(&mut stream, bad, true).await;
        assert_eq!(next(&mut answers).await.infer_response.unwrap().id, "first");
        assert_eq!(answers.next().await.unwrap_err().0, code);
    }
    let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[("grpc-timeout", "400m")]).await;
    let mut answers = Incoming::of(reply).await;
    pour(&mut stream, asked("first", "m"), false).await.unwrap();
    assert_eq!(next(&mut answers).await.infer_response.unwrap().id, "first");
    assert_eq!(answers.next().await.unwrap_err().0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_stays_until_the_gateway_goes() {
    let backend = Backend::start("b1", Script::ready()).await;
    let bounds = "limits.keep_alive_ms=200\nlimits.request_max_ms=300\nserver.lame_duck_ms=300";
    let mut gateway = Gateway::before(&[&backend], bounds).await;
    let mut client = Client::connect(&gateway).await;
    let (reply, mut stream) = client.open(&path("ModelStreamInfer"), &[]).await;
    let mut answers = Incoming::of(reply).await;
    for id in ["a", "b"] {
        pour(&mut stream, asked(id, "m"), false).await.unwrap();
        assert_eq!(next(&mut answers).await.infer_response.unwrap().id, id);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    backend.behave(Manner::Late(200));
    pour(&mut stream, asked("c", "m"), false).await.unwrap();
    until("it is asked", async || backend.calls() == 3).await;
    gateway.stop();
    assert_eq!(next(&mut answers).await.infer_response.unwrap().id, "c", "a call in flight is finished");
    assert_eq!(answers.next().await.unwrap_err().0, Kind::Unavailable.grpc());
    assert_eq!(gateway.stopped().await, headgate_gateway::server::Drained::Whole);
}
