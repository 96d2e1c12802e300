//! The gateway as a process: what it says and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::backend::{Backend, Script};
use crate::until;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate-gateway"));
    command.args(arguments).env_clear();
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_check_says_yes_or_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.toml", "[discovery]\nbackends = [\"b:1\"]\n");
    assert!(run(&["--check", "--config", &good], &[("HEADGATE_SERVICE_PORT", "80")]).status.success());
    for (text, environment, words) in [
        (
            "[discovery]\nbackend = [\"b:1\"]",
            None,
            "unknown key 'discovery.backend'; the nearest known one is 'backends'",
        ),
        ("[retry]\nratio = 2.0", None, "'retry.ratio' is 2"),
        ("[retry", None, "line 1"),
        ("", Some(("HEADGATE__RETRY__RATE", "1")), "HEADGATE__RETRY__RATE"),
        ("[admin]\nlisten = \"0.0.0.0:1\"", None, "'admin.token' is needed"),
    ] {
        let bad = file("bad.toml", text);
        let output = run(&["--check", "--config", &bad], environment.as_slice());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let output = run(&["--listen", &address, "--admin", "127.0.0.1:0"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&format!("can't listen on {address}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_reloads_and_ends_with_0_at_sigterm() {
    let b1 = Backend::start("b1", Script::ready()).await;
    let b2 = Backend::start("b2", Script::ready()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, format!("[discovery]\nbackends = [\"{}\"]\n", b1.address)).unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", "server.lame_duck_ms=10"];
    let (mut child, address, rest) = serving(command(&flags).args(["--config", &file.display().to_string()]));
    until("b1 was probed", async || b1.probes().len() > 1).await;
    std::fs::write(&file, format!("[discovery]\nbackends = [\"{}\"]\n", b2.address)).unwrap();
    signal(&child, "-HUP");
    until("b2 was probed", async || b2.probes().len() > 1).await;
    let answer = ready(&address).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    signal(&child, "-TERM");
    until("it ended", async || child.try_wait().unwrap().is_some()).await;
    assert_eq!(child.wait().unwrap().code(), Some(0), "{:?}", rest.join());
}

/// A gateway that serves, its address, and the rest of its log once it has ended.
fn serving(command: &mut Command) -> (Child, String, JoinHandle<Vec<Value>>) {
    let mut child = command.env("HEADGATE__LOG__JSON", "true").stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let address = lines.find_map(|line| {
        line["fields"]["address"].as_str().filter(|_| line["fields"]["message"] == "gateway serves").map(str::to_owned)
    });
    (child, address.unwrap(), std::thread::spawn(move || lines.collect()))
}

/// What is sent, and how often.
const CALLERS: [(&[u8], usize); 4] = [
    (b"POST /v2/models/m/infer HTTP/1.1\r\nho", 3),
    (b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 3),
    // These two do nothing wrong.
    (b"", 2),
    (b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 2),
];

#[tokio::test(flavor = "multi_thread")]
async fn bad_callers_are_told_of_once_in_a_while() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", "server.lame_duck_ms=10"];
    let (mut child, address, log) = serving(command(&flags).args(["--set", "limits.head_timeout_ms=200"]));
    for (bytes, count) in CALLERS {
        for _ in 0..count {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            // Until it is closed.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
    signal(&child, "-TERM");
    until("it ended", async || child.try_wait().unwrap().is_some()).await;
    let log = log.join().unwrap();
    let told: Vec<&str> = log
        .iter()
        .filter(|line| line["fields"]["message"].as_str().unwrap().starts_with("caller's connection closed"))
        .map(|line| {
            assert!(
                line["level"] == "WARN" && line["fields"]["caller"].as_str().unwrap().starts_with("127.0.0.1:"),
                "{line}"
            );
            line["fields"]["kind"].as_str().unwrap()
        })
        .collect();
    assert_eq!(told, ["slow_head", "protocol"], "{log:#?}");
}

async fn ready(address: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
