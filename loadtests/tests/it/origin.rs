use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use headgate_contract::fleet::{StateReport, VersionState};
use headgate_loadtests::driver::scores::{Place, Scores};
use headgate_loadtests::driver::{self, Load, Plan};
use headgate_loadtests::origin::{self, Options, SCORE};

/// An origin on a thread of its own, which ends with the test's process.
fn start() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listen = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            origin::serve(listener, &Options { listen, model: "m".parse().unwrap(), reply_bytes: 200 }).await
        })
    });
    listen
}

fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn every_call_gets_the_same_prediction() {
    let address = start();
    let plan = Plan {
        target: format!("http://{address}/v1/models/m:predict").parse().unwrap(),
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
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let driven = runtime.block_on(async { driver::start(plan).unwrap().finish().await }).unwrap();
    assert!(driven.tally.ended() > 0 && driven.tally.failed() == 0, "{:?}", driven.tally.examples);
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let text = exchange(start(), "GET /fleet/v1/state HTTP/1.1\r\n\r\nPOST /x HTTP/1.1\r\ncontent-length: 1\r\n\r\ny");
    let (state, call) = text.rsplit_once("HTTP/1.1 200 OK").unwrap();
    let report: StateReport = serde_json::from_str(state.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(report.ready && report.models[0].versions[0].state == VersionState::Ready);
    assert_eq!(report.models[0].release.serve[0].digest, report.models[0].versions[0].digest);
    assert!(call.contains(&format!("x-headgate-digest: {}", report.models[0].versions[0].digest)), "{call}");
    assert!(call.contains("x-headgate-version: 1\r\n"), "{call}");
}

#[test]
fn what_is_no_request_ends_the_connection_without_a_word() {
    assert_eq!(exchange(start(), "\0\r\n\r\n"), "");
    assert_eq!(exchange(start(), "POST /x HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), "");
}
