//! The sample model's data: the red wines of Cortez et al. (2009), 1,599 rows that come with a crate.

use linfa_datasets::winequality;

/// The sample model's name.
pub(crate) const MODEL: &str = "wine";
/// Its target: whether the tasters gave a wine 6 points or more.
pub(crate) const TARGET: &str = "good";
/// Where its rows are kept, below `up`'s directory, for training more versions.
pub(crate) const FILE: &str = "wine.csv";
/// Points from which a wine is good.
const GOOD_FROM: usize = 6;

/// The wines as CSV: eleven measurements and [`TARGET`], `yes` or `no`.
pub(crate) fn csv() -> Vec<u8> {
    let wines = winequality();
    let names = wines.feature_names();
    let mut out = names.iter().map(|name| name.replace(' ', "_")).collect::<Vec<_>>().join(",");
    out.push_str(&format!(",{TARGET}\n"));
    for (record, points) in wines.records.outer_iter().zip(wines.targets.iter()) {
        for value in record {
            out.push_str(&format!("{value},"));
        }
        out.push_str(if *points >= GOOD_FROM { "yes\n" } else { "no\n" });
    }
    out.into_bytes()
}

/// A request body with the first wine, as the v1 protocol takes it.
pub(crate) fn request() -> String {
    let text = String::from_utf8_lossy(&csv()).into_owned();
    let mut lines = text.lines().map(|line| line.split(','));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return String::new() };
    let features = names.zip(values).filter(|(name, _)| *name != TARGET);
    let row: Vec<String> = features.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{\"instances\":[{{{}}}]}}", row.join(","))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_wines_are_all_there() {
        let text = String::from_utf8(csv()).unwrap();
        assert_eq!(text.lines().count(), 1600);
        assert_eq!(
            text.lines().next().unwrap(),
            "fixed_acidity,volatile_acidity,citric_acid,residual_sugar,chlorides,free_sulfur_dioxide,\
             total_sulfur_dioxide,density,pH,sulphates,alcohol,good"
        );
        let request: serde_json::Value = serde_json::from_str(&request()).unwrap();
        assert_eq!(request["instances"][0]["alcohol"], 9.4);
        assert!(request["instances"][0].get(TARGET).is_none());
        assert_eq!(text.lines().nth(1).unwrap(), "7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4,no");
    }
}
