//! From words to a tree.

use super::FilterError;
use super::lex::{self, Token, Word};
use crate::data::date;

/// How deep brackets and `not` nest.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Not(Box<Expr>),
    Test { column: Name, test: Test },
}

/// A column and where it is named.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) at: usize,
    pub(super) name: String,
}

/// What is asked of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// One of the values, or with `not` none of them.
    In { values: Vec<Literal>, not: bool },
    /// An order relation.
    Order(Order, Literal),
    /// Between two values, both included, or with `not` outside them.
    Between { low: Literal, high: Literal, not: bool },
    /// Without a value, or with `not` with one.
    Missing { not: bool },
    /// A boolean column by itself.
    True,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Literal {
    pub(super) at: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser { tokens: lex::words(text)?, next: 0 };
    let expr = parser.any(0)?;
    match parser.peek().what {
        Word::End => Ok(expr),
        _ => Err(parser.unexpected("'and', 'or' or the end")),
    }
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expr::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.one(depth)?];
        while self.keyword("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expr::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Expr, FilterError> {
        if depth == DEPTH_MAX {
            return Err(self.error(format!("nested more than {DEPTH_MAX} deep")));
        }
        if self.keyword("not") {
            return Ok(Expr::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.sign("(") {
            let inner = self.any(depth + 1)?;
            return if self.sign(")") { Ok(inner) } else { Err(self.unexpected("')'")) };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, FilterError> {
        let token = self.peek().clone();
        let (Word::Bare(name) | Word::Quoted(name) | Word::Column(name)) = token.what else {
            return Err(self.unexpected("a column"));
        };
        self.next += 1;
        let column = Name { at: token.at, name };
        let test = if self.keyword("is") {
            let not = self.keyword("not");
            if !self.keyword("missing") && !self.keyword("null") {
                return Err(self.unexpected("'missing'"));
            }
            Test::Missing { not }
        } else if self.keyword("not") {
            match self.list_or_span(true)? {
                Some(test) => test,
                None => return Err(self.unexpected("'in' or 'between'")),
            }
        } else {
            match self.list_or_span(false)? {
                Some(test) => test,
                None => self.comparison()?,
            }
        };
        Ok(Expr::Test { column, test })
    }

    fn list_or_span(&mut self, not: bool) -> Result<Option<Test>, FilterError> {
        if self.keyword("between") {
            let low = self.literal()?;
            if !self.keyword("and") {
                return Err(self.unexpected("'and'"));
            }
            return Ok(Some(Test::Between { low, high: self.literal()?, not }));
        }
        if !self.keyword("in") {
            return Ok(None);
        }
        if !self.sign("(") {
            return Err(self.unexpected("'('"));
        }
        let mut values = vec![self.literal()?];
        while self.sign(",") {
            values.push(self.literal()?);
        }
        if self.sign(")") { Ok(Some(Test::In { values, not })) } else { Err(self.unexpected("',' or ')'")) }
    }

    fn comparison(&mut self) -> Result<Test, FilterError> {
        let Word::Sign(sign) = self.peek().what else {
            // A boolean column may stand by itself; what follows is then the caller's to judge.
            return Ok(Test::True);
        };
        let order = match sign {
            ")" => return Ok(Test::True),
            "=" | "==" | "!=" | "<>" => None,
            "<" => Some(Order::Less),
            "<=" => Some(Order::LessOrEqual),
            ">" => Some(Order::Greater),
            ">=" => Some(Order::GreaterOrEqual),
            _ => return Err(self.unexpected("an operator")),
        };
        self.next += 1;
        let value = self.literal()?;
        Ok(match order {
            Some(order) => Test::Order(order, value),
            None => Test::In { values: vec![value], not: matches!(sign, "!=" | "<>") },
        })
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
        let token = self.peek().clone();
        let value = match token.what {
            Word::Text(text) | Word::Quoted(text) => Value::Text(text),
            Word::Bare(word) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            Word::Bare(word) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            Word::Bare(word) if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                match word.parse() {
                    Ok(number) => Value::Number(number),
                    Err(_) if date::parse(&word).is_some() => Value::Text(word),
                    Err(_) => return Err(self.error(format!("'{word}' is no number or date"))),
                }
            }
            Word::Bare(word) => {
                return Err(
                    self.error(format!("a value expected, '{word}' came (text is written in quotes: '{word}')"))
                );
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(Literal { at: token.at, value })
    }

    fn peek(&self) -> &Token {
        // The last token is the end, and nothing steps over it.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().what.is(keyword);
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek().what, Word::Sign(s) if s == sign);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        self.error(format!("{expected} expected, {} came", self.peek().what.show()))
    }

    fn error(&self, what: String) -> FilterError {
        FilterError { at: self.peek().at, what }
    }
}
