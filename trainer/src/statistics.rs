//! What the training rows look like, feature by feature, for drift to be told later.

use headgate_contract::manifest::FeatureStatistics;

use crate::plan::{Coding, Feature};
use crate::table::{MISSING, Table, Values};

/// The most categories that are counted by name.
const CATEGORIES_MAX: usize = 100;

/// The statistics of the features over `rows`.
pub fn statistics(table: &Table, features: &[Feature], rows: &[u32]) -> Vec<FeatureStatistics> {
    features.iter().map(|feature| of(table, feature, rows)).collect()
}

fn of(table: &Table, feature: &Feature, rows: &[u32]) -> FeatureStatistics {
    let mut statistics =
        FeatureStatistics { name: feature.name.clone(), count: rows.len() as u64, ..FeatureStatistics::default() };
    match (&table.columns[feature.column].values, &feature.coding) {
        (Values::Text(texts), Coding::Category { .. }) => {
            let mut counts = vec![0_u64; texts.words.len()];
            for row in rows {
                match texts.codes[*row as usize] {
                    MISSING => statistics.missing += 1,
                    code => counts[code as usize] += 1,
                }
            }
            let named = texts.words.iter().cloned().zip(counts).filter(|(_, count)| *count > 0);
            statistics.categories = named.collect();
            statistics.categories.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            statistics.categories.truncate(CATEGORIES_MAX);
        }
        _ => {
            let values = rows.iter().map(|row| feature.value(table, *row as usize));
            numbers(values.filter(|value| !value.is_nan()).collect(), &mut statistics);
        }
    }
    statistics
}

fn numbers(mut values: Vec<f64>, statistics: &mut FeatureStatistics) {
    statistics.missing = statistics.count - values.len() as u64;
    // Infinities have a place in no mean, and JSON has no number for them.
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    if let Some(last) = values.len().checked_sub(1) {
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        statistics.mean = Some(mean).filter(|mean| mean.is_finite());
        statistics.std = Some(variance.sqrt()).filter(|std| std.is_finite());
        statistics.deciles = (0..=10).map(|tenth| values[(last * tenth + 5) / 10]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing;

    #[test]
    fn numbers_and_categories_are_summed_up() {
        let mut csv = "x,c\n".to_owned();
        for row in 0..=10 {
            csv += &format!("{row},{}\n", if row < 3 { "a" } else { "b" });
        }
        csv += ",\n";
        let table = testing::table(&csv);
        let codes = vec![0.0, 1.0];
        let categories = vec!["a".to_owned(), "b".to_owned()];
        let features = [
            Feature { column: 0, name: "x".into(), coding: Coding::Number },
            Feature { column: 1, name: "c".into(), coding: Coding::Category { categories, codes } },
        ];
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        let found = statistics(&table, &features, &rows);
        assert_eq!((found[0].count, found[0].missing, found[0].mean), (12, 1, Some(5.0)));
        assert_eq!(found[0].deciles, (0..=10).map(f64::from).collect::<Vec<_>>());
        assert_eq!(found[1].categories, [("b".to_owned(), 8), ("a".to_owned(), 3)]);
        assert_eq!(found[1].missing, 1);
    }
}
