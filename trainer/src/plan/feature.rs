//! The features: which columns, and how their values become numbers.

use std::collections::BTreeSet;

use super::{Overrides, PlanError};
use crate::lightgbm::Matrix;
use crate::table::{MISSING, NumberKind, Table, Texts, Values};

/// More distinct texts than this, in more than half of the rows, are an identifier and no category.
const IDENTIFIER_LEAST: usize = 100;

/// A column that is learnt from.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The column's place in the table.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// How values become numbers.
    pub coding: Coding,
}

/// How values become numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Coding {
    /// As they are.
    Number,
    /// As the place in a list.
    Category {
        /// The list, sorted.
        categories: Vec<String>,
        /// The place of each of the column's distinct texts; NaN for one that is not in the list.
        codes: Vec<f64>,
    },
}

/// Which columns may be features.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The target.
    pub target: usize,
    /// The column whose value is the scope.
    pub scope: Option<usize>,
    /// What the user says.
    pub overrides: &'a Overrides,
    /// The most categories that a feature keeps.
    pub categories_max: usize,
}

/// Chooses the features from what the training rows hold, and says in `notes` what is left out and why.
pub fn plan(
    table: &Table,
    train: &[u32],
    choice: &Choice<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Feature>, PlanError> {
    let mut features = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        let name = &column.name;
        if at == choice.target || choice.scope == Some(at) || choice.overrides.ignore.contains(name) {
            continue;
        }
        let coding = match &column.values {
            Values::Text(texts) => {
                let forced = choice.overrides.categorical.contains(name);
                categories(name, texts, train, forced, choice.categories_max, notes)
            }
            Values::Number(kind, values) => numbers(*kind, values, train).map(|()| Coding::Number),
        };
        match coding {
            Ok(coding) => features.push(Feature { column: at, name: name.clone(), coding }),
            Err(why) => notes.push(format!("column '{name}' {why}: left out")),
        }
    }
    match features.is_empty() {
        true => Err(PlanError::NoFeature(notes.join("; "))),
        false => Ok(features),
    }
}

fn numbers(kind: NumberKind, values: &[f64], rows: &[u32]) -> Result<(), String> {
    if kind.is_time() {
        let why = format!("is a {}, and trees can't look beyond those they saw", kind.word());
        return Err(format!("{why} (--numeric takes it as days since 1970-01-01)"));
    }
    let mut distinct = rows.iter().map(|row| values[*row as usize]);
    let Some(first) = distinct.next() else { return Err("has no rows".to_owned()) };
    let same = |value: f64| value == first || (value.is_nan() && first.is_nan());
    match (distinct.all(same), first.is_nan()) {
        (true, true) => Err("has no value in any row".to_owned()),
        (true, false) => Err(format!("is {} in every row", kind.text(first))),
        _ => Ok(()),
    }
}

fn categories(
    name: &str,
    texts: &Texts,
    rows: &[u32],
    forced: bool,
    most: usize,
    notes: &mut Vec<String>,
) -> Result<Coding, String> {
    let mut counts = vec![0_usize; texts.words.len()];
    let mut present = 0;
    for code in rows.iter().map(|row| texts.codes[*row as usize]).filter(|code| *code != MISSING) {
        counts[code as usize] += 1;
        present += 1;
    }
    let mut seen: Vec<usize> = (0..counts.len()).filter(|code| counts[*code] > 0).collect();
    let distinct = seen.len();
    match distinct {
        0 => return Err("has no value in any row".to_owned()),
        1 if present == rows.len() => return Err(format!("is '{}' in every row", texts.words[seen[0]])),
        n if !forced && n > IDENTIFIER_LEAST && n * 2 > present => {
            let why = format!("has {n} different texts in {present} rows, as an identifier has");
            return Err(format!("{why} (--categorical keeps the most frequent)"));
        }
        _ => {}
    }
    if distinct > most {
        seen.sort_by(|a, b| counts[*b].cmp(&counts[*a]).then_with(|| texts.words[*a].cmp(&texts.words[*b])));
        seen.truncate(most);
        let kept: usize = seen.iter().map(|code| counts[*code]).sum();
        let share = 100.0 * kept as f64 / present as f64;
        notes.push(format!(
            "column '{name}' has {distinct} categories: the {most} most frequent are kept ({share:.1} % of the rows), \
             the others are missing"
        ));
    }
    let categories: BTreeSet<&str> = seen.iter().map(|code| texts.words[*code].as_str()).collect();
    let mut codes = vec![f64::NAN; texts.words.len()];
    for (place, category) in categories.iter().enumerate() {
        if let Some(at) = texts.words.get_index_of(*category) {
            codes[at] = place as f64;
        }
    }
    Ok(Coding::Category { categories: categories.into_iter().map(str::to_owned).collect(), codes })
}

impl Feature {
    /// The number that a row has.
    pub fn value(&self, table: &Table, row: usize) -> f64 {
        match (&table.columns[self.column].values, &self.coding) {
            (Values::Number(_, values), _) => values[row],
            (Values::Text(texts), Coding::Category { codes, .. }) => {
                codes.get(texts.codes[row] as usize).copied().unwrap_or(f64::NAN)
            }
            (Values::Text(_), Coding::Number) => f64::NAN,
        }
    }
}

/// The features of rows as numbers.
pub fn matrix(table: &Table, features: &[Feature], rows: &[u32]) -> Matrix {
    let mut data = Vec::with_capacity(features.len() * rows.len());
    for feature in features {
        data.extend(rows.iter().map(|row| feature.value(table, *row as usize)));
    }
    Matrix { rows: rows.len(), columns: features.len(), data }
}

/// Names that LightGBM takes (it refuses JSON's own signs, and turns spaces into `_`), all different.
pub fn plain_names(features: &[Feature]) -> Vec<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let mut taken = BTreeSet::new();
    let mut names = Vec::with_capacity(features.len());
    for (at, feature) in features.iter().enumerate() {
        let mut name: String = feature.name.chars().map(plain).collect();
        if !taken.insert(name.clone()) {
            // What LightGBM calls a feature without a name.
            name = format!("Column_{at}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::testing;

    fn planned(csv: &str, overrides: &Overrides, most: usize) -> (Table, Vec<Feature>, String) {
        let mut table = testing::table(csv);
        overrides.apply(&mut table).unwrap();
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        let mut notes = Vec::new();
        let choice = Choice { target: 0, scope: None, overrides, categories_max: most };
        let features = plan(&table, &rows, &choice, &mut notes).unwrap();
        (table, features, notes.join("\n"))
    }

    #[test]
    fn columns_that_say_nothing_are_left_out_in_words() {
        let csv =
            "y,one,none,on,flag,word,only\n1,5,,2024-01-01,true,b,x\n2,5,,2024-01-02,false,a,x\n3,5,,2024-01-02,,a,\n";
        let (table, features, notes) = planned(csv, &Overrides::default(), 1000);
        let names: Vec<&str> = features.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["flag", "word", "only"]);
        for words in ["'one' is 5 in every row", "'none' has no value", "'on' is a date", "--numeric"] {
            assert!(notes.contains(words), "{notes}");
        }
        let matrix = matrix(&table, &features, &[2, 0]);
        assert!(matrix.data[0].is_nan() && matrix.data[1] == 1.0);
        assert_eq!(matrix.data[2..4], [0.0, 1.0]);
    }

    #[test]
    fn many_categories_are_cut_and_identifiers_left_out() {
        let mut csv = "y,id,city\n".to_owned();
        for row in 0..400 {
            csv += &format!("{row},id-{row},c{}\n", (row * row) % 131);
        }
        let (table, features, notes) = planned(&csv, &Overrides::default(), 10);
        assert_eq!(features.len(), 1);
        assert!(notes.contains("'id' has 400 different texts") && notes.contains("the 10 most frequent"), "{notes}");
        let Coding::Category { categories, .. } = &features[0].coding else { panic!("{features:?}") };
        assert_eq!(categories.len(), 10);
        assert!((0..400).any(|row| features[0].value(&table, row).is_nan()));
        let forced = Overrides { categorical: ["id".to_owned()].into(), ..Overrides::default() };
        assert_eq!(planned(&csv, &forced, 10).1.len(), 2);
    }

    #[test]
    fn names_are_made_plain_and_stay_different() {
        let feature = |name: &str| Feature { column: 0, name: name.to_owned(), coding: Coding::Number };
        assert_eq!(
            plain_names(&[feature("a b"), feature("a:b"), feature("é"), feature("ok-1.x")]),
            ["a_b", "Column_1", "_", "ok-1.x"]
        );
    }
}
