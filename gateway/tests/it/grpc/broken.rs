//! Calls that are no calls: refused with words, and the connection goes on.

use bytes::Bytes;
use headgate_contract::header;
use prost::Message;

use super::client::{Client, frame, path, pour, question, read};
use crate::backend::{Backend, Script};
use crate::gateway::Gateway;

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_lie_are_refused_and_the_connection_goes_on() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.body_timeout_ms=2000").await;
    let mut client = Client::connect(&gateway).await;
    let message = question("m", "", b"four").encode_to_vec();
    let good = frame(&message, false);
    let joined = |parts: &[&[u8]]| Bytes::from(parts.concat());
    let long = [&[0, 0xff, 0xff, 0xff, 0xff][..], &message].concat();
    for (body, code, words) in [
        (Bytes::new(), 3, "no message"),
        (good.slice(..3), 3, "3 bytes into a frame's head"),
        (good.slice(..good.len() - 1), 3, "announces"),
        (good.slice(..5), 3, "0 came"),
        (long.into(), 8, "larger than"),
        (joined(&[&good, &good]), 3, "more than one message"),
        (joined(&[&good, b"x"]), 3, "more than one message"),
        (joined(&[&[7], &good[1..]]), 3, "begins with 7"),
        (frame(&message, true), 3, "marked as compressed"),
        (frame(&message[..message.len() - 1], false), 3, "byte "),
        (frame(b"\x0a\x02\xff\xfe", false), 3, "UTF-8"),
        (frame(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false), 3, "64 bits"),
    ] {
        let answer = client.send(&path("ModelInfer"), &[], body.clone()).await;
        assert_eq!(answer.code, code, "{body:?}: {}", answer.words);
        assert!(answer.words.contains(words), "{body:?}: {}", answer.words);
        assert!(!answer.header(header::REQUEST_ID).is_empty());
    }
    let identity = client.send(&path("ModelInfer"), &[("grpc-encoding", "identity")], frame(&message, true)).await;
    assert_eq!(identity.code, 3);
    let garbage = client.send(&path("ModelInfer"), &[("grpc-encoding", "gzip")], frame(&message, true)).await;
    assert!(garbage.code == 3 && garbage.words.contains("inflated"), "{}", garbage.words);
    assert_eq!(backend.calls(), 0);
    assert_eq!(client.infer(&[]).await.code, 0);
    assert_eq!(gateway.state().await["in_flight"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_come_in_any_pieces_but_not_never() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.body_timeout_ms=300").await;
    let mut client = Client::connect(&gateway).await;
    let whole = frame(&question("m", "", b"four").encode_to_vec(), false);
    let (reply, mut stream) = client.open(&path("ModelInfer"), &[]).await;
    for byte in whole.iter() {
        pour(&mut stream, Bytes::copy_from_slice(&[*byte]), false).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    pour(&mut stream, Bytes::new(), true).await.unwrap();
    assert_eq!(read(reply).await.unwrap().inferred().raw_output_contents, [b"four".to_vec()]);
    for sent in [0, 3, 8, whole.len()] {
        let (reply, mut stream) = client.open(&path("ModelInfer"), &[]).await;
        pour(&mut stream, whole.slice(..sent), false).await.unwrap();
        let answer = read(reply).await.unwrap();
        assert_eq!(answer.code, 4, "{sent} bytes: {}", answer.words);
        assert!(answer.words.contains("300 ms"), "{}", answer.words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_call_is_no_grpc_reply() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    // By HTTP/1.1 there are no trailers: it is a path that leads nowhere.
    let answer = gateway.post(&path("ModelInfer"), &[("content-type", "application/grpc")]).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::ERROR)), (404, "not_found"));
    let client = Client::connect(&gateway).await;
    let request = http::Request::post("http://x/v2/models/m/infer").header("content-length", "2").body(()).unwrap();
    let (reply, mut stream) = client.sender.clone().ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"{}"), true).unwrap();
    let reply = reply.await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()[header::VERSION], "1");
    let request =
        http::Request::get(format!("http://x{}", path("ModelInfer"))).header("content-type", "application/grpc");
    let (reply, _) =
        client.sender.clone().ready().await.unwrap().send_request(request.body(()).unwrap(), true).unwrap();
    assert_eq!(read(reply).await.unwrap().code, 12);
}
