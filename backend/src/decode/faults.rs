//! Rows that can't be scored, and why: each fails alone where the caller asks for `row_status`, else all fail with them.

use std::collections::BTreeMap;
use std::fmt;

/// Rows whose reasons are told; the others are only said to have failed.
const REASONS_MAX: usize = 1000;
/// Reasons that a refusal of the whole call tells.
const TOLD_MAX: usize = 3;
/// What stands for a reason beyond the bound.
const BEYOND: &str = "it can't be scored; the reasons of the first 1000 such rows are told";

/// Rows that can't be scored, by row, with the first reason of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    rows: BTreeMap<usize, Box<str>>,
}

impl Faults {
    /// Takes note that a row can't be scored. `why` names row and feature.
    pub fn add(&mut self, row: usize, why: impl fmt::Display) {
        let told = self.rows.len() < REASONS_MAX;
        self.rows.entry(row).or_insert_with(|| if told { why.to_string().into() } else { BEYOND.into() });
    }

    /// Whether every row can be scored.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows can't be scored.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Why a row can't be scored; none where it can.
    pub fn reason(&self, row: usize) -> Option<&str> {
        self.rows.get(&row).map(AsRef::as_ref)
    }

    /// Values of the rows that were scored, put where those rows were among all `rows`; NaN elsewhere. A row has as many
    /// as the scored ones have; where none was scored, `width`.
    pub fn spread(&self, values: &[f64], width: usize, rows: usize) -> Vec<f64> {
        let width = values.len().checked_div(rows.saturating_sub(self.len())).unwrap_or(width);
        let mut scored = values.chunks(width.max(1));
        let mut spread = vec![f64::NAN; width * rows];
        for (row, place) in spread.chunks_mut(width.max(1)).enumerate() {
            if self.reason(row).is_none()
                && let Some(values) = scored.next()
            {
                place.copy_from_slice(values);
            }
        }
        spread
    }
}

impl fmt::Display for Faults {
    /// The first reasons, and how many more rows there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, why) in self.rows.values().take(TOLD_MAX).enumerate() {
            write!(f, "{}{why}", if at > 0 { "; " } else { "" })?;
        }
        match self.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            1 => f.write_str("; and one row more"),
            more => write!(f, "; and {more} rows more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_of_a_row_stands_and_few_are_told() {
        let mut faults = Faults::default();
        (0..3).for_each(|n| faults.add(n, format_args!("row {n}: a")));
        faults.add(1, "row 1: b");
        assert_eq!(faults.to_string(), "row 0: a; row 1: a; row 2: a");
        faults.add(9, "row 9: a");
        assert_eq!(faults.to_string(), "row 0: a; row 1: a; row 2: a; and one row more");
        (10..2000).for_each(|n| faults.add(n, "x"));
        assert_eq!((faults.reason(1999), faults.reason(8)), (Some(BEYOND), None));
    }

    #[test]
    fn scores_go_where_their_rows_were() {
        let mut faults = Faults::default();
        faults.add(1, "");
        let spread = faults.spread(&[1.0, 2.0, 3.0, 4.0], 2, 3);
        assert_eq!((&spread[..2], &spread[4..]), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
        // What the engine gave counts, not what the signature says of it; what it did not give stays away.
        assert_eq!(faults.spread(&[1.0, 2.0, 3.0, 4.0], 1, 3).len(), 6);
        assert!(faults.spread(&[], 1, 3).is_empty());
        assert!(spread[2].is_nan() && spread[3].is_nan());
        (0..3).for_each(|row| faults.add(row, ""));
        assert_eq!(faults.spread(&[], 1, 3).len(), 3);
    }
}
