//! What a backend answered, as its caller gets it. What came over a link becomes headers only where somebody wants some.

use std::sync::Arc;

use headgate_contract::link::Answered;
use headgate_contract::{Digest, Kind, header as ours};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::choose::Chosen;
use super::reply::strip_hop_by_hop;
use crate::fleet::{Backend, InFlight, Planned};
use crate::upstream::{self, Body, Came};

/// An answer.
pub(super) enum Answer {
    /// As HTTP has it.
    Http(Response<Body>),
    /// As it came over a link.
    Link(Box<Linked>),
}

/// What came over a link, and what its caller is told beside it.
pub(super) struct Linked {
    pub(super) answer: upstream::Answer,
    backend: HeaderValue,
    planned: Arc<Planned>,
    /// The model that answered, where it is not the one asked for.
    model: Option<HeaderValue>,
}

impl Answer {
    /// A backend's reply as the caller gets it. `model`: the one that answered, where it is not the one asked for.
    pub(super) fn of(came: Came, chosen: &Chosen, backend: &Backend, model: Option<HeaderValue>) -> Self {
        match came {
            Came::Link(mut answer) => {
                strip_hop_by_hop(&mut answer.headers);
                let (backend, planned) = (backend.header(), Arc::clone(&chosen.planned));
                Answer::Link(Box::new(Linked { answer, backend, planned, model }))
            }
            Came::Http(reply) => {
                let mut head = reply.head;
                let headers = &mut head.headers;
                strip_hop_by_hop(headers);
                headers.remove(ours::LOAD);
                headers.insert(ours::BACKEND, backend.header());
                if head.status.is_success() {
                    // A backend that is none of ours does not say which version answered: it was the one chosen. That
                    // has no digest.
                    let planned = &chosen.planned;
                    headers.entry(ours::VERSION).or_insert_with(|| planned.version_header.clone());
                    if !backend.is_foreign() {
                        headers.entry(ours::DIGEST).or_insert_with(|| planned.digest_header.clone());
                    }
                }
                if let Some(model) = model {
                    headers.insert(ours::MODEL, model);
                }
                Answer::Http(Response::from_parts(head, reply.body))
            }
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Answer::Http(response) => response.status(),
            Answer::Link(linked) => linked.answer.status,
        }
    }

    /// As HTTP has it.
    pub(super) fn into_response(self) -> Response<Body> {
        match self {
            Answer::Http(response) => response,
            Answer::Link(linked) => linked.into_response(),
        }
    }

    /// The same; what is on its way holds its place among the calls in flight until its end.
    pub(super) fn holding(self, in_flight: InFlight) -> Self {
        match self {
            Answer::Http(response) => Answer::Http(response.map(|body| body.holding(in_flight))),
            linked => linked,
        }
    }
}

impl Linked {
    /// All headers that it has, but for those of its connection, its length and its time.
    pub(super) fn each(&self, mut put: impl FnMut(&str, &[u8])) {
        let answer = &self.answer;
        if let Some(media_type) = answer.content.media_type() {
            put(CONTENT_TYPE.as_str(), media_type.as_bytes());
        }
        match answer.version {
            Answered::Version(version, digest) => {
                put(ours::VERSION, itoa::Buffer::new().format(version).as_bytes());
                put(ours::DIGEST, Digest::from_bytes(digest).to_string().as_bytes());
            }
            Answered::AsChosen => {
                put(ours::VERSION, self.planned.version_header.as_bytes());
                put(ours::DIGEST, self.planned.digest_header.as_bytes());
            }
            Answered::None => {}
        }
        if let Some(rows) = answer.rows {
            put(ours::ROWS, itoa::Buffer::new().format(rows).as_bytes());
        }
        if let Some(kind) = answer.error {
            put(ours::ERROR, kind.as_str().as_bytes());
        }
        answer.headers.iter().for_each(|(name, value)| put(name.as_str(), value.as_bytes()));
        put(ours::BACKEND, self.backend.as_bytes());
        if let Some(model) = &self.model {
            put(ours::MODEL, model.as_bytes());
        }
    }

    fn into_response(self) -> Response<Body> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.answer.status;
        head.headers.reserve(12 + self.answer.headers.len());
        self.each(|name, value| {
            // What a name or a value can't hold was refused when it came.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                head.headers.append(name, value);
            }
        });
        Response::from_parts(head, Body::whole(self.answer.body))
    }
}

impl Came {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Came::Http(reply) => reply.head.status,
            Came::Link(answer) => answer.status,
        }
    }

    /// Why it is an error, where it is one of ours.
    pub(super) fn error(&self) -> Option<Kind> {
        match self {
            Came::Http(reply) => {
                reply.head.headers.get(ours::ERROR).and_then(|name| Kind::from_name(name.to_str().ok()?))
            }
            Came::Link(answer) => answer.error,
        }
    }

    /// The version that it says answered, where it names one.
    pub(super) fn version(&self) -> Option<u64> {
        match self {
            Came::Http(_) => self.number(ours::VERSION),
            Came::Link(answer) => match answer.version {
                Answered::Version(version, _) => Some(version),
                Answered::AsChosen | Answered::None => None,
            },
        }
    }

    /// Calls in flight there.
    pub(super) fn load(&self) -> Option<u64> {
        match self {
            Came::Http(_) => self.number(ours::LOAD),
            Came::Link(answer) => Some(answer.load.into()),
        }
    }

    /// Rows that were scored.
    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Came::Http(_) => self.number(ours::ROWS),
            Came::Link(answer) => answer.rows.map(u64::from),
        }
    }

    /// Whether the call waited for its model to be loaded.
    pub(super) fn has_waited(&self) -> bool {
        let headers = match self {
            Came::Http(reply) => &reply.head.headers,
            Came::Link(answer) => &answer.headers,
        };
        !headers.is_empty() && headers.contains_key(ours::WAITED_MS)
    }

    /// Whether all of it is here.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Came::Http(reply) => matches!(reply.body, Body::Whole(_)),
            Came::Link(_) => true,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        let Came::Http(reply) = self else { return None };
        reply.head.headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok())
    }
}
