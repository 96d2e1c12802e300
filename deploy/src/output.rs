//! What commands print: tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Words and tables.
    Text,
    /// One JSON document.
    Json,
}

/// Prints `document` as JSON, or `text` for people. A closed pipe is no error: the reader has seen enough.
pub(crate) fn print(style: Style, document: &impl Serialize, text: impl FnOnce() -> String) {
    let mut out = match style {
        Style::Json => serde_json::to_string_pretty(document).unwrap_or_default(),
        Style::Text => text(),
    };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    let _ = io::stdout().lock().write_all(out.as_bytes());
}

/// Writes to standard error. One that is closed, or on a full disk, ends nothing.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Metrics in a line, as in `auc 0.8748, rounds 87`.
pub(crate) fn metrics(metrics: &BTreeMap<String, f64>) -> String {
    let one = |(name, value): (&String, &f64)| match value.fract() == 0.0 {
        true => format!("{name} {value}"),
        false => format!("{name} {value:.4}"),
    };
    metrics.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Rows under a heading, columns aligned.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count().min(*width)));
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut heading.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["São Paulo".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["model", "n"], &rows), "model      n\na          1\nSão Paulo  22\n");
    }
}
