//! Which held-out rows become golden rows: those with missing values, those with each feature's rarest categories, then
//! a spread of all; and a row without any value.

use std::collections::{BTreeSet, HashMap};

use headgate_contract::manifest::Cell;
use headgate_contract::manifest::golden::GoldenInput;

use crate::lightgbm::Matrix;
use crate::plan::{Coding, Feature};
use crate::split::hash;
use crate::table::{MISSING, NumberKind, Table, Values};

/// The most rows taken of the held-out ones.
const ROWS: usize = 63;
const ROWS_MISSING: usize = 16;
const ROWS_RARE: usize = 40;

/// Chooses rows of `held_out`, in order.
pub fn choose(table: &Table, features: &[Feature], held_out: &[u32], seed: u64) -> Vec<u32> {
    let mut chosen = BTreeSet::new();
    for feature in features {
        let column = &table.columns[feature.column];
        if chosen.len() < ROWS_MISSING
            && let Some(row) = held_out.iter().find(|row| column.is_missing(**row as usize))
        {
            chosen.insert(*row);
        }
    }
    for row in rare(table, features, held_out) {
        if chosen.len() >= ROWS_RARE {
            break;
        }
        chosen.insert(row);
    }
    let mut spread: Vec<u32> = held_out.to_vec();
    spread.sort_by_key(|row| hash(u64::from(*row), seed));
    for row in spread {
        if chosen.len() >= ROWS {
            break;
        }
        chosen.insert(row);
    }
    chosen.into_iter().collect()
}

/// The first row of each category, the rarest first; categories that training did not keep among them.
fn rare(table: &Table, features: &[Feature], rows: &[u32]) -> Vec<u32> {
    let mut firsts: Vec<(usize, u32)> = Vec::new();
    for feature in features {
        let Values::Text(texts) = &table.columns[feature.column].values else { continue };
        let mut seen: HashMap<u32, (usize, u32)> = HashMap::new();
        for row in rows {
            let code = texts.codes[*row as usize];
            if code != MISSING {
                seen.entry(code).or_insert((0, *row)).0 += 1;
            }
        }
        firsts.extend(seen.into_values());
    }
    firsts.sort_unstable();
    firsts.into_iter().map(|(_, row)| row).collect()
}

/// The rows as callers would send them, and as the library takes them; a row without any value is their last.
pub fn inputs(table: &Table, features: &[Feature], rows: &[u32]) -> (Vec<GoldenInput>, Matrix) {
    let mut matrix = Matrix { rows: rows.len() + 1, columns: features.len(), data: Vec::new() };
    let mut inputs = Vec::with_capacity(features.len());
    for feature in features {
        matrix.data.extend(rows.iter().map(|row| feature.value(table, *row as usize)));
        matrix.data.push(f64::NAN);
        let cells = rows.iter().map(|row| cell(table, feature, *row as usize));
        inputs.push(GoldenInput { name: feature.name.clone(), values: cells.chain([Cell::Missing]).collect() });
    }
    (inputs, matrix)
}

fn cell(table: &Table, feature: &Feature, row: usize) -> Cell {
    match (&table.columns[feature.column].values, &feature.coding) {
        (Values::Text(texts), Coding::Category { .. }) => {
            texts.get(row).map_or(Cell::Missing, |text| Cell::Text(text.to_owned()))
        }
        (Values::Number(NumberKind::Boolean, values), _) if !values[row].is_nan() => Cell::Bool(values[row] != 0.0),
        _ => Cell::from(feature.value(table, row)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing;

    #[test]
    fn missing_values_and_rare_categories_are_among_the_rows() {
        let mut csv = "x,c,b\n".to_owned();
        for row in 0..500 {
            let x = if row == 333 { String::new() } else { row.to_string() };
            csv += &format!("{x},{},{}\n", if row == 444 { "rare" } else { "common" }, row % 2 == 0);
        }
        let table = testing::table(&csv);
        let coding = Coding::Category { categories: vec!["common".into()], codes: vec![0.0, f64::NAN] };
        let features = [
            Feature { column: 0, name: "x".into(), coding: Coding::Number },
            Feature { column: 1, name: "c".into(), coding },
            Feature { column: 2, name: "b".into(), coding: Coding::Number },
        ];
        let rows: Vec<u32> = (0..500).collect();
        let chosen = choose(&table, &features, &rows, 1);
        assert!(chosen.len() == ROWS && chosen.contains(&333) && chosen.contains(&444));
        let (inputs, matrix) = inputs(&table, &features, &[333, 444]);
        assert_eq!(inputs[0].values, [Cell::Missing, Cell::Number(444.0), Cell::Missing]);
        assert_eq!(inputs[1].values[1], Cell::Text("rare".into()));
        assert_eq!(inputs[2].values, [Cell::Bool(false), Cell::Bool(true), Cell::Missing]);
        assert!(matrix.data[4].is_nan(), "a category that was not kept is missing");
        assert_eq!(choose(&table, &features, &rows[..5], 1).len(), 5);
    }
}
