//! The grammar of the doors' paths: what a method and a path ask for. The same at the edge and in a backend.

use std::fmt;

use std::borrow::Cow;

use crate::{Kind, ModelName, Version};

/// The longest path that is read, in bytes.
pub const PATH_BYTES_MAX: usize = 2048;

/// Why models are not loaded by calls.
pub const NO_LOADING: &str = "models are loaded by promoting a version (`headgate promote`), not by calls";

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Score rows of a model.
    Predict(Protocol, Target),
    /// Score rows of the default model, as SageMaker's containers and MLflow's servers have it.
    Invocations,
    /// Is the server able to answer? As SageMaker asks.
    Ping,
    /// Is the process up?
    Live,
    /// Can it answer predictions?
    Ready,
    /// What is this server?
    ServerMetadata,
    /// What goes into a model and what comes out?
    ModelMetadata(Target),
    /// Can this model answer?
    ModelReady(Target),
    /// The states of a model's versions, as TF Serving spells them.
    ModelStatus(Target),
    /// The names of all models, as KServe's v1 lists them.
    ModelList,
    /// How many rows were scored, and how long it took: of all models, or of one.
    Statistics(Option<Target>),
    /// What the server's doors take and give, or those of one model, as OpenAPI.
    OpenApi(Option<Target>),
    /// All models, versions, states and reasons.
    RepositoryIndex,
}

/// How a prediction's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Open Inference Protocol v2, REST.
    V2,
    /// TF Serving's and KServe's v1.
    V1,
    /// SageMaker's and MLflow's `/invocations`.
    Invocations,
}

/// The model, and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The model.
    pub model: ModelName,
    /// Which version.
    pub choice: Choice,
}

/// Which version of a model a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that the release picks.
    Any,
    /// This one.
    Version(Version),
    /// The one that a label names.
    Label(String),
}

/// A request that asks for nothing that is here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RouteError {
    /// [`Kind::NotFound`], [`Kind::MethodNotAllowed`] or [`Kind::InvalidRequest`].
    pub kind: Kind,
    /// What is wrong, for the caller.
    pub message: String,
    /// The methods that the path takes, where this one is not among them: for the header `allow`.
    pub allow: Option<&'static str>,
}

impl Protocol {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::V2 => "v2",
            Protocol::V1 => "v1",
            Protocol::Invocations => "invocations",
        }
    }
}

impl Target {
    /// A model and a version as messages name them: the version a number, or empty. The model's name may end as a path's
    /// does (`bank/labels/canary`).
    pub fn named(model: &str, version: &str) -> Result<Self, RouteError> {
        match version {
            "" => target(model),
            version => target(&format!("{model}/versions/{version}")),
        }
    }
}

/// As it is written in a path: `bank/JFK/versions/7`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.as_str())?;
        match &self.choice {
            Choice::Any => Ok(()),
            Choice::Version(version) => write!(f, "/versions/{version}"),
            Choice::Label(label) => {
                f.write_str("/labels/")?;
                label.bytes().try_for_each(|byte| match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        write!(f, "{}", byte as char)
                    }
                    other => write!(f, "%{other:02X}"),
                })
            }
        }
    }
}

/// Whether a request of POST for such a path is a prediction, or a mistake in one.
pub fn is_prediction(path: &str) -> bool {
    // The most frequent first.
    ["/v2/models/", "/v1/models/", "/invocations", "/endpoints/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Reads a method and a path (without its query).
pub fn parse(method: &str, path: &str) -> Result<Route, RouteError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(refuse(Kind::InvalidRequest, format!("path is longer than {PATH_BYTES_MAX} bytes")));
    }
    let decoded = percent_decode(path)
        .ok_or_else(|| refuse(Kind::InvalidRequest, "path is not valid percent-encoded UTF-8".to_owned()))?;
    let (wanted, route) = match decoded.trim_end_matches('/').strip_prefix('/').unwrap_or("") {
        "v2" => ("GET", Route::ServerMetadata),
        // KServe's v1 asks at the root.
        "v2/health/live" | "" => ("GET", Route::Live),
        "v2/health/ready" => ("GET", Route::Ready),
        "v2/repository/index" => ("POST", Route::RepositoryIndex),
        // Triton has the second, and its documents the first.
        "v2/models/stats" | "v2/stats" => ("GET", Route::Statistics(None)),
        "v1/models" => ("GET", Route::ModelList),
        "openapi.json" | "v2/openapi.json" => ("GET", Route::OpenApi(None)),
        "ping" => ("GET", Route::Ping),
        "invocations" => ("POST", Route::Invocations),
        rest => of_model(rest, &decoded)?,
    };
    // HEAD and GET ask the same; the index is read by GET too, as browsers and curl would.
    let allow = match route {
        Route::RepositoryIndex => "GET, HEAD, POST",
        _ if wanted == "GET" => "GET, HEAD",
        _ => wanted,
    };
    if method == wanted || allow.split(", ").any(|allowed| allowed == method) {
        return Ok(route);
    }
    let words = format!("'{}' takes {wanted}, not {method}", shorten(&decoded));
    Err(RouteError { allow: Some(allow), ..refuse(Kind::MethodNotAllowed, words) })
}

/// What names a model.
fn of_model(path: &str, decoded: &str) -> Result<(&'static str, Route), RouteError> {
    if let Some(rest) = path.strip_prefix("v2/models/") {
        return v2(rest);
    }
    if let Some(rest) = path.strip_prefix("v1/models/") {
        return v1(rest);
    }
    // As SageMaker's runtime names its endpoints.
    if let Some((rest, true)) = path.strip_prefix("endpoints/").map(|rest| strip_last(rest, "invocations")) {
        return Ok(("POST", Route::Predict(Protocol::Invocations, target(rest)?)));
    }
    if let Some(words) = unsupported(path) {
        return Err(refuse(Kind::Unsupported, words.to_owned()));
    }
    Err(refuse(Kind::NotFound, format!("nothing is at '{}'", shorten(decoded))))
}

/// Why an extension of the Open Inference Protocol is not here, where the path is one of it.
fn unsupported(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("v2/")?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first {
        "repository" if rest.starts_with("models/") => Some(NO_LOADING),
        "logging" => Some("logging is set where the server is started, not by calls"),
        "trace" => Some("calls are not traced here"),
        "systemsharedmemory" | "cudasharedmemory" => Some("tensors come in the body, not in shared memory"),
        _ => None,
    }
}

/// What Triton has below a model, and Headgate has not.
fn unsupported_of_model(rest: &str) -> Option<&'static str> {
    let (_, last) = rest.rsplit_once('/')?;
    match last {
        "config" => Some("a model has no configuration of its own: its metadata says what goes in and what comes out"),
        "setting" if rest.ends_with("/trace/setting") => Some("calls are not traced here"),
        "generate" | "generate_stream" => Some("models here score rows, they generate no text"),
        _ => None,
    }
}

fn v2(rest: &str) -> Result<(&'static str, Route), RouteError> {
    if let Some(words) = unsupported_of_model(rest) {
        return Err(refuse(Kind::Unsupported, words.to_owned()));
    }
    let (of, last) = rest.rsplit_once('/').unwrap_or((rest, ""));
    Ok(match last {
        "infer" => ("POST", Route::Predict(Protocol::V2, target(of)?)),
        "ready" => ("GET", Route::ModelReady(target(of)?)),
        "stats" => ("GET", Route::Statistics(Some(target(of)?))),
        "openapi.json" => ("GET", Route::OpenApi(Some(target(of)?))),
        _ => ("GET", Route::ModelMetadata(target(rest)?)),
    })
}

fn v1(rest: &str) -> Result<(&'static str, Route), RouteError> {
    match rest.rsplit_once(':') {
        Some((rest, "predict")) => Ok(("POST", Route::Predict(Protocol::V1, target(rest)?))),
        Some((_, verb)) => {
            Err(refuse(Kind::NotFound, format!("verb ':{}' is unknown: ':predict' expected", shorten(verb))))
        }
        None => {
            let (rest, metadata) = strip_last(rest, "metadata");
            let target = target(rest)?;
            Ok(("GET", if metadata { Route::ModelMetadata(target) } else { Route::ModelStatus(target) }))
        }
    }
}

/// `<model>`, `<model>/versions/<n>` or `<model>/labels/<label>`.
fn target(text: &str) -> Result<Target, RouteError> {
    let of = text.rsplit_once('/').and_then(|(of, last)| Some((of.rsplit_once('/')?, last)));
    let (model, choice) = match of {
        Some(((model, "versions"), number)) => {
            let version = number.parse().map_err(|e| refuse(Kind::InvalidRequest, format!("{e}")))?;
            (model, Choice::Version(version))
        }
        Some(((model, "labels"), label)) => (model, Choice::Label(label.to_owned())),
        _ => (text, Choice::Any),
    };
    Ok(Target { model: model_name(model)?, choice })
}

/// A model's name as it is written, or with the scope's text as it is (`bank/São%20Paulo`).
fn model_name(text: &str) -> Result<ModelName, RouteError> {
    let refused = |e: crate::name::NameError| refuse(Kind::InvalidRequest, e.to_string());
    match (text.parse::<ModelName>(), text.split_once('/')) {
        (Ok(name), _) => Ok(name),
        (Err(_), Some((base, scope))) if !scope.contains('/') => {
            let base = base.parse::<ModelName>().map_err(refused)?;
            ModelName::scoped(&base, scope).map_err(refused)
        }
        (Err(error), _) => Err(refused(error)),
    }
}

fn strip_last<'a>(text: &'a str, word: &str) -> (&'a str, bool) {
    match text.rsplit_once('/') {
        Some((rest, last)) if last == word => (rest, true),
        _ => (text, false),
    }
}

fn percent_decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let mut decoded = [0; 1];
            hex::decode_to_slice(rest.get(..2)?, &mut decoded).ok()?;
            bytes.push(decoded[0]);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn refuse(kind: Kind, message: String) -> RouteError {
    RouteError { kind, message, allow: None }
}

fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn any(model: &str) -> Target {
        Target { model: model.parse().unwrap(), choice: Choice::Any }
    }

    #[test]
    fn every_door() {
        let two = Target { model: "m".parse().unwrap(), choice: Choice::Version(Version::new(2).unwrap()) };
        let canary = Target { model: "m/JFK".parse().unwrap(), choice: Choice::Label("canary".into()) };
        for (method, path, route) in [
            ("GET", "/v2", Route::ServerMetadata),
            ("GET", "/v2/health/live", Route::Live),
            ("GET", "/", Route::Live),
            ("GET", "/v2/health/ready", Route::Ready),
            ("POST", "/v2/repository/index", Route::RepositoryIndex),
            ("GET", "/v2/models/m", Route::ModelMetadata(any("m"))),
            ("GET", "/v2/models/m/ready", Route::ModelReady(any("m"))),
            ("POST", "/v2/models/m/infer", Route::Predict(Protocol::V2, any("m"))),
            ("POST", "/v2/models/m/JFK/infer", Route::Predict(Protocol::V2, any("m/JFK"))),
            ("POST", "/v2/models/m%2FJFK/infer", Route::Predict(Protocol::V2, any("m/JFK"))),
            ("POST", "/v2/models/m/S%C3%A3o%20Paulo/infer", Route::Predict(Protocol::V2, any("m/S~c3~a3o~20Paulo"))),
            ("POST", "/v2/models/m/versions/2/infer", Route::Predict(Protocol::V2, two.clone())),
            ("GET", "/v2/models/m/versions/2", Route::ModelMetadata(two.clone())),
            ("GET", "/v2/models/m/stats", Route::Statistics(Some(any("m")))),
            ("GET", "/v2/models/m/versions/2/stats", Route::Statistics(Some(two.clone()))),
            ("GET", "/v2/models/stats", Route::Statistics(None)),
            ("GET", "/v2/models/m/openapi.json", Route::OpenApi(Some(any("m")))),
            ("GET", "/openapi.json", Route::OpenApi(None)),
            ("GET", "/ping", Route::Ping),
            ("POST", "/invocations", Route::Invocations),
            ("POST", "/endpoints/m/invocations", Route::Predict(Protocol::Invocations, any("m"))),
            ("GET", "/v1/models", Route::ModelList),
            ("GET", "/v1/models/m", Route::ModelStatus(any("m"))),
            ("POST", "/v1/models/m:predict", Route::Predict(Protocol::V1, any("m"))),
            ("POST", "/v1/models/m/versions/2:predict", Route::Predict(Protocol::V1, two)),
            ("POST", "/v1/models/m/JFK/labels/canary:predict", Route::Predict(Protocol::V1, canary)),
        ] {
            assert_eq!(parse(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn a_message_names_what_a_path_does() {
        for (model, version, path) in [
            ("m", "", "m"),
            ("m", "2", "m/versions/2"),
            ("m/JFK", "", "m/JFK"),
            ("m/S\u{e3}o Paulo", "7", "m/S~c3~a3o~20Paulo/versions/7"),
            ("m/labels/canary", "", "m/labels/canary"),
            ("m/labels/a b%", "", "m/labels/a%20b%25"),
        ] {
            let target = Target::named(model, version).unwrap();
            assert_eq!(target.to_string(), path);
            assert_eq!(parse("POST", &format!("/v2/models/{target}/infer")), Ok(Route::Predict(Protocol::V2, target)));
        }
        for (model, version) in [("", ""), ("m", "0"), ("m", "two"), ("a/b/c", ""), ("..", "")] {
            assert_eq!(Target::named(model, version).unwrap_err().kind, Kind::InvalidRequest, "{model} {version}");
        }
    }

    #[test]
    fn what_is_not_there_says_why() {
        for (method, path, kind) in [
            ("POST", "/", Kind::MethodNotAllowed),
            ("GET", "/index.html", Kind::NotFound),
            ("GET", "/v3/models/m", Kind::NotFound),
            ("GET", "/v2/models/m/infer", Kind::MethodNotAllowed),
            ("GET", "/invocations", Kind::MethodNotAllowed),
            ("POST", "/endpoints/m", Kind::NotFound),
            ("POST", "/v2/repository/models/m/load", Kind::Unsupported),
            ("GET", "/v2/models/m/config", Kind::Unsupported),
            ("GET", "/v2/models/m/versions/1/config", Kind::Unsupported),
            ("POST", "/v2/models/m/trace/setting", Kind::Unsupported),
            ("GET", "/v2/trace/setting", Kind::Unsupported),
            ("POST", "/v2/models/m/generate", Kind::Unsupported),
            ("GET", "/v2/logging", Kind::Unsupported),
            ("GET", "/v2/systemsharedmemory/status", Kind::Unsupported),
            ("POST", "/v2/cudasharedmemory/region/r/register", Kind::Unsupported),
            ("GET", "/v2/tracer", Kind::NotFound),
            ("POST", "/v1/models/m:explode", Kind::NotFound),
            ("POST", "/v2/models/m/versions/0/infer", Kind::InvalidRequest),
            ("POST", "/v2/models//infer", Kind::InvalidRequest),
            ("POST", "/v2/models/../infer", Kind::InvalidRequest),
            ("POST", "/v2/models/a/b/c/infer", Kind::InvalidRequest),
            ("POST", "/v2/models/%zz/infer", Kind::InvalidRequest),
        ] {
            assert_eq!(parse(method, path).unwrap_err().kind, kind, "{method} {path}");
        }
    }

    #[test]
    fn what_a_path_takes_is_said() {
        for (method, path, allow) in [
            ("GET", "/v2/models/m/infer", "POST"),
            ("POST", "/v2/models/m", "GET, HEAD"),
            ("DELETE", "/v2/repository/index", "GET, HEAD, POST"),
        ] {
            assert_eq!(parse(method, path).unwrap_err().allow, Some(allow), "{method} {path}");
            allow.split(", ").for_each(|allowed| assert!(parse(allowed, path).is_ok(), "{allowed} {path}"));
        }
        assert_eq!(parse("POST", "/v2/nothing").unwrap_err().allow, None);
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/v[12]/models/[a-z/:%.~0-9]{0,40}") {
            let _ = parse("POST", &path);
        }
    }
}
