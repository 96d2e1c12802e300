//! Conditions on metrics, as in `--if "auc >= stable - 0.005 and log_loss < 0.4"`.
//!
//! Names are metrics of the new version; `stable.auc` is the stable version's, and a bare `stable` is its value of the one
//! metric that the same comparison names. Numbers, `+ - * /`, `< <= > >= == !=`, `and`, `or`, parentheses.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::parse::{Comparison, Expression, Node, Operator, Term, parse};

/// A condition on metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    root: Node,
}

/// Why a text is no condition. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("condition '{condition}' at byte {at}: {why}")]
pub struct ConditionError {
    /// The condition.
    pub condition: String,
    /// Where it goes wrong.
    pub at: usize,
    /// What was expected.
    pub why: String,
}

/// A version's evaluation.
type Metrics = BTreeMap<String, f64>;

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let shown = || text.chars().take(200).collect();
        let root = parse(text).map_err(|(at, why)| ConditionError { condition: shown(), at, why })?;
        Ok(Self { text: text.trim().to_owned(), root })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// Why it does not hold; empty when it does. A metric that it names and a version lacks is a reason, whatever the
    /// rest says. Without a stable version, every comparison with `stable` holds.
    pub fn refuses(&self, new: &Metrics, stable: Option<&Metrics>) -> Vec<String> {
        let mut terms = BTreeSet::new();
        self.root.terms(&mut terms);
        let missing = |term: &&Term| match term {
            Term::New(name) => !new.contains_key(name),
            Term::Stable(name) => stable.is_some_and(|stable| !stable.contains_key(name)),
        };
        let reasons: Vec<String> = terms.iter().filter(missing).map(|term| self.lacks(term, new, stable)).collect();
        if !reasons.is_empty() || self.root.holds(new, stable) {
            return reasons;
        }
        let value = |term: &Term| Some(format!("{term} is {}", term.value(new, stable)?));
        let values: Vec<String> = terms.iter().filter_map(value).collect();
        vec![format!("condition '{}' does not hold: {}", self.text, values.join(", "))]
    }

    fn lacks(&self, term: &Term, new: &Metrics, stable: Option<&Metrics>) -> String {
        let (whose, name, has) = match term {
            Term::New(name) => ("the new", name, Some(new)),
            Term::Stable(name) => ("the stable", name, stable),
        };
        let has: Vec<&str> = has.into_iter().flat_map(|metrics| metrics.keys().map(String::as_str)).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        format!("condition '{}': {whose} version has no metric '{name}' (it has: {has})", self.text)
    }
}

impl Node {
    fn terms(&self, into: &mut BTreeSet<Term>) {
        match self {
            Node::And(all) | Node::Or(all) => all.iter().for_each(|node| node.terms(into)),
            Node::Compare(left, _, right) => {
                left.terms(into);
                right.terms(into);
            }
        }
    }

    fn holds(&self, new: &Metrics, stable: Option<&Metrics>) -> bool {
        match self {
            Node::And(all) => all.iter().all(|node| node.holds(new, stable)),
            Node::Or(any) => any.iter().any(|node| node.holds(new, stable)),
            Node::Compare(left, comparison, right) => match (left.value(new, stable), right.value(new, stable)) {
                (Some(left), Some(right)) => comparison.holds(left, right),
                // Nothing is served yet: there is nothing to be worse than.
                _ => true,
            },
        }
    }
}

impl Comparison {
    /// A comparison with NaN, as 0 / 0 gives, never holds.
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterEqual => left >= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left.partial_cmp(&right).is_some_and(Ordering::is_ne),
        }
    }
}

impl Expression {
    pub(super) fn terms(&self, into: &mut BTreeSet<Term>) {
        match self {
            Expression::Number(_) => {}
            Expression::Term(term) => drop(into.insert(term.clone())),
            Expression::Negative(inner) => inner.terms(into),
            Expression::Binary(left, _, right) => {
                left.terms(into);
                right.terms(into);
            }
        }
    }

    fn value(&self, new: &Metrics, stable: Option<&Metrics>) -> Option<f64> {
        Some(match self {
            Expression::Number(number) => *number,
            Expression::Term(term) => term.value(new, stable)?,
            Expression::Negative(inner) => -inner.value(new, stable)?,
            Expression::Binary(left, operator, right) => {
                let (left, right) = (left.value(new, stable)?, right.value(new, stable)?);
                match operator {
                    Operator::Plus => left + right,
                    Operator::Minus => left - right,
                    Operator::Times => left * right,
                    Operator::Over => left / right,
                }
            }
        })
    }
}

impl Term {
    fn value(&self, new: &Metrics, stable: Option<&Metrics>) -> Option<f64> {
        match self {
            Term::New(name) => new.get(name).copied(),
            Term::Stable(name) => stable?.get(name).copied(),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::New(name) => f.write_str(name),
            Term::Stable(name) => write!(f, "stable.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn metrics(all: &[(&str, f64)]) -> Metrics {
        all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn refuses(condition: &str) -> Vec<String> {
        let new = metrics(&[("auc", 0.80), ("log_loss", 0.30), ("recall@10", 0.5)]);
        let stable = metrics(&[("auc", 0.79), ("log_loss", 0.28)]);
        condition.parse::<Condition>().unwrap().refuses(&new, Some(&stable))
    }

    #[test]
    fn conditions_hold_or_say_why_not() {
        for holds in [
            "auc >= stable - 0.005",
            "auc>stable",
            "auc >= 0.8 and log_loss < 0.31",
            "auc > 0.9 or log_loss <= stable + 0.02",
            "(auc > 0.9 or auc > 0.7) and recall@10 >= 5e-1",
            "auc - stable > 0 and log_loss / stable.log_loss < 1.1",
            "(auc + 1) / 2 >= 0.9",
            "-auc < 0",
            "2 * 3 + 4 == 10 and 2 * (3 + 4) != 10",
            "10 - 2 - 3 == 5",
        ] {
            assert_eq!(refuses(holds), Vec::<String>::new(), "{holds}");
        }
        let reasons = refuses("log_loss <= stable + 0.01");
        assert_eq!(
            reasons,
            ["condition 'log_loss <= stable + 0.01' does not hold: log_loss is 0.3, stable.log_loss is 0.28"]
        );
        for fails in ["auc > 0.8", "0 / 0 == 0 / 0", "0 / 0 != 1", "auc > 0.9 and auc > 0.7"] {
            assert_eq!(refuses(fails).len(), 1, "{fails}");
        }
    }

    #[test]
    fn a_missing_metric_is_named() {
        assert!(
            refuses("auc > 0 or f1 > 0.5")[0].contains("the new version has no metric 'f1' (it has: auc, log_loss")
        );
        assert!(refuses("recall@10 >= stable")[0].contains("the stable version has no metric 'recall@10'"));
    }

    #[test]
    fn nothing_is_worse_than_nothing() {
        let condition: Condition = "auc >= stable and auc > 0.5".parse().unwrap();
        assert!(condition.refuses(&metrics(&[("auc", 0.6)]), None).is_empty());
        assert_eq!(condition.refuses(&metrics(&[("auc", 0.4)]), None).len(), 1);
    }

    #[test]
    fn what_is_no_condition_is_refused_where_it_goes_wrong() {
        for (text, at, word) in [
            ("", 0, "expected"),
            ("auc", 3, "comparison"),
            ("auc >= ", 7, "a metric, a number"),
            ("auc >= 0.5 0.6", 11, "'and', 'or' or the end"),
            ("auc > f1 > 0", 9, "'and', 'or' or the end"),
            ("stable > 0.5", 0, "stable.auc"),
            ("auc + f1 > stable", 11, "stable.auc"),
            ("(auc > 0.5", 10, "')'"),
            ("auc > 0.5)", 9, "'and', 'or' or the end"),
            ("auc $ 1", 4, "'$'"),
            ("(auc > 1) + 1 > 0", 10, "'and', 'or' or the end"),
            ("auc > 1.2.3", 6, "number"),
            ("stable. > 1", 0, "metric"),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert!(error.at == at && error.why.contains(word), "{text}: {error}");
        }
        assert!("(".repeat(100_000).parse::<Condition>().is_err());
        assert!(format!("{}1 > 0", "-".repeat(900)).parse::<Condition>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[a-z0-9.()<>=!+*/ -]{0,60}|\\PC{0,40}") {
            if let Ok(condition) = text.parse::<Condition>() {
                let again: Condition = condition.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), condition.to_string());
            }
        }
    }
}
