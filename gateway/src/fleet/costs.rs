//! What calls of a model cost, by door: learned from replies.

use std::sync::OnceLock;

use headgate_balance::cost::Cost;
use headgate_balance::quantile::Quantile;

/// In what form a call brings its rows: how many a byte holds differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The Open Inference Protocol's JSON.
    Json,
    /// The same with tensors in binary.
    Binary,
    /// The same as a protocol buffers message.
    Message,
    /// Version 1 of the protocol.
    Instances,
    /// Any other: CSV, data frames, Arrow.
    Other,
}

const FORMS: usize = 5;

/// A model's costs. Nothing is kept of a model that nobody calls.
#[derive(Debug, Default)]
pub struct Costs(OnceLock<Box<Learned>>);

#[derive(Debug, Default)]
struct Learned {
    forms: [Cost; FORMS],
    /// How much longer than expected most replies take.
    paces: Quantile,
}

impl Costs {
    /// The costs of calls in a form.
    pub fn of(&self, form: Form) -> &Cost {
        let [json, binary, message, instances, other] = &self.0.get_or_init(Box::default).forms;
        match form {
            Form::Json => json,
            Form::Binary => binary,
            Form::Message => message,
            Form::Instances => instances,
            Form::Other => other,
        }
    }

    /// How much longer than expected most replies take, by a quantile.
    pub fn paces(&self) -> &Quantile {
        &self.0.get_or_init(Box::default).paces
    }
}
