//! What a caller may not do.

use std::time::Duration;

use headgate_contract::header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Backend, Manner, Script};
use crate::gateway::{Gateway, config};
use crate::until;

/// Sends bytes as they are, and reads until the other side closes.
async fn raw(gateway: &Gateway, text: &str) -> String {
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_buffer_passes_through_and_one_over_the_bound_does_not() {
    let backend = Backend::start("b1", Script::ready()).await;
    let bounds = "limits.buffer_bytes_max=1000\nlimits.body_bytes_max=300000\nlimits.body_timeout_ms=1000";
    let gateway = Gateway::before(&[&backend], bounds).await;
    for bytes in [0, 1, 999, 1000, 1001, 70_000, 300_000] {
        let before = backend.bytes();
        let answer = gateway.post_body("/v2/models/m/infer", vec![b'x'; bytes]).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::VERSION)), (200, "1"), "{bytes} bytes");
        assert_eq!(backend.bytes() - before, bytes as u64);
    }
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let told = raw(&gateway, &format!("{head}content-length: 300001\r\n\r\n")).await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    assert!(told.contains("x-headgate-error: too_large") && told.contains("300000 bytes"), "{told}");
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000));
    let untold = raw(&gateway, &format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(7))).await;
    assert!(untold.starts_with("HTTP/1.1 413 "), "{untold}");
    let fits = raw(&gateway, &format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(6))).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_held_are_bounded_together_and_the_rest_passes_through() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.buffers_bytes_max=100000").await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 60001\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &[b'x'; 60_000]].concat()).await.unwrap();
        stalled.push(stream);
    }
    let passing = || async { backend.connections() > 2 };
    until("bodies without room are on their way to a backend", passing).await;
    for mut stream in stalled {
        stream.write_all(b"x").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert_eq!((backend.calls(), backend.bytes()), (4, 4 * 60_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_still_sending_sees_why_it_is_refused() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.body_bytes_max=2000000").await;
    for _ in 0..5 {
        let answer = gateway.post_body("/v2/models/m/infer", vec![b'x'; 20_000_000]).await;
        assert_eq!(answer.status, 413);
        let answer = gateway.post_body("/v2/nowhere", vec![b'x'; 20_000_000]).await;
        assert_eq!(answer.status, 404);
    }
    assert_eq!(backend.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reply_passes_through() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.buffer_bytes_max=1000").await;
    backend.behave(Manner::Large(3_000_000));
    let answer = gateway.infer().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 3_000_000));
    assert_eq!(gateway.state().await["in_flight"], 0);
    // More than fits the buffers between here and there.
    backend.behave(Manner::Large(40_000_000));
    let mut slow = TcpStream::connect(&gateway.address).await.unwrap();
    slow.write_all(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    slow.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(gateway.state().await["backends"][0]["in_flight"], 1, "it still streams");
    drop(slow);
    until("it is over", async || gateway.state().await["backends"][0]["in_flight"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_passing_goes_elsewhere_where_nobody_answers_the_door() {
    let mut dead = Backend::start("b1", Script::ready()).await;
    let backend = Backend::start("b2", Script::ready()).await;
    // Probes are rare, so that the dead one is still thought alive.
    let rare = "limits.buffer_bytes_max=10\nfleet.probe_ms=30000\nfleet.misses_max=1000\nfleet.eject_failures=0\nfleet.failure_penalty_ms=0";
    let gateway = Gateway::before(&[&dead, &backend], rare).await;
    dead.kill().await;
    for _ in 0..10 {
        let answer = gateway.post_body("/v2/models/m/infer", vec![b'x'; 5_000]).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::BACKEND)), (200, "b2"));
    }
    gateway.reload(config(&[&dead, &backend], &format!("{rare}\nretry.attempts_max=1")));
    let mut refused = 0;
    for _ in 0..30 {
        let answer = gateway.post_body("/v2/models/m/infer", vec![b'x'; 5_000]).await;
        refused += u32::from((answer.status.as_u16(), answer.header(header::ERROR)) == (502, "bad_gateway"));
    }
    assert!(refused > 0, "one attempt became more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_breaks_off_in_passing_is_told_and_no_backend_is_blamed() {
    let backends = [Backend::start("b1", Script::ready()).await, Backend::start("b2", Script::ready()).await];
    let bounds = "limits.buffer_bytes_max=1000\nlimits.body_timeout_ms=300\nfleet.eject_failures=2";
    let gateway = Gateway::before(&[&backends[0], &backends[1]], bounds).await;
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 5_000, "x".repeat(5_000));
    for _ in 0..4 {
        let garbled = raw(&gateway, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}ZZ\r\n")).await;
        assert!(garbled.starts_with("HTTP/1.1 400 ") && garbled.contains("the body broke off"), "{garbled}");
        let silent = raw(&gateway, &format!("{head}content-length: 9000\r\n\r\n{}", "x".repeat(5_000))).await;
        assert!(silent.starts_with("HTTP/1.1 504 ") && silent.contains("for 300 ms"), "{silent}");
    }
    assert_eq!(gateway.state().await["ejections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_is_closed() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.head_timeout_ms=200\nlimits.body_timeout_ms=200").await;
    assert_eq!(raw(&gateway, "").await, "", "one that says nothing");
    assert_eq!(raw(&gateway, "POST /v2/models/m/infer HTTP/1.1\r\nho").await, "", "one that stops in its head");
    let second = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    for byte in second.bytes().cycle().take(second.len() * 3) {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.contains("200 OK"), "one that drips was served: {answer}");
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12";
    let answer = raw(&gateway, head).await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("200 ms"), "one that stops in its body: {answer}");
    assert_eq!(backend.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.keep_alive_ms=600").await;
    let answer = raw(&gateway, "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    let mut buffer = [0; 1024];
    for _ in 0..6 {
        stream.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_lengths_are_refused() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\n";
    let smuggled = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 3\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: gzip\r\n",
    ] {
        let answer = raw(&gateway, &format!("{head}{lengths}\r\n{{}}{smuggled}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lengths:?}: {answer}");
    }
    // RFC 9112, section 6.3: the coding wins over the length, and the connection closes after it.
    let both = format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}");
    let answer = raw(&gateway, &both).await;
    assert!(answer.matches("HTTP/1.1").count() <= 1, "what came after the body was taken for a request: {answer}");
    assert!(backend.calls() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_heads_are_refused() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.headers_max=20\nlimits.head_bytes_max=16384").await;
    let request =
        |headers: &str, path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let many: String = (0..30).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(raw(&gateway, &request(&many, "/v2")).await.starts_with("HTTP/1.1 431 "));
    let long = format!("x-long: {}\r\n", "x".repeat(40_000));
    assert!(raw(&gateway, &request(&long, "/v2")).await.starts_with("HTTP/1.1 431 "));
    let path = format!("/v2/models/{}", "x".repeat(5_000));
    assert!(raw(&gateway, &request("", &path)).await.starts_with("HTTP/1.1 400 "));
    assert!(raw(&gateway, &request("", "/v2")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_or_connections_than_there_may_be_are_refused() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.in_flight_max=2\nlimits.connections_max=4").await;
    backend.behave(Manner::Late(600));
    let (a, b, refused) = tokio::join!(gateway.infer(), gateway.infer(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.infer().await
    });
    assert_eq!((a.status.as_u16(), b.status.as_u16()), (200, 200));
    assert_eq!((refused.status.as_u16(), refused.header(header::ERROR)), (503, "overloaded"));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(TcpStream::connect(&gateway.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(raw(&gateway, "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
}
