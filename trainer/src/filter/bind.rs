//! An expression over a table's rows.

use super::FilterError;
use super::parse::{Expr, Literal, Name, Order, Test, Value};
use crate::data::date;
use crate::table::{MISSING, NumberKind, Table, Texts, Values};

pub(super) fn rows(expr: &Expr, table: &Table) -> Result<Vec<bool>, FilterError> {
    match expr {
        Expr::Not(inner) => Ok(rows(inner, table)?.into_iter().map(|taken| !taken).collect()),
        Expr::Any(parts) => fold(parts, table, |a, b| a | b),
        Expr::All(parts) => fold(parts, table, |a, b| a & b),
        Expr::Test { column, test } => test_rows(column, test, table),
    }
}

fn fold(parts: &[Expr], table: &Table, join: fn(bool, bool) -> bool) -> Result<Vec<bool>, FilterError> {
    let mut taken: Option<Vec<bool>> = None;
    for part in parts {
        let more = rows(part, table)?;
        match &mut taken {
            None => taken = Some(more),
            Some(taken) => taken.iter_mut().zip(more).for_each(|(a, b)| *a = join(*a, b)),
        }
    }
    Ok(taken.unwrap_or_default())
}

fn test_rows(name: &Name, test: &Test, table: &Table) -> Result<Vec<bool>, FilterError> {
    let column = table.column(&name.name).ok_or_else(|| {
        let near = table.nearest(&name.name).map_or(String::new(), |near| format!("; '{near}' is there"));
        FilterError { at: name.at, what: format!("no column '{}'{near}", name.name) }
    })?;
    if let Test::Missing { not } = test {
        return Ok((0..table.rows).map(|row| column.is_missing(row) != *not).collect());
    }
    match &column.values {
        Values::Number(kind, values) => {
            let test = Bound::new(
                test,
                |literal| number(&name.name, *kind, literal),
                || match kind {
                    NumberKind::Boolean => Ok(1.0),
                    _ => Err(refused(name.at, &name.name, &format!("a {}", kind.word()), "compared with something")),
                },
            )?;
            Ok(values.iter().map(|value| !value.is_nan() && test.holds(|a| value.partial_cmp(a))).collect())
        }
        Values::Text(texts) => text_rows(name, test, texts),
    }
}

fn text_rows(name: &Name, test: &Test, texts: &Texts) -> Result<Vec<bool>, FilterError> {
    let literal = |literal: &Literal| match &literal.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(refused(literal.at, &name.name, "text", "compared with a 'text'")),
    };
    let test = Bound::new(test, literal, || Err(refused(name.at, &name.name, "text", "compared with something")))?;
    // Each distinct text is looked at once.
    let taken: Vec<bool> =
        texts.words.iter().map(|word| test.holds(|a: &String| Some(word.as_str().cmp(a.as_str())))).collect();
    let of = |code: &u32| *code != MISSING && taken.get(*code as usize).copied().unwrap_or(false);
    Ok(texts.codes.iter().map(of).collect())
}

/// A test whose values are of the column's type.
enum Bound<T> {
    In(Vec<T>, bool),
    Order(Order, T),
    Between(T, T, bool),
}

impl<T> Bound<T> {
    fn new(
        test: &Test,
        value: impl Fn(&Literal) -> Result<T, FilterError>,
        when_true: impl Fn() -> Result<T, FilterError>,
    ) -> Result<Self, FilterError> {
        Ok(match test {
            Test::In { values, not } => Bound::In(values.iter().map(value).collect::<Result<_, _>>()?, *not),
            Test::Order(order, literal) => Bound::Order(*order, value(literal)?),
            Test::Between { low, high, not } => Bound::Between(value(low)?, value(high)?, *not),
            Test::True | Test::Missing { .. } => Bound::In(vec![when_true()?], false),
        })
    }

    /// `compare` tells the order of the row's value and a given one.
    fn holds(&self, compare: impl Fn(&T) -> Option<std::cmp::Ordering>) -> bool {
        match self {
            Bound::In(values, not) => values.iter().any(|v| compare(v).is_some_and(|o| o.is_eq())) != *not,
            Bound::Order(order, value) => compare(value).is_some_and(|o| match order {
                Order::Less => o.is_lt(),
                Order::LessOrEqual => o.is_le(),
                Order::Greater => o.is_gt(),
                Order::GreaterOrEqual => o.is_ge(),
            }),
            Bound::Between(low, high, not) => {
                let inside = compare(low).is_some_and(|o| o.is_ge()) && compare(high).is_some_and(|o| o.is_le());
                inside != *not
            }
        }
    }
}

fn number(name: &str, kind: NumberKind, literal: &Literal) -> Result<f64, FilterError> {
    match (&literal.value, kind) {
        (Value::Text(text), kind) if kind.is_time() => date::parse(text).map(|(days, _)| days).ok_or_else(|| {
            refused(literal.at, name, &format!("a {}", kind.word()), "compared with a date such as 2024-01-31")
        }),
        (_, kind) if kind.is_time() => {
            Err(refused(literal.at, name, &format!("a {}", kind.word()), "compared with a date such as 2024-01-31"))
        }
        (Value::Number(number), _) => Ok(*number),
        (Value::Bool(value), NumberKind::Boolean | NumberKind::Empty) => Ok(f64::from(u8::from(*value))),
        _ => Err(refused(literal.at, name, &format!("a {}", kind.word()), "compared with a number")),
    }
}

fn refused(at: usize, name: &str, kind: &str, how: &str) -> FilterError {
    FilterError { at, what: format!("column '{name}' is {kind}: it is {how}") }
}
