//! One model for each value of a column.

use std::collections::BTreeMap;

use headgate_contract::ModelName;

use crate::plan::PlanError;
use crate::plan::overrides::find;
use crate::table::Table;

/// The most scopes of one training.
const SCOPES_MAX: usize = 100_000;

/// A model to be trained, and its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// The model.
    pub model: ModelName,
    /// The value, where it is a scope.
    pub value: Option<String>,
    /// Its rows, in order.
    pub rows: Vec<u32>,
}

/// The scopes, and those whose value makes no name, with the reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scopes {
    /// Sorted by value.
    pub scopes: Vec<Scope>,
    /// Value, why it makes no name.
    pub unnamed: Vec<(String, String)>,
    /// Rows without a value.
    pub rows_without: usize,
}

/// Divides rows by the value of a column; without a column all are one.
pub fn divide(table: &Table, rows: Vec<u32>, model: &ModelName, by: Option<&str>) -> Result<Scopes, PlanError> {
    let Some(by) = by else {
        return Ok(Scopes { scopes: vec![Scope { model: model.clone(), value: None, rows }], ..Scopes::default() });
    };
    let column = &table.columns[find(table, by)?];
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut scopes = Scopes::default();
    for row in rows {
        match column.text(row as usize) {
            None => scopes.rows_without += 1,
            Some(text) => match groups.get_mut(text.as_ref()) {
                Some(rows) => rows.push(row),
                None => drop(groups.insert(text.into_owned(), vec![row])),
            },
        }
    }
    if groups.is_empty() || groups.len() > SCOPES_MAX {
        let why = format!("{} different values: 1 to {SCOPES_MAX} expected for --scope-by", groups.len());
        return Err(PlanError::Column { name: by.to_owned(), why });
    }
    for (value, rows) in groups {
        match ModelName::scoped(model, &value) {
            Ok(model) => scopes.scopes.push(Scope { model, value: Some(value), rows }),
            Err(error) => scopes.unnamed.push((value, error.to_string())),
        }
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::testing;

    #[test]
    fn rows_are_divided_by_value_and_names_are_written() {
        let long = "x".repeat(200);
        let table = testing::table(&format!("job,y\nadmin.,1\nSão Paulo,2\n,3\nadmin.,4\n{long},5\n"));
        let model: ModelName = "bank".parse().unwrap();
        let found = divide(&table, vec![0, 1, 2, 3, 4], &model, Some("job")).unwrap();
        let names: Vec<&str> = found.scopes.iter().map(|s| s.model.as_str()).collect();
        assert_eq!(names, ["bank/S~c3~a3o~20Paulo", "bank/admin."]);
        assert_eq!(found.scopes[1].rows, [0, 3]);
        assert_eq!((found.rows_without, found.unnamed.len()), (1, 1));
        assert!(divide(&table, vec![0], &model, Some("jobs")).is_err());
        assert_eq!(divide(&table, vec![0, 2], &model, None).unwrap().scopes[0].rows, [0, 2]);
    }
}
