//! What a CSV cell is, and what a column of cells is.

pub(super) use headgate_contract::csv::{boolean, is_missing, number};

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
