//! What a CSV cell is, and what a column of cells is.

use super::date;
use crate::table::NumberKind;

/// The shapes that the cells of a column had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(u8);

/// What a column is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number(NumberKind),
    Text,
}

const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 4;
const DATE: u8 = 8;
const TIMESTAMP: u8 = 16;
const TEXT: u8 = 32;

/// Whether a cell says that it has no value.
pub(super) fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "N/A" | "NaN" | "nan" | "null" | "NULL" | "?")
}

/// A cell's boolean.
pub(super) fn boolean(cell: &str) -> Option<bool> {
    match cell {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A cell's number. Digits after a leading zero are none: such codes (`007`, a postal code) are text.
pub(super) fn number(cell: &str) -> Option<f64> {
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    match unsigned.as_bytes() {
        [b'0', b'0'..=b'9', ..] => None,
        [b'0'..=b'9' | b'.', ..] => cell.parse().ok(),
        _ => headgate_contract::real::word(cell),
    }
}

// === impl Seen ===

impl Seen {
    /// Adds a cell.
    pub(super) fn add(&mut self, cell: &str) {
        // One text makes the whole column text: the rest need not be looked at.
        if self.0 & TEXT != 0 || is_missing(cell) {
            return;
        }
        self.0 |= shape(cell);
    }

    /// What the column is read as.
    pub(super) fn kind(self) -> Kind {
        Kind::Number(match self.0 {
            0 => NumberKind::Empty,
            BOOLEAN => NumberKind::Boolean,
            INTEGER => NumberKind::Integer,
            seen if seen & !(INTEGER | FLOAT) == 0 => NumberKind::Float,
            DATE => NumberKind::Date,
            seen if seen & !(DATE | TIMESTAMP) == 0 => NumberKind::Timestamp,
            _ => return Kind::Text,
        })
    }
}

fn shape(cell: &str) -> u8 {
    if number(cell).is_some() {
        let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
        return if digits.bytes().all(|b| b.is_ascii_digit()) { INTEGER } else { FLOAT };
    }
    match date::parse(cell) {
        _ if boolean(cell).is_some() => BOOLEAN,
        Some((_, true)) => TIMESTAMP,
        Some((_, false)) => DATE,
        None => TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str]) -> Kind {
        let mut seen = Seen::default();
        cells.iter().for_each(|cell| seen.add(cell));
        seen.kind()
    }

    #[test]
    fn a_column_is_what_all_its_cells_are() {
        use NumberKind::*;
        for (cells, expected) in [
            (&["1", "-2", "NA", "+3"][..], Integer),
            (&["1", "2.5", "1e9", ".5"], Float),
            (&["1", "inf"], Float),
            (&["true", "False", ""], Boolean),
            (&["2024-01-02", "?"], Date),
            (&["2024-01-02", "2024-01-02 03:04"], Timestamp),
            (&["", "NaN", "null"], Empty),
        ] {
            assert_eq!(kind(cells), Kind::Number(expected), "{cells:?}");
        }
        for cells in
            [&["1", "x"][..], &["true", "1"], &["2024-01-02", "3"], &["007"], &["yes", "no"], &["1 000"], &["-"]]
        {
            assert_eq!(kind(cells), Kind::Text, "{cells:?}");
        }
    }
}
