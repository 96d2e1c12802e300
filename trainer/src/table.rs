//! A table in memory: typed columns, as the readers of [`crate::data`] fill them.

use std::borrow::Cow;

use indexmap::IndexSet;

/// The code of a text cell without a value.
pub const MISSING: u32 = u32::MAX;

/// Columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// How many rows.
    pub rows: usize,
    /// The columns; no two have the same name.
    pub columns: Vec<Column>,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, never empty.
    pub name: String,
    /// One value a row.
    pub values: Values,
}

/// A column's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers; NaN is missing.
    Number(NumberKind, Vec<f64>),
    /// Text.
    Text(Texts),
}

/// What a column's numbers stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberKind {
    /// No row has a value.
    Empty,
    /// `false` and `true` as 0 and 1.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Any numbers.
    Float,
    /// Days since 1970-01-01.
    Date,
    /// Days since 1970-01-01T00:00Z, with the time of day as the fraction.
    Timestamp,
}

/// Text cells, each distinct text once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// The distinct texts, in the order of their first row.
    pub words: IndexSet<String>,
    /// The place of each row's text in `words`, or [`MISSING`].
    pub codes: Vec<u32>,
}

// === impl Table ===

impl Table {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The name nearest to `name`, for an error's hint.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.columns.iter().map(|column| column.name.as_str()))
    }
}

/// The candidate nearest to `name`, where one is near.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|c| (strsim::jaro_winkler(&name.to_lowercase(), &c.to_lowercase()), c));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c)
}

// === impl Column ===

impl Column {
    /// Whether the row has no value.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.values {
            Values::Number(_, values) => values[row].is_nan(),
            Values::Text(texts) => texts.codes[row] == MISSING,
        }
    }

    /// The value as text; none where it is missing.
    pub fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match &self.values {
            Values::Text(texts) => texts.get(row).map(Cow::Borrowed),
            Values::Number(_, values) if values[row].is_nan() => None,
            Values::Number(kind, values) => Some(Cow::Owned(kind.text(values[row]))),
        }
    }
}

// === impl Values ===

impl Values {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Number(_, values) => values.len(),
            Values::Text(texts) => texts.codes.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl NumberKind ===

impl NumberKind {
    /// How a value of this kind is written.
    pub fn text(self, value: f64) -> String {
        match self {
            NumberKind::Boolean => (value != 0.0).to_string(),
            NumberKind::Date | NumberKind::Timestamp => crate::data::date::write(value),
            _ => value.to_string(),
        }
    }

    /// What it is called in messages.
    pub fn word(self) -> &'static str {
        match self {
            NumberKind::Empty => "empty",
            NumberKind::Boolean => "boolean",
            NumberKind::Integer => "integer",
            NumberKind::Float => "number",
            NumberKind::Date => "date",
            NumberKind::Timestamp => "timestamp",
        }
    }

    /// Whether it is a point in time.
    pub fn is_time(self) -> bool {
        matches!(self, NumberKind::Date | NumberKind::Timestamp)
    }

    /// The kind that holds the values of both; none where one is a time and the other is not.
    pub fn join(self, other: Self) -> Option<Self> {
        use NumberKind::{Date, Empty, Float, Integer, Timestamp};
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Empty, kind) | (kind, Empty) => Some(kind),
            (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
            (Integer, Float) | (Float, Integer) => Some(Float),
            _ => None,
        }
    }
}

// === impl Texts ===

impl Texts {
    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        let code = match text {
            None => MISSING,
            Some(text) => match self.words.get_index_of(text) {
                Some(at) => at as u32,
                None => self.words.insert_full(text.to_owned()).0 as u32,
            },
        };
        self.codes.push(code);
    }

    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.words.get_index(self.codes[row] as usize).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_written_as_their_kind() {
        let column = |kind, value| Column { name: "x".into(), values: Values::Number(kind, vec![value, f64::NAN]) };
        assert_eq!(column(NumberKind::Integer, 3.0).text(0).unwrap(), "3");
        assert_eq!(column(NumberKind::Float, 0.25).text(0).unwrap(), "0.25");
        assert_eq!(column(NumberKind::Boolean, 1.0).text(0).unwrap(), "true");
        assert_eq!(column(NumberKind::Date, 19_724.0).text(0).unwrap(), "2024-01-02");
        assert_eq!(column(NumberKind::Date, 19_724.0).text(1), None);
        let mut texts = Texts::default();
        for text in [Some("b"), None, Some("a"), Some("b")] {
            texts.push(text);
        }
        assert_eq!((texts.codes.clone(), texts.get(3)), (vec![0, MISSING, 1, 0], Some("b")));
    }

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(nearest("ballance", ["age", "balance"]), Some("balance"));
        assert_eq!(nearest("zzz", ["age", "balance"]), None);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used)]
    use super::Table;
    use crate::data::{self, Body, Input};

    /// A table from CSV text.
    pub(crate) fn table(csv: &str) -> Table {
        let input = Input { uri: "test".to_owned(), body: Body::Bytes(csv.as_bytes().to_vec().into()) };
        data::read(&[input]).unwrap().table
    }
}
