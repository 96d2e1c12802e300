//! The words of an expression.

use super::FilterError;

/// A word and where it begins, in characters from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) what: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// Letters, digits and `_.:+-`: a column, a keyword, a number or a date.
    Bare(String),
    /// In single quotes: text.
    Text(String),
    /// In double quotes: text on the right, a column on the left.
    Quoted(String),
    /// In backticks: a column.
    Column(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end.
    End,
}

const SIGNS: &[&str] = &["==", "!=", "<=", ">=", "<>", "=", "<", ">", "(", ")", ","];

impl Word {
    /// How it is shown in an error.
    pub(super) fn show(&self) -> String {
        match self {
            Word::Bare(text) | Word::Text(text) | Word::Quoted(text) | Word::Column(text) => format!("'{text}'"),
            Word::Sign(sign) => format!("'{sign}'"),
            Word::End => "the end".to_owned(),
        }
    }

    /// Whether it is that keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Word::Bare(text) if text.eq_ignore_ascii_case(keyword))
    }
}

pub(super) fn words(text: &str) -> Result<Vec<Token>, FilterError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let start = at;
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let what = if matches!(first, '\'' | '"' | '`') {
            let (content, after) = quoted(&chars, at)?;
            at = after;
            match first {
                '\'' => Word::Text(content),
                '"' => Word::Quoted(content),
                _ => Word::Column(content),
            }
        } else if let Some(sign) =
            SIGNS.iter().find(|sign| sign.chars().eq(chars[at..].iter().copied().take(sign.len())))
        {
            at += sign.len();
            Word::Sign(sign)
        } else if bare(first) {
            let end = chars[at..].iter().position(|c| !bare(*c)).map_or(chars.len(), |n| at + n);
            at = end;
            Word::Bare(chars[start..end].iter().collect())
        } else {
            return Err(FilterError { at: start + 1, what: format!("'{first}' is no operator, column or value") });
        };
        tokens.push(Token { at: start + 1, what });
    }
    tokens.push(Token { at: chars.len() + 1, what: Word::End });
    Ok(tokens)
}

fn bare(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '+' | '-')
}

/// The content of quotes, a doubled quote standing for one, and what follows them.
fn quoted(chars: &[char], start: usize) -> Result<(String, usize), FilterError> {
    let quote = chars[start];
    let mut content = String::new();
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        match (c == quote, chars.get(at + 1) == Some(&quote)) {
            (true, true) => {
                content.push(quote);
                at += 2;
            }
            (true, false) => return Ok((content, at + 1)),
            _ => {
                content.push(c);
                at += 1;
            }
        }
    }
    Err(FilterError { at: start + 1, what: format!("the {quote} here has no end") })
}
