//! A pull parser over the bytes of a JSON document: no tree, no allocation but for texts with escapes.
//!
//! It reads what RFC 8259 allows, and besides the bare words `NaN`, `Infinity` and `-Infinity` where a number may be
//! (as Python's `json` and TF Serving write them). Depth is bounded by its callers' grammar and by [`DEPTH_MAX`].

use std::borrow::Cow;

use super::number;
use super::runs::{self, Looks};

/// The deepest nesting of a value that is skipped.
pub const DEPTH_MAX: usize = 64;

/// Why bytes are no JSON that we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("body is no JSON that is read here: {what} at byte {at}")]
pub struct JsonError {
    /// Where.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A value that is neither array nor object.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, and how it was written.
    Number(f64, &'a str),
    /// A text.
    Text(Cow<'a, str>),
}

/// The parser: a place in a document.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    looks: Looks,
}

type Result<T> = std::result::Result<T, JsonError>;

impl<'a> Reader<'a> {
    /// A parser at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, looks: Looks::Spaced }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is still to be read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Passes over so many bytes of [`Reader::rest`], whose meaning the caller knows.
    pub fn pass(&mut self, bytes: usize) {
        self.at = self.bytes.len().min(self.at + bytes);
    }

    /// The next byte that is no white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// An error here.
    #[cold]
    pub fn error<T>(&self, what: &'static str) -> Result<T> {
        let what = if self.at >= self.bytes.len() { "it ends too early" } else { what };
        Err(JsonError { at: self.at, what })
    }

    /// Reads `byte` if it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Reads `[`.
    pub fn open_array(&mut self) -> Result<()> {
        if self.take(b'[') { Ok(()) } else { self.error("'[' expected") }
    }

    /// Reads `{`.
    pub fn open_object(&mut self) -> Result<()> {
        if self.take(b'{') { Ok(()) } else { self.error("'{' expected") }
    }

    /// Whether an array goes on with an element, having read `[` (`first`) or an element; reads `,` or `]`.
    #[inline]
    pub fn element(&mut self, first: bool) -> Result<bool> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                if self.peek() == Some(b']') { self.error("a value expected") } else { Ok(true) }
            }
            Some(_) if first => Ok(true),
            _ => self.error("',' or ']' expected"),
        }
    }

    /// The next key of an object, having read `{` (`first`) or a value; reads `,`, the key and `:`, or `}`.
    #[inline]
    pub fn key(&mut self, first: bool) -> Result<Option<Cow<'a, str>>> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => self.at += 1,
            Some(_) if first => {}
            _ => return self.error("',' or '}' expected"),
        }
        if self.peek() != Some(b'"') {
            return self.error("a key expected");
        }
        let key = self.text()?;
        if self.take(b':') { Ok(Some(key)) } else { self.error("':' expected") }
    }

    /// Reads a number if one is next.
    #[inline]
    pub fn number(&mut self) -> Result<Option<f64>> {
        match self.peek() {
            Some(b'0'..=b'9' | b'-' | b'N' | b'I') => match number::read(&self.bytes[self.at..]) {
                Ok((value, length)) => {
                    self.at += length;
                    Ok(Some(value))
                }
                Err(what) => self.error(what),
            },
            _ => Ok(None),
        }
    }

    /// Reads numbers with commas between them, `most` at most, and answers how many came: it stops behind the last one,
    /// before what is none.
    #[inline]
    pub fn numbers(&mut self, most: usize, into: &mut Vec<f64>) -> Result<usize> {
        let mut came = 0;
        while came < most {
            let behind = self.at;
            if came > 0 && !self.take(b',') {
                break;
            }
            let plain = match self.peek() {
                Some(b'-' | b'0'..=b'9') => self.plain_numbers((most - came).min(runs::TOGETHER), into),
                _ => 0,
            };
            if plain > 0 {
                came += plain;
            } else if let Some(value) = self.number()? {
                into.push(value);
                came += 1;
            } else {
                // What follows the comma is no number.
                self.at = behind;
                break;
            }
        }
        Ok(came)
    }

    /// As [`Reader::numbers`] for a few that look as most do, for which room is made at once: what other values stand
    /// between them makes no room again and again for all that may still come. Stops at others.
    #[inline]
    fn plain_numbers(&mut self, most: usize, into: &mut Vec<f64>) -> usize {
        let start = into.len();
        into.resize(start + most, 0.0);
        let (mut came, mut end) = match self.looks {
            Looks::Spaced => runs::short::<2>(self.bytes, self.at, &mut into[start..]),
            Looks::Dense => runs::short::<1>(self.bytes, self.at, &mut into[start..]),
            Looks::Other => (0, self.at),
        };
        let mut short = true;
        if came == 0 {
            (came, end, short) = runs::other(self.bytes, self.at, &mut into[start..]);
        }
        into.truncate(start + came);
        self.at = end;
        self.looks = match self.rest() {
            _ if !short => Looks::Other,
            [b',', b' ', b'-' | b'0'..=b'9', ..] => Looks::Spaced,
            [b',', b'-' | b'0'..=b'9', ..] => Looks::Dense,
            [b']', ..] if self.looks == Looks::Other => Looks::Spaced,
            [b']', ..] => self.looks,
            _ => Looks::Other,
        };
        came
    }

    /// Reads a value that is neither array nor object; none, and nothing read, where it is one.
    pub fn scalar(&mut self) -> Result<Option<Scalar<'a>>> {
        let start = match self.peek() {
            Some(b'[' | b'{') => return Ok(None),
            _ => self.at,
        };
        if let Some(value) = self.number()? {
            let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
            return Ok(Some(Scalar::Number(value, text)));
        }
        match self.peek() {
            Some(b'"') => Ok(Some(Scalar::Text(self.text()?))),
            Some(b't') => self.word(b"true", Scalar::Bool(true)),
            Some(b'f') => self.word(b"false", Scalar::Bool(false)),
            Some(b'n') => self.word(b"null", Scalar::Null),
            _ => self.error("a value expected"),
        }
    }

    fn word(&mut self, word: &[u8], value: Scalar<'a>) -> Result<Option<Scalar<'a>>> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(Some(value));
        }
        self.error("a value expected")
    }

    /// Reads a text.
    pub fn text(&mut self) -> Result<Cow<'a, str>> {
        if !self.take(b'"') {
            return self.error("a text expected");
        }
        let start = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let text = self.utf8(start, self.at)?;
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.text_with_escapes(start),
                Some(0..=0x1f) => return self.error("a control character in a text"),
                Some(_) => self.at += 1,
                None => return self.error("'\"' expected"),
            }
        }
    }

    fn utf8(&self, from: usize, to: usize) -> Result<&'a str> {
        std::str::from_utf8(&self.bytes[from..to])
            .map_err(|e| JsonError { at: from + e.valid_up_to(), what: "a text that is no UTF-8" })
    }

    fn text_with_escapes(&mut self, start: usize) -> Result<Cow<'a, str>> {
        let mut text = self.utf8(start, self.at)?.to_owned();
        loop {
            let from = self.at;
            while !matches!(self.bytes.get(self.at), Some(b'"' | b'\\' | 0..=0x1f) | None) {
                self.at += 1;
            }
            text.push_str(self.utf8(from, self.at)?);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    text.push(escaped);
                }
                _ => return self.error("a control character in a text"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let escaped = match self.bytes.get(self.at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.error("an unknown escape"),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let high = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            if !self.bytes[self.at..].starts_with(b"\\u") {
                return self.error("half a surrogate pair");
            }
            self.at += 2;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return self.error("half a surrogate pair");
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).map_or_else(|| self.error("half a surrogate pair"), Ok)
    }

    fn hex4(&mut self) -> Result<u32> {
        let Some(digits) = self.bytes.get(self.at..self.at + 4) else {
            self.at = self.bytes.len();
            return self.error("");
        };
        let mut code = 0;
        for &digit in digits {
            let Some(value) = (digit as char).to_digit(16) else {
                return self.error("four hex digits expected");
            };
            code = code * 16 + value;
        }
        self.at += 4;
        Ok(code)
    }

    /// Reads a value of any kind and forgets it.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_below(DEPTH_MAX)
    }

    fn skip_below(&mut self, depth: usize) -> Result<()> {
        if self.scalar()?.is_some() {
            return Ok(());
        }
        if depth == 0 {
            return self.error("nesting deeper than 64");
        }
        let mut first = true;
        if self.take(b'[') {
            while self.element(first)? {
                first = false;
                self.skip_below(depth - 1)?;
            }
        } else {
            self.open_object()?;
            while self.key(first)?.is_some() {
                first = false;
                self.skip_below(depth - 1)?;
            }
        }
        Ok(())
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_some() { self.error("more after the document's end") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
