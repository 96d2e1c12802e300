//! `headgate up`: it starts, says what runs where, keeps it running, and ends cleanly.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::Command;

use super::system::{PROGRAM, System, command, eventually, free_address, http, lightgbm, signal, skipped};

#[test]
fn the_lines_that_up_prints_work_when_pasted() {
    if skipped("up with its sample", &[("LightGBM's library", lightgbm().is_some())]) {
        return;
    }
    let system = System::start(&[]);
    let said = system.said();
    let pasted = |word: &str| said.lines().find(|line| line.contains(word)).unwrap().trim().to_owned();
    let run = |line: &str| {
        let mut shell = Command::new("bash");
        shell
            .args(["-c", line])
            .current_dir(system.dir.path())
            .envs(lightgbm().map(|file| ("HEADGATE_LIGHTGBM", file)));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let reply: serde_json::Value = serde_json::from_str(&run(&pasted("curl -s"))).unwrap();
    let score = reply["predictions"][0].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&score), "{reply}");
    let reply = system.post("/invocations", r#"{"columns":["alcohol"],"data":[[9.4]]}"#);
    assert_eq!(reply.status, 200, "{}", reply.body);

    let train = pasted(" train --data ");
    assert!(run(&train).contains("promoted"), "{train}");
    eventually("version 2 answers", || {
        let reply = system.post("/v1/models/wine:predict", r#"{"instances":[{"alcohol":9.4}]}"#);
        assert_eq!(reply.status, 200, "{}", reply.body);
        (reply.header("x-headgate-version") == Some("2")).then_some(())
    });
    assert!(run(&pasted("headgate status")).contains("wine"));
    // The same training again is the same version.
    assert!(run(&train).contains("served already"));
}

#[test]
fn a_child_that_is_killed_comes_back_and_ctrl_c_ends_all() {
    let system = System::start(&["--no-sample", "--backends", "1"]);
    let backend = system.children("backend")[0];
    signal("KILL", backend);
    eventually("the backend runs again", || {
        system.said().contains("runs again").then(|| system.children("backend").first().copied()).flatten()
    });
    assert!(system.said().contains("backend-1 is down"), "{}", system.said());
    let gateway = system.gateway;
    let children = system.children("headgate");
    assert_eq!(children.len(), 2);
    let (status, dir) = system.interrupt();
    assert!(status.success());
    for child in children {
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists(), "process {child} is left");
    }
    assert!(TcpListener::bind(gateway).is_ok());
    assert!(!dir.path().join(".headgate/up.json").exists());
}

#[test]
fn a_part_comes_back_after_the_program_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("headgate");
    std::fs::copy(PROGRAM, &program).unwrap();
    let system = System::start_program(&program, dir, &["--no-sample", "--backends", "1"]);
    // An upgrade puts another file there.
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "not this one").unwrap();
    signal("KILL", system.children("backend")[0]);
    eventually("the backend runs again", || system.said().contains("backend-1 runs again").then_some(()));
    assert!(!system.said().contains("could not be started"), "{}", system.said());
}

#[test]
fn without_its_store_up_goes_on_from_what_the_backends_keep() {
    if skipped("up without its store", &[("LightGBM's library", lightgbm().is_some())]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("bucket");
    std::fs::create_dir(&folder).unwrap();
    let store = ["--store", &format!("file://{}", folder.display())];
    let (_, dir) = System::start_in(dir, &store).interrupt();
    std::fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    let again = System::start_in(dir, &store);
    assert!(again.said().contains("the store can't be read"), "{}", again.said());
    let reply = again.post("/v1/models/wine:predict", r#"{"instances":[{"alcohol":9.4}]}"#);
    assert_eq!((reply.status, reply.header("x-headgate-version")), (200, Some("1")), "{}", reply.body);
}

#[test]
fn a_killed_up_leaves_no_process_and_a_second_one_goes_on() {
    let system = System::start(&["--no-sample"]);
    let children = system.children("headgate");
    assert_eq!(children.len(), 3, "{}", system.said());
    let pid = std::fs::read_to_string(system.dir.path().join(".headgate/up.lock")).unwrap().parse().unwrap();
    signal("KILL", pid);
    eventually("its children end", || {
        children.iter().all(|id| !std::path::Path::new(&format!("/proc/{id}/exe")).exists()).then_some(())
    });
    let (_, dir) = system.interrupt();
    let again = System::start_in(dir, &["--no-sample"]);
    assert_eq!(http(again.gateway, "GET", "/v2/health/live", "").status, 200);
}

#[test]
fn a_busy_port_and_a_second_up_are_told_by_name() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let busy = held.local_addr().unwrap().to_string();
    let output = command(dir.path()).args(["up", "--no-sample", "--listen", &busy]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&busy) && error.contains(&format!("pid {}", std::process::id())), "{error}");

    let system = System::start(&["--no-sample"]);
    let second = system.headgate(&["up", "--no-sample", "--listen", &free_address().to_string()]);
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("already runs"), "{error}");
}

#[test]
fn those_that_start_at_once_take_different_ports() {
    let systems = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| System::start(&["--no-sample"]))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for system in systems {
        let said = system.said();
        assert_eq!(system.children("backend").len(), 2, "{said}");
        assert!(!said.contains("is down"), "{said}");
    }
}

#[test]
fn nothing_promoted_yet_is_told_and_no_failure() {
    let system = System::start(&["--no-sample"]);
    let status = system.headgate(&["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(status.status.success() && text.contains("nothing was promoted yet"), "{text}");
    let reply = system.post("/v1/models/wine:predict", "{}");
    assert_eq!(reply.status, 404, "{}", reply.body);
    assert!(reply.json()["error"].as_str().unwrap().contains("wine"));
}
