//! What a key may be: it never leaves the store's root, and means the same in a folder and in a bucket.

use super::StoreError;

/// The longest key, in bytes: S3 takes 1024 with the prefix.
pub const KEY_BYTES_MAX: usize = 900;

/// Checks a key.
pub fn check(key: &str) -> Result<(), StoreError> {
    let plain = |s: &str| !s.is_empty() && s.len() <= 255 && !s.starts_with('.') && !s.chars().any(char::is_control);
    match key.len() <= KEY_BYTES_MAX && key.split('/').all(plain) {
        true => Ok(()),
        false => Err(StoreError::Key { key: key.chars().take(200).collect() }),
    }
}

/// Checks a listing's prefix: empty, or a key with a slash at its end.
pub fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    match prefix.strip_suffix('/') {
        Some(folder) => check(folder),
        None if prefix.is_empty() => Ok(()),
        None => Err(StoreError::Key { key: prefix.chars().take(200).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_root() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", ".tmp/x", "a\0b", &"x".repeat(256)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "models/flights/S~c3~a3o/version=1/_SUCCESS", "a b/~", "x=1"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        assert!(check_prefix("").is_ok() && check_prefix("a/b/").is_ok());
        assert!(check_prefix("a").is_err() && check_prefix("../").is_err() && check_prefix("/").is_err());
    }
}
