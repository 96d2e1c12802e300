//! Each method, and what passes of headers.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use headgate_contract::fleet::VersionState;
use headgate_contract::header;
use headgate_contract::proto::{
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest,
    ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use prost::Message;

use super::client::{Client, frame, path, question};
use crate::backend::{Backend, Manner, Script, model, model_in, release};
use crate::gateway::Gateway;
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_goes_on_as_it_came_and_says_who_answered() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut client = Client::connect(&gateway).await;
    let headers =
        [("x-request-id", "r-1"), ("x-kept", "1"), ("x-headgate-chosen-version", "9"), ("grpc-timeout", "5S")];
    let answer = client.infer(&headers).await;
    let inferred = answer.inferred();
    assert_eq!((inferred.model_name.as_str(), inferred.id.as_str()), ("m", "q"));
    assert_eq!(inferred.raw_output_contents, [b"four".to_vec()]);
    for (name, value) in [(header::VERSION, "1"), (header::BACKEND, "b1"), (header::REQUEST_ID, "r-1")] {
        assert_eq!(answer.header(name), value);
    }
    let (path, seen) = backend.seen().pop().unwrap();
    assert_eq!(path, "/v2/models/m/infer");
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("x-kept", "1"),
        (header::CHOSEN_VERSION, "1"),
        (header::REQUEST_ID, "r-1"),
    ] {
        assert_eq!(seen[name], value);
    }
    let left: u64 = seen[header::TIMEOUT_MS].to_str().unwrap().parse().unwrap();
    assert!((4_000..=5_000).contains(&left), "{left} ms");
    for name in ["te", "grpc-timeout", "grpc-accept-encoding"] {
        assert!(!seen.contains_key(name), "{name} passed");
    }
    assert_eq!(gateway.state().await["in_flight"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_versions_are_named_as_in_paths() {
    let models = ["m", "m/S~c3~a3o~20Paulo"].map(|name| model(name, release(&[&[(1, 1)], &[(2, 1)]]), &[1, 2]));
    let backend = Backend::start("b1", Script::with(models)).await;
    let gateway = Gateway::before(&[&backend], "").await;
    let mut client = Client::connect(&gateway).await;
    for (name, version, path, chosen) in [
        ("m", "", "/v2/models/m/infer", "2"),
        ("m", "1", "/v2/models/m/versions/1/infer", "1"),
        ("m/S\u{e3}o Paulo", "", "/v2/models/m/S~c3~a3o~20Paulo/infer", "2"),
    ] {
        let answer = client.call("ModelInfer", &[], &question(name, version, b"")).await;
        assert_eq!((answer.inferred().model_version.as_str(), answer.header(header::VERSION)), (chosen, chosen));
        assert_eq!(backend.seen().pop().unwrap().0, path);
    }
    for (name, version, code, words) in [
        ("x", "", 5, "model 'x' is unknown"),
        ("m", "3", 5, "has no version 3"),
        ("m", "two", 3, "two"),
        ("m", "0", 3, "0"),
        ("", "", 3, "no model_name"),
        ("../secret", "", 3, "no model name"),
    ] {
        let answer = client.call("ModelInfer", &[], &question(name, version, b"")).await;
        assert_eq!(answer.code, code, "{name} {version}: {}", answer.words);
        assert!(answer.words.contains(words), "{}", answer.words);
        assert!(answer.messages.is_empty() && !answer.header(header::ERROR).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_is_answered() {
    let loading = model_in("slow", release(&[&[(1, 1)]]), &[(1, VersionState::Fetching, "")]);
    let script = Script::with([model("m", release(&[&[(1, 1)]]), &[1]), loading]);
    let (b1, b2) = (Backend::start("b1", script.clone()).await, Backend::start("b2", script).await);
    let gateway = Gateway::before(&[&b1, &b2], "").await;
    let mut client = Client::connect(&gateway).await;
    let live: ServerLiveResponse = client.call("ServerLive", &[], &ServerLiveRequest {}).await.message();
    let ready: ServerReadyResponse = client.call("ServerReady", &[], &ServerReadyRequest {}).await.message();
    assert!(live.live && ready.ready);
    let server: ServerMetadataResponse = client.call("ServerMetadata", &[], &ServerMetadataRequest {}).await.message();
    assert_eq!((server.name.as_str(), server.extensions.len()), ("headgate", 3));

    let of = |name: &str| ModelMetadataRequest { name: name.into(), version: String::new() };
    let answer = client.call("ModelMetadata", &[], &of("m")).await;
    assert_eq!(answer.header(header::VERSION), "1");
    let metadata: ModelMetadataResponse = answer.message();
    assert_eq!((metadata.name.as_str(), metadata.inputs[0].name.as_str()), ("/v2/models/m", "x"));
    assert_eq!(client.call("ModelMetadata", &[], &of("x")).await.code, 5);

    for (name, code, ready) in [("m", 0, true), ("slow", 0, false), ("x", 5, false)] {
        let asked = ModelReadyRequest { name: name.into(), version: String::new() };
        let answer = client.call("ModelReady", &[], &asked).await;
        assert_eq!(answer.code, code, "{name}");
        if code == 0 {
            assert_eq!(answer.message::<ModelReadyResponse>().ready, ready, "{name}");
        }
    }

    let asked = ModelStatisticsRequest { name: "m".into(), version: "1".into() };
    let counted: ModelStatisticsResponse = client.call("ModelStatistics", &[], &asked).await.message();
    let m = counted.model_stats.iter().find(|of| of.name == "m").unwrap();
    assert_eq!((m.inference_count, m.inference_stats.unwrap().success.unwrap().count), (20, 2));

    let asked = RepositoryIndexRequest { repository_name: String::new(), ready: true };
    let index: RepositoryIndexResponse = client.call("RepositoryIndex", &[], &asked).await.message();
    assert_eq!((index.models.len(), index.models[0].state.as_str()), (1, "READY"));

    let before = b1.calls() + b2.calls();
    for method in ["RepositoryModelLoad", "ModelConfig", "CudaSharedMemoryStatus", "Nonsense"] {
        let answer = client.call(method, &[], &ServerLiveRequest {}).await;
        assert_eq!(answer.code, 12, "{method}: {}", answer.words);
    }
    assert_eq!(client.send("/other.Service/Do", &[], frame(b"", false)).await.code, 12);
    assert_eq!(b1.calls() + b2.calls(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_inflated_and_unknown_codings_are_refused_by_name() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.body_bytes_max=2000000").await;
    let mut client = Client::connect(&gateway).await;
    for length in [10, 1_500_000] {
        let message = question("m", "", &vec![7; length]).encode_to_vec();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&message).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&message).unwrap();
        for (coding, packed) in [("gzip", gzip.finish().unwrap()), ("deflate", zlib.finish().unwrap())] {
            let answer = client.send(&path("ModelInfer"), &[("grpc-encoding", coding)], frame(&packed, true)).await;
            assert_eq!(answer.inferred().raw_output_contents[0].len(), length, "{coding}");
            let plain = client.send(&path("ModelInfer"), &[("grpc-encoding", coding)], frame(&message, false)).await;
            assert_eq!(plain.inferred().raw_output_contents[0].len(), length, "{coding}, but not compressed");
        }
    }
    let answer = client.infer(&[("grpc-encoding", "snappy")]).await;
    assert_eq!((answer.code, answer.header("grpc-accept-encoding")), (12, "identity,gzip,deflate"));
    assert!(answer.words.contains("snappy"), "{}", answer.words);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&vec![0; 20_000_000]).unwrap();
    let bomb = frame(&bomb.finish().unwrap(), true);
    let answer = client.send(&path("ModelInfer"), &[("grpc-encoding", "gzip")], bomb).await;
    assert_eq!(answer.code, 8);
    assert!(answer.words.contains("2000000 bytes"), "{}", answer.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_pass_both_ways_and_larger_ones_are_refused_by_the_bound() {
    let backend = Backend::start("b1", Script::ready()).await;
    let gateway = Gateway::before(&[&backend], "limits.buffer_bytes_max=50000\nlimits.body_bytes_max=5000000").await;
    let mut client = Client::connect(&gateway).await;
    for length in [0, 16_000, 17_000, 49_000, 51_000, 4_900_000] {
        let bytes: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
        let answer = client.call("ModelInfer", &[], &question("m", "", &bytes)).await;
        assert!(answer.inferred().raw_output_contents[0] == bytes, "{length} bytes were changed");
    }
    backend.behave(Manner::Large(3_000_000));
    assert_eq!(client.infer(&[]).await.inferred().raw_output_contents[0].len(), 3_000_000);
    let before = backend.calls();
    let answer = client.call("ModelInfer", &[], &question("m", "", &vec![0; 5_000_001])).await;
    assert_eq!((answer.code, answer.header(header::ERROR)), (8, "too_large"));
    assert!(answer.words.contains("larger than 5000000 bytes"), "{}", answer.words);
    assert_eq!(backend.calls(), before);
    until("nothing is held", async || {
        let metrics = gateway.admin("GET", "/metrics", "").await;
        metrics.text().contains("headgate_gateway_buffered_bytes 0") && gateway.state().await["in_flight"] == 0
    })
    .await;
}
