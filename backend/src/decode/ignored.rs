//! Features that callers send and the version does not know.

use std::fmt;

/// The most names that are kept.
const NAMES_MAX: usize = 16;
/// The most bytes of a name that are kept.
const NAME_BYTES_MAX: usize = 64;

/// How many values were ignored, and the first [`NAMES_MAX`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    names: Vec<Box<str>>,
    values: u64,
    more: bool,
}

impl Ignored {
    /// Counts a value of the feature `name`.
    pub fn add(&mut self, name: &str) {
        self.values += 1;
        if self.names.iter().any(|n| **n == *name) {
            return;
        }
        if self.names.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX {
            self.names.push(name.into());
        } else {
            self.more = true;
        }
    }

    /// Whether every feature was known.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// How many values were ignored.
    pub fn values(&self) -> u64 {
        self.values
    }
}

impl fmt::Display for Ignored {
    /// Comma separated, as a header's value may be: what is no visible ASCII, `,` and `%` are percent-encoded. `...`
    /// stands for names beyond the bound.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            for byte in name.bytes() {
                match byte {
                    b',' | b'%' => write!(f, "%{byte:02X}")?,
                    0x21..=0x7e => write!(f, "{}", byte as char)?,
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        match (self.more, self.names.is_empty()) {
            (true, true) => f.write_str("..."),
            (true, false) => f.write_str(",..."),
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_once_and_are_bounded() {
        let mut ignored = Ignored::default();
        for name in ["a", "é b,", "a"] {
            ignored.add(name);
        }
        assert_eq!(ignored.to_string(), "a,%C3%A9%20b%2C");
        assert_eq!(ignored.values(), 3);
        (0..100).for_each(|n| ignored.add(&format!("f{n}")));
        assert!(ignored.to_string().ends_with("f13,..."), "{ignored}");
    }
}
