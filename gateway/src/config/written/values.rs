//! Single values and their check.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_contract::config::ConfigError;

/// The shortest token that is taken for one.
const TOKEN_BYTES_MIN: usize = 16;
/// The longest time that can be set: a day.
const TIME_MS_MAX: u64 = 86_400_000;

pub(super) fn refuse<T>(why: String) -> Result<T, ConfigError> {
    Err(ConfigError(why))
}

pub(super) fn address(name: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().or_else(|_| refuse(format!("'{name}': '{text}' is no address: ip:port expected")))
}

/// Whether `text` is `host:port`, the host a name or an address.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let fits = text.len() <= 300 && text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
    fits && text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

pub(super) fn token(name: &str, text: String) -> Result<Option<String>, ConfigError> {
    match text.len() {
        0 => Ok(None),
        1..TOKEN_BYTES_MIN => refuse(format!("'{name}' is shorter than {TOKEN_BYTES_MIN} bytes")),
        _ => Ok(Some(text)),
    }
}

pub(super) fn time(name: &str, ms: u64) -> Result<Duration, ConfigError> {
    if ms == 0 {
        return refuse(format!("'{name}' is 0"));
    }
    time_or_none(name, ms)
}

pub(super) fn time_or_none(name: &str, ms: u64) -> Result<Duration, ConfigError> {
    if ms > TIME_MS_MAX {
        return refuse(format!("'{name}' is {ms}: at most {TIME_MS_MAX} (a day)"));
    }
    Ok(Duration::from_millis(ms))
}

pub(super) fn part(name: &str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { refuse(format!("'{name}' is {value}: 0 to 1 expected")) }
}
