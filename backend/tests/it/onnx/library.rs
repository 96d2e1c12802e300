//! The library that is not there, is none, or came late; and memory that it may not have. In processes of their own, as a
//! process loads it once.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Kit, kit};
use crate::processes::rig::Backend;
use crate::support::{Bucket, linear, post, until};

async fn two(kit: &Kit) -> Bucket {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.release(kit.version("product", "product")).await;
    bucket
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_library_its_versions_are_refused_until_it_is_there() {
    let Some(kit) = kit("a late library") else { return };
    let bucket = two(kit).await;
    let path = bucket.dir.path().join("libonnxruntime.so");
    let flag = path.display().to_string();
    let backend = Backend::start_bare(&bucket, &[("onnx.library", &flag)]).await;
    backend.server.ready().await;
    let (state, reason) = backend.server.state("product", 1).await;
    assert_eq!(state, "UNAVAILABLE");
    for word in ["ONNX Runtime", flag.as_str(), "pip install onnxruntime", "onnx.library"] {
        assert!(reason.contains(word), "'{word}' is not in: {reason}");
    }
    assert_eq!(backend.server.answers("bank").await, "1");
    // What is no library is told as such, and tried again too.
    std::fs::write(&path, "no library ".repeat(100)).unwrap();
    until("told", || async { backend.server.state("product", 1).await.1.contains("ELF") }).await;
    std::fs::remove_file(&path).unwrap();
    symlink(&kit.library, &path).unwrap();
    until("answers", || async { backend.server.answers("product").await == "1" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_of_something_else_takes_nothing_with_it() {
    let Some(kit) = kit("another library") else { return };
    let bucket = two(kit).await;
    let backend = Backend::start_bare(&bucket, &[("onnx.library", "/lib/x86_64-linux-gnu/libc.so.6")]).await;
    backend.server.ready().await;
    let (state, reason) = backend.server.state("product", 1).await;
    assert!(state == "UNAVAILABLE" && reason.contains("ONNX Runtime can't be loaded"), "{state} {reason}");
    assert_eq!(backend.server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gets_no_more_memory_than_there_is_for_all() {
    let Some(kit) = kit("memory") else { return };
    let bucket = two(kit).await;
    bucket.release(kit.version("bomb", "bomb")).await;
    let library = kit.library.display().to_string();
    let flags = [("onnx.library", library.as_str()), ("onnx.memory_bytes_max", "268435456")];
    let backend = Backend::start_bare(&bucket, &flags).await;
    backend.server.ready().await;
    let addr = backend.server.addr;
    let ask = |size: i64| post(addr, "/v1/models/bomb:predict", json!({ "instances": [[size]] }));
    // A quarter of a gigabyte is four times what it may have.
    assert_eq!(ask(1 << 20).await.json()["predictions"], json!([1048576.0]));
    ask(1 << 28).await.says(503, &["can't score these rows", "vailable memory of"]);
    assert_eq!(ask(1 << 20).await.json()["predictions"], json!([1048576.0]));
    assert_eq!(post(addr, "/v1/models/product:predict", r#"{"instances":[[1,2]]}"#).await.status, 200);
}
