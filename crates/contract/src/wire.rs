//! Protocol buffers as they lie in bytes: fields of a message, one by one, without a schema and without a copy.

/// Why bytes are no message. Their sender's fault; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct WireError {
    /// Where.
    pub at: usize,
    /// What came, and what was expected.
    pub what: String,
}

/// A message, or what is left of it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begins in the whole.
    offset: usize,
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Where it begins in the whole.
    pub offset: usize,
    /// Where its value ends in the whole.
    end: usize,
    /// Its value.
    pub value: Value<'a>,
}

/// A field's value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A whole number, also of an enumeration or a boolean.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// Four bytes, little-endian.
    Fixed32(u32),
    /// A text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

impl WireError {
    /// Something wrong at a place.
    pub fn at(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

impl<'a> Message<'a> {
    /// The whole.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The next field; none at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| WireError::at(offset, "no field has such a number"))?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError::at(offset, format!("wire type {other}, 0, 1, 2 or 5 expected"))),
        };
        Ok(Some(Field { number, offset, end: self.offset, value }))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next number of packed ones.
    pub fn varint(&mut self) -> Result<u64, WireError> {
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
        Err(WireError::at(self.offset, if cut { "it ends within a number" } else { "a number of more than 64 bits" }))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            let left = self.bytes.len();
            return Err(WireError::at(self.offset, format!("{count} bytes announced, {left} are left")));
        };
        self.bytes = rest;
        self.offset += count;
        Ok(taken)
    }
}

impl<'a> Field<'a> {
    /// The value as a message.
    pub fn message(&self) -> Result<Message<'a>, WireError> {
        let bytes = self.bytes()?;
        Ok(Message { bytes, offset: self.end - bytes.len() })
    }

    /// The value as a text.
    pub fn str(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| WireError::at(self.offset, format!("field {} is no UTF-8", self.number)))
    }

    /// The value as a text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// The value as a number.
    pub fn number(&self) -> Result<i64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value as i64),
            _ => Err(WireError::at(self.offset, format!("field {} is no number", self.number))),
        }
    }

    /// The values of a field of numbers, packed or single.
    pub fn numbers(&self, into: &mut Vec<i64>) -> Result<(), WireError> {
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

    /// The value as bytes.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::at(self.offset, format!("field {} is a number, bytes expected", self.number))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;
    use crate::proto::{ModelInferRequest, ModelReadyRequest, model_infer_request::InferInputTensor};

    #[test]
    fn fields_come_as_they_were_written() {
        let input = InferInputTensor { name: "x".into(), shape: vec![1, -1, 300], ..Default::default() };
        let request =
            ModelInferRequest { model_name: "m".into(), id: "é".into(), inputs: vec![input], ..Default::default() };
        let bytes = request.encode_to_vec();
        let mut message = Message::new(&bytes);
        let name = message.next().unwrap().unwrap();
        assert_eq!((name.number, name.str().unwrap()), (1, "m"));
        let id = message.next().unwrap().unwrap();
        assert_eq!((id.number, id.text().unwrap().as_str()), (3, "é"));
        let mut input = message.next().unwrap().unwrap().message().unwrap();
        assert_eq!(input.next().unwrap().unwrap().str().unwrap(), "x");
        let mut shape = Vec::new();
        input.next().unwrap().unwrap().numbers(&mut shape).unwrap();
        assert_eq!(shape, [1, -1, 300]);
        assert!(input.is_empty() && message.next().unwrap().is_none());
    }

    #[test]
    fn what_is_cut_says_where() {
        let bytes = ModelReadyRequest { name: "bank".into(), version: "12".into() }.encode_to_vec();
        for length in [1, 3, bytes.len() - 1] {
            let mut message = Message::new(&bytes[..length]);
            let error = loop {
                match message.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{length} bytes are a message"),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().starts_with("byte "), "{error}");
        }
    }
}
