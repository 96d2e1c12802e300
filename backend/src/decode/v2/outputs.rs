//! The outputs asked for.

use super::extensions::{self, Extensions};
use crate::decode::{Body, Wanted};
use crate::refusal::{Refusal, shorten};

/// Reads them; an empty list asks for what we would send anyway.
pub(super) fn read(body: &mut Body<'_>) -> Result<Option<Vec<Wanted>>, Refusal> {
    let mut outputs: Vec<Wanted> = Vec::new();
    body.reader.open_array()?;
    let mut first = true;
    while body.reader.element(first)? {
        first = false;
        let wanted = output(body)?;
        if outputs.iter().all(|known| known.output != wanted.output) {
            outputs.push(wanted);
        }
    }
    Ok((!outputs.is_empty()).then_some(outputs))
}

fn output(body: &mut Body<'_>) -> Result<Wanted, Refusal> {
    body.reader.open_object()?;
    let (mut name, mut extensions) = (None, Extensions::default());
    let mut first = true;
    while let Some(key) = body.reader.key(first)? {
        first = false;
        match key.as_ref() {
            "name" => name = Some(body.reader.text()?),
            "parameters" => extensions = extensions::read(body)?,
            _ => body.reader.skip()?,
        }
    }
    let name = name.unwrap_or_default();
    let output = body.output(&name)?;
    let binary = extensions.binary;
    extensions.check(body, format_args!("output '{}'", shorten(&name, 80)))?;
    Ok(Wanted { output, binary })
}
