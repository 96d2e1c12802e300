//! Versions that must never answer: each is refused with words that name the thing, and the version before goes on.

use headgate_contract::layout;
use headgate_contract::real::Real;
use serde_json::json;

use crate::support::models::{lightgbm, name, number};
use crate::support::{Bucket, Server, linear, post};

/// A store whose model `bank` serves version 1, and a second one published but not released.
async fn two() -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.publish(linear("bank", [0.6, -2.0])).await;
    let server = Server::start(&bucket).await;
    (bucket, server)
}

/// Version 2 is refused for this reason, version 1 goes on, and the server is ready.
async fn refused(server: &Server, words: &[&str]) {
    let reason = server.until_state("bank", 2, "UNAVAILABLE").await;
    let reason = if reason.is_empty() { server.until_state("bank", 2, "UNAVAILABLE").await } else { reason };
    for word in words {
        assert!(reason.contains(word), "'{word}' is not in: {reason}");
    }
    assert_eq!(server.answers("bank").await, "1");
    server.ready().await;
    let named = post(server.addr, "/v1/models/bank/versions/2:predict", r#"{"instances":[[1,2]]}"#).await;
    named.says(404, &["'bank'", "version 2", "refused"]);
}

async fn wait_failed(server: &Server) {
    crate::support::until("refused", || async { !server.state("bank", 2).await.1.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_success() {
    let (bucket, server) = two().await;
    let key = layout::manifest(&name("bank"), number(2));
    let digest = headgate_contract::Digest::of(std::fs::read(bucket.path(&key)).unwrap());
    std::fs::remove_file(bucket.path(&layout::success(&name("bank"), number(2)))).unwrap();
    bucket.force("bank", number(2), digest);
    wait_failed(&server).await;
    refused(&server, &["_SUCCESS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_a_flipped_byte() {
    let (bucket, server) = two().await;
    let file = bucket.file_of("bank", number(2));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    bucket.promote("bank", number(2), None).await;
    wait_failed(&server).await;
    refused(&server, &["'model.bin'", "digest"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_a_file_cut_short() {
    let (bucket, server) = two().await;
    let file = bucket.file_of("bank", number(2));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    bucket.promote("bank", number(2), None).await;
    wait_failed(&server).await;
    refused(&server, &["model.bin"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_manifest_was_changed() {
    let (bucket, server) = two().await;
    bucket.promote("bank", number(2), None).await;
    server.until_answers("bank", 2).await;
    let (bucket, server) = two().await;
    let key = bucket.path(&layout::manifest(&name("bank"), number(2)));
    let old = std::fs::read(&key).unwrap();
    bucket.force("bank", number(2), headgate_contract::Digest::of(&old));
    drop(server);
    std::fs::write(&key, [&old[..], b" "].concat()).unwrap();
    let server = Server::start(&bucket).await;
    wait_failed(&server).await;
    refused(&server, &["manifest has digest"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_manifest_names_a_path_outside() {
    let (bucket, server) = two().await;
    let digest = bucket.forge("bank", number(2), |m| m["files"][0]["name"] = json!("../x"));
    bucket.force("bank", number(2), digest);
    wait_failed(&server).await;
    refused(&server, &["'../x'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_an_unknown_format() {
    let (bucket, server) = two().await;
    let digest = bucket.forge("bank", number(2), |m| m["format"] = json!("headgate.manifest/9.0"));
    bucket.force("bank", number(2), digest);
    wait_failed(&server).await;
    refused(&server, &["headgate.manifest/9.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_model() {
    let (bucket, server) = two().await;
    let digest = bucket.forge("bank", number(2), |m| m["model"] = json!("other"));
    bucket.force("bank", number(2), digest);
    wait_failed(&server).await;
    refused(&server, &["'other'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_an_engine_that_is_not_here() {
    let (bucket, server) = two().await;
    let digest = bucket.forge("bank", number(2), |m| m["engine"]["name"] = json!("tensorflow"));
    bucket.force("bank", number(2), digest);
    wait_failed(&server).await;
    refused(&server, &["'tensorflow'", "lightgbm, xgboost", "linear, onnx, process"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_reproduce_its_golden_rows() {
    let (bucket, server) = two().await;
    let (mut version, bytes) = linear("bank", [0.7, -2.0]);
    let golden = version.golden.as_mut().unwrap();
    golden.margins[1] = Real(golden.margins[1].0.next_up());
    let published = bucket.publish((version, bytes)).await;
    bucket.promote("bank", published.version, None).await;
    crate::support::until("refused", || async { !server.state("bank", 3).await.1.is_empty() }).await;
    let (state, reason) = server.state("bank", 3).await;
    assert_eq!(state, "UNAVAILABLE");
    for word in ["golden row 1", "margin", "expected", "got"] {
        assert!(reason.contains(word), "'{word}' is not in: {reason}");
    }
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_more_features_than_its_signature() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    let (mut version, bytes) = lightgbm("bank", None);
    version.signature.inputs.pop();
    bucket.release((version, bytes)).await;
    wait_failed(&server).await;
    refused(&server, &["the model has 2 features, the signature 1", "'balance'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_other_features_than_its_signature() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    let (mut version, bytes) = lightgbm("bank", None);
    version.signature.inputs[1].name = "income".into();
    bucket.release((version, bytes)).await;
    wait_failed(&server).await;
    refused(&server, &["feature 1", "'balance'", "'income'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_no_model() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    let (version, _) = lightgbm("bank", None);
    bucket.release((version, b"not a tree".to_vec())).await;
    wait_failed(&server).await;
    refused(&server, &["model file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bad_promotions_in_a_row_and_a_good_one() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    for nudge in [1.0, 2.0] {
        let (mut version, bytes) = linear("bank", [nudge, -2.0]);
        version.golden.as_mut().unwrap().outputs[0] = Real(nudge);
        version.golden.as_mut().unwrap().margins[0] = Real(nudge);
        let published = bucket.release((version, bytes)).await;
        let number = published.version.get();
        crate::support::until("refused", || async { !server.state("bank", number).await.1.is_empty() }).await;
        assert_eq!(server.answers("bank").await, "1");
    }
    // One that starts now goes back as far.
    let fresh = Server::start(&bucket).await;
    assert_eq!(fresh.answers("bank").await, "1");
    bucket.release(linear("bank", [0.9, -2.0])).await;
    server.until_answers("bank", 4).await;
    fresh.until_answers("bank", 4).await;
}
