//! A call as it goes to backends: the caller's, without what is between the caller and us.

use std::time::Duration;

use headgate_contract::header as ours;
use headgate_contract::route::Target;
use headgate_contract::{Kind, route};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, request};
use tokio::time::Instant;

use super::choose::Chosen;
use super::id::Id;
use super::reply::{Failed, PROTOBUF, strip_hop_by_hop};
use crate::config::Limits;
use crate::fleet::Form;
use crate::upstream::{SentHeads, Small};

/// A call to a model.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// Without what is not to pass.
    pub(super) headers: HeaderMap,
    pub(super) target: Target,
    /// How long the caller waits, where it says so.
    pub(super) timeout: Option<Duration>,
    pub(super) id: Id,
    /// In what form it brings its rows.
    pub(super) form: Form,
    is_prediction: bool,
    heads: SentHeads,
}

impl Call {
    pub(super) fn new(head: request::Parts, target: Target, id: &Id, limits: &Limits) -> Result<Self, Failed> {
        let timeout = timeout(&head.headers, limits)?;
        let path = head.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let method = if head.method == Method::HEAD { Method::GET } else { head.method };
        Ok(Self::made(method, path, passing(head.headers), target, timeout, id.clone()))
    }

    /// A call at a path of ours; `headers` are those that pass.
    pub(super) fn to(
        method: Method,
        path: &str,
        headers: HeaderMap,
        target: Target,
        timeout: Option<Duration>,
        id: &Id,
    ) -> Result<Self, Failed> {
        let path = path.parse().map_err(|error| Failed::new(Kind::Internal, format!("path '{path}': {error}")))?;
        Ok(Self::made(method, path, headers, target, timeout, id.clone()))
    }

    fn made(
        method: Method,
        path: PathAndQuery,
        headers: HeaderMap,
        target: Target,
        timeout: Option<Duration>,
        id: Id,
    ) -> Self {
        let (form, is_prediction) = (form(&path, &headers), route::is_prediction(path.path()));
        Self { method, path, headers, target, timeout, id, form, is_prediction, heads: SentHeads::default() }
    }

    /// The same at the path that names the model: a backend's default model may be another.
    pub(super) fn at_invocations(mut self) -> Self {
        let query = self.path.query().map(|query| format!("?{query}")).unwrap_or_default();
        // A name that was read fits a path.
        if let Ok(path) = format!("/endpoints/{}/invocations{query}", self.target).parse() {
            self.path = path;
        }
        self
    }

    /// The call as it goes to one backend; `model` is the one that was chosen, where it is not the one asked for.
    pub(super) fn small<'c>(
        &'c self,
        chosen: &'c Chosen,
        model: Option<&'c HeaderValue>,
        now: Instant,
        deadline: Instant,
    ) -> Small<'c> {
        let left = deadline.saturating_duration_since(now).as_millis().max(1);
        Small {
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            id: self.id.as_bytes(),
            version: &chosen.planned.version_header,
            digest: &chosen.planned.digest_header,
            model,
            timeout_ms: u64::try_from(left).unwrap_or(u64::MAX),
            cost: 0,
            is_prediction: self.is_prediction,
            heads: &self.heads,
        }
    }

    /// The name of the model that was chosen, where it is not the one asked for.
    pub(super) fn other_model(&self, chosen: &Chosen) -> Option<HeaderValue> {
        let name = &chosen.model.name;
        (*name != self.target.model).then(|| HeaderValue::from_str(name.as_str()).ok()).flatten()
    }
}

/// In what form a call brings its rows.
fn form(path: &PathAndQuery, headers: &HeaderMap) -> Form {
    let path = path.path();
    if headers.contains_key(ours::JSON_LENGTH) {
        Form::Binary
    } else if headers.get(header::CONTENT_TYPE).is_some_and(|of| *of == PROTOBUF) {
        Form::Message
    } else if path.ends_with("/infer") {
        Form::Json
    } else if path.ends_with(":predict") {
        Form::Instances
    } else {
        Form::Other
    }
}

/// What passes of a caller's headers.
pub(super) fn passing(mut headers: HeaderMap) -> HeaderMap {
    strip_hop_by_hop(&mut headers);
    let strange = |name: &http::HeaderName| ours::strips(name.as_str()) || name == ours::TIMEOUT_MS;
    if headers.keys().any(strange) {
        headers = headers.into_iter().fold(HeaderMap::new(), keep_unless(strange));
    }
    // hyper has answered an expectation by reading the body; host and length are the next connection's.
    for name in [header::EXPECT, header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    headers.remove(ours::REQUEST_ID);
    headers
}

pub(super) fn timeout(headers: &HeaderMap, limits: &Limits) -> Result<Option<Duration>, Failed> {
    let Some(given) = headers.get(ours::TIMEOUT_MS) else { return Ok(None) };
    let parsed = given.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|&ms| ms > 0);
    match parsed {
        Some(ms) => Ok(Some(Duration::from_millis(ms).min(limits.deadline_max))),
        None => {
            let given = String::from_utf8_lossy(given.as_bytes());
            let message = format!(
                "header '{}' is '{}': whole milliseconds from 1 up expected",
                ours::TIMEOUT_MS,
                given.chars().take(40).collect::<String>().escape_debug()
            );
            Err(Failed::new(Kind::InvalidRequest, message))
        }
    }
}

/// Collects headers, of repeated ones too, but for those that are unwanted.
fn keep_unless(
    unwanted: impl Fn(&http::HeaderName) -> bool,
) -> impl FnMut(HeaderMap, (Option<http::HeaderName>, HeaderValue)) -> HeaderMap {
    let mut name = None;
    move |mut kept, (next, value)| {
        // The name comes with the first of its values only.
        name = next.or(name.take());
        if let Some(name) = name.clone().filter(|name| !unwanted(name)) {
            kept.append(name, value);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::config::Sources;
    use headgate_contract::route::Choice;

    use http::Request;

    use super::*;
    use crate::config::Config;

    fn call(headers: &[(&'static str, &'static str)]) -> Result<Call, Failed> {
        let mut request = Request::post("/v2/models/m/infer?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let target = Target { model: "m".parse().unwrap(), choice: Choice::Any };
        let limits = Config::load(&Sources::default()).unwrap().limits;
        Call::new(head, target, &Id::make(), &limits)
    }

    #[test]
    fn what_is_ours_or_the_connections_does_not_pass() {
        let call = call(&[
            ("x-headgate-chosen-version", "7"),
            ("x-headgate-version", "7"),
            ("x-headgate-timeout-ms", "20"),
            ("connection", "close, x-hop"),
            ("connection", "X-Second ,"),
            ("x-hop", "1"),
            ("x-second", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("host", "example"),
            ("accept", "a"),
            ("accept", "b"),
            ("x-kept", "1"),
        ])
        .unwrap();
        let mut names: Vec<String> = call.headers.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "x-kept"]);
        assert_eq!(call.headers.get_all("accept").iter().count(), 2);
        assert_eq!((call.timeout, call.path.as_str()), (Some(Duration::from_millis(20)), "/v2/models/m/infer?x=1"));
    }

    #[test]
    fn a_timeout_is_bounded_and_nonsense_is_refused() {
        assert_eq!(call(&[("x-headgate-timeout-ms", "99999999")]).unwrap().timeout, Some(Duration::from_secs(60)));
        for bad in ["0", "-1", "1.5", "soon", ""] {
            let failed = call(&[("x-headgate-timeout-ms", bad)]).err().unwrap();
            assert_eq!(failed.kind, Kind::InvalidRequest, "{bad:?}");
        }
    }
}
