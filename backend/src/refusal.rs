//! Why a call is refused: a kind from the closed set, and words for the caller.

use headgate_contract::Kind;

/// A call that is not answered with a prediction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which of the closed set.
    pub kind: Kind,
    /// What is wrong, naming model, row, feature, what came and what was expected.
    pub message: String,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The caller's fault.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
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
