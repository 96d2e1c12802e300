//! What a cell of CSV says: the same to a trainer that reads a table and to a backend that scores its rows.

use crate::real;

/// Whether a cell says that it has no value.
pub fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "N/A" | "NaN" | "nan" | "null" | "NULL" | "?")
}

/// A cell's boolean.
pub fn boolean(cell: &str) -> Option<bool> {
    match cell {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A cell's number. Digits after a leading zero are none: such codes (`007`, a postal code) are text.
pub fn number(cell: &str) -> Option<f64> {
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    match unsigned.as_bytes() {
        [b'0', b'0'..=b'9', ..] => None,
        [b'0'..=b'9' | b'.', ..] => cell.parse().ok(),
        _ => real::word(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes() {
        for (cell, value) in [("1", 1.0), ("+.5", 0.5), ("-1e3", -1000.0), ("0", 0.0), ("0.5", 0.5), ("1.", 1.0)] {
            assert_eq!(number(cell), Some(value), "{cell}");
        }
        assert_eq!(number("-inf"), Some(f64::NEG_INFINITY));
        for cell in ["007", "-00", "", "x", "1x", "+", "infinity", " 1"] {
            assert_eq!(number(cell), None, "{cell}");
        }
    }
}
