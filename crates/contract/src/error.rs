//! The closed set of ways a prediction can fail, and the one table that maps them to HTTP and gRPC.

use serde::{Deserialize, Serialize};

/// Why a prediction call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request is wrong: broken JSON, a wrong type, a missing feature.
    InvalidRequest,
    /// No or wrong credentials.
    Unauthenticated,
    /// Credentials that don't suffice.
    Forbidden,
    /// No such model, version, label or path.
    NotFound,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The body is larger than allowed.
    TooLarge,
    /// A content type or encoding that nobody here reads.
    UnsupportedMedia,
    /// The caller is over its quota.
    RateLimited,
    /// There is no room now: refused before any work was done.
    Overloaded,
    /// Nobody can answer now: no backend is ready, or the part is shutting down.
    Unavailable,
    /// The model is known and being loaded.
    Loading,
    /// This backend does not hold the version that the gateway named; another may.
    NotHere,
    /// The deadline passed, or can't be met.
    DeadlineExceeded,
    /// An optional part of a protocol that is not implemented.
    Unsupported,
    /// A fault of ours.
    Internal,
    /// A backend broke the connection or the protocol.
    BadGateway,
    /// The version's own code or library failed at this call, and says nothing of the backend that holds it.
    ModelFailed,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the same request fails again.
    Caller,
    /// Nobody's, or ours: the same request may succeed later or elsewhere.
    Server,
}

/// The body of every error reply: `{"error": "..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, in words that name the model, the row, the feature, what came and what was expected.
    pub error: String,
    /// The same words again where SageMaker's clients ask, which show their callers no other field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ErrorBody {
    /// The body with these words; `twice`: in both fields.
    pub fn new(words: String, twice: bool) -> Self {
        let message = twice.then(|| words.clone());
        Self { error: words, message }
    }

    /// Whether SageMaker's clients ask at this path.
    pub fn is_twice_at(path: &str) -> bool {
        path.ends_with("/invocations")
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 17] = [
        Kind::InvalidRequest,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::TooLarge,
        Kind::UnsupportedMedia,
        Kind::RateLimited,
        Kind::Overloaded,
        Kind::Unavailable,
        Kind::Loading,
        Kind::NotHere,
        Kind::DeadlineExceeded,
        Kind::Unsupported,
        Kind::Internal,
        Kind::BadGateway,
        Kind::ModelFailed,
    ];

    /// The HTTP status and the gRPC code (google.golang.org's `codes` numbers, as in the gRPC specification).
    pub const fn codes(self) -> (u16, u8) {
        match self {
            Kind::InvalidRequest => (400, 3),
            Kind::Unauthenticated => (401, 16),
            Kind::Forbidden => (403, 7),
            Kind::NotFound => (404, 5),
            Kind::MethodNotAllowed => (405, 12),
            Kind::TooLarge => (413, 8),
            Kind::UnsupportedMedia => (415, 3),
            Kind::RateLimited => (429, 8),
            Kind::Overloaded => (503, 14),
            Kind::Unavailable => (503, 14),
            Kind::Loading => (503, 14),
            // 421 Misdirected Request: the one status that says "not this server, ask another", and costs no retry token.
            Kind::NotHere => (421, 14),
            Kind::DeadlineExceeded => (504, 4),
            Kind::Unsupported => (501, 12),
            Kind::Internal => (500, 13),
            Kind::BadGateway => (502, 14),
            Kind::ModelFailed => (502, 13),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.codes().0
    }

    /// The gRPC code.
    pub const fn grpc(self) -> u8 {
        self.codes().1
    }

    /// Whose fault it is.
    pub const fn fault(self) -> Fault {
        match self {
            Kind::InvalidRequest
            | Kind::Unauthenticated
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::MethodNotAllowed
            | Kind::TooLarge
            | Kind::UnsupportedMedia
            | Kind::Unsupported => Fault::Caller,
            _ => Fault::Server,
        }
    }

    /// Whether a gateway may send the same call to another backend.
    pub const fn retry_elsewhere(self) -> bool {
        matches!(
            self,
            Kind::Unavailable
                | Kind::Overloaded
                | Kind::Loading
                | Kind::NotHere
                | Kind::Internal
                | Kind::BadGateway
                | Kind::ModelFailed
        )
    }

    /// Its name in metrics and in the `x-headgate-error` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::InvalidRequest => "invalid_request",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::MethodNotAllowed => "method_not_allowed",
            Kind::TooLarge => "too_large",
            Kind::UnsupportedMedia => "unsupported_media",
            Kind::RateLimited => "rate_limited",
            Kind::Overloaded => "overloaded",
            Kind::Unavailable => "unavailable",
            Kind::Loading => "loading",
            Kind::NotHere => "not_here",
            Kind::DeadlineExceeded => "deadline_exceeded",
            Kind::Unsupported => "unsupported",
            Kind::Internal => "internal",
            Kind::BadGateway => "bad_gateway",
            Kind::ModelFailed => "model_failed",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_sagemakers_clients_are_told_twice() {
        for (path, twice) in [("/invocations", true), ("/endpoints/m/invocations", true), ("/v2/models/m/infer", false)]
        {
            let body = ErrorBody::new("no".to_owned(), ErrorBody::is_twice_at(path));
            let written = if twice { r#"{"error":"no","message":"no"}"# } else { r#"{"error":"no"}"# };
            assert_eq!(serde_json::to_string(&body).unwrap(), written, "{path}");
        }
    }

    #[test]
    fn names_read_back_and_statuses_agree_with_the_fault() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
            if kind.fault() == Fault::Caller {
                assert!((400..500).contains(&kind.status()) || kind == Kind::Unsupported);
                assert!(!kind.retry_elsewhere());
            }
        }
    }
}
