//! Header names. What parts say to each other is stripped from what callers send ([`strips`]).

/// In replies: the version that answered.
pub const VERSION: &str = "x-headgate-version";
/// In replies: the manifest's digest of the version that answered.
pub const DIGEST: &str = "x-headgate-digest";
/// In replies: the model that answered, where it is not the one asked for (a scope's fallback). From a gateway to a
/// backend: the model that is to answer, where it is not the one that the path names.
pub const MODEL: &str = "x-headgate-model";
/// In replies: features that the version does not know and that were ignored, comma separated.
pub const IGNORED: &str = "x-headgate-ignored";
/// In error replies: the name of the error's kind, [`crate::Kind::as_str`].
pub const ERROR: &str = "x-headgate-error";
/// In replies of a gateway: the stable name of the backend that answered.
pub const BACKEND: &str = "x-headgate-backend";
/// In replies of a gateway that asked several backends: those that did not answer, comma separated.
pub const UNHEARD: &str = "x-headgate-unheard";
/// In replies of a backend: how many rows were scored.
pub const ROWS: &str = "x-headgate-rows";
/// In replies of a backend: prediction calls in flight there when this reply was sent.
pub const LOAD: &str = "x-headgate-load";
/// In replies of a backend: how long the call waited there for its model to be loaded, in milliseconds.
pub const WAITED_MS: &str = "x-headgate-waited-ms";

/// From callers: the time within which an answer is of use, in milliseconds.
pub const TIMEOUT_MS: &str = "x-headgate-timeout-ms";
/// From callers, echoed: the request's id, made where there is none.
pub const REQUEST_ID: &str = "x-request-id";
/// From a gateway to a backend, with a poll of its state: the gateway's stable name.
pub const GATEWAY: &str = "x-headgate-gateway";
/// From a gateway to a backend: the version that it chose.
pub const CHOSEN_VERSION: &str = "x-headgate-chosen-version";
/// From a gateway to a backend: the digest of the version that it chose.
pub const CHOSEN_DIGEST: &str = "x-headgate-chosen-digest";

/// Whether a header that a caller sent must not pass a gateway: all of ours but those documented for callers.
pub fn strips(name: &str) -> bool {
    name.starts_with("x-headgate-") && name != TIMEOUT_MS
}

/// From callers and in replies: the length in bytes of the JSON that tensors in binary follow (the binary tensor data
/// extension of the Open Inference Protocol).
pub const JSON_LENGTH: &str = "inference-header-content-length";
