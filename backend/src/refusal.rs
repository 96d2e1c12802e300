//! Why a call is refused: a kind from the closed set, and words for the caller.

use headgate_contract::Kind;
use headgate_contract::route::RouteError;

/// A call that is not answered with a prediction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which of the closed set.
    pub kind: Kind,
    /// What is wrong, naming model, row, feature, what came and what was expected.
    pub message: String,
    /// The methods that a path takes, where the call's is not among them.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), allow: None }
    }

    /// The caller's fault.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }
}

impl From<RouteError> for Refusal {
    fn from(error: RouteError) -> Self {
        Self { kind: error.kind, message: error.message, allow: error.allow }
    }
}

/// At most `chars` characters of a caller's text, so that a reply never repeats a whole body.
pub fn shorten(text: &str, chars: usize) -> String {
    let mut short: String = text.chars().take(chars).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
