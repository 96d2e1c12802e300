//! Whether a version may take over from another: its signature serves the same callers, and a condition on the metrics
//! of both holds. Pure.

use std::fmt;

use headgate_contract::Manifest;

mod condition;
mod parse;

pub use condition::{Condition, ConditionError};

/// Why a version may not take over: every reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reasons, in words.
    pub reasons: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

/// Whether `new` may take over from `stable`. Where nothing is served yet, everything that a condition says of `stable`
/// holds.
pub fn check(new: &Manifest, stable: Option<&Manifest>, condition: Option<&Condition>) -> Result<(), Refusal> {
    let mut reasons = stable.map(|stable| new.signature.breaks(&stable.signature)).unwrap_or_default();
    if let Some(condition) = condition {
        reasons.extend(condition.refuses(&new.metrics, stable.map(|stable| &stable.metrics)));
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal { reasons }),
    }
}
