//! UBJSON (draft 12), without high-precision numbers and typed arrays of anything but numbers, neither of which XGBoost
//! writes. Big endian. Counts are checked against what is left of the file before anything is set aside for them.

use super::doc::{Gather, MAX_DEPTH, Value, keeps};
use crate::LoadError;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Reads a document.
pub(super) fn read(bytes: &[u8]) -> Result<Value, LoadError> {
    let mut reader = Reader { bytes, at: 0 };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0, true)?;
    let rest = &bytes[reader.at..];
    if rest.iter().any(|b| !b.is_ascii_whitespace() && *b != b'N' && *b != 0) {
        return Err(reader.error("more after the document's end"));
    }
    Ok(value)
}

impl<'a> Reader<'a> {
    fn error(&self, what: impl Into<String>) -> LoadError {
        LoadError::at(format!("byte {}", self.at), what)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], LoadError> {
        let taken = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.error(format!("{n} bytes expected, {} left", self.left())))?;
        self.at += n;
        Ok(taken)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next marker, no-ops passed over.
    fn marker(&mut self) -> Result<u8, LoadError> {
        while self.peek() == Some(b'N') {
            self.at += 1;
        }
        self.take(1).map(|b| b[0])
    }

    /// A number by its marker; `None` where the marker is of something else.
    fn number(&mut self, marker: u8) -> Result<Option<Value>, LoadError> {
        Ok(Some(match marker {
            b'i' => Value::Int(i8::from_be_bytes(self.array()?).into()),
            b'U' | b'C' => Value::Int(u8::from_be_bytes(self.array()?).into()),
            b'I' => Value::Int(i16::from_be_bytes(self.array()?).into()),
            b'l' => Value::Int(i32::from_be_bytes(self.array()?).into()),
            b'L' => Value::Int(i64::from_be_bytes(self.array()?)),
            b'd' => Value::Float(f32::from_be_bytes(self.array()?).into()),
            b'D' => Value::Float(f64::from_be_bytes(self.array()?)),
            _ => return Ok(None),
        }))
    }

    /// A length: an integer from 0 on, of which each unit takes at least `unit` bytes of what is left.
    fn length(&mut self, unit: usize) -> Result<usize, LoadError> {
        let marker = self.marker()?;
        let length = match self.number(marker)? {
            Some(Value::Int(i)) => usize::try_from(i).ok(),
            _ => None,
        };
        let Some(length) = length else { return Err(self.error("expected a length before this")) };
        if length.checked_mul(unit).is_none_or(|bytes| bytes > self.left()) {
            return Err(self.error(format!("a length of {length}, but {} bytes are left", self.left())));
        }
        Ok(length)
    }

    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.length(1)?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error("a text before this is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize, keep: bool) -> Result<Value, LoadError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested over {MAX_DEPTH} deep")));
        }
        if let Some(number) = self.number(marker)? {
            return Ok(number);
        }
        match marker {
            b'{' => self.object(depth, keep),
            b'[' => self.list(depth, keep),
            b'S' => Ok(Value::Text(self.text()?)),
            b'T' => Ok(Value::Bool(true)),
            b'F' => Ok(Value::Bool(false)),
            b'Z' => Ok(Value::Null),
            other => Err(self.error(format!("unknown marker `{}` before this", other.escape_ascii()))),
        }
    }

    /// The count of a container that states it.
    fn stated(&mut self, unit: usize) -> Result<Option<usize>, LoadError> {
        if self.peek() != Some(b'#') {
            return Ok(None);
        }
        self.at += 1;
        self.length(unit).map(Some)
    }

    fn object(&mut self, depth: usize, keep: bool) -> Result<Value, LoadError> {
        if self.peek() == Some(b'$') {
            return Err(self.error("typed objects are not read"));
        }
        let mut fields = Vec::new();
        let mut stated = self.stated(2)?;
        loop {
            match &mut stated {
                Some(0) => break,
                Some(left) => *left -= 1,
                None if self.peek() == Some(b'}') => {
                    self.at += 1;
                    break;
                }
                None if self.peek() == Some(b'N') => {
                    self.at += 1;
                    continue;
                }
                None => {}
            }
            let key = self.text()?;
            let kept = keep && keeps(&key);
            let marker = self.marker()?;
            let value = self.value(marker, depth + 1, kept)?;
            if kept {
                fields.push((key, value));
            }
        }
        Ok(if keep { Value::Object(fields) } else { Value::Null })
    }

    fn list(&mut self, depth: usize, keep: bool) -> Result<Value, LoadError> {
        if self.peek() == Some(b'$') {
            self.at += 1;
            return self.typed(keep);
        }
        let mut elements = Gather::new();
        let mut stated = self.stated(1)?;
        loop {
            match &mut stated {
                Some(0) => break,
                Some(left) => *left -= 1,
                None => {}
            }
            let marker = self.marker()?;
            if stated.is_none() && marker == b']' {
                break;
            }
            let element = self.value(marker, depth + 1, keep)?;
            if keep {
                elements.push(element);
            }
        }
        Ok(elements.done())
    }

    /// An array of numbers of one type.
    fn typed(&mut self, keep: bool) -> Result<Value, LoadError> {
        let kind = self.marker()?;
        let unit = match kind {
            b'i' | b'U' | b'C' => 1,
            b'I' => 2,
            b'l' | b'd' => 4,
            b'L' | b'D' => 8,
            other => {
                return Err(self.error(format!("typed arrays of `{}` are not read", other.escape_ascii())));
            }
        };
        let Some(count) = self.stated(unit)? else { return Err(self.error("a typed array without a count")) };
        let bytes = self.take(count * unit)?;
        if !keep {
            return Ok(Value::Null);
        }
        let mut reader = Reader { bytes, at: 0 };
        if matches!(kind, b'd' | b'D') {
            let mut floats = Vec::with_capacity(count);
            while let Some(Value::Float(f)) = reader.next_typed(kind)? {
                floats.push(f);
            }
            return Ok(Value::Floats(floats));
        }
        let mut ints = Vec::with_capacity(count);
        while let Some(Value::Int(i)) = reader.next_typed(kind)? {
            ints.push(i);
        }
        Ok(Value::Ints(ints))
    }

    fn next_typed(&mut self, kind: u8) -> Result<Option<Value>, LoadError> {
        if self.left() == 0 { Ok(None) } else { self.number(kind) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_of_all_kinds() {
        let mut bytes = b"{i\x01a[$l#L\0\0\0\0\0\0\0\x02\0\0\0\x07\xff\xff\xff\xffU\x01b[$d#i\x01\x3f\x80\0\0".to_vec();
        bytes.extend_from_slice(b"i\x01c[#i\x03TFi\x05i\x01d[SU\x02hiZ]i\x01eD\x3f\xf8\0\0\0\0\0\0i\x01fI\x01\0");
        bytes.extend_from_slice(b"i\x01g{#i\x01i\x01hl\xff\xff\xff\xfei\x07parents[$L#i\x01\0\0\0\0\0\0\0\x01}");
        let doc = read(&bytes).unwrap();
        assert_eq!(doc.get("a"), Some(&Value::Ints(vec![7, -1])));
        assert_eq!(doc.get("b"), Some(&Value::Floats(vec![1.0])));
        assert_eq!(doc.get("c"), Some(&Value::Ints(vec![1, 0, 5])));
        assert_eq!(doc.get("d"), Some(&Value::List(vec![Value::Text("hi".into()), Value::Null])));
        assert_eq!(doc.get("e"), Some(&Value::Float(1.5)));
        assert_eq!(doc.get("f"), Some(&Value::Int(256)));
        assert_eq!(doc.get("g").and_then(|g| g.get("h")), Some(&Value::Int(-2)));
        assert_eq!(doc.get("parents"), None, "left out");
    }

    #[test]
    fn broken_documents_are_refused_with_the_place() {
        for (bytes, message) in [
            (&b""[..], "byte 0: 1 bytes expected, 0 left"),
            (
                b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff",
                "byte 13: a length of 9223372036854775807, but 0 bytes are left",
            ),
            (b"[$Z#i\x7f", "byte 3: typed arrays of `Z` are not read"),
            (b"[#L\xff\xff\xff\xff\xff\xff\xff\xff", "byte 11: expected a length before this"),
            (b"SL\0\0\0\0\0\0\0\x05abc", "byte 10: a length of 5, but 3 bytes are left"),
            (b"{L\0\0\0", "byte 2: 8 bytes expected, 3 left"),
            (b"H", "byte 1: unknown marker `H` before this"),
            (b"[T", "byte 2: 1 bytes expected, 0 left"),
            (b"{$i#i\x01", "byte 1: typed objects are not read"),
            (b"Tx", "byte 1: more after the document's end"),
        ] {
            assert_eq!(read(bytes).unwrap_err().to_string(), message);
        }
        let deep = vec![b'['; 100_000];
        assert_eq!(read(&deep).unwrap_err().to_string(), "byte 34: nested over 32 deep");
    }
}
