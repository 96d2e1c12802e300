//! A request's `parameters`: of these the house knows `contributions`, `row_status` and `binary_data_output`.

use super::json::Scalar;
use super::{Asked, Body};
use crate::refusal::Refusal;
use crate::schema::describe;

/// Reads the parameters. Those that are not known are ignored.
pub(super) fn read(body: &mut Body<'_>, asked: &mut Asked) -> Result<(), Refusal> {
    match body.reader.peek() {
        Some(b'{') => body.reader.open_object()?,
        Some(b'n') => return Ok(body.reader.skip()?),
        _ => return Err(body.refuse("'parameters': an object expected")),
    }
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match asked.flag(&key) {
            Some(flag) => *flag = boolean(body, &key)?,
            None => body.reader.skip()?,
        }
    }
    Ok(())
}

/// Reads the value of a parameter that is true or false.
pub(super) fn boolean(body: &mut Body<'_>, key: &str) -> Result<bool, Refusal> {
    let came = match body.reader.scalar()? {
        Some(Scalar::Bool(value)) => return Ok(value),
        Some(other) => describe(&other),
        None if body.reader.peek() == Some(b'[') => "an array".to_owned(),
        None => "an object".to_owned(),
    };
    Err(body.refuse(format_args!("parameter '{key}': {came} came, true or false expected")))
}

impl Asked {
    /// What a parameter of that name says, where it is one that the house knows.
    pub(super) fn flag(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "contributions" => Some(&mut self.contributions),
            "row_status" => Some(&mut self.row_status),
            "binary_data_output" => Some(&mut self.binary),
            _ => None,
        }
    }
}
