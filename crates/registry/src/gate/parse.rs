//! From a condition's text to its tree: tokens, then recursive descent of bounded depth.

use std::collections::BTreeSet;

/// The longest condition, in bytes.
const BYTES_MAX: usize = 1000;
/// How deep parentheses and signs nest.
const DEPTH_MAX: usize = 32;

/// What is true or false.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare(Expression, Comparison, Expression),
}

/// What has a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    Term(Term),
    Negative(Box<Expression>),
    Binary(Box<Expression>, Operator, Box<Expression>),
}

/// A version's metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Term {
    /// Of the version that is to take over.
    New(String),
    /// Of the stable version; empty while the comparison that names its metric is still being read.
    Stable(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(f64),
    Compare(Comparison),
    Operator(Operator),
    Open,
    Close,
    And,
    Or,
}

/// Where it goes wrong, and what was expected there.
type Wrong = (usize, String);

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    if text.len() > BYTES_MAX {
        return Err((BYTES_MAX, format!("longer than {BYTES_MAX} bytes")));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, end: text.len(), depth: 0 };
    let node = parser.any()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => parser.wrong("'and', 'or' or the end expected"),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let word = |plain: fn(char) -> bool| rest.find(|c: char| !plain(c)).unwrap_or(rest.len());
        let (token, length) = if first.is_ascii_digit() || first == '.' {
            let length = number_length(rest);
            let number = rest[..length].parse().map_err(|_| (at, format!("'{}' is no number", &rest[..length])))?;
            (Token::Number(number), length)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@'));
            let token = match &rest[..length] {
                "and" => Token::And,
                "or" => Token::Or,
                name => Token::Name(name.to_owned()),
            };
            (token, length)
        } else {
            symbol(rest).ok_or_else(|| (at, format!("'{first}' means nothing here")))?
        };
        tokens.push((at, token));
        rest = &rest[length..];
    }
}

/// How far a number goes: digits, dots, and an exponent with its sign.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let exponent = |at: usize| at > 0 && matches!(bytes[at - 1], b'e' | b'E');
    let part = |at: usize| match bytes[at] {
        b'0'..=b'9' | b'.' | b'e' | b'E' => true,
        b'+' | b'-' => exponent(at),
        _ => false,
    };
    (0..bytes.len()).find(|at| !part(*at)).unwrap_or(bytes.len())
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    let symbols = [
        (">=", Token::Compare(Comparison::GreaterEqual)),
        ("<=", Token::Compare(Comparison::LessEqual)),
        ("==", Token::Compare(Comparison::Equal)),
        ("!=", Token::Compare(Comparison::NotEqual)),
        (">", Token::Compare(Comparison::Greater)),
        ("<", Token::Compare(Comparison::Less)),
        ("+", Token::Operator(Operator::Plus)),
        ("-", Token::Operator(Operator::Minus)),
        ("*", Token::Operator(Operator::Times)),
        ("/", Token::Operator(Operator::Over)),
        ("(", Token::Open),
        (")", Token::Close),
    ];
    symbols.into_iter().find(|(written, _)| rest.starts_with(written)).map(|(written, token)| (token, written.len()))
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn next_is(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(at, _)| *at)
    }

    fn wrong<T>(&self, why: &str) -> Result<T, Wrong> {
        Err((self.position(), why.to_owned()))
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth == DEPTH_MAX {
            return self.wrong("nested too deep");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Result<Node, Wrong> {
        let mut any = vec![self.all()?];
        while self.next_is(&Token::Or) {
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Node::Or(any) })
    }

    fn all(&mut self) -> Result<Node, Wrong> {
        let mut all = vec![self.one()?];
        while self.next_is(&Token::And) {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Node::And(all) })
    }

    /// A comparison, or a condition in parentheses: which of the two a parenthesis opens is known only behind it.
    fn one(&mut self) -> Result<Node, Wrong> {
        if self.peek() != Some(&Token::Open) || self.opens_a_sum() {
            return self.comparison();
        }
        self.at += 1;
        let node = self.deeper(Self::any)?;
        match self.next_is(&Token::Close) {
            true => Ok(node),
            false => self.wrong("')' expected"),
        }
    }

    /// Whether the parenthesis here encloses no comparison.
    fn opens_a_sum(&self) -> bool {
        let mut depth = 0;
        for (_, token) in &self.tokens[self.at..] {
            match token {
                Token::Open => depth += 1,
                Token::Close if depth == 1 => return true,
                Token::Close => depth -= 1,
                Token::Compare(_) | Token::And | Token::Or => return false,
                _ => {}
            }
        }
        false
    }

    fn comparison(&mut self) -> Result<Node, Wrong> {
        let begins = self.at;
        let mut left = self.sum()?;
        let Some(Token::Compare(comparison)) = self.peek() else { return self.wrong("a comparison expected") };
        let comparison = *comparison;
        self.at += 1;
        let mut right = self.sum()?;
        let mut terms = BTreeSet::new();
        left.terms(&mut terms);
        right.terms(&mut terms);
        if terms.contains(&Term::Stable(String::new())) {
            let mut named: BTreeSet<&String> = terms.iter().map(Term::name).filter(|name| !name.is_empty()).collect();
            let (Some(metric), true) = (named.pop_first(), named.is_empty()) else {
                let bare = |token: &(usize, Token)| token.1 == Token::Name("stable".to_owned());
                let at = self.tokens[begins..].iter().find(|token| bare(token)).map_or(0, |(at, _)| *at);
                return Err((at, "'stable' needs one metric beside it, or is written stable.auc".to_owned()));
            };
            left.complete(metric);
            right.complete(metric);
        }
        Ok(Node::Compare(left, comparison, right))
    }

    fn sum(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.product()?;
        while let Some(Token::Operator(operator @ (Operator::Plus | Operator::Minus))) = self.peek() {
            let operator = *operator;
            self.at += 1;
            left = Expression::Binary(Box::new(left), operator, Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.value()?;
        while let Some(Token::Operator(operator @ (Operator::Times | Operator::Over))) = self.peek() {
            let operator = *operator;
            self.at += 1;
            left = Expression::Binary(Box::new(left), operator, Box::new(self.value()?));
        }
        Ok(left)
    }

    fn value(&mut self) -> Result<Expression, Wrong> {
        let position = self.position();
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.at += 1;
                Ok(Expression::Number(number))
            }
            Some(Token::Name(name)) => {
                self.at += 1;
                term(&name).map(Expression::Term).ok_or_else(|| (position, format!("'{name}' names no metric")))
            }
            Some(Token::Operator(Operator::Minus)) => {
                self.at += 1;
                Ok(Expression::Negative(Box::new(self.deeper(Self::value)?)))
            }
            Some(Token::Open) => {
                self.at += 1;
                let inner = self.deeper(Self::sum)?;
                match self.next_is(&Token::Close) {
                    true => Ok(inner),
                    false => self.wrong("')' expected"),
                }
            }
            _ => self.wrong("a metric, a number or '(' expected"),
        }
    }
}

/// What a name means; none where it is `stable.` with nothing behind.
fn term(name: &str) -> Option<Term> {
    match name.strip_prefix("stable.") {
        Some("") => None,
        Some(metric) => Some(Term::Stable(metric.to_owned())),
        None if name == "stable" => Some(Term::Stable(String::new())),
        None => Some(Term::New(name.to_owned())),
    }
}

impl Term {
    fn name(&self) -> &String {
        match self {
            Term::New(name) | Term::Stable(name) => name,
        }
    }
}

impl Expression {
    /// Says of which metric a bare `stable` is.
    fn complete(&mut self, metric: &str) {
        match self {
            Expression::Term(Term::Stable(name)) if name.is_empty() => metric.clone_into(name),
            Expression::Negative(inner) => inner.complete(metric),
            Expression::Binary(left, _, right) => {
                left.complete(metric);
                right.complete(metric);
            }
            _ => {}
        }
    }
}
