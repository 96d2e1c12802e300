//! The doors as an OpenAPI 3.0.3 document, for clients in any language to be generated from.

/// The document of all HTTP paths, as `/openapi.json` answers it.
pub const SERVER: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::route::{self, Route};
    use crate::{Kind, header};

    fn document() -> Value {
        serde_json::from_str(SERVER).unwrap()
    }

    /// Path, method and what is said of them.
    fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, of)| of.as_object().unwrap().iter().map(move |(m, op)| (path.as_str(), m.as_str(), op)))
    }

    #[test]
    fn it_is_of_this_version() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_path_leads_where_its_operation_says_and_every_door_is_there() {
        let document = document();
        let mut found = HashSet::new();
        for (path, method, operation) in operations(&document) {
            let path = path.replace("{model}", "m%2FJFK").replace("{version}", "2").replace("{label}", "stable");
            let route = route::parse(&method.to_uppercase(), &path).unwrap();
            let name = operation["operationId"].as_str().unwrap();
            let expected = match &route {
                Route::Predict(route::Protocol::V2, _) => "inferModel",
                Route::Predict(route::Protocol::V1, _) => "predictModel",
                Route::Predict(route::Protocol::Invocations, _) => "invokeEndpoint",
                Route::Invocations => "invoke",
                Route::Ping => "ping",
                Route::Live => "getServerLive",
                Route::Ready => "getServerReady",
                Route::ServerMetadata => "getServerMetadata",
                Route::ModelMetadata(_) if path.starts_with("/v1") => "getModelSignature",
                Route::ModelMetadata(_) => "getModelMetadata",
                Route::ModelReady(_) => "getModelReady",
                Route::ModelStatus(_) => "getModelStatus",
                Route::ModelList => "listModels",
                Route::Statistics(None) => "getStatistics",
                Route::Statistics(Some(_)) => "getModelStatistics",
                Route::OpenApi(None) => "getOpenApi",
                Route::OpenApi(Some(_)) => "getModelOpenApi",
                Route::RepositoryIndex if method == "get" => "listRepository",
                Route::RepositoryIndex => "indexRepository",
            };
            let rest = name.strip_prefix(expected);
            assert!(rest.is_some_and(|r| ["", "Version", "Label"].contains(&r)), "{method} {path}: {name}, {expected}");
            assert!(found.insert(name), "{name} twice");
        }
        assert_eq!(found.len(), 37, "{found:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(document: &Value, value: &Value) {
            if let Some(reference) = value["$ref"].as_str() {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            let of_object = value.as_object().into_iter().flat_map(|o| o.values());
            of_object.chain(value.as_array().into_iter().flatten()).for_each(|inner| check(document, inner));
        }
        check(&document(), &document());
    }

    #[test]
    fn every_kind_of_error_that_a_prediction_ends_with_is_told() {
        let document = document();
        // Nobody asks for credentials yet, and a path's own method is allowed.
        let never = [Kind::Unauthenticated, Kind::Forbidden, Kind::MethodNotAllowed];
        for (path, _, operation) in operations(&document).filter(|(.., op)| op["tags"][0] == "prediction") {
            for kind in Kind::ALL.into_iter().filter(|kind| !never.contains(kind)) {
                assert!(operation["responses"][kind.status().to_string()].is_object(), "{path} {kind:?}");
            }
        }
    }

    #[test]
    fn headers_have_the_names_that_the_doors_use() {
        let document = document();
        let names: HashSet<&str> = [
            header::VERSION,
            header::DIGEST,
            header::MODEL,
            header::IGNORED,
            header::REQUEST_ID,
            header::ERROR,
            "retry-after",
        ]
        .into();
        let replies = operations(&document).flat_map(|(.., op)| op["responses"].as_object().unwrap().values());
        let all = replies.chain(document["components"]["responses"].as_object().unwrap().values());
        let told: HashSet<&str> =
            all.flat_map(|r| r["headers"].as_object()).flatten().map(|(n, _)| n.as_str()).collect();
        assert_eq!(told, names);
        assert_eq!(document["components"]["parameters"]["TimeoutMs"]["name"], header::TIMEOUT_MS);
        assert_eq!(document["components"]["parameters"]["RequestId"]["name"], header::REQUEST_ID);
    }
}
