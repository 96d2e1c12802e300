//! Messages whose end two readers may see in different places, as a gateway gets them: what is answered without hyper and
//! what is left to it are alike.

#[path = "../../../gateway/tests/it/smuggling/caller.rs"]
mod caller;
#[path = "../../../gateway/tests/it/smuggling/vectors.rs"]
mod vectors;

use crate::support::{Bucket, Server, linear, post};
use caller::{Comes, judge, statuses};

#[tokio::test(flavor = "multi_thread")]
async fn no_message_hides_another() {
    let bucket = Bucket::new().await;
    bucket.release(linear("m", [0.5, -2.0])).await;
    let server =
        Server::start_with(&bucket, &[("limits.body_timeout_ms", "400"), ("limits.idle_timeout_ms", "1500")]).await;
    server.ready().await;
    let mut wrong = Vec::new();
    for comes in [Comes::AtOnce, Comes::InPieces, Comes::Behind] {
        for vector in vectors::all() {
            let outcome = statuses(&server.addr.to_string(), &vector, comes).await;
            if let Err(why) = outcome.and_then(|statuses| judge(&vector, &statuses)) {
                wrong.push(format!("{comes:?}: {} ({}), which is {:?}: {why}", vector.name, vector.source, vector.is));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    post(server.addr, "/v1/models/m:predict", r#"{"instances":[[1,2]]}"#).await;
}
