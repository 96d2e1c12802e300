//! Protocol buffers as they lie in a file: fields of a message, one by one, without a schema.

use super::OnnxError;

/// A message, or what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begins in the file.
    offset: usize,
}

/// A field's number, where it lies in the file, and its value.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) offset: usize,
    /// Where its value ends in the file.
    end: usize,
    pub(super) value: Value<'a>,
}

/// A field's value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// A whole number, also of an enumeration or a boolean.
    Varint(u64),
    /// Eight or four bytes.
    Fixed,
    /// A text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    /// A whole file.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The next field; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, OnnxError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| OnnxError::at(offset, "no field has such a number"))?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(OnnxError::at(offset, format!("wire type {other}, 0, 1, 2 or 5 expected"))),
        };
        Ok(Some(Field { number, offset, end: self.offset, value }))
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0u64;
        for (at, byte) in self.bytes.iter().take(10).enumerate() {
            // Of the tenth byte one bit has room.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.take(at + 1)?;
                return Ok(value);
            }
        }
        let cut = self.bytes.len() < 10;
        Err(OnnxError::at(self.offset, if cut { "it ends within a number" } else { "a number of more than 64 bits" }))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], OnnxError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            let left = self.bytes.len();
            return Err(OnnxError::at(self.offset, format!("{count} bytes announced, {left} are left")));
        };
        self.bytes = rest;
        self.offset += count;
        Ok(taken)
    }
}

impl<'a> Field<'a> {
    /// The value as a message.
    pub(super) fn message(&self) -> Result<Message<'a>, OnnxError> {
        let bytes = self.bytes()?;
        Ok(Message { bytes, offset: self.end - bytes.len() })
    }

    /// The value as a text; what is no UTF-8 is replaced.
    pub(super) fn text(&self) -> Result<String, OnnxError> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// The value as a number.
    pub(super) fn number(&self) -> Result<i64, OnnxError> {
        match self.value {
            Value::Varint(value) => Ok(value as i64),
            _ => Err(OnnxError::at(self.offset, format!("field {} is no number", self.number))),
        }
    }

    /// The values of a field of numbers, packed or single.
    pub(super) fn numbers(&self, into: &mut Vec<i64>) -> Result<(), OnnxError> {
        match self.value {
            Value::Varint(value) => into.push(value as i64),
            _ => {
                let mut packed = self.message()?;
                while !packed.bytes.is_empty() {
                    into.push(packed.varint()? as i64);
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<&'a [u8], OnnxError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(OnnxError::at(self.offset, format!("field {} is a number, bytes expected", self.number))),
        }
    }
}
