//! The program: flags, exit codes, signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::support::{Bucket, linear, post, until};

fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate-backend"));
    command.args(flags).env_clear();
    command
}

fn ran(flags: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = program(flags).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_configuration_is_checked_before_anything_is_done() {
    assert_eq!(ran(&["--check", "--store", "file:///models"]).0, 0);
    let (code, said) = ran(&["--check"]);
    assert!(code == 2 && said.contains("'store' is not set"), "{said}");
    let (code, said) = ran(&["--store", "file:///models", "--set", "limits.row_max=1"]);
    assert!(code == 2 && said.contains("'rows_max'"), "{said}");
}

#[test]
fn a_busy_port_is_told() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = busy.local_addr().unwrap().to_string();
    let (code, said) = ran(&["--store", "file:///models", "--set", "cache.dir=/nowhere", "--listen", &listen]);
    assert!(code == 1 && said.contains(&listen) && said.contains("in use"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_ends_with_0() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let cache = tempfile::tempdir().unwrap();
    let (store, cache) = (bucket.store.url().to_string(), format!("cache.dir={}", cache.path().display()));
    let flags = [
        "--store",
        &store,
        "--set",
        &cache,
        "--listen",
        "127.0.0.1:0",
        "--set",
        "log.format=json",
        "--set",
        "drain.lame_duck_ms=300",
    ];
    let mut child = Killed(program(&flags).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let addr = first["fields"]["address"].as_str().unwrap().parse().unwrap();
    let log = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let body = r#"{"instances":[[1,2]]}"#;
    until("answers", || async { post(addr, "/v1/models/bank:predict", body).await.status == 200 }).await;
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(post(addr, "/v1/models/bank:predict", body).await.status, 200);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let log = log.join().unwrap();
    for line in ["\"state\":\"fetching\"", "\"state\":\"proving\"", "\"state\":\"ready\"", "draining", "stopped"] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let (store, cache) = (format!("file://{}", dir.path().display()), dir.path().join("cache"));
    let cache = format!("cache.dir={}", cache.display());
    let flags = ["--store", &store, "--set", &cache, "--listen", "127.0.0.1:0", "--set", "drain.lame_duck_ms=600000"];
    let mut child = Killed(program(&flags).stderr(Stdio::piped()).spawn().unwrap());
    let pid = rustix::process::Pid::from_child(&child.0);
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(lines.any(|line| line.unwrap().contains("draining")));
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let child = std::sync::Mutex::new(child);
    let status = || child.lock().unwrap().0.try_wait().unwrap();
    until("ended", || std::future::ready(status().is_some())).await;
    assert_eq!(status().unwrap().code(), Some(1));
    assert!(lines.any(|line| line.unwrap().contains("stopped at once by a second signal")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_hangs_keeps_no_backend_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("catalog")).unwrap();
    // As a network folder that answers no more: who opens it for reading waits for a writer.
    let head = dir.path().join("catalog/head.json");
    rustix::fs::mknodat(rustix::fs::CWD, &head, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (store, cache) = (format!("file://{}", dir.path().display()), dir.path().join("cache"));
    let cache = format!("cache.dir={}", cache.display());
    let flags = ["--store", &store, "--set", &cache, "--listen", "127.0.0.1:0", "--set", "drain.lame_duck_ms=0"];
    let mut child = Killed(program(&flags).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let child = std::sync::Mutex::new(child);
    let status = || child.lock().unwrap().0.try_wait().unwrap();
    until("ended", || std::future::ready(status().is_some())).await;
    assert_eq!(status().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let cache = tempfile::tempdir().unwrap();
    let (store, cache) = (bucket.store.url().to_string(), format!("cache.dir={}", cache.path().display()));
    let flags = ["--store", &store, "--set", &cache, "--listen", "127.0.0.1:0", "--log", "debug", "--set"];
    let json = ["log.format=json", "--set", "drain.lame_duck_ms=0"];
    let mut child = Killed(program(&[flags.as_slice(), &json].concat()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let addr = loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if let Some(address) = line["fields"]["address"].as_str() {
            break address.parse().unwrap();
        }
    };
    drop(lines);
    let body = r#"{"instances":[[1,2]]}"#;
    until("answers", || async { post(addr, "/v1/models/bank:predict", body).await.status == 200 }).await;
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
