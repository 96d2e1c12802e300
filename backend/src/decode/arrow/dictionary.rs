//! The values that a column's indices stand for.

use super::values::Values;
use crate::decode::json::Scalar;

/// A dictionary, in the parts that it came in.
#[derive(Default)]
pub(super) struct Dictionary<'a> {
    parts: Vec<Values<'a>>,
    /// For each part, how many values there are up to its end.
    ends: Vec<usize>,
}

impl<'a> Dictionary<'a> {
    /// Takes more values, or others instead.
    pub(super) fn add(&mut self, values: Values<'a>, is_delta: bool) {
        if !is_delta {
            *self = Self::default();
        }
        self.ends.push(self.len().saturating_add(values.rows()));
        self.parts.push(values);
    }

    /// How many values it has.
    pub(super) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// What `read` makes of a value; none beyond the last.
    pub(super) fn scalar(
        &self,
        index: usize,
        read: impl FnMut(Result<Scalar<'_>, &[u8]>) -> f64,
    ) -> Result<Option<f64>, String> {
        let part = self.ends.partition_point(|end| *end <= index);
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.parts.get(part).map(|values| values.scalar(index - start, read)).transpose()
    }
}
