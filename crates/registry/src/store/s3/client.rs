//! A client from the options and the SDK's own lookups: credentials from the environment, profiles, web identity,
//! ECS and EC2 metadata.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::store::{StoreError, StoreOptions};

/// The region where nothing names another.
const REGION_DEFAULT: &str = "us-east-1";

pub(super) async fn connect(bucket: &str, options: &StoreOptions) -> Result<Client, StoreError> {
    check_endpoint(bucket, options)?;
    // Credentials may come over https even where the bucket does not; certificates are read only when they do.
    let secure = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(secure.clone());
    let fixed = options.region.clone().or_else(|| options.endpoint.as_ref().map(|_| REGION_DEFAULT.to_owned()));
    loader = match fixed {
        Some(region) => loader.region(Region::new(region)),
        None => loader.region(RegionProviderChain::default_provider().or_else(REGION_DEFAULT)),
    };
    if let Some(key) = &options.access_key {
        loader = loader.credentials_provider(credentials(key));
    }
    let shared = loader.load().await;
    let plain = options.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let http: SharedHttpClient = if plain { Builder::new().build_http() } else { secure };
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .http_client(http)
        .force_path_style(options.path_style.unwrap_or(options.endpoint.is_some()))
        // In-memory bodies are signed with their digest, and every file has its own: more checksums only cost
        // compatibility with servers that don't know them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Our own deadlines cover bodies too.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts(options))
        .retry_config(retries(options));
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

fn check_endpoint(bucket: &str, options: &StoreOptions) -> Result<(), StoreError> {
    match &options.endpoint {
        Some(endpoint) if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") => {
            let why = format!("endpoint '{endpoint}' is no URL: http:// or https:// expected");
            Err(StoreError::Refused { at: format!("s3://{bucket}"), why })
        }
        _ => Ok(()),
    }
}

fn credentials(key: &crate::store::options::AccessKey) -> Credentials {
    Credentials::builder().access_key_id(&key.id).secret_access_key(&key.secret).provider_name("headgate").build()
}

fn timeouts(options: &StoreOptions) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(options.connect_timeout_ms.max(1)))
        .operation_attempt_timeout(Duration::from_millis(options.operation_timeout_ms.max(1)))
        .build()
}

fn retries(options: &StoreOptions) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(options.attempts.max(1))
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(2))
}
