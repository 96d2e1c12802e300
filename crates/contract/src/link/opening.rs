//! Which version two sides speak.

use super::{FromStr, fmt};

/// The versions of the protocol that a side speaks, all from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub min: u16,
    /// The last.
    pub max: u16,
}

/// A text that names no versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("versions of the link expected, as in '1-2'")]
pub struct BadOpening;

impl Versions {
    /// The version that two sides speak: the highest that both know.
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }

    /// Whether one of them is this.
    pub fn contain(self, version: u16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl FromStr for Versions {
    type Err = BadOpening;

    fn from_str(text: &str) -> Result<Self, BadOpening> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| BadOpening),
            false => Err(BadOpening),
        };
        let (min, max) = text.split_once('-').ok_or(BadOpening)?;
        let versions = Self { min: number(min)?, max: number(max)? };
        if versions.min <= versions.max { Ok(versions) } else { Err(BadOpening) }
    }
}
