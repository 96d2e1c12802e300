//! JSON as XGBoost writes it: `NaN` and `Infinity` are numbers, and numbers are `f32`, each read from its digits.

use super::doc::{Gather, MAX_DEPTH, Value, keeps};
use crate::LoadError;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Reads a document.
pub(super) fn read(bytes: &[u8]) -> Result<Value, LoadError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0, true)?;
    reader.blanks();
    if reader.at < bytes.len() { Err(reader.error("more after the document's end")) } else { Ok(value) }
}

/// The first of an object's keys that is one of `keys`, and its value where that is a text.
pub(super) fn first_of(bytes: &[u8], keys: &[&str]) -> Option<(String, Option<String>)> {
    let mut reader = Reader { bytes, at: 0 };
    reader.blanks();
    reader.expect(b'{').ok()?;
    loop {
        let key = reader.key().ok()?;
        if keys.contains(&key.as_str()) {
            reader.blanks();
            let text = if reader.peek() == Some(b'"') { reader.text().ok() } else { None };
            return Some((key, text));
        }
        reader.value(1, false).ok()?;
        if !reader.goes_on(b'}').ok()? {
            return None;
        }
    }
}

impl Reader<'_> {
    fn error(&self, what: impl Into<String>) -> LoadError {
        LoadError::at(format!("byte {}", self.at), what)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), LoadError> {
        match self.peek() {
            Some(b) if b == byte => {
                self.at += 1;
                Ok(())
            }
            Some(b) => Err(self.error(format!("expected `{}`, found `{}`", byte as char, b.escape_ascii()))),
            None => Err(self.error(format!("expected `{}`, the file ends", byte as char))),
        }
    }

    /// After an element: whether another follows, or the closing byte.
    fn goes_on(&mut self, close: u8) -> Result<bool, LoadError> {
        self.blanks();
        if self.peek() == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        self.expect(close).map(|()| false)
    }

    /// A value; what is not kept comes back as null.
    fn value(&mut self, depth: usize, keep: bool) -> Result<Value, LoadError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested over {MAX_DEPTH} deep")));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth, keep),
            Some(b'[') => self.array(depth, keep),
            Some(b'"') => Ok(Value::Text(self.text()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'+' | b'0'..=b'9' | b'N' | b'I') => self.number(),
            Some(b) => Err(self.error(format!("expected a value, found `{}`", b.escape_ascii()))),
            None => Err(self.error("expected a value, the file ends")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, LoadError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.error(format!("expected `{word}`")))
    }

    fn key(&mut self) -> Result<String, LoadError> {
        self.blanks();
        let key = self.text()?;
        self.blanks();
        self.expect(b':')?;
        Ok(key)
    }

    fn object(&mut self, depth: usize, keep: bool) -> Result<Value, LoadError> {
        self.expect(b'{')?;
        let mut fields = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            let key = self.key()?;
            let kept = keep && keeps(&key);
            let value = self.value(depth + 1, kept)?;
            if kept {
                fields.push((key, value));
            }
            if !self.goes_on(b'}')? {
                return Ok(if keep { Value::Object(fields) } else { Value::Null });
            }
        }
    }

    fn array(&mut self, depth: usize, keep: bool) -> Result<Value, LoadError> {
        self.expect(b'[')?;
        let mut elements = Gather::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(elements.done());
        }
        loop {
            let element = self.value(depth + 1, keep)?;
            if keep {
                elements.push(element);
            }
            if !self.goes_on(b']')? {
                return Ok(elements.done());
            }
        }
    }

    fn number(&mut self) -> Result<Value, LoadError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
        let token = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("");
        let whole = token.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if whole && let Ok(i) = token.parse::<i64>() {
            return Ok(Value::Int(i));
        }
        let named = token.bytes().any(|b| b.is_ascii_alphabetic() && !matches!(b, b'e' | b'E'));
        match token.parse::<f32>() {
            Ok(f) if !named || matches!(token, "NaN" | "Infinity" | "-Infinity" | "+Infinity") => {
                Ok(Value::Float(f.into()))
            }
            _ => {
                self.at = start;
                Err(self.error(format!("`{}` is not a number", super::doc::brief(token))))
            }
        }
    }

    fn text(&mut self) -> Result<String, LoadError> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(text).map_err(|_| self.error("a text before this is not UTF-8"));
                }
                Some(_) => {
                    let escaped = self.escape()?;
                    text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                None => return Err(self.error("a text without end")),
            }
        }
    }

    /// One character after a backslash.
    fn escape(&mut self) -> Result<char, LoadError> {
        let kind = self.bytes.get(self.at + 1).copied();
        self.at += 2;
        match kind {
            Some(b'n') => Ok('\n'),
            Some(b't') => Ok('\t'),
            Some(b'r') => Ok('\r'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(c @ (b'"' | b'\\' | b'/')) => Ok(c as char),
            Some(b'u') => {
                let first = self.hex4()?;
                let low_follows = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                if (0xd800..0xdc00).contains(&first) && low_follows {
                    self.at += 2;
                    let second = self.hex4()?;
                    let joined = 0x10000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff);
                    return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => {
                self.at = self.bytes.len().min(self.at);
                Err(self.error("an escape that JSON does not know"))
            }
        }
    }

    fn hex4(&mut self) -> Result<u32, LoadError> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
        let Some(code) = digits.and_then(|d| u32::from_str_radix(d, 16).ok()) else {
            return Err(self.error("expected four hex digits"));
        };
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_of_all_kinds() {
        let doc = read(
            br#" {"a":[1,-2],"b":[1,2.5E0,NaN,-Infinity],"c":"x\"\u00e9\ud83d\ude00\n","d":[true,false],"e":[],
            "f":[{"g":null},3],"h":{}, "loss_changes":[1,[2]]} "#,
        )
        .unwrap();
        assert_eq!(doc.get("a"), Some(&Value::Ints(vec![1, -2])));
        let Some(Value::Floats(b)) = doc.get("b") else { panic!("{doc:?}") };
        assert_eq!(b[..2], [1.0, 2.5]);
        assert!(b[2].is_nan() && b[3] == f64::NEG_INFINITY);
        assert_eq!(doc.get("c"), Some(&Value::Text("x\"é😀\n".into())));
        assert_eq!(doc.get("d"), Some(&Value::Ints(vec![1, 0])));
        assert_eq!(doc.get("e"), Some(&Value::Ints(vec![])));
        let list = vec![Value::Object(vec![("g".into(), Value::Null)]), Value::Int(3)];
        assert_eq!(doc.get("f"), Some(&Value::List(list)));
        assert_eq!(doc.get("h"), Some(&Value::Object(vec![])));
        assert_eq!(doc.get("loss_changes"), None, "left out");
    }

    #[test]
    fn numbers_are_f32_read_from_their_digits() {
        // Just above the middle of two f32s, by less than an f64 can hold: rounding twice would go down.
        let doc = read(b"[1.00000005960464477540]").unwrap();
        assert_eq!(doc, Value::Floats(vec![f64::from(1.000_000_1f32)]));
        assert_eq!(read(b"[0.1]").unwrap(), Value::Floats(vec![f64::from(0.1f32)]));
    }

    #[test]
    fn broken_documents_are_refused_with_the_place() {
        for (bytes, message) in [
            (&b""[..], "byte 0: expected a value, the file ends"),
            (b"{\"a\":1", "byte 6: expected `}`, the file ends"),
            (b"[1,]", "byte 3: expected a value, found `]`"),
            (b"[1 2]", "byte 3: expected `]`, found `2`"),
            (b"{\"a\" 1}", "byte 5: expected `:`, found `1`"),
            (b"\"abc", "byte 4: a text without end"),
            (b"[nan]", "byte 1: expected `null`"),
            (b"[1e]", "byte 1: `1e` is not a number"),
            (b"[Nat]", "byte 1: `Nat` is not a number"),
            (b"{} x", "byte 3: more after the document's end"),
            (b"\"\\", "byte 2: an escape that JSON does not know"),
            (b"\"\\u12", "byte 3: expected four hex digits"),
        ] {
            assert_eq!(read(bytes).unwrap_err().to_string(), message);
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).unwrap_err().to_string(), "byte 33: nested over 32 deep");
    }
}
