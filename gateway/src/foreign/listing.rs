//! What models a server says that it has: its index, or its answers to a question for each model.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::fleet::VersionState;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::Spec;
use crate::upstream::{BoxError, Options, Upstream};

/// Versions that are taken of one server.
const ENTRIES_MAX: usize = 100_000;
/// The longest name of a version.
const VERSION_BYTES_MAX: usize = 128;
/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;
/// Models that are asked for at once.
const AT_ONCE: usize = 8;
/// A longer body is parsed off the request threads.
const INLINE_BYTES: usize = 32 << 10;

/// One version of one model, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) model: String,
    /// Empty where the model has no versions.
    pub(super) version: String,
    pub(super) state: VersionState,
    pub(super) reason: String,
}

/// An entry of a repository index.
#[derive(Deserialize)]
struct Indexed {
    name: String,
    #[serde(default)]
    version: Value,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// The body of `GET /v1/models`.
#[derive(Deserialize)]
struct List {
    models: Vec<String>,
}

/// What is read of a model's metadata.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    versions: Option<Vec<String>>,
}

/// Asks for all that is to be known.
pub(super) async fn ask(spec: &Spec, upstream: &Upstream, options: &Options) -> Result<Vec<Entry>, BoxError> {
    let models: Vec<String> = match (spec.models.as_slice(), spec.server.has_index()) {
        ([], true) => return index(&question(upstream, Method::POST, INDEX, options).await?).await,
        ([], false) => names(&question(upstream, Method::GET, LIST, options).await?)?,
        (models, _) => models.iter().map(ToString::to_string).collect(),
    };
    let asked = stream::iter(models).map(|model| of_model(spec, upstream, model, options)).buffered(AT_ONCE);
    let answers: Vec<Vec<Entry>> = asked.try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

const INDEX: &str = "/v2/repository/index";
const LIST: &str = "/v1/models";

async fn question(upstream: &Upstream, method: Method, path: &str, options: &Options) -> Result<Bytes, BoxError> {
    match super::call::ask(upstream, method, path, options).await? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(format!("{path} answered {status}").into()),
    }
}

async fn of_model(spec: &Spec, upstream: &Upstream, model: String, options: &Options) -> Result<Vec<Entry>, BoxError> {
    let path = format!("/v2/models/{}", super::call::escaped(&model));
    let ask = |path: String| async move { super::call::ask(upstream, Method::GET, &path, options).await };
    let versions = match spec.server.has_index() {
        // KServe's models have no versions, and to ask for one is an error.
        false => vec![String::new()],
        true => match ask(path.clone()).await? {
            (StatusCode::OK, body) => versions(&body)?,
            _ => return Ok(Vec::new()),
        },
    };
    let mut entries = Vec::with_capacity(versions.len());
    for version in versions {
        let of_version = if version.is_empty() { String::new() } else { format!("/versions/{version}") };
        let (status, _) = ask(format!("{path}{of_version}/ready")).await?;
        let state = match status {
            StatusCode::OK => VersionState::Ready,
            StatusCode::NOT_FOUND => continue,
            _ => VersionState::Loading,
        };
        entries.push(Entry { model: model.clone(), version, state, reason: String::new() });
    }
    Ok(entries)
}

async fn index(body: &Bytes) -> Result<Vec<Entry>, BoxError> {
    if body.len() <= INLINE_BYTES {
        return Ok(read_index(body)?);
    }
    let body = body.clone();
    Ok(tokio::task::spawn_blocking(move || read_index(&body)).await??)
}

fn read_index(body: &[u8]) -> Result<Vec<Entry>, String> {
    let all: Vec<Indexed> = serde_json::from_slice(body).map_err(|error| format!("{INDEX} can't be read: {error}"))?;
    if all.len() > ENTRIES_MAX {
        return Err(format!("{INDEX} has {} entries: at most {ENTRIES_MAX} are taken", all.len()));
    }
    all.into_iter().filter_map(|entry| entry.read().transpose()).collect()
}

impl Indexed {
    /// None for what is not loaded, and not meant to be.
    fn read(self) -> Result<Option<Entry>, String> {
        let version = match self.version {
            Value::Null => String::new(),
            Value::String(name) if is_version(&name) => name,
            Value::Number(number) => number.to_string(),
            other => return Err(format!("{INDEX} has a version of '{}' that is none: {other:.80}", self.name)),
        };
        let reason: String = self.reason.unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        let state = match self.state.as_deref().unwrap_or_default() {
            "READY" => VersionState::Ready,
            // MLServer calls a model so that it has and that is not ready.
            "LOADING" | "UNKNOWN" => VersionState::Loading,
            // Triton lists what it could load, too, and what was unloaded; what is being unloaded answers no more.
            "" | "UNLOADING" => return Ok(None),
            "UNAVAILABLE" if matches!(reason.as_str(), "" | "unloaded") => return Ok(None),
            "UNAVAILABLE" => VersionState::Failed,
            _ => VersionState::Unknown,
        };
        Ok(Some(Entry { model: self.name, version, state, reason }))
    }
}

/// Whether it can be written into a path as it is.
fn is_version(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~' | b'+');
    name.len() <= VERSION_BYTES_MAX && name.bytes().all(plain) && !matches!(name, "." | "..")
}

fn names(body: &[u8]) -> Result<Vec<String>, String> {
    let list: List = serde_json::from_slice(body).map_err(|error| format!("{LIST} can't be read: {error}"))?;
    match list.models.len() {
        0..=ENTRIES_MAX => Ok(list.models),
        many => Err(format!("{LIST} names {many} models: at most {ENTRIES_MAX} are taken")),
    }
}

fn versions(body: &[u8]) -> Result<Vec<String>, String> {
    let metadata: Metadata = serde_json::from_slice(body).map_err(|e| format!("metadata can't be read: {e}"))?;
    let mut versions = metadata.versions.unwrap_or_default();
    versions.retain(|name| is_version(name) && !name.is_empty());
    versions.truncate(64);
    Ok(if versions.is_empty() { vec![String::new()] } else { versions })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_index_is_read_as_it_is_meant() {
        let read = |text: &str| read_index(text.as_bytes());
        let triton = r#"[{"name":"a","version":"1","state":"READY"},{"name":"a","version":2,"state":"UNLOADING"},
            {"name":"b"},{"name":"c","version":"1","state":"UNAVAILABLE","reason":"unloaded"},
            {"name":"d","version":"1","state":"UNAVAILABLE","reason":"no such backend"}]"#;
        let states: Vec<_> = read(triton).unwrap().into_iter().map(|e| (e.model, e.version, e.state)).collect();
        let entry = |model: &str, version: &str, state| (model.to_owned(), version.to_owned(), state);
        assert_eq!(states, [entry("a", "1", VersionState::Ready), entry("d", "1", VersionState::Failed)]);
        let mlserver = r#"[{"name":"a","version":null,"state":"READY","reason":""},
            {"name":"b","state":"UNKNOWN"},{"name":"c","version":"v1.2","state":"UNAVAILABLE","reason":""}]"#;
        let states: Vec<_> = read(mlserver).unwrap().into_iter().map(|e| (e.model, e.version, e.state)).collect();
        assert_eq!(states, [entry("a", "", VersionState::Ready), entry("b", "", VersionState::Loading)]);
        assert!(read("[]").unwrap().is_empty());
    }

    #[test]
    fn garbage_is_no_index() {
        for bad in [
            "",
            "<html>",
            "{}",
            "null",
            "[1]",
            r#"[{"version":"1"}]"#,
            r#"[{"name":"a","version":"../../admin","state":"READY"}]"#,
            r#"[{"name":"a","version":"..","state":"READY"}]"#,
            r#"[{"name":"a","version":["1"],"state":"READY"}]"#,
            r#"[{"name":"a","version":"1 HTTP/1.1\r\nx:","state":"READY"}]"#,
        ] {
            assert!(read_index(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_model_without_versions_has_one() {
        assert_eq!(versions(br#"{"name":"m","versions":null}"#), Ok(vec![String::new()]));
        assert_eq!(versions(br#"{"versions":["1","a/b","2"]}"#), Ok(vec!["1".to_owned(), "2".to_owned()]));
        assert!(versions(b"7").is_err() && names(b"{}").is_err());
    }
}
