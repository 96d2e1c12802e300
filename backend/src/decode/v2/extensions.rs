//! An input's or output's `parameters`: where its values are, and in which form they are wanted.

use std::fmt::Display;

use crate::decode::json::Scalar;
use crate::decode::{Body, parameters};
use crate::refusal::{Refusal, shorten};
use crate::schema::describe;

/// What the parameters say.
#[derive(Default)]
pub(super) struct Extensions {
    /// Bytes of the tensor in binary, or what came instead of their number.
    size: Option<Result<usize, String>>,
    /// Whether an output is wanted in binary.
    pub(super) binary: Option<bool>,
    /// One that asks for what is not done here, and why.
    refused: Option<(String, &'static str)>,
}

/// Reads the parameters. Those that are not known are ignored.
pub(super) fn read(body: &mut Body<'_>) -> Result<Extensions, Refusal> {
    let mut extensions = Extensions::default();
    if body.reader.peek() != Some(b'{') {
        body.reader.skip()?;
        return Ok(extensions);
    }
    body.reader.open_object()?;
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "binary_data_size" => extensions.size = Some(size(body)?),
            "binary_data" => extensions.binary = Some(parameters::boolean(body, &key)?),
            "classification" => {
                if size(body)? != Ok(0) {
                    extensions.refused = Some((key.into_owned(), "classes are not ranked here, the values are sent"));
                }
            }
            _ if key.starts_with("shared_memory_") => {
                extensions.refused = Some((shorten(&key, 80), "shared memory is not read or written here"));
                body.reader.skip()?;
            }
            _ => body.reader.skip()?,
        }
    }
    Ok(extensions)
}

fn size(body: &mut Body<'_>) -> Result<Result<usize, String>, Refusal> {
    Ok(match body.reader.scalar()? {
        Some(Scalar::Number(size, _)) if size >= 0.0 && size.fract() == 0.0 && size <= 1e15 => Ok(size as usize),
        Some(other) => Err(describe(&other)),
        None => {
            body.reader.skip()?;
            Err("an array or object".to_owned())
        }
    })
}

impl Extensions {
    /// Whether they say nothing of an input.
    pub(super) fn is_empty(&self) -> bool {
        self.size.is_none() && self.refused.is_none()
    }

    /// The size of the tensor in binary, where there is one; refused what is not done here. `what` names input or output.
    pub(super) fn check(self, body: &Body<'_>, what: impl Display) -> Result<Option<usize>, Refusal> {
        if let Some((key, why)) = self.refused {
            return Err(body.refuse(format_args!("{what} has parameter '{key}': {why}")));
        }
        self.size.transpose().map_err(|came| {
            body.refuse(format_args!(
                "{what} has parameter 'binary_data_size': {came} came, a number of bytes expected"
            ))
        })
    }
}
