//! `--where`: which rows are taken.
//!
//! ```text
//! day between 2024-01-01 and 2024-03-31 and (job in ('admin.', 'student') or not age < 30) and balance is not missing
//! ```
//!
//! A comparison has a column on its left (a word, or any text in double quotes or backticks) and a number, a date,
//! `true`, `false` or a 'text' on its right; operators are `==` (or `=`), `!=`, `<`, `<=`, `>`, `>=`, `[not] in (...)`,
//! `[not] between ... and ...`, `is [not] missing`. Text is compared byte by byte. A row without a value fulfils no
//! comparison, `!=`, `not in` and `not between` included.

use crate::table::Table;

mod bind;
mod lex;
mod parse;

/// A condition on rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(parse::Expr);

/// Why an expression is refused. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--where, at character {at}: {what}")]
pub struct FilterError {
    /// The character, from 1, where it goes wrong.
    pub at: usize,
    /// What came and what was expected.
    pub what: String,
}

impl Filter {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }

    /// For each row whether it is taken.
    pub fn rows(&self, table: &Table) -> Result<Vec<bool>, FilterError> {
        bind::rows(&self.0, table)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::data::{self, Body, Input};

    fn table() -> Table {
        let csv = "age,job,on,ok,my col\n30,admin.,2024-01-01,true,1\n40,it's,2024-02-01,false,2\n,,,,\n50,a\"b,2024-03-01,true,3\n";
        let input = Input { uri: "x".into(), body: Body::Bytes(csv.as_bytes().into()) };
        data::read(&[input]).unwrap().table
    }

    fn taken(text: &str) -> Vec<usize> {
        let rows = Filter::parse(text).and_then(|f| f.rows(&table())).unwrap_or_else(|e| panic!("{text}: {e}"));
        (0..rows.len()).filter(|r| rows[*r]).collect()
    }

    #[test]
    fn rows_are_taken_by_what_they_say() {
        for (text, rows) in [
            ("age == 40", &[1][..]),
            ("age != 40", &[0, 3]),
            ("not age == 40", &[0, 2, 3]),
            ("age>=40 and age<50 or job='admin.'", &[0, 1]),
            ("age >= 40 and (age < 50 or job = 'admin.')", &[1]),
            ("job in ('it''s', 'nobody')", &[1]),
            ("job not in ('it''s')", &[0, 3]),
            ("job == \"a\"\"b\"", &[3]),
            ("job < 'b'", &[0, 3]),
            ("on between 2024-01-15 and 2024-03-01", &[1, 3]),
            ("on not between 2024-01-15 and 2024-03-01", &[0]),
            ("on < '2024-01-01T12:00'", &[0]),
            ("ok", &[0, 3]),
            ("not ok and age is not missing", &[1]),
            ("ok == false", &[1]),
            ("age is missing", &[2]),
            ("`my col` in (1, 3) AND \"my col\" > -1e3", &[0, 3]),
        ] {
            assert_eq!(taken(text), rows, "{text}");
        }
    }

    #[test]
    fn wrong_expressions_are_refused_at_their_place() {
        for (text, at, words) in [
            ("age = ", 7, "a value expected"),
            ("age = 1 banana", 9, "'and', 'or' or the end expected"),
            ("age ~ 1", 5, "'~'"),
            ("agee = 1", 1, "no column 'agee'; 'age' is there"),
            ("age = 'x'", 7, "column 'age' is a integer"),
            ("job > 3", 7, "column 'job' is text"),
            ("on = 3", 6, "column 'on' is a date"),
            ("job == admin", 8, "text is written in quotes: 'admin'"),
            ("(age = 1", 9, "')' expected"),
            ("age in ()", 9, "a value expected"),
            ("age between 1", 14, "'and' expected"),
            ("'x = 1", 1, "no end"),
            ("age", 1, "column 'age' is a integer"),
            ("", 1, "a column"),
        ] {
            let error = Filter::parse(text).and_then(|f| f.rows(&table())).unwrap_err();
            assert!(error.at == at && error.what.contains(words), "{text}: {error}");
        }
        let deep = "(".repeat(100_000) + "age = 1";
        assert!(Filter::parse(&deep).unwrap_err().what.contains("deep"));
        let nots = "not ".repeat(100_000) + "age = 1";
        assert!(Filter::parse(&nots).unwrap_err().what.contains("deep"));
        let long = vec!["age = 1"; 20_000].join(" or ");
        assert_eq!(taken(&long), [0_usize; 0]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"(age|job|on|ok|not|and|or|in|between|is|missing|\(|\)|,|=|<|>|!|'|"|`|[0-9.e-]{1,5}|é|[ ]){0,24}"#) {
            if let Ok(filter) = Filter::parse(&text) {
                let _ = filter.rows(&table());
            }
        }
    }
}
