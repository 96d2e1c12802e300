//! Values of tensors that say their types: what the engine gets for each.

use super::Body;
use super::json::Scalar;
use crate::schema::Mismatch;

/// A value as its tensor's datatype has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Element<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Real(f64),
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
            Element::Real(value) => value,
            Element::Bytes(_) => return None,
        })
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

    /// Bytes, or a number of a feature that is not numeric.
    fn unusual(&mut self, row: usize, feature: usize, element: Element<'_>) -> f64 {
        // A category may be found by how JSON would have written the number.
        let (number, written) = match element {
            Element::Bytes(bytes) => return self.text(row, feature, bytes),
            Element::Bool(value) => return self.scalar(row, feature, &Scalar::Bool(value)),
            Element::Signed(value) => (value as f64, value.to_string()),
            Element::Unsigned(value) => (value as f64, value.to_string()),
            Element::Real(value) => (value, format!("{value:?}")),
        };
        self.scalar(row, feature, &Scalar::Number(number, &written))
    }

    fn text(&mut self, row: usize, feature: usize, bytes: &[u8]) -> f64 {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.scalar(row, feature, &Scalar::Text(text.into())),
            Err(_) => {
                let expected = if self.schema.features[feature].is_numeric() { "a number" } else { "a text" };
                let came = "bytes that are no UTF-8".to_owned();
                self.mismatch(row, feature, &Mismatch { came, expected })
            }
        }
    }

    fn scalar(&mut self, row: usize, feature: usize, scalar: &Scalar<'_>) -> f64 {
        let known = &self.schema.features[feature];
        match scalar {
            Scalar::Text(text) if known.is_text() => self.texts.push(text) as f64,
            scalar => known.value(scalar).unwrap_or_else(|m| self.mismatch(row, feature, &m)),
        }
    }

    /// What the engine gets for a value of a tensor in binary.
    pub(super) fn of_blob(&mut self, row: usize, feature: usize, value: Result<Scalar<'_>, &[u8]>) -> f64 {
        match value {
            Ok(scalar) => self.scalar(row, feature, &scalar),
            Err(bytes) => self.text(row, feature, bytes),
        }
    }
}
