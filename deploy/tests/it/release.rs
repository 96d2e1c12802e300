//! Publish, promote, roll back, label, freeze, restore: typed as ops type them, against a running system.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use super::system::{System, command, eventually};

/// Publishes a model that multiplies `x` by `by`; `--promote` may be among the options.
fn publish(system: &System, by: f64, options: &[&str]) {
    let write = |name: &str, text: String| {
        fs::write(system.dir.path().join(name), text).unwrap();
        name.to_owned()
    };
    let model =
        format!(r#"{{"format":"headgate-linear/1","features":["x"],"weights":[{by}],"bias":0,"link":"identity"}}"#);
    let model = write(&format!("model-{by}.json"), model);
    let golden = write(&format!("golden-{by}.csv"), format!("x,margin,output\n1,{by},{by}\n3,{0},{0}\n", 3.0 * by));
    let metric = format!("auc={by}");
    let mut arguments = vec!["publish", &model, "--model", "times", "--golden", &golden, "--metric", &metric];
    arguments.extend(options);
    let output = system.headgate(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn times(system: &System, path: &str) -> (u16, Option<u64>, Option<f64>) {
    let reply = system.post(path, r#"{"instances":[{"x":2}]}"#);
    let version = reply.header("x-headgate-version").and_then(|v| v.parse().ok());
    (reply.status, version, reply.json()["predictions"][0].as_f64())
}

fn until_serves(system: &System, version: u64, score: f64) {
    eventually(&format!("version {version} serves"), || {
        let reply = times(system, "/v1/models/times:predict");
        // Known, and being loaded: only the first version of a model has none before it.
        assert!(reply.0 == 200 || version == 1 && matches!(reply.0, 404 | 503), "{reply:?}");
        (reply == (200, Some(version), Some(score))).then_some(())
    });
}

fn refused(system: &System, arguments: &[&str], word: &str) {
    let output = system.headgate(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(error.contains(word), "{arguments:?}: {error}");
}

/// The one artifact of a version in the system's store.
fn artifact(system: &System, version: u64) -> PathBuf {
    let dir = format!(".headgate/store/models/times/version={version}/files");
    fs::read_dir(system.dir.path().join(dir)).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_day_of_releases() {
    let system = System::start(&["--no-sample"]);
    publish(&system, 0.5, &["--promote"]);
    until_serves(&system, 1, 1.0);
    publish(&system, 0.75, &[]);
    // Asked for by number it answers only once something names it.
    system.json(&["label", "times", "challenger", "2"]);
    eventually("the label answers", || {
        let reply = times(&system, "/v1/models/times/labels/challenger:predict");
        (reply == (200, Some(2), Some(1.5))).then_some(())
    });
    assert_eq!(times(&system, "/v1/models/times:predict").1, Some(1));

    refused(&system, &["promote", "times", "2", "--if", "auc >= 0.9"], "auc");
    refused(&system, &["promote", "times", "7"], "version 7");
    assert_eq!(system.headgate(&["promote", "times", "zwei"]).status.code(), Some(2));
    let promoted = system.json(&["promote", "times", "2", "--if", "auc >= stable - 0.005", "--why", "better"]);
    assert_eq!(promoted["nudged"], true, "{promoted}");
    until_serves(&system, 2, 1.5);
    assert_eq!(system.json(&["promote", "times", "2"])["changed"], false);

    system.json(&["rollback", "times"]);
    until_serves(&system, 1, 1.0);
    refused(&system, &["rollback", "times"], "times");

    let half = system.json(&["promote", "times", "2", "--weight", "50"]);
    let seen = eventually("both versions answer", || {
        let seen: std::collections::BTreeSet<_> =
            (0..40).map(|_| times(&system, "/v1/models/times:predict").1).collect();
        (seen.len() == 2).then_some(seen)
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [Some(1), Some(2)]);

    system.json(&["freeze", "--why", "incident"]);
    refused(&system, &["promote", "times", "2"], "incident");
    system.json(&["rollback", "times"]);
    until_serves(&system, 1, 1.0);
    system.json(&["unfreeze"]);

    let generation = half["generation"].to_string();
    let unasked = system.headgate(&["catalog", "restore", &generation]);
    assert_eq!(unasked.status.code(), Some(2));
    let log = system.json(&["catalog", "log"]);
    assert!(log.as_array().unwrap().len() > 5, "{log}");
    system.json(&["catalog", "restore", &generation, "--yes"]);
    let versions = system.json(&["versions", "times"]);
    assert_eq!(versions[1]["released_as"][0], "50 %", "{versions}");
}

#[test]
fn two_bad_promotions_leave_the_good_version_serving_and_status_says_why() {
    let system = System::start(&["--no-sample"]);
    publish(&system, 0.5, &["--promote"]);
    until_serves(&system, 1, 1.0);
    for (version, by) in [(2, 0.75), (3, 1.25)] {
        publish(&system, by, &[]);
        let path = artifact(&system, version);
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let number = version.to_string();
        refused(&system, &["verify", "times", &number], "digest");
        system.json(&["promote", "times", &number]);
    }
    eventually("both failures are in the index", || {
        let index = system.post("/v2/repository/index", "").json();
        let failed = index.as_array().unwrap().iter().filter(|v| v["reason"].as_str().unwrap().contains("digest"));
        (failed.count() == 2).then_some(())
    });
    assert_eq!(times(&system, "/v1/models/times:predict"), (200, Some(1), Some(1.0)));
    eventually("status says so of both backends", || {
        let text = String::from_utf8(system.headgate(&["status"]).stdout).unwrap();
        let wanted = ["version 1 on 2 of 2", "2 failed on 2", "3 failed on 2", "digest"];
        wanted.iter().all(|word| text.contains(word)).then_some(())
    });
    // What was refused is named in the index; what serves is verified.
    assert_eq!(system.json(&["verify", "times", "1"])["golden_rows"], 2);
}

#[test]
fn strict_and_fallback() {
    let system = System::start(&["--no-sample", "--backends", "1"]);
    publish(&system, 0.5, &["--promote"]);
    until_serves(&system, 1, 1.0);
    let unknown = r#"{"instances":[{"x":2,"extra":1}]}"#;
    let reply = system.post("/v1/models/times:predict", unknown);
    assert_eq!((reply.status, reply.header("x-headgate-ignored")), (200, Some("extra")));
    assert_eq!(system.post("/v1/models/times/JFK:predict", unknown).status, 404);
    system.json(&["configure", "times", "--strict", "true", "--fallback", "times"]);
    eventually("the release is strict", || {
        let reply = system.post("/v1/models/times:predict", unknown);
        (reply.status == 400 && reply.body.contains("extra")).then_some(())
    });
    let reply = system.post("/v1/models/times/JFK:predict", r#"{"instances":[{"x":2}]}"#);
    assert_eq!((reply.status, reply.header("x-headgate-model")), (200, Some("times")), "{}", reply.body);
}

#[test]
fn status_does_not_wait_long_for_a_store_that_hangs() {
    let system = System::start(&["--no-sample", "--backends", "1"]);
    // The system takes its connections, and nobody ever answers.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = command(system.dir.path())
        .args(["status", "--json", "--store", "s3://models/prod"])
        .env("AWS_ENDPOINT_URL", format!("http://{}", hung.local_addr().unwrap()))
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
        .output()
        .unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["store_error"], "no reply within 5000 ms", "{seen}");
    assert_eq!(seen["gateway"]["backends"][0]["name"], "backend-1", "{seen}");
}
