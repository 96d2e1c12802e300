//! The link from outside: a gateway's side of it that is written here, in front of a real server.

mod gateway;

use std::io::Read;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use headgate_contract::Kind;
use headgate_contract::link::{Closed, Frame};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::models::score;
use crate::support::{Bucket, Server, linear, post_with, until};
use gateway::{Ended, Gateway, Said, opening};

const PATH: &str = "/v1/models/bank:predict";
const WEIGHTS: [f64; 2] = [0.5, -2.0];

async fn bank(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, flags).await;
    server.ready().await;
    (bucket, server)
}

fn body(row: [f64; 2], rows: usize) -> Vec<u8> {
    json!({"instances": vec![row; rows]}).to_string().into_bytes()
}

fn predictions(row: [f64; 2], rows: usize) -> String {
    json!({"predictions": vec![score(WEIGHTS, row); rows]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_says_the_same_over_the_link_as_over_http() {
    let (_bucket, server) = bank(&[("default_model", "bank"), ("limits.compress_bytes_min", "64")]).await;
    let digest = {
        let answer = post_with(server.addr, PATH, &[], r#"{"instances":[[1,2]]}"#).await;
        answer.header("x-headgate-digest").to_owned()
    };
    let json_type = ("content-type", "application/json");
    let chosen = [("x-headgate-chosen-version", "1"), ("x-headgate-chosen-digest", digest.as_str())];
    let binary = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[30,7.5]}],"parameters":{"binary_data_output":true}}"#;
    let mut gateway = Gateway::open(server.addr).await;
    for (path, headers, body) in [
        (PATH, vec![json_type], r#"{"instances":[[30,7.5],[0.1,-0.2]]}"#),
        (PATH, vec![json_type, chosen[0], chosen[1]], r#"{"instances":[[30,7.5]]}"#),
        (PATH, vec![chosen[0]], r#"{"instances":[[30,7.5]]}"#),
        (PATH, vec![("accept-encoding", "gzip")], r#"{"instances":[[30,7.5],[30,7.5],[30,7.5],[30,7.5],[30,7.5]]}"#),
        (PATH, vec![], r#"{"instances":[{"age":1,"balance":2,"new":3}]}"#),
        ("/v2/models/bank/infer", vec![], binary),
        ("/v2/models/bank/versions/1/infer", vec![("accept", "x")], &binary.replace("true", "false")),
        ("/invocations", vec![("content-type", "text/csv"), ("accept", "text/csv")], "30,7.5\n0.1,-0.2\n"),
        (
            "/endpoints/bank/invocations",
            vec![],
            r#"{"dataframe_split":{"columns":["age","balance"],"data":[[30,7.5]]}}"#,
        ),
        // What is refused.
        (PATH, vec![], "{"),
        (PATH, vec![], r#"{"instances":[[30,7.5],[1]]}"#),
        (PATH, vec![("x-headgate-chosen-version", "9")], r#"{"instances":[[30,7.5]]}"#),
        (PATH, vec![("x-headgate-chosen-version", "x")], r#"{"instances":[[30,7.5]]}"#),
        (PATH, vec![("content-encoding", "br")], r#"{"instances":[[30,7.5]]}"#),
        ("/v1/models/other:predict", vec![], r#"{"instances":[[30,7.5]]}"#),
        ("/v1/models/bank:explain", vec![], "{}"),
        ("/endpoints/bank/invocations", vec![], "{"),
    ] {
        let over_http = post_with(server.addr, path, &headers, body).await;
        // By number, and with the call.
        for known in [false, true] {
            let id = gateway.call(path, &headers, known, body.as_bytes()).await;
            let Said::Reply(reply) = gateway.said(id).await else { panic!("{path} {headers:?}") };
            let of_connection = ["x-request-id", "content-length", "date", "connection"];
            let mut expected = over_http.headers.clone();
            for name in of_connection {
                expected.remove(name);
            }
            let chosen = headers.contains(&chosen[1]).then_some((chosen[0].1, chosen[1].1));
            assert_eq!(reply.headers(chosen), expected, "{path} {headers:?}");
            assert_eq!(reply.status, over_http.status.as_u16(), "{path} {headers:?}");
            assert_eq!(reply.body, over_http.body, "{path} {headers:?}");
        }
    }
    assert!(gateway.hello.connections > 0 && gateway.hello.credits > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_the_highest_that_both_speak() {
    let (_bucket, server) = bank(&[]).await;
    for (offered, answer) in
        [("1-1", "101"), ("0-1", "101"), ("1-9", "101"), ("2-9", "426"), ("0-0", "426"), ("x", "426")]
    {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(opening(offered).as_bytes()).await.unwrap();
        let mut came = [0; 12];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, format!("HTTP/1.1 {answer}").as_bytes(), "{offered}");
        if answer == "426" {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert!(rest.contains("x-headgate-link: 1-1\r\n"), "{rest}");
        }
    }
    // A question that comes byte by byte, and one that is none.
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in opening("1-1").bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut came = [0; 12];
    stream.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"HTTP/1.1 101");
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let other = opening("1-1").replace("upgrade: headgate-link", "upgrade: websocket\r\nconnection: close");
    stream.write_all(other.as_bytes()).await.unwrap();
    let mut came = String::new();
    stream.read_to_string(&mut came).await.unwrap();
    assert!(came.starts_with("HTTP/1.1 404"), "{came}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_one_go_get_their_own_answers_and_new_heads_mean_the_calls_behind_them() {
    let (_bucket, server) = bank(&[]).await;
    let mut gateway = Gateway::open(server.addr).await;
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for n in 0..900_usize {
        let (row, rows) = ([n as f64, 1.0], 1 + n % 19);
        // The same number for another path now and then.
        let path = if n % 50 < 25 { PATH } else { "/v1/models/nobody:predict" };
        if n % 25 == 0 {
            gateway.put_head(7, path, &[], &mut bytes);
        }
        let id = gateway.put_call(Some(7), path, &[], 20_000, &body(row, rows), &mut bytes);
        expected.push((id, if n % 50 < 25 { (200, predictions(row, rows)) } else { (404, String::new()) }));
    }
    gateway.write(&bytes).await;
    for (id, (status, text)) in expected {
        let Said::Reply(reply) = gateway.said(id).await else { panic!("{id}") };
        assert_eq!(reply.status, status);
        assert!(text.is_empty() || reply.body == text.as_bytes(), "{text}");
    }
    // However they come in.
    let mut cut = Vec::new();
    let ids: Vec<u64> =
        (0..20).map(|_| gateway.put_call(None, PATH, &[], 20_000, &body([1.0, 2.0], 1), &mut cut)).collect();
    for byte in cut.chunks(1) {
        gateway.write(byte).await;
    }
    for id in ids {
        let Said::Reply(reply) = gateway.said(id).await else { panic!("{id}") };
        assert_eq!(reply.body, predictions([1.0, 2.0], 1).as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_ends_once_whatever_becomes_of_it() {
    let (_bucket, server) = bank(&[]).await;
    let mut gateway = Gateway::open(server.addr).await;
    let mut bytes = Vec::new();
    // Too late before it begins; long enough to be cancelled; unknown to be cancelled.
    let late = gateway.put_call(None, PATH, &[], 0, &body([1.0, 2.0], 1), &mut bytes);
    let long = gateway.put_call(None, PATH, &[], 20_000, &body([1.0, 2.0], 5_000), &mut bytes);
    Frame::Cancel(long).put(&mut bytes);
    Frame::Cancel(late).put(&mut bytes);
    Frame::Ping(77).put(&mut bytes);
    gateway.write(&bytes).await;
    let Said::Reply(reply) = gateway.said(late).await else { panic!() };
    assert_eq!((reply.status, reply.error), (504, Some(Kind::DeadlineExceeded)));
    match gateway.said(long).await {
        Said::Closed(why) => assert_eq!(why, Closed::Cancelled),
        Said::Reply(reply) => assert_eq!(reply.status, 200, "it was done before it was cancelled"),
    }
    gateway.pong(77).await;
    assert!(gateway.is_quiet().await, "a call ended twice");
    until("nothing is in flight", || async { server.metric("headgate_in_flight").await == "0" }).await;
    // A reply that does not fit the gateway's frames.
    let mut small = Gateway::open_with(server.addr, 1_000).await;
    let id = small.call(PATH, &[], false, &body([1.0, 2.0], 500)).await;
    assert!(matches!(small.said(id).await, Said::Closed(Closed::TooLarge)));
    let id = small.call(PATH, &[], false, &body([1.0, 2.0], 1)).await;
    assert!(matches!(small.said(id).await, Said::Reply(reply) if reply.status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_gateway_sends_its_link_ends_and_others_do_not() {
    let (_bucket, server) = bank(&[]).await;
    let mut good = Gateway::open(server.addr).await;
    let frame = |frame: Frame<'_>| {
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        bytes
    };
    let mut bad = vec![
        vec![0xff; 64],
        vec![0; 64],
        frame(Frame::Draining),
        frame(Frame::Closed(1, Closed::TooLarge)),
        frame(Frame::Cancel(u64::MAX)),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let mut other = Gateway::open(server.addr).await;
    let call = |other: &mut Gateway, head| {
        let mut bytes = Vec::new();
        other.put_call(head, PATH, &[], 1_000, b"{}", &mut bytes);
        bytes
    };
    // A head that did not come, one beyond those that are kept, headers that are none, an id again, a second hello.
    bad.push(call(&mut other, Some(3)));
    let mut beyond = Vec::new();
    other.put_head(256, PATH, &[], &mut beyond);
    bad.push(beyond);
    let mut none = Vec::new();
    other.put_head(0, PATH, &[("a b", "c")], &mut none);
    bad.push(none);
    bad.push(call(&mut other, None).repeat(2));
    bad.push(other.hello_again());
    for bytes in &bad {
        let mut gateway = Gateway::open(server.addr).await;
        gateway.write(bytes).await;
        assert_eq!(gateway.end().await, Ended::Closed, "{bytes:?}");
        let id = good.call(PATH, &[], true, &body([1.0, 2.0], 1)).await;
        assert!(matches!(good.said(id).await, Said::Reply(reply) if reply.status == 200));
    }
    // Before the hello.
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let early = [opening("1-1").as_bytes(), &frame(Frame::Ping(1))].concat();
    stream.write_all(&early).await.unwrap();
    let mut came = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut came)).await.expect("it stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_credits_end_the_link() {
    // All of them wait for the one thread that unpacks what is long.
    let many =
        [("limits.compute_threads", "1"), ("limits.compute_queue_max", "5000"), ("limits.in_flight_max", "5000")];
    let (_bucket, server) = bank(&many).await;
    let mut gateway = Gateway::open(server.addr).await;
    let mut long = Vec::new();
    GzEncoder::new(&*body([1.0, 2.0], 50_000), Compression::best()).read_to_end(&mut long).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..2 * gateway.hello.credits {
        gateway.put_call(None, PATH, &[("content-encoding", "gzip")], 20_000, &long, &mut bytes);
    }
    gateway.write(&bytes).await;
    assert_eq!(gateway.end().await, Ended::Closed);
    until("nothing is in flight", || async { server.metric("headgate_in_flight").await == "0" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_falls_silent_is_asked_and_then_left() {
    let (_bucket, server) = bank(&[("limits.idle_timeout_ms", "400")]).await;
    let mut talks = Gateway::open(server.addr).await;
    let mut silent = Gateway::open(server.addr).await;
    for _ in 0..8 {
        // It answers pings while it waits.
        assert!(talks.is_quiet().await);
    }
    let id = talks.call(PATH, &[], false, &body([1.0, 2.0], 1)).await;
    assert!(matches!(talks.said(id).await, Said::Reply(reply) if reply.status == 200));
    assert_eq!(silent.end().await, Ended::Closed);
    assert!(silent.pings > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_says_so_answers_on_and_ends_its_links() {
    let (_bucket, mut server) = bank(&[("drain.lame_duck_ms", "600"), ("drain.deadline_ms", "60000")]).await;
    let mut gateway = Gateway::open(server.addr).await;
    let mut stays = Gateway::open(server.addr).await;
    server.terminate();
    gateway.draining().await;
    let id = gateway.call(PATH, &[], false, &body([1.0, 2.0], 1)).await;
    assert!(matches!(gateway.said(id).await, Said::Reply(reply) if reply.status == 200), "it crossed the news");
    drop(gateway);
    // One that does not close is closed.
    assert_eq!(stays.end().await, Ended::Closed);
    let stopped = tokio::time::timeout(Duration::from_secs(20), &mut server.running).await;
    stopped.expect("a link holds it up").unwrap().unwrap();
}
