use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::server::{self, Act};

/// A folder with two calls of one row each: row `x` has the score 2 x.
fn calls() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("bodies")).unwrap();
    std::fs::write(dir.path().join("bodies/0"), "1").unwrap();
    std::fs::write(dir.path().join("bodies/1"), "2").unwrap();
    std::fs::write(dir.path().join("scores.json"), "[[2], [4]]").unwrap();
    dir
}

/// A server of the plan: its process burns no time, the test answers for it.
fn server(name: &str, program: &str, url: &str, dir: &Path) -> Value {
    let call = json!({
        "url": url, "bodies": dir.join("bodies"), "scores": dir.join("scores.json"), "reply": {"pointer": "/scores"},
    });
    json!({
        "name": name,
        "processes": [
            {"name": format!("{name}-process"), "program": program, "arguments": ["60"]},
            {"name": format!("{name}-beside"), "program": "sh", "arguments": ["-c", "while :; do :; done"], "beside": true},
        ],
        "calls": {"row": call, "other": json!({"url": "http://127.0.0.1:9/", "bodies": call["bodies"], "scores": call["scores"], "reply": call["reply"]})},
        "ready": "row",
    })
}

fn serving(dir: &Path, plan: &Value, more: &[&str]) -> Output {
    std::fs::write(dir.join("plan.json"), plan.to_string()).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    Command::new(env!("CARGO_BIN_EXE_loadtests"))
        .args(["serving", "--plan", &path("plan.json"), "--logs", &path("logs"), "--json", &path("report.json")])
        .args(["--seconds", "0.2", "--warm-up", "0.1", "--rounds", "2"])
        .args(more)
        .output()
        .unwrap()
}

fn doubled(_: usize, body: &str) -> Act {
    Act::Reply(200, Vec::new(), format!("{{\"scores\":[{}]}}", 2 * body.parse::<u32>().unwrap()))
}

#[test]
fn servers_are_measured_side_by_side_and_wrong_ones_left_out() {
    let right = server::start(doubled);
    let wrong = server::start(|_, _| Act::Reply(200, Vec::new(), "{\"scores\":[2]}".into()));
    let dir = calls();
    let plan = json!({
        "tolerance": 1e-6,
        "bare": true,
        // With no right to go before others it tells of those too, which is all the same here.
        "watch": [{"name": "watcher", "program": env!("CARGO_BIN_EXE_loadtests"), "arguments": ["stalls", "--late-us", "20"]}],
        "servers": [
            server("right", "sleep", &right.url("/p"), dir.path()),
            server("wrong", "sleep", &wrong.url("/p"), dir.path()),
            server("gone", "false", "http://127.0.0.1:9/p", dir.path()),
            server("none", "/nowhere/server", "http://127.0.0.1:9/p", dir.path()),
        ],
        "cases": [
            {"name": "two", "call": "row", "clients": 2},
            {"name": "half", "call": "row", "clients": 2, "part_of": "two", "servers": ["right"], "past": "row"},
            {"name": "past what", "call": "row", "clients": 2, "part_of": "two", "servers": ["right"], "past": "col"},
        ],
    });
    let output = serving(dir.path(), &plan, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    let cells = report["serving"]["cells"].as_array().unwrap();
    let names: Vec<_> = cells.iter().map(|cell| (cell["server"].as_str(), cell["case"].as_str())).collect();
    assert_eq!(names, [(Some("right"), Some("two")), (Some("right"), Some("half"))], "{text}");
    let disturbed = |at: usize| cells[at]["disturbed"]["max"].as_f64().unwrap();
    assert!(disturbed(0) == 0.0 && disturbed(1) > 0.0, "only where requests come by a schedule: {text}");
    // It is the same call: what it adds may be anything, what it takes is something.
    assert!(cells[0].get("past").is_none() && cells[1]["past"]["p50_us"]["min"].as_f64().unwrap() > 0.0, "{text}");
    let per_s = |at: usize| cells[at]["per_s"]["median"].as_f64().unwrap();
    assert!(per_s(0) > per_s(1) && cells[0]["failed"] == 0, "{text}");
    let cpu = |process: &str| cells[0]["cpu_us_by_process"][process]["median"].as_f64().unwrap();
    assert_eq!(cells[0]["cpu_us"]["median"].as_f64().unwrap(), cpu("right-process"));
    assert!(cpu("right-beside") > cpu("right-process"));
    let left_out = report["serving"]["left_out"].as_array().unwrap();
    let why = |at: usize| left_out[at]["why"].as_str().unwrap();
    assert_eq!(left_out.len(), 4, "{text}");
    assert!(why(0).contains("gone-process ended") && why(1).contains("/nowhere/server"), "{text}");
    assert!(left_out[2]["case"] == "two" && why(2).contains("row 0: score 2 came, 4 expected"), "{text}");
    assert!(why(3).contains("no call 'col'") && text.contains("left out wrong two"), "{text}");
}

#[test]
fn plans_that_make_no_sense_are_refused_in_words() {
    let dir = calls();
    let plan = json!({
        "tolerance": 1e-6,
        "servers": [server("one", "sleep", "http://127.0.0.1:9/p", dir.path())],
        "cases": [{"name": "two", "call": "row", "clients": 2}],
    });
    let refused = |plan: &Value, more: &[&str]| {
        let output = serving(dir.path(), plan, more);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&plan, &["--servers", "won"]);
    assert!(said.contains("'won' is not in the plan: one expected"), "{said}");
    let said = refused(&json!({"servers": 1}), &[]);
    assert!(said.contains("plan.json: "), "{said}");
    std::fs::write(dir.path().join("scores.json"), "[[2]]").unwrap();
    let said = refused(&plan, &[]);
    assert!(said.contains("2 bodies, 1 scores"), "{said}");
}
