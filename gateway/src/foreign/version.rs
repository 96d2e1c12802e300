//! Versions: theirs are texts, ours are numbers from 1 up.

use headgate_contract::{Digest, ModelName, Version};

/// Where the numbers of names begin that say nothing of an order.
const UNORDERED: u64 = 1 << 32;

/// The number of a version by its name: the same at every gateway, and for every server that has a version of that name.
///
/// A whole number (with a `v` before or not) is itself. No name is 1. `1.2.3` is 1 002 003, so that versions that are
/// written so keep their order. All other names get a number that is drawn from the name, above those of all others.
pub(super) fn number(name: &str) -> Version {
    let plain = name.strip_prefix('v').unwrap_or(name);
    let number = if name.is_empty() { Some(Version::FIRST) } else { plain.parse().ok().or_else(|| dotted(plain)) };
    number.unwrap_or_else(|| {
        let drawn = UNORDERED + (Digest::of(name).to_u64() >> 32);
        Version::new(drawn).unwrap_or(Version::FIRST)
    })
}

fn dotted(name: &str) -> Option<Version> {
    let parts: Vec<u64> = name.split('.').map(|part| read(part).filter(|n| *n < 1_000)).collect::<Option<_>>()?;
    let fits = (2..=3).contains(&parts.len());
    fits.then(|| Version::new(parts.iter().chain([&0]).take(3).fold(0, |number, part| number * 1_000 + part)))?
}

fn read(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What stands for a manifest's digest: two servers' versions are taken for the same where model and number are.
pub(super) fn digest(model: &ModelName, version: Version) -> Digest {
    Digest::of_parts([b"foreign".as_slice(), model.as_str().as_bytes(), &version.get().to_le_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_order_of_names_that_have_one() {
        let of = |name: &str| number(name).get();
        for (name, wanted) in [("", 1), ("1", 1), ("12", 12), ("v3", 3), ("v1.2", 1_002_000), ("0.1.5", 1_005)] {
            assert_eq!(of(name), wanted, "{name}");
        }
        assert!(of("v0.1.0") < of("v0.2.0") && of("v0.999.999") < of("v1.0.0"));
        for name in ["0", "0.0.0", "prod", "1.2.3.4", "1.1000", "1..2", "v", "2024-01-15", "-1", "01"] {
            assert!((UNORDERED..1 << 33).contains(&of(name)), "{name}: {}", of(name));
        }
        assert_ne!(of("blue"), of("green"));
    }
}
