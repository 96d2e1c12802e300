//! What the user says of columns, against what was inferred.

use std::collections::BTreeSet;

use super::PlanError;
use crate::table::{Column, NumberKind, Table, Texts, Values};

/// Columns that are read otherwise than they look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Categories, even where they are numbers.
    pub categorical: BTreeSet<String>,
    /// Numbers, even where they are text or dates (which become days since 1970-01-01).
    pub numeric: BTreeSet<String>,
    /// Not looked at.
    pub ignore: BTreeSet<String>,
}

impl Overrides {
    /// Turns columns into what they are said to be. A column that is not there is an error.
    pub fn apply(&self, table: &mut Table) -> Result<(), PlanError> {
        for name in self.categorical.iter().chain(&self.numeric).chain(&self.ignore) {
            find(table, name)?;
            let said = [&self.categorical, &self.numeric, &self.ignore].iter().filter(|set| set.contains(name)).count();
            if said > 1 {
                let why = "it is named in two of --categorical, --numeric and --ignore".to_owned();
                return Err(PlanError::Column { name: name.clone(), why });
            }
        }
        let rows = table.rows;
        for column in &mut table.columns {
            if self.categorical.contains(&column.name) {
                to_text(column, rows);
            } else if self.numeric.contains(&column.name) {
                to_number(column)?;
            }
        }
        Ok(())
    }
}

/// The place of a column.
pub(crate) fn find(table: &Table, name: &str) -> Result<usize, PlanError> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let hint = table.nearest(name).map_or(String::new(), |near| format!("; '{near}' is there"));
        PlanError::NoColumn { name: name.to_owned(), hint }
    })
}

fn to_text(column: &mut Column, rows: usize) {
    if let Values::Number(..) = column.values {
        let mut texts = Texts::default();
        (0..rows).for_each(|row| texts.push(column.text(row).as_deref()));
        column.values = Values::Text(texts);
    }
}

fn to_number(column: &mut Column) -> Result<(), PlanError> {
    let numbers = match &column.values {
        Values::Number(kind, _) if !kind.is_time() => return Ok(()),
        Values::Number(_, days) => days.clone(),
        Values::Text(texts) => {
            let mut words = Vec::with_capacity(texts.words.len());
            for word in &texts.words {
                words.push(word.trim().parse::<f64>().map_err(|_| PlanError::Column {
                    name: column.name.clone(),
                    why: format!("it holds '{}': it can't be numeric", word.chars().take(40).collect::<String>()),
                })?);
            }
            texts.codes.iter().map(|code| words.get(*code as usize).copied().unwrap_or(f64::NAN)).collect()
        }
    };
    column.values = Values::Number(NumberKind::Float, numbers);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::testing;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn columns_become_what_they_are_said_to_be() {
        let mut table = testing::table("code,zip,on,word\n1,007,1970-01-03,a\n2,,1970-01-04,b\n");
        let overrides =
            Overrides { categorical: names(&["code"]), numeric: names(&["zip", "on"]), ignore: names(&["word"]) };
        overrides.apply(&mut table).unwrap();
        assert_eq!(table.columns[0].text(1).unwrap(), "2");
        assert!(matches!(&table.columns[0].values, Values::Text(_)));
        assert!(matches!(&table.columns[1].values, Values::Number(_, v) if v[0] == 7.0 && v[1].is_nan()));
        assert!(matches!(&table.columns[2].values, Values::Number(NumberKind::Float, v) if v == &[2.0, 3.0]));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let refused = |o: Overrides| o.apply(&mut testing::table("code,word\n1,a\n")).unwrap_err().to_string();
        assert!(refused(Overrides { numeric: names(&["word"]), ..Overrides::default() }).contains("'a'"));
        assert!(refused(Overrides { ignore: names(&["words"]), ..Overrides::default() }).contains("'word' is there"));
        let both = Overrides { ignore: names(&["word"]), numeric: names(&["word"]), ..Overrides::default() };
        assert!(refused(both).contains("two of"));
    }
}
