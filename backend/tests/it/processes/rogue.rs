//! Processes that do not do as they should: the version before serves on, other models notice nothing, nothing is left.

use rustix::process::Signal;
use serde_json::json;

use super::rig::{Backend, commands, kill_command, processes, until_none_is_left, version};
use crate::support::models::number;
use crate::support::{Answer, Bucket, linear, post, post_with, until};

/// Ages that the process takes in its own way: as in `rogue.py`.
const HANG: u32 = 1001;
const END: u32 = 1002;
const GROW: u32 = 1003;
const FLOOD: u32 = 1004;
const TRICKLE: u32 = 1008;

/// A backend with a linear model `fine`, and version 1 of `model` by a process that behaves until it is asked not to.
async fn served(model: &str, flags: &[(&str, &str)]) -> (Bucket, Backend) {
    served_by(model, "", flags).await
}

async fn served_by(model: &str, behave: &str, flags: &[(&str, &str)]) -> (Bucket, Backend) {
    let bucket = Bucket::new().await;
    bucket.release(linear("fine", [0.5, 0.5])).await;
    bucket.release(version(model, "rogue", [1.0, 1.0], behave)).await;
    let backend = Backend::start(&bucket, flags).await;
    backend.server.until_answers(model, 1).await;
    (bucket, backend)
}

async fn call(backend: &Backend, model: &str, age: u32) -> Answer {
    post(backend.server.addr, &format!("/v1/models/{model}:predict"), json!({"instances": [[age, 1]]})).await
}

async fn call_within(backend: &Backend, model: &str, age: u32, timeout_ms: u32) -> Answer {
    let path = format!("/v1/models/{model}:predict");
    let headers = [("x-headgate-timeout-ms", timeout_ms.to_string())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    post_with(backend.server.addr, &path, &headers, json!({"instances": [[age, 1]]})).await
}

/// Until then every call is answered, or refused with 503 and these words.
async fn comes_back(backend: &Backend, model: &str, words: &[&str]) {
    until("it answers again", || async {
        let answer = call(backend, model, 1).await;
        assert_eq!(call(backend, "fine", 1).await.status, 200);
        if answer.status != 200 {
            answer.says(503, &[&[model, "version 1"], words].concat());
            assert_eq!(answer.header("retry-after"), "1");
        }
        answer.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_is_started_again() {
    let (_bucket, backend) = served("killed", &[]).await;
    for _ in 0..2 {
        let before = commands("killed", "rogue.py");
        kill_command("killed");
        comes_back(&backend, "killed", &["it was ended by signal 9"]).await;
        assert_ne!(commands("killed", "rogue.py"), before);
    }
    assert_eq!(backend.folders().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_by_a_call_it_says_so_and_again_and_again() {
    let (_bucket, backend) = served("ends", &[]).await;
    let ends = call(&backend, "ends", END).await;
    ends.says(503, &["'ends'", "version 1", "exit code 7", "started again in"]);
    comes_back(&backend, "ends", &["exit code 7"]).await;
    call(&backend, "ends", END).await.says(503, &["failed 2 times in a row"]);
    call(&backend, "ends", 1).await.says(503, &["failed 2 times in a row", "exit code 7"]);
    comes_back(&backend, "ends", &["exit code 7"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_guard_killed_it_is_killed_too_and_started_again() {
    let (_bucket, backend) = served("guard", &[]).await;
    let [command] = commands("guard", "rogue.py")[..] else { panic!() };
    let guard = processes("guard").into_iter().find(|pid| *pid != command).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    comes_back(&backend, "guard", &["its guard was killed"]).await;
    until("the one whose guard was killed is gone", || async {
        let now = processes("guard");
        !now.contains(&command) && now.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn started_again_it_must_give_the_golden_results_again() {
    let (_bucket, backend) = served_by("moody", "moody", &[]).await;
    kill_command("moody");
    until("it is found out", || async {
        let answer = call(&backend, "moody", 1).await;
        assert!(answer.status != 200 || answer.json()["predictions"] == json!([3.0]), "{answer:?}");
        !backend.said(&["does not give the golden results any more: golden row 0"]).is_empty()
    })
    .await;
    call(&backend, "moody", 1).await.says(503, &["'moody'", "times in a row", "golden results"]);
    assert_eq!(call(&backend, "fine", 1).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_on_a_call_it_is_killed_and_started_again() {
    let (_bucket, backend) = served("hung", &[("process.call_timeout_ms", "800")]).await;
    call_within(&backend, "hung", HANG, 100).await.says(504, &["'hung'", "version 1", "deadline"]);
    // The others are served meanwhile.
    assert_eq!(call(&backend, "hung", 1).await.status, 200);
    assert_ne!(call(&backend, "hung", HANG).await.status, 200);
    comes_back(&backend, "hung", &["did not answer a call within 800 ms"]).await;
    assert!(!backend.said(&["it did not answer a call within 800 ms"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_its_tracks_it_is_killed_and_started_again() {
    let (_bucket, backend) = served("stopped", &[("process.call_timeout_ms", "500")]).await;
    let [command] = commands("stopped", "rogue.py")[..] else { panic!() };
    rustix::process::kill_process(rustix::process::Pid::from_raw(command).unwrap(), Signal::STOP).unwrap();
    // The signal is on its way when it is sent.
    let is_stopped = || async {
        let stat = std::fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    until("it is stopped", is_stopped).await;
    call(&backend, "stopped", 1).await.says(504, &["'stopped'", "hangs", "within 500 ms"]);
    comes_back(&backend, "stopped", &["did not answer a call within 500 ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_it_is_killed_and_started_again() {
    let (_bucket, backend) = served("grows", &[]).await;
    call(&backend, "grows", GROW)
        .await
        .says(503, &["'grows'", "bytes of memory", "process.memory_bytes_max is 268435456"]);
    comes_back(&backend, "grows", &["bytes of memory"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_blocks_and_fills_nothing() {
    // Time enough for a busy machine: a log that blocked it would never be through.
    let (_bucket, backend) = served("floods", &[("process.call_timeout_ms", "60000")]).await;
    // 50 MB.
    let answer = call_within(&backend, "floods", FLOOD, 60_000).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    until("what is dropped is told", || async { !backend.said(&["\"stream\":\"stdout\"", "dropped"]).is_empty() })
        .await;
    let lines = backend.said(&["\"model\":\"floods\"", "yyyyyyyy"]).len();
    assert!((1..1000).contains(&lines), "{lines}");
    assert_eq!(call(&backend, "fine", 1).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_fails_its_call_only() {
    let (_bucket, backend) = served("answers", &[("process.answer_bytes_max", "1048576")]).await;
    for (age, status, words) in [
        (1005, 502, "its process' answer: byte 0: '{' expected"),
        (1006, 502, "output 'score' has 0 values, 1 expected"),
        (1007, 502, "output 'score' is missing"),
        (1009, 502, "its process failed: no such luck"),
        (1010, 400, "its process refuses the call: age must be human"),
        (1011, 502, "more than 1048576 bytes"),
        (1012, 502, "the connection broke"),
    ] {
        call(&backend, "answers", age).await.says(status, &["'answers'", "version 1", words]);
        assert_eq!(call(&backend, "answers", 1).await.status, 200);
    }
    call_within(&backend, "answers", TRICKLE, 300).await.says(504, &["'answers'", "deadline"]);
    assert_eq!(call(&backend, "answers", 1).await.status, 200);
    assert!(backend.said(&["started again"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded() {
    let flags = [("process.concurrency", "1"), ("process.queue_max", "2"), ("process.call_timeout_ms", "60000")];
    let (_bucket, backend) = served("waits", &flags).await;
    let addr = backend.server.addr;
    let path = "/v1/models/waits:predict";
    let mut calls = Vec::new();
    for _ in 0..8 {
        calls.push(tokio::spawn(post(addr, path, json!({"instances": [[1013, 1]]}))));
    }
    let mut refused = 0;
    for call in calls {
        let answer = call.await.unwrap();
        if answer.status != 200 {
            answer.says(503, &["'waits'", "2 calls wait for its process already"]);
            refused += 1;
        }
    }
    assert_eq!(refused, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_can_not_be_proven_is_refused_and_the_version_before_serves_on() {
    let flags = [
        ("process.start_timeout_ms", "1500"),
        ("process.call_timeout_ms", "500"),
        ("process.answer_bytes_max", "65536"),
    ];
    let (bucket, backend) = served("refused", &flags).await;
    for (number, (behave, words)) in (2..).zip([
        (
            "end",
            "did not become ready: it ended with exit code 3; the last line on its standard error is 'no weights here'",
        ),
        ("hang", "was not ready within 1500 ms"),
        ("never ready", "was not ready within 1500 ms"),
        ("grow", "bytes of memory, process.memory_bytes_max"),
        ("garbage", "golden rows can't be scored: model 'refused' version 6: its process' answer"),
        ("fewer rows", "output 'score' has 1 values, 2 expected"),
        ("huge", "more than 65536 bytes"),
        ("trickle", "did not answer a call within 1500 ms"),
        // Its weights are not those that its golden rows were made with.
        ("secrets", "golden row 0 does not reproduce"),
    ]) {
        bucket.release(version("refused", "rogue", [1.0, 1.0], behave)).await;
        until(behave, || async { !backend.server.state("refused", number).await.1.is_empty() }).await;
        let (state, reason) = backend.server.state("refused", number).await;
        assert!(state == "UNAVAILABLE" && reason.contains(words), "{behave}: {state}, {reason}");
        assert_eq!(backend.server.answers("refused").await, "1");
    }
    until("only version 1 runs", || std::future::ready(processes("refused").len() == 2)).await;
    until("only version 1 has a folder", || std::future::ready(backend.folders().len() == 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_long_keeps_no_other_model_from_loading() {
    let (bucket, backend) = served("beside", &[("load.concurrency", "1"), ("process.start_timeout_ms", "60000")]).await;
    bucket.release(version("slow-1", "rogue", [1.0, 1.0], "hang")).await;
    until("it hangs", || std::future::ready(commands("slow-1", "rogue.py").len() == 1)).await;
    bucket.release(version("slow-2", "rogue", [1.0, 1.0], "hang")).await;
    until("it waits", || async { backend.server.state("slow-2", 1).await.0 == "LOADING" }).await;
    bucket.release(linear("quick", [1.0, 1.0])).await;
    backend.server.until_answers("quick", 1).await;
    assert_eq!(backend.server.state("slow-1", 1).await.0, "LOADING");
    assert!(commands("slow-2", "rogue.py").is_empty(), "more processes start at once than may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing() {
    let (bucket, backend) = served("given-up", &[]).await;
    bucket.release(version("given-up", "rogue", [1.0, 1.0], "hang")).await;
    until("it hangs", || std::future::ready(commands("given-up", "rogue.py").len() == 2)).await;
    bucket.promote("given-up", number(1), None).await;
    until("it is gone", || std::future::ready(processes("given-up").len() == 2 && backend.folders().len() == 1)).await;
    assert_eq!(backend.server.answers("given-up").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_runs_nothing_that_is_not_allowed() {
    let (bucket, backend) = served("named", &[]).await;
    let mut number = 2;
    for (requires, words) in [
        (vec!["process:bash"], "command 'bash', which this backend does not allow"),
        (vec!["process:/bin/sh"], "does not allow"),
        (vec![], "one command expected"),
        (vec!["process:rogue", "process:rogue"], "one command expected"),
        (vec!["process:rogue", "gpu"], "it requires 'process:rogue, gpu'"),
    ] {
        let (mut new, bytes) = version("named", "rogue", [number as f64, 1.0], "");
        new.engine.requires = requires.into_iter().map(str::to_owned).collect();
        bucket.release((new, bytes)).await;
        until(words, || async { backend.server.state("named", number).await.1.contains(words) }).await;
        number += 1;
    }
    let (mut new, bytes) = version("named", "rogue", [number as f64, 1.0], "");
    new.golden = None;
    bucket.release((new, bytes)).await;
    until("refused", || async { backend.server.state("named", number).await.1.contains("no golden rows") }).await;
    assert_eq!(backend.server.answers("named").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn grandchildren_end_with_it() {
    let (_bucket, mut backend) = served_by("forks", "fork", &[]).await;
    assert_eq!(processes("forks").len(), 3);
    let before = processes("forks");
    kill_command("forks");
    comes_back(&backend, "forks", &["signal 9"]).await;
    assert!(processes("forks").len() == 3 && processes("forks").intersection(&before).count() == 0);
    backend.signal(Signal::TERM);
    assert_eq!(backend.ended().await, Some(0));
    assert!(processes("forks").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_killed_nothing_is_left() {
    let (_bucket, mut backend) = served_by("orphan", "fork", &[]).await;
    backend.signal(Signal::KILL);
    assert_eq!(backend.ended().await, None);
    until_none_is_left("orphan").await;
    assert_eq!(backend.folders(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn deaf_to_sigterm_it_is_killed() {
    let (_bucket, mut backend) = served_by("deaf", "deaf", &[("process.stop_timeout_ms", "200")]).await;
    backend.signal(Signal::TERM);
    assert_eq!(backend.ended().await, Some(0));
    assert!(processes("deaf").is_empty() && backend.folders().is_empty());
}
