//! Processes that do as they should.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;

use super::rig::{Backend, commands, processes, until_none_is_left, version};
use crate::support::models::score;
use crate::support::{Bucket, linear, post, until};

#[tokio::test(flavor = "multi_thread")]
async fn swapped_under_calls_none_fails_and_nothing_is_left() {
    let (model, bucket) = ("swapped", Bucket::new().await);
    bucket.release(version(model, "rogue", [1.0, 0.5], "")).await;
    let mut backend = Backend::start(&bucket, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (addr, stop) = (backend.server.addr, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"instances": vec![[3.0, 4.0]; 20]});
                    let answer = post(addr, &format!("/v1/models/{model}:predict"), body).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let version: u64 = answer.header("x-headgate-version").parse().unwrap();
                    let expected = score([version as f64, 0.5], [3.0, 4.0]);
                    assert_eq!(answer.json()["predictions"], json!(vec![expected; 20]));
                    seen.insert(version);
                }
                seen
            })
        })
        .collect();
    for n in 2..=5 {
        backend.serve(&bucket, version(model, "rogue", [n as f64, 0.5], "")).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    assert!(seen.len() >= 3, "{seen:?}");
    until("only the last one and the one before run", || {
        std::future::ready(commands(model, "rogue.py").len() == 2 && backend.folders().len() == 2)
    })
    .await;
    assert_eq!(processes(model).len(), 4);
    assert!(!backend.said(&["\"line\":\"serving", "\"version\":\"1\"", "\"model\":\"swapped\""]).is_empty());
    backend.signal(Signal::TERM);
    assert_eq!(backend.ended().await, Some(0));
    assert!(processes(model).is_empty() && backend.folders().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_answered_before_its_process_ends() {
    let (model, bucket) = ("in-flight", Bucket::new().await);
    bucket.release(version(model, "rogue", [1.0, 0.5], "")).await;
    let mut backend = Backend::start(&bucket, &[]).await;
    let addr = backend.server.addr;
    let slow = tokio::spawn(post(addr, "/v1/models/in-flight:predict", json!({"instances": [[1013, 4]]})));
    until("it is in flight", || async { backend.server.fleet_state("").await["in_flight"] == 1 }).await;
    backend.signal(Signal::TERM);
    let answer = slow.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"predictions": [1016.0]})));
    assert_eq!(backend.ended().await, Some(0));
    assert!(processes(model).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_waited_for_while_the_version_before_serves() {
    let (model, bucket) = ("slow", Bucket::new().await);
    bucket.release(linear(model, [0.5, 0.5])).await;
    let backend = Backend::start(&bucket, &[]).await;
    bucket.release(version(model, "rogue", [1.0, 0.5], "slow")).await;
    until("it is loading", || async { !commands(model, "rogue.py").is_empty() }).await;
    assert_eq!(backend.server.answers(model).await, "1");
    backend.server.until_answers(model, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_backends_own_secrets_comes_with_it() {
    let (model, bucket) = ("secrets", Bucket::new().await);
    // Its weights are how many secrets it sees.
    bucket.release(version(model, "rogue", [0.0, 0.0], "secrets")).await;
    let backend = Backend::start(&bucket, &[]).await;
    backend.server.until_answers(model, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_language() {
    let found = std::process::Command::new("node").arg("-p").arg("process.execPath").output();
    let Ok(found) = found.map(|said| String::from_utf8(said.stdout).unwrap().trim().to_owned()) else {
        return eprintln!("skipped: another_language (Node.js is not installed)");
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/processes/serve.js");
    let argv = serde_json::to_string(&[found.as_str(), script]).unwrap();
    let (model, bucket) = ("javascript", Bucket::new().await);
    bucket.release(version(model, "node", [0.5, -2.0], "")).await;
    let backend = Backend::start_bare(&bucket, &[("process.commands.node.argv", &argv)]).await;
    backend.server.until_answers(model, 1).await;
    let path = format!("/v1/models/{model}:predict");
    let answer = post(backend.server.addr, &path, json!({"instances": [[41, 0.1], {"age": 41}]})).await;
    assert_eq!(answer.json(), json!({"predictions": [score([0.5, -2.0], [41.0, 0.1]), null]}));
    drop(backend);
    until_none_is_left(model).await;
}
