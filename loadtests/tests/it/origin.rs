use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use headgate_contract::Kind;
use headgate_contract::fleet::{StateReport, VersionState};
use headgate_contract::link::{Call, Closed, Frame, HeadOf, Headers, Next, next};
use headgate_loadtests::driver::scores::{Place, Scores};
use headgate_loadtests::driver::{self, Load, Plan};
use headgate_loadtests::origin::{self, COUNTS_PATH, Counts, Options, SCORE, WORK_PATH, Work};

fn options(listen: std::net::SocketAddr, http_only: bool) -> Options {
    let (name, work) = ("o".to_owned(), Work::default());
    Options { listen, model: "m".parse().unwrap(), reply_bytes: 200, http_only, name, servers: 2, work }
}

/// An origin on a thread of its own, which ends with the test's process.
fn start(http_only: bool) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listen = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            origin::serve(listener, &options(listen, http_only)).await
        })
    });
    listen
}

fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    String::from_utf8(exchange_bytes(address, request.as_bytes())).unwrap()
}

fn exchange_bytes(address: std::net::SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn every_call_gets_the_same_prediction() {
    let address = start(false);
    let plan = Plan {
        target: format!("http://{address}/v1/models/m:predict").parse().unwrap(),
        from: None,
        bodies: vec![vec![b'x'; 540].into(), vec![b'y'; 100_000].into()],
        headers: Vec::new(),
        load: Load::Closed,
        duration: Duration::from_millis(200),
        connections: 4,
        timeout: Duration::from_secs(10),
        expect: None,
        scores: Some(Scores {
            expected: vec![vec![SCORE]; 2],
            tolerance: 0.0,
            place: Place::Pointer("/predictions".to_owned()),
            every: 1,
        }),
        phases: vec!["all".to_owned()],
        bare: true,
        keep: false,
        spin: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let driven = runtime.block_on(async { driver::start(plan).unwrap().finish().await }).unwrap();
    assert!(driven.tally.ended() > 0 && driven.tally.failed() == 0, "{:?}", driven.tally.examples);
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let text =
        exchange(start(false), "GET /fleet/v1/state HTTP/1.1\r\n\r\nPOST /x HTTP/1.1\r\ncontent-length: 1\r\n\r\ny");
    let (state, call) = text.rsplit_once("HTTP/1.1 200 OK").unwrap();
    let report: StateReport = serde_json::from_str(state.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(report.ready && report.models[0].versions[0].state == VersionState::Ready);
    assert_eq!(report.models[0].release.serve[0].digest, report.models[0].versions[0].digest);
    assert!(call.contains(&format!("x-headgate-digest: {}", report.models[0].versions[0].digest)), "{call}");
    assert!(call.contains("x-headgate-version: 1\r\n"), "{call}");
}

#[test]
fn what_is_no_request_ends_the_connection_without_a_word() {
    assert_eq!(exchange(start(false), "\0\r\n\r\n"), "");
    assert_eq!(exchange(start(false), "POST /x HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), "");
}

#[test]
fn calls_of_a_link_are_answered_together() {
    let mut request = b"GET /fleet/v1/link HTTP/1.1\r\nupgrade: headgate-link\r\n\r\n".to_vec();
    for id in [3, 4] {
        let (head, body) = (HeadOf::Known(0), b"x".as_slice());
        Frame::Call(Call { id, timeout_ms: 0, head, request_id: b"", headers: Headers::NONE, body }).put(&mut request);
    }
    Frame::Ping(7).put(&mut request);
    let answered = exchange_bytes(start(false), &request);
    let head = answered.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert!(answered.starts_with(b"HTTP/1.1 101 "), "{answered:?}");
    let (mut rest, mut ids) = (&answered[head..], Vec::new());
    while let Next::Frame(frame, length) = next(rest, 1 << 20).unwrap() {
        match frame {
            Frame::Reply(reply) => {
                assert_eq!((reply.status, reply.rows, reply.body.len()), (200, Some(1), 200));
                ids.push(reply.id);
            }
            Frame::Pong(number) => ids.push(number),
            Frame::Hello(hello) => assert!(ids.is_empty() && hello.credits > 0),
            other => panic!("{other:?}"),
        }
        rest = &rest[length..];
    }
    assert_eq!((ids, rest.len()), (vec![3, 4, 7], 0));
}

#[test]
fn a_link_can_be_refused() {
    let text =
        exchange(start(true), "GET /fleet/v1/link HTTP/1.1\r\n\r\nPOST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 426 ") && text.contains("HTTP/1.1 200 OK"), "{text}");
}

/// Tells an origin what to do.
fn tell(address: std::net::SocketAddr, work: &Work) {
    let body = serde_json::to_string(work).unwrap();
    let text = exchange(address, &format!("POST {WORK_PATH} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

fn counts(address: std::net::SocketAddr) -> Counts {
    let text = exchange(address, &format!("GET {COUNTS_PATH} HTTP/1.1\r\n\r\n"));
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Opens a link.
fn link(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /fleet/v1/link HTTP/1.1\r\nupgrade: headgate-link\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream
}

fn call(id: u64, timeout_ms: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = HeadOf::Known(0);
    Frame::Call(Call { id, timeout_ms, head, request_id: b"", headers: Headers::NONE, body: b"x" }).put(&mut bytes);
    bytes
}

/// How so many calls of a link end: number, status, kind of error; no status for those that were closed.
fn ends(stream: &mut TcpStream, count: usize) -> Vec<(u64, Option<u16>, Option<Kind>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < count {
        let mut more = [0; 4096];
        let read = stream.read(&mut more).unwrap();
        assert!(read > 0, "the link was closed after {ends:?}");
        bytes.extend_from_slice(&more[..read]);
        while let Next::Frame(frame, length) = next(&bytes, 1 << 20).unwrap() {
            match frame {
                Frame::Reply(reply) => ends.push((reply.id, Some(reply.status), reply.error)),
                Frame::Closed(id, Closed::Cancelled) => ends.push((id, None, None)),
                Frame::Hello(_) => {}
                other => panic!("{other:?}"),
            }
            bytes.drain(..length);
        }
    }
    ends
}

#[test]
fn an_origin_does_what_it_is_told() {
    let address = start(false);
    let slow = Work { service_ms: 300.0, line_max: 1, ..Work::default() };
    tell(address, &slow);
    let mut stream = link(address);
    // Two are worked on, one waits, one finds the line full.
    (1..=4).for_each(|id| stream.write_all(&call(id, 9_000)).unwrap());
    let refused = ends(&mut stream, 1);
    assert_eq!(refused, [(4, Some(503), Some(Kind::Overloaded))]);
    let mut cancel = Vec::new();
    Frame::Cancel(3).put(&mut cancel);
    stream.write_all(&cancel).unwrap();
    let mut rest = ends(&mut stream, 3);
    assert_eq!(rest.remove(0), (3, None, None));
    rest.sort_unstable_by_key(|end| end.0);
    assert_eq!(rest, [(1, Some(200), None), (2, Some(200), None)]);
    let seen = counts(address);
    assert_eq!((seen.calls, seen.answered, seen.refused, seen.cancelled, seen.in_flight), (4, 2, 1, 1, 0));
    assert!(seen.seen.iter().all(|call| call.told_ms == 9_000), "{seen:?}");
}

#[test]
fn an_origin_fails_as_it_is_told_and_heals() {
    let address = start(false);
    tell(address, &Work { fail: 1.0, ..Work::default() });
    let mut stream = link(address);
    stream.write_all(&call(1, 0)).unwrap();
    assert_eq!(ends(&mut stream, 1), [(1, Some(500), Some(Kind::Internal))]);
    let text = exchange(address, "POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 500 ") && text.contains("x-headgate-error: internal\r\n"), "{text}");
    tell(address, &Work { fail: 1.0, fail_as: origin::FailAs::Reset, ..Work::default() });
    stream.write_all(&call(2, 0)).unwrap();
    let error = stream.read(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    tell(address, &Work { hangs: true, ..Work::default() });
    let mut stream = link(address);
    stream.write_all(&call(3, 0)).unwrap();
    while counts(address).in_flight == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    tell(address, &Work { service_ms: 1.0, ..Work::default() });
    assert_eq!(ends(&mut stream, 1), [(3, Some(200), None)]);
    let text = exchange(address, &format!("POST {WORK_PATH} HTTP/1.1\r\ncontent-length: 11\r\n\r\n{{\"fail\": 2}}"));
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}
