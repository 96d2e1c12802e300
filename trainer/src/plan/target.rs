//! The target: a yes or no, one of several classes, or a number.

use std::collections::HashSet;

use indexmap::IndexSet;

use super::PlanError;
use super::overrides::find;
use crate::table::{Column, NumberKind, Table, Values};

/// The most classes.
const CLASSES_MAX: usize = 1000;

/// What kind of thing is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The probability of one of two classes.
    Binary,
    /// A probability for each of several classes.
    Multiclass,
    /// A number.
    Regression,
}

/// What is learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The column.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// The kind of thing.
    pub task: Task,
    /// LightGBM's objective.
    pub objective: String,
    /// The classes in the order of their labels (the second of two is the positive one); empty for a number.
    pub classes: IndexSet<String>,
}

/// What the user says of the target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// An objective of LightGBM's.
    pub objective: Option<&'a str>,
    /// The positive one of two classes.
    pub positive: Option<&'a str>,
}

impl Target {
    /// Decides from the values of `rows` what is learnt. Says which rows have a target, and adds to `notes`.
    pub fn plan(
        table: &Table,
        rows: &[u32],
        name: &str,
        wish: Wish<'_>,
        notes: &mut Vec<String>,
    ) -> Result<(Self, Vec<u32>), PlanError> {
        let at = find(table, name)?;
        let column = &table.columns[at];
        let refused = |why: String| PlanError::Target { name: name.to_owned(), why };
        let with: Vec<u32> = rows.iter().copied().filter(|row| !column.is_missing(*row as usize)).collect();
        if with.is_empty() {
            return Err(refused(format!("none of {} rows has a value", rows.len())));
        }
        if with.len() < rows.len() {
            notes.push(format!("{} rows have no target '{name}': left out", rows.len() - with.len()));
        }
        let asked = wish.objective.map(|o| task_of(o).ok_or_else(|| refused(objective_words(o)))).transpose()?;
        let distinct = distinct(column, &with);
        let task = asked.unwrap_or_else(|| guess(column, &distinct));
        let objective = wish.objective.unwrap_or(match task {
            Task::Binary => "binary",
            Task::Multiclass => "multiclass",
            Task::Regression => "regression",
        });
        let mut target =
            Self { column: at, name: name.to_owned(), task, objective: objective.to_owned(), classes: IndexSet::new() };
        if task == Task::Regression {
            target.check_numbers(column, &distinct, wish, notes)?;
        } else {
            target.classes = target.order(distinct, column, wish, notes)?;
        }
        Ok((target, with))
    }

    /// The labels of rows that have a target: the number, or the class's place.
    pub fn labels(&self, table: &Table, rows: &[u32]) -> Vec<f64> {
        let column = &table.columns[self.column];
        let class = |row: usize| column.text(row).and_then(|text| self.classes.get_index_of(text.as_ref()));
        rows.iter()
            .map(|row| match (&column.values, self.task) {
                (Values::Number(_, values), Task::Regression) => values[*row as usize],
                _ => class(*row as usize).map_or(f64::NAN, |class| class as f64),
            })
            .collect()
    }

    fn check_numbers(
        &self,
        column: &Column,
        distinct: &[String],
        wish: Wish<'_>,
        notes: &mut Vec<String>,
    ) -> Result<(), PlanError> {
        let refused = |why: String| Err(PlanError::Target { name: self.name.clone(), why });
        match &column.values {
            Values::Number(kind, _) if !kind.is_time() => {}
            Values::Number(kind, _) => return refused(format!("a {} is no target", kind.word())),
            Values::Text(_) => return refused(format!("it is text: objective '{}' takes numbers", self.objective)),
        }
        if distinct.len() == 1 {
            return refused(format!("all rows have the same value, {}", distinct[0]));
        }
        if wish.positive.is_some() {
            return refused("it is a number: --positive names one of two classes".to_owned());
        }
        if let Values::Number(NumberKind::Integer, _) = &column.values
            && distinct.len() <= 20
            && wish.objective.is_none()
        {
            let (name, count) = (&self.name, distinct.len());
            notes.push(format!(
                "target '{name}' is a whole number with {count} values: learnt as a number (--objective multiclass for \
                 classes)"
            ));
        }
        Ok(())
    }

    /// The classes in order.
    fn order(
        &self,
        mut classes: Vec<String>,
        column: &Column,
        wish: Wish<'_>,
        notes: &mut Vec<String>,
    ) -> Result<IndexSet<String>, PlanError> {
        let refused = |why: String| Err(PlanError::Target { name: self.name.clone(), why });
        match (classes.len(), self.task) {
            (1, _) => return refused(format!("all rows have the same class, '{}'", classes[0])),
            (n, _) if n > CLASSES_MAX => return refused(format!("more than {CLASSES_MAX} classes")),
            (2, _) | (_, Task::Multiclass) => {}
            (n, _) => return refused(format!("{n} classes: objective '{}' takes two", self.objective)),
        }
        match &column.values {
            Values::Text(_) => classes.sort(),
            Values::Number(..) => classes.sort_by(|a, b| number(a).total_cmp(&number(b)).then_with(|| a.cmp(b))),
        }
        if self.task == Task::Binary {
            let yes = |class: &String| matches!(class.to_lowercase().as_str(), "yes" | "y" | "true" | "t" | "1");
            let at = match wish.positive {
                Some(named) => match classes.iter().position(|class| class == named) {
                    Some(at) => at,
                    None => {
                        return refused(format!(
                            "--positive '{named}' is neither '{}' nor '{}'",
                            classes[0], classes[1]
                        ));
                    }
                },
                None => classes.iter().position(yes).unwrap_or(1),
            };
            classes.rotate_left(1 - at);
            notes.push(format!(
                "target '{}': '{}' is the positive class, '{}' the other",
                self.name, classes[1], classes[0]
            ));
        } else if wish.positive.is_some() {
            return refused(format!("--positive names one of two classes, there are {}", classes.len()));
        }
        Ok(classes.into_iter().collect())
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// The distinct values as text, a few more than [`CLASSES_MAX`] at most.
fn distinct(column: &Column, rows: &[u32]) -> Vec<String> {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut texts = Vec::new();
    for row in rows.iter().map(|row| *row as usize) {
        let key = match &column.values {
            Values::Text(of) => u64::from(of.codes[row]),
            Values::Number(_, values) => values[row].to_bits(),
        };
        if seen.insert(key) {
            texts.extend(column.text(row).map(std::borrow::Cow::into_owned));
            if texts.len() > CLASSES_MAX {
                break;
            }
        }
    }
    texts
}

fn guess(column: &Column, distinct: &[String]) -> Task {
    match &column.values {
        Values::Number(NumberKind::Boolean, _) => Task::Binary,
        Values::Number(NumberKind::Integer, _) if distinct.len() == 2 => Task::Binary,
        Values::Number(..) if distinct.iter().all(|v| v == "0" || v == "1") => Task::Binary,
        Values::Number(..) => Task::Regression,
        Values::Text(_) if distinct.len() <= 2 => Task::Binary,
        Values::Text(_) => Task::Multiclass,
    }
}

/// The task of an objective of LightGBM's (its documentation, "Parameters", `objective`).
fn task_of(objective: &str) -> Option<Task> {
    match objective {
        "binary" | "cross_entropy" | "xentropy" => Some(Task::Binary),
        "multiclass" | "softmax" | "multiclassova" | "multiclass_ova" | "ova" | "ovr" => Some(Task::Multiclass),
        "regression"
        | "regression_l2"
        | "l2"
        | "mean_squared_error"
        | "mse"
        | "l2_root"
        | "root_mean_squared_error"
        | "rmse"
        | "regression_l1"
        | "l1"
        | "mean_absolute_error"
        | "mae"
        | "huber"
        | "fair"
        | "poisson"
        | "quantile"
        | "mape"
        | "mean_absolute_percentage_error"
        | "gamma"
        | "tweedie" => Some(Task::Regression),
        _ => None,
    }
}

fn objective_words(objective: &str) -> String {
    format!(
        "objective '{objective}' is not trained here: binary, cross_entropy, multiclass, multiclassova, regression, \
         regression_l1, huber, fair, poisson, quantile, mape, gamma or tweedie expected"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::testing;

    fn plan(cells: &[&str], wish: Wish<'_>) -> Result<(Target, Vec<u32>, String), PlanError> {
        let table =
            testing::table(&("y,x\n".to_owned() + &cells.iter().map(|c| format!("{c},1\n")).collect::<String>()));
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        let mut notes = Vec::new();
        let (target, with) = Target::plan(&table, &rows, "y", wish, &mut notes)?;
        Ok((target, with, notes.join("; ")))
    }

    #[test]
    fn the_task_follows_from_the_values() {
        let none = Wish::default();
        let classes = |t: &Target| t.classes.iter().cloned().collect::<Vec<_>>().join(",");
        for (cells, task, expected) in [
            (&["no", "yes", "no"][..], Task::Binary, "no,yes"),
            (&["good", "bad"], Task::Binary, "bad,good"),
            (&["Yes", "zero"], Task::Binary, "zero,Yes"),
            (&["0", "1", ""], Task::Binary, "0,1"),
            (&["10", "9"], Task::Binary, "9,10"),
            (&["true", "false"], Task::Binary, "false,true"),
            (&["0.0", "1.0"], Task::Binary, "0,1"),
            (&["b", "a", "c"], Task::Multiclass, "a,b,c"),
            (&["1", "2", "3"], Task::Regression, ""),
            (&["0.5", "1.5"], Task::Regression, ""),
        ] {
            let (target, with, _) = plan(cells, none).unwrap();
            assert_eq!((target.task, classes(&target).as_str()), (task, expected), "{cells:?}");
            assert_eq!(with.len(), cells.iter().filter(|c| !c.is_empty()).count());
        }
        let (target, _, notes) = plan(&["good", "bad"], Wish { positive: Some("bad"), ..none }).unwrap();
        assert_eq!(classes(&target), "good,bad");
        assert!(notes.contains("'bad' is the positive class"));
        let (target, ..) = plan(&["3", "10", "2"], Wish { objective: Some("multiclassova"), ..none }).unwrap();
        assert_eq!(classes(&target), "2,3,10");
    }

    #[test]
    fn targets_that_teach_nothing_are_refused() {
        for (cells, objective, positive, words) in [
            (&["a", "a"][..], None, None, "the same class, 'a'"),
            (&["7", "7"], None, None, "the same value, 7"),
            (&["", "NA"], None, None, "none of 2 rows has a value"),
            (&["2024-01-01", "2024-01-02"], None, None, "a date is no target"),
            (&["a", "b"], Some("regression"), None, "it is text"),
            (&["a", "b", "c"], Some("binary"), None, "3 classes"),
            (&["a", "b"], Some("lambdarank"), None, "not trained here"),
            (&["a", "b"], None, Some("c"), "neither 'a' nor 'b'"),
            (&["1.5", "2.5"], None, Some("c"), "it is a number"),
        ] {
            let error = plan(cells, Wish { objective, positive }).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
