//! A request's `parameters`: of these the house knows `contributions`.

use super::Body;
use super::json::Scalar;
use crate::refusal::Refusal;
use crate::schema::describe;

/// Reads the parameters, and answers whether contributions are asked for. Those that are not known are ignored.
pub(super) fn contributions(body: &mut Body<'_>) -> Result<bool, Refusal> {
    let mut asked = false;
    if body.reader.peek() != Some(b'{') {
        body.reader.skip()?;
        return Ok(asked);
    }
    body.reader.open_object()?;
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        if key != "contributions" {
            body.reader.skip()?;
            continue;
        }
        let came = match body.reader.scalar()? {
            Some(Scalar::Bool(value)) => {
                asked = value;
                continue;
            }
            Some(other) => describe(&other),
            None if body.reader.peek() == Some(b'[') => "an array".to_owned(),
            None => "an object".to_owned(),
        };
        return Err(body.refuse(format_args!("parameter 'contributions': {came} came, true or false expected")));
    }
    Ok(asked)
}
