//! Where requests go.

use std::str::FromStr;

use http::{HeaderValue, Uri};

/// A plain HTTP URL, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port to connect to.
    pub address: String,
    /// The `host` header.
    pub host: HeaderValue,
    /// Path and query.
    pub path: Uri,
}

/// A URL that can't be driven. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{url}' is no URL like http://host:port/path")]
pub struct TargetError {
    url: String,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let refused = || TargetError { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(refused)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| refused())?,
            path: path.parse().map_err(|_| refused())?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target: Target = "http://127.0.0.1:8080/v2/models/m/infer?x=1".parse().unwrap();
        assert_eq!(
            (target.address.as_str(), target.path.to_string().as_str()),
            ("127.0.0.1:8080", "/v2/models/m/infer?x=1")
        );
        assert_eq!("http://[::1]".parse::<Target>().unwrap().address, "[::1]:80");
        for url in ["", "127.0.0.1:80", "https://a/", "/v2", "http://"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
