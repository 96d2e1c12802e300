use std::process::{Command, Output};

use crate::server::{self, Act};

fn loadtests(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtests")).args(arguments).env_remove("HEADGATE_BIN").output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_is_reported_as_text_json_and_page() {
    let server = server::start(|_, body| Act::Reply(200, vec![("x-headgate-version", "7".into())], body.to_owned()));
    let dir = tempfile::tempdir().unwrap();
    let (json, html) = (dir.path().join("r.json"), dir.path().join("r.html"));
    let output = loadtests(&[
        "run",
        "--url",
        &server.url("/x"),
        "--rate",
        "400",
        "--duration",
        "0.5",
        "--arrivals",
        "constant",
        "--body-json",
        "{\"a\":1}",
        "--json",
        json.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
    ]);
    let text = said(&output.stdout);
    assert!(output.status.success(), "{text}{}", said(&output.stderr));
    assert!(text.contains("199 requests") && text.contains("version 7"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["load"]["phases"][0]["versions"]["7"]["count"], 199);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && page.contains("199 requests") && !page.contains("<script"));
}

#[test]
fn a_failed_request_is_exit_code_1() {
    let server = server::start(|at, _| Act::Reply(if at == 10 { 503 } else { 200 }, Vec::new(), "busy".into()));
    let output = loadtests(&["run", "--url", &server.url("/"), "--rate", "100", "--duration", "0.3"]);
    let text = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("VIOLATED") && text.contains("503: busy"), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let nowhere = |arguments: &[&str]| {
        let output = loadtests(arguments);
        (output.status.code(), said(&output.stderr))
    };
    let cases: [(&[&str], i32, &str); 6] = [
        (&["run", "--url", "ftp://x", "--rate", "1"], 1, "'ftp://x' is no URL like http://host:port/path"),
        (&["run", "--url", "http://x", "--rate", "0"], 2, "a number above 0 expected"),
        (&["run", "--url", "http://x"], 2, "--rate"),
        (&["run", "--url", "http://x", "--rate", "1", "--body-json", "{"], 1, "--body-json is no JSON"),
        (&["run", "--url", "http://x", "--rate", "1", "--header", "nope"], 1, "header 'nope'"),
        (&["swap-under-load", "--headgate", "/nowhere/headgate"], 1, "no headgate executable at /nowhere/headgate"),
    ];
    for (arguments, code, words) in cases {
        let (status, text) = nowhere(arguments);
        assert!(status == Some(code) && text.contains(words), "{arguments:?}: {status:?} {text}");
    }
}
