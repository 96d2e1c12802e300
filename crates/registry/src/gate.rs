//! Whether a version may take over from another. Pure.

use headgate_contract::Manifest;

/// A condition on metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {}

/// Why a text is no condition. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("condition '{condition}' at byte {at}: {why}")]
pub struct ConditionError {
    /// The condition.
    pub condition: String,
    /// Where it goes wrong.
    pub at: usize,
    /// What was expected.
    pub why: String,
}

/// Why a version may not take over: every reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reasons, in words.
    pub reasons: Vec<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

impl std::str::FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let _ = text;
        todo!()
    }
}

/// Whether `new` may take over from `stable`: its signature serves the same callers, and the condition holds.
pub fn check(new: &Manifest, stable: Option<&Manifest>, condition: Option<&Condition>) -> Result<(), Refusal> {
    let _ = (new, stable, condition);
    todo!()
}
