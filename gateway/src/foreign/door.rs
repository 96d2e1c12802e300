//! Which door a call is for: not every server has all of them.

use headgate_contract::header::JSON_LENGTH;
use headgate_contract::route::{Protocol, Route, RouteError, Target, parse};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// A way to call a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `POST /v2/models/<m>/infer`, in JSON.
    Json,
    /// The same with tensors in binary behind the JSON.
    Binary,
    /// `POST /v1/models/<m>:predict`.
    Instances,
    /// gRPC's `ModelInfer`.
    Message,
    /// `GET /v2/models/<m>`.
    Metadata,
    /// gRPC's `ModelMetadata`.
    MetadataMessage,
    /// `GET /v2/models/<m>/ready`.
    Ready,
    /// gRPC's `ModelReady`.
    ReadyMessage,
    /// `GET /v1/models/<m>`.
    Status,
    /// gRPC's `ModelStatistics`.
    Statistics,
    /// What only backends of ours have.
    Other,
}

impl Door {
    /// The door of a call, and whom it names.
    pub(crate) fn of(method: &str, path: &str, headers: &HeaderMap) -> Result<(Self, Option<Target>), RouteError> {
        let takes_message = is(headers, ACCEPT, "application/x-protobuf");
        let (door, target) = match parse(method, path)? {
            Route::Statistics(target) => return Ok((Door::Statistics, target)),
            Route::Predict(Protocol::V2, target) => (Self::of_infer(headers), target),
            Route::Predict(Protocol::V1, target) => (Door::Instances, target),
            Route::ModelMetadata(target) if takes_message => (Door::MetadataMessage, target),
            Route::ModelMetadata(target) if path.starts_with("/v2/") => (Door::Metadata, target),
            Route::ModelReady(target) if takes_message => (Door::ReadyMessage, target),
            Route::ModelReady(target) => (Door::Ready, target),
            Route::ModelStatus(target) => (Door::Status, target),
            Route::ModelMetadata(target) | Route::Predict(_, target) | Route::OpenApi(Some(target)) => {
                (Door::Other, target)
            }
            _ => {
                let message = format!("'{path}' is about no model");
                return Err(RouteError { kind: headgate_contract::Kind::Unsupported, message, allow: None });
            }
        };
        Ok((door, Some(target)))
    }

    fn of_infer(headers: &HeaderMap) -> Self {
        let given = |kind: &str| is(headers, CONTENT_TYPE, kind);
        if given("application/x-protobuf") {
            Door::Message
        } else if headers.contains_key(JSON_LENGTH) {
            Door::Binary
        } else if given("application/vnd.apache.arrow.stream") || given("text/csv") {
            Door::Other
        } else {
            // As with our own: what most callers of HTTP say of a body says nothing.
            Door::Json
        }
    }

    /// Whether it goes to the gRPC port.
    pub(super) const fn is_grpc(self) -> bool {
        matches!(self, Door::Message | Door::MetadataMessage | Door::ReadyMessage | Door::Statistics)
    }

    /// Whether it asks for a prediction.
    pub(super) const fn is_prediction(self) -> bool {
        matches!(self, Door::Json | Door::Binary | Door::Instances | Door::Message)
    }

    /// What a server lacks that does not take it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Door::Json => "predictions in JSON",
            Door::Binary => "tensors in binary by HTTP",
            Door::Instances => "predictions by /v1",
            Door::Message | Door::MetadataMessage | Door::ReadyMessage => "gRPC (no address of it is set)",
            Door::Metadata => "questions for metadata",
            Door::Ready => "questions for readiness",
            Door::Status => "questions by /v1",
            Door::Statistics => "questions for statistics (Triton does, by gRPC)",
            Door::Other => "calls of this form: /v2 in JSON, or what docs/FOREIGN.md names",
        }
    }
}

fn is(headers: &HeaderMap, name: http::HeaderName, kind: &str) -> bool {
    let given = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split([',', ';']).next().is_some_and(|first| first.trim().eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    fn door(method: &str, path: &str, header: Option<(&'static str, &'static str)>) -> Door {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Door::of(method, path, &headers).unwrap().0
    }

    #[test]
    fn every_call_has_a_door() {
        let message = Some(("content-type", "application/x-protobuf"));
        let as_message = Some(("accept", "application/x-protobuf"));
        for (method, path, header, wanted) in [
            ("POST", "/v2/models/m/infer", None, Door::Json),
            ("POST", "/v2/models/m/infer", Some(("content-type", "application/x-www-form-urlencoded")), Door::Json),
            ("POST", "/v2/models/m/infer", Some((JSON_LENGTH, "7")), Door::Binary),
            ("POST", "/v2/models/m/infer", Some(("content-type", "text/csv; header=present")), Door::Other),
            ("POST", "/v2/models/m/versions/3/infer", message, Door::Message),
            ("POST", "/v1/models/m/labels/a:predict", None, Door::Instances),
            ("POST", "/endpoints/m/invocations", None, Door::Other),
            ("GET", "/v2/models/m/versions/3", None, Door::Metadata),
            ("GET", "/v2/models/m", as_message, Door::MetadataMessage),
            ("GET", "/v2/models/m/ready", None, Door::Ready),
            ("GET", "/v2/models/m/ready", as_message, Door::ReadyMessage),
            ("GET", "/v1/models/m", None, Door::Status),
            ("GET", "/v1/models/m/metadata", None, Door::Other),
            ("GET", "/v2/models/m/stats", as_message, Door::Statistics),
            ("GET", "/v2/models/m/openapi.json", None, Door::Other),
        ] {
            assert_eq!(door(method, path, header), wanted, "{method} {path} {header:?}");
        }
        assert!(Door::of("GET", "/v2/health/ready", &HeaderMap::new()).is_err());
    }
}
