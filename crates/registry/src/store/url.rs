//! Where a store is: `s3://bucket/prefix` or `file:///dir`.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUrl {
    /// `file:///dir`: a folder of this machine, by its absolute path.
    File(PathBuf),
    /// `s3://bucket/prefix`: a bucket of any S3-compatible server.
    S3 {
        /// The bucket.
        bucket: String,
        /// The keys' prefix, without slashes at its ends; empty for the whole bucket.
        prefix: String,
    },
}

/// Why a text is no store URL. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A path without `file://`.
    #[error("store '{0}' is a path: write file://{1}")]
    Path(String, String),
    /// Another scheme, or none.
    #[error("store '{0}' is neither s3://bucket/prefix nor file:///dir")]
    Scheme(String),
    /// `file://` with a relative path or a host.
    #[error("store '{0}' has no absolute path: three slashes expected, as in file:///var/lib/headgate")]
    Relative(String),
    /// A bucket name that S3 does not allow.
    #[error("store '{0}': a bucket name has 3 to 63 of a-z, 0-9, '.', '-', and begins and ends with a letter or digit")]
    Bucket(String),
    /// A segment that is empty, `.` or `..`, or holds a control character.
    #[error("store '{0}' has an empty, '.' or '..' segment or a control character in its path")]
    Segment(String),
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let said = || text.chars().take(200).collect::<String>();
        let bad_segment = |s: &str| s.is_empty() || s == "." || s == ".." || s.chars().any(char::is_control);
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if !is_bucket(bucket) {
                return Err(UrlError::Bucket(said()));
            }
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            if !prefix.is_empty() && prefix.split('/').any(bad_segment) {
                return Err(UrlError::Segment(said()));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        if let Some(path) = text.strip_prefix("file://") {
            let Some(below) = path.strip_prefix('/') else { return Err(UrlError::Relative(said())) };
            let below = below.strip_suffix('/').unwrap_or(below);
            if below.split('/').any(bad_segment) {
                return Err(UrlError::Segment(said()));
            }
            return Ok(Self::File(PathBuf::from(format!("/{below}"))));
        }
        match text.contains("://") {
            false if text.starts_with('/') => Err(UrlError::Path(said(), said())),
            false if text.starts_with('.') => Err(UrlError::Path(said(), "/absolute/path".to_owned())),
            _ => Err(UrlError::Scheme(said())),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| plain(*b))
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_read_back() {
        for (text, written) in [
            ("s3://models", "s3://models"),
            ("s3://models/", "s3://models"),
            ("s3://my.models-1/a/b/", "s3://my.models-1/a/b"),
            ("file:///var/lib/headgate/", "file:///var/lib/headgate"),
            ("file:///with space/ü", "file:///with space/ü"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse::<StoreUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_words_that_help() {
        let said = |text: &str| text.parse::<StoreUrl>().unwrap_err().to_string();
        assert!(said("/var/models").contains("write file:///var/models"));
        assert!(said("./models").contains("file:///"));
        assert!(said("gs://bucket").contains("neither s3://"));
        assert!(said("file://relative").contains("three slashes"));
        assert!(said("file:///a/../b").contains("'..'"));
        assert!(said("file:///").contains("segment"));
        for bad in ["s3://", "s3://ab", "s3://Upper/x", "s3://-x-", "s3://a..b"] {
            assert!(said(bad).contains("bucket name"), "{bad}");
        }
        assert!(said("s3://bucket/a//b").contains("segment"));
    }
}
