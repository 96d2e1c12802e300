//! One value of a tensor that says its type: what the engine gets for it.

use super::Body;
use super::json::Scalar;
use crate::schema::Mismatch;

/// A value as its tensor's datatype has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Element<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    /// Of FP32, and of the shorter ones.
    Single(f32),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// The number that it is; none for bytes.
    #[inline]
    fn number(self) -> Option<f64> {
        Some(match self {
            Element::Bool(value) => f64::from(u8::from(value)),
            Element::Signed(value) => value as f64,
            Element::Unsigned(value) => value as f64,
            Element::Single(value) => f64::from(value),
            Element::Double(value) => value,
            Element::Bytes(_) => return None,
        })
    }

    /// The number as JSON would have it, by which a category may be found.
    fn written(self) -> String {
        match self {
            Element::Signed(value) => value.to_string(),
            Element::Unsigned(value) => value.to_string(),
            Element::Single(value) => format!("{value:?}"),
            Element::Double(value) => format!("{value:?}"),
            Element::Bool(_) | Element::Bytes(_) => String::new(),
        }
    }
}

impl Body<'_> {
    /// What the engine gets for a value of a feature.
    #[inline]
    pub(super) fn element(&mut self, row: usize, feature: usize, element: Element<'_>) -> f64 {
        match element.number() {
            Some(number) if self.schema.features[feature].is_numeric() => number,
            _ => self.unusual(row, feature, element),
        }
    }

    /// A text, or a value of a feature that is not numeric.
    fn unusual(&mut self, row: usize, feature: usize, element: Element<'_>) -> f64 {
        let known = &self.schema.features[feature];
        let written;
        let scalar = match element {
            Element::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if known.is_text() => return self.texts.push(text) as f64,
                Ok(text) => Scalar::Text(text.into()),
                Err(_) => {
                    let expected = if known.is_numeric() { "a number" } else { "a text" };
                    let came = "bytes that are no UTF-8".to_owned();
                    return self.mismatch(row, feature, &Mismatch { came, expected });
                }
            },
            Element::Bool(value) => Scalar::Bool(value),
            _ => {
                written = element.written();
                Scalar::Number(element.number().unwrap_or(f64::NAN), &written)
            }
        };
        known.value(&scalar).unwrap_or_else(|m| self.mismatch(row, feature, &m))
    }
}
