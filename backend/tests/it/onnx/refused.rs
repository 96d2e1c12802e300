//! Files that are refused with words that name the place, while the version before goes on and neighbours notice nothing.

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, Input, Output, Signature};
use serde_json::json;

use super::kit;
use crate::support::{Bucket, linear, post, until};

/// Makes a signature another one.
type Spoil = fn(&mut Signature);

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_served_is_refused_with_words_that_name_the_place() {
    let Some(kit) = kit("refused files") else { return };
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.release(kit.version("product", "product")).await;
    let server = kit.serve(&bucket, &[]).await;
    let mut number = 1;
    for (file, words) in [
        ("foreign", &["node 'm'", "operator 'Mystery' of 'com.example'", "custom operators"][..]),
        ("unknown", &["Mystery"]),
        ("outside", &["tensor 'w'", "'../../../../etc/passwd'", "another file"]),
        ("outside-within", &["tensor 'w'", "'../../../../etc/passwd'"]),
        ("sequence", &["input 'x' is a sequence", "tensors of float"]),
        ("half", &["input 'x'", "float16"]),
        ("short", &["byte", "bytes announced"]),
        ("garbage", &["model file", "byte"]),
    ] {
        number += 1;
        bucket.release(kit.version("product", file)).await;
        until(file, || async { !server.state("product", number).await.1.is_empty() }).await;
        let (state, reason) = server.state("product", number).await;
        assert_eq!(state, "UNAVAILABLE", "{file}: {reason}");
        for word in words {
            assert!(reason.contains(word), "{file}: '{word}' is not in: {reason}");
        }
        assert_eq!(server.answers("bank").await, "1");
        let before = post(server.addr, "/v1/models/product:predict", r#"{"instances":[[1,2]]}"#).await;
        assert_eq!(before.json()["predictions"], json!([[2.0, 6.0]]), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_disagrees_with_its_graph_is_refused() {
    let Some(kit) = kit("signatures") else { return };
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = kit.serve(&bucket, &[]).await;
    let cases: [(&str, Spoil, &[&str]); 8] = [
        ("product", |s| _ = s.inputs.pop(), &["takes 2 features", "has 1"]),
        ("product", |s| s.inputs.push(Input::numeric("z")), &["takes 2 features", "has 3", "'z'"]),
        ("product", |s| s.outputs[0].name = "z".into(), &["no output 'z'", "'y'"]),
        ("product", |s| s.outputs[0].width = 3, &["output 'y' has 2 values a row in the model, 3"]),
        ("product", |s| s.outputs.push(margin()), &["output 'margin' is a margin"]),
        ("mixed", |s| s.inputs[3].dtype = Dtype::Fp64, &["'text' is of string", "numbers"]),
        ("mixed", |s| s.inputs.swap(0, 1), &["feature 0 is 'flag' in the model and 'small'"]),
        ("zipped", |s| s.outputs[1].classes.reverse(), &["'output_probability'", "classes"]),
    ];
    for (at, (file, spoil, words)) in cases.into_iter().enumerate() {
        let model = format!("m{at}");
        let (mut version, bytes) = kit.version(&model, file);
        spoil(&mut version.signature);
        bucket.release((version, bytes)).await;
        until(&model, || async { !server.state(&model, 1).await.1.is_empty() }).await;
        let (_, reason) = server.state(&model, 1).await;
        for word in words {
            assert!(reason.contains(word), "{file}: '{word}' is not in: {reason}");
        }
    }
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_gives_no_row_for_a_row_is_refused() {
    let Some(kit) = kit("summed rows") else { return };
    let bucket = Bucket::new().await;
    bucket.release(kit.version("summed", "summed")).await;
    let server = kit.serve(&bucket, &[]).await;
    let (state, reason) = server.state("summed", 1).await;
    assert!(state == "UNAVAILABLE" && reason.contains("output 'y': 1 values for 2 rows"), "{state} {reason}");
}

fn margin() -> Output {
    Output { name: "margin".into(), role: Role::Margin, dtype: Dtype::Fp32, width: 1, classes: vec![] }
}
