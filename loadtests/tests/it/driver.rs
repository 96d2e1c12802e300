use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use headgate_loadtests::driver::expect::{Expect, Expected, Fault};
use headgate_loadtests::driver::failure::Failure;
use headgate_loadtests::driver::schedule::Law;
use headgate_loadtests::driver::{self, Driven, Load, Plan};

use crate::server::{self, Act};

fn plan(url: &str, rate_per_s: f64, duration_ms: u64) -> Plan {
    Plan {
        target: url.parse().unwrap(),
        from: None,
        bodies: vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")],
        headers: Vec::new(),
        load: Load::Open { law: Law::Constant, rate_per_s, seed: 1 },
        duration: Duration::from_millis(duration_ms),
        connections: 16,
        timeout: Duration::from_secs(10),
        expect: None,
        scores: None,
        phases: vec!["all".to_owned()],
        bare: false,
        keep: false,
        spin: false,
    }
}

fn drive(plan: Plan) -> Driven {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(driver::start(plan).unwrap().finish()).unwrap()
}

/// A reply of `version` to `body`, as a gateway would send it.
fn reply(version: u64, body: &str) -> Act {
    let headers = vec![
        ("x-headgate-version", version.to_string()),
        ("x-headgate-digest", format!("d{version}")),
        ("x-headgate-backend", format!("b{}", version % 2)),
    ];
    Act::Reply(200, headers, format!("{version}{body}"))
}

#[test]
fn every_arrival_is_sent_once_and_counted() {
    let server = server::start(|at, body| reply(1 + at as u64 % 2, body));
    let driven = drive(plan(&server.url("/x"), 1000.0, 500));
    let phase = &driven.tally.phases[0];
    assert_eq!((phase.succeeded(), phase.failed()), (499, 0));
    assert_eq!(phase.versions[&1].len() + phase.versions[&2].len(), 499);
    assert_eq!(phase.backends["b0"] + phase.backends["b1"], 499);
    assert_eq!(driven.tally.timeline.slices().iter().map(|slice| slice.latency.len()).sum::<u64>(), 499);
}

#[test]
fn a_stall_is_counted_in_every_request_that_it_delays() {
    // Every request waits while one of them holds the lock for 200 ms: 200 arrivals come due meanwhile, on 4
    // connections. A driver that waits for replies would see 4 slow ones.
    let lock = std::sync::Mutex::new(());
    let server = server::start(move |at, body| {
        let _held = lock.lock().unwrap();
        if at == 100 {
            thread::sleep(Duration::from_millis(200));
        }
        reply(1, body)
    });
    let driven = drive(Plan { connections: 4, ..plan(&server.url("/x"), 1000.0, 500) });
    let phase = &driven.tally.phases[0];
    assert_eq!(phase.failed(), 0);
    assert!(driven.connections <= 4 && server.connections.load(Ordering::SeqCst) <= 4);
    let late = phase.latency.count_between(20_000, u64::MAX);
    assert!(late >= 150, "{late} late requests");
}

#[test]
fn connections_grow_to_the_bound_and_the_rest_waits_in_line() {
    let server = server::start(|_, body| {
        thread::sleep(Duration::from_millis(20));
        reply(1, body)
    });
    let driven = drive(Plan { connections: 3, ..plan(&server.url("/x"), 500.0, 200) });
    assert_eq!((driven.connections, server.connections.load(Ordering::SeqCst)), (3, 3));
    assert_eq!(driven.tally.ended(), 99);
    // 99 requests on 3 connections of 50 a second end 660 ms after the first: the last waited in line.
    assert!(driven.tally.phases[0].latency.max() >= 300_000);
}

#[test]
fn resets_cuts_silence_and_refusals_are_told_apart() {
    let server = server::start(|at, body| match at % 10 {
        0 => Act::Reset,
        1 => Act::Cut,
        2 => Act::Silence,
        3 => Act::Reply(503, Vec::new(), "busy".to_owned()),
        _ => reply(1, body),
    });
    let driven = drive(Plan { timeout: Duration::from_secs(1), ..plan(&server.url("/x"), 500.0, 201) });
    let phase = &driven.tally.phases[0];
    let expected = [(Failure::Reset, 10), (Failure::Eof, 10), (Failure::Timeout, 10), (Failure::Status, 10)];
    assert_eq!(phase.failures, expected.into());
    assert_eq!(phase.succeeded(), 60);
    assert!(driven.tally.examples.iter().any(|example| example.words.contains("503: busy")));
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let open = drive(plan(&format!("http://{free}/"), 100.0, 101));
    assert_eq!(open.tally.phases[0].failures, [(Failure::Refused, 10)].into());
    let closed = drive(Plan { load: Load::Closed, ..plan(&format!("http://{free}/"), 0.0, 100) });
    assert!(closed.tally.failed() > 0 && closed.tally.phases[0].succeeded() == 0);
}

#[test]
fn a_connection_that_the_server_gives_up_costs_no_request() {
    let server = server::start(|_, body| match reply(1, body) {
        Act::Reply(status, mut headers, body) => {
            headers.push(("connection", "close".to_owned()));
            Act::Reply(status, headers, body)
        }
        act => act,
    });
    let driven = drive(plan(&server.url("/x"), 200.0, 301));
    assert_eq!((driven.tally.phases[0].succeeded(), driven.tally.failed()), (60, 0));
    assert_eq!(server.connections.load(Ordering::SeqCst), 60);
}

#[test]
fn a_reply_with_the_other_versions_bytes_is_a_fault() {
    let server = server::start(|at, body| match (at, reply(1, body)) {
        (50, Act::Reply(status, headers, _)) => Act::Reply(status, headers, format!("2{body}")),
        (_, act) => act,
    });
    let of = |version: u64| Expected {
        digest: format!("d{version}"),
        replies: ["a", "b"].map(|body| Bytes::from(format!("{version}{body}"))).into(),
    };
    let expect = Some(Expect { versions: [(1, of(1)), (2, of(2))].into() });
    let driven = drive(Plan { expect, ..plan(&server.url("/x"), 500.0, 201) });
    let phase = &driven.tally.phases[0];
    assert_eq!((phase.succeeded(), phase.failed()), (99, 1));
    assert_eq!(phase.faults, [(Fault::WrongBody, 1)].into());
}

#[test]
fn phases_and_changes_of_version_are_seen_from_outside() {
    let server = server::start(|at, body| reply(if at < 100 { 1 } else { 3 }, body));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let plan = Plan { phases: vec!["one".into(), "two".into()], ..plan(&server.url("/x"), 500.0, 60_000) };
    let driven = runtime.block_on(async {
        let mut running = driver::start(plan).unwrap();
        let first = running.changes.recv().await.unwrap();
        running.control.phase(1);
        running.control.mark("swap");
        let second = running.changes.recv().await.unwrap();
        assert_eq!((first.version, second.version, second.backend.as_str()), (1, 3, "b1"));
        running.control.stop();
        running.finish().await.unwrap()
    });
    let phase = |name: &str| driven.tally.phase(name).unwrap();
    assert!(!phase("two").versions[&3].is_empty() && !phase("one").versions.contains_key(&3));
    assert!(phase("two").length > Duration::ZERO && driven.length < Duration::from_secs(60));
    assert_eq!(driven.log.marks[0].1, "swap");
}

#[test]
fn a_closed_loop_is_as_fast_as_its_replies() {
    let server = server::start(|_, body| {
        thread::sleep(Duration::from_millis(10));
        reply(1, body)
    });
    let driven = drive(Plan { load: Load::Closed, connections: 4, ..plan(&server.url("/x"), 0.0, 500) });
    let ended = driven.tally.ended();
    assert!((8..=204).contains(&ended), "{ended} replies of 10 ms on 4 connections in 500 ms");
}

#[test]
fn bytes_are_counted_as_a_library_s_requests_are() {
    let server = server::start(|at, body| match at {
        20 => Act::Reset,
        30 => Act::Cut,
        40 => Act::Reply(503, Vec::new(), "busy".to_owned()),
        _ => reply(1, body),
    });
    let driven = drive(Plan { bare: true, ..plan(&server.url("/x"), 500.0, 201) });
    let phase = &driven.tally.phases[0];
    let expected = [(Failure::Reset, 1), (Failure::Eof, 1), (Failure::Status, 1)];
    assert_eq!((phase.succeeded(), phase.failures.clone()), (97, expected.into()));
    assert!(driven.tally.examples.iter().any(|example| example.words.contains("503: busy")));
}

#[test]
fn bytes_that_are_no_reply_are_garbled() {
    let server = server::start(|_, _| Act::Reply(200, vec![("content-length", "nought".into())], String::new()));
    let driven = drive(Plan { bare: true, ..plan(&server.url("/x"), 100.0, 101) });
    assert_eq!(driven.tally.phases[0].failures, [(Failure::Garbled, 10)].into());
}
