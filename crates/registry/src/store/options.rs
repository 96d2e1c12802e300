//! How a store is reached.

use std::fmt;

/// How a store is reached. The default reads nothing from the environment; a `file://` store uses the timeout alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The S3 server's URL, where it is not AWS: `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// The region; without one the SDK's own lookup, and `us-east-1` where an endpoint is set or nothing is found.
    pub region: Option<String>,
    /// Whether the bucket goes into the path and not into the host name; by default where an endpoint is set.
    pub path_style: Option<bool>,
    /// A fixed key; without one the SDK's own chain: environment, profiles, web identity, ECS and EC2 metadata.
    pub access_key: Option<AccessKey>,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one attempt of one small call may take, in milliseconds; a large read or write gets as long again for
    /// each MiB, so that a slow line is no failure.
    pub operation_timeout_ms: u64,
    /// How often a call is tried before its failure is told, from 1.
    pub attempts: u32,
}

/// A fixed pair of credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for AccessKey {
    /// The secret stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            access_key: None,
            connect_timeout_ms: 3_000,
            operation_timeout_ms: 10_000,
            attempts: 3,
        }
    }
}

impl StoreOptions {
    /// The default, with endpoint and region as the AWS tools read them: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let first =
            |names: [&str; 2]| names.into_iter().find_map(|name| lookup(name).filter(|value| !value.is_empty()));
        Self {
            endpoint: first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            region: first(["AWS_REGION", "AWS_DEFAULT_REGION"]),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_the_aws_tools_do() {
        let options = StoreOptions::from_lookup(|name| match name {
            "AWS_ENDPOINT_URL_S3" => Some(String::new()),
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:9000".to_owned()),
            "AWS_DEFAULT_REGION" => Some("eu-west-1".to_owned()),
            _ => None,
        });
        assert_eq!(options.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(options.region.as_deref(), Some("eu-west-1"));
        assert_eq!(StoreOptions::from_lookup(|_| None), StoreOptions::default());
    }
}
