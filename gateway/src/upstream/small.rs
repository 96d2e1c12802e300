//! A small call as it goes to a backend: its parts, from which a frame or a request is made.

use std::sync::{Arc, Mutex, PoisonError};

use headgate_balance::Nanos;
use headgate_contract::header as ours;
use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::Body;

/// A call's parts but for its body.
#[derive(Clone, Copy, Debug)]
pub struct Small<'c> {
    /// How.
    pub method: &'c Method,
    /// Where.
    pub path: &'c PathAndQuery,
    /// The caller's headers that pass.
    pub headers: &'c HeaderMap,
    /// The request id.
    pub id: &'c [u8],
    /// The version that was chosen.
    pub version: &'c HeaderValue,
    /// Its digest.
    pub digest: &'c HeaderValue,
    /// The model that was chosen, where it is not the one that the path names.
    pub model: Option<&'c HeaderValue>,
    /// How long an answer is of use.
    pub timeout_ms: u64,
    /// What it is expected to cost, in nanoseconds of undisturbed work.
    pub cost: Nanos,
    /// Whether a frame may carry it: a prediction, by its path.
    pub is_prediction: bool,
    /// What is known of how its head went before.
    pub heads: &'c SentHeads,
}

/// How a call's head was sent the last time: calls that are alike go on by the same number.
#[derive(Debug, Default)]
pub struct SentHeads(Mutex<Option<SentHead>>);

/// A head as a link's backend knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) number: u16,
    pub(super) block: Arc<[u8]>,
    /// The headers that go beside it.
    pub(super) own: Arc<[u8]>,
}

/// A head, and by what it is known again.
#[derive(Debug)]
pub(super) struct SentHead {
    /// On which link.
    pub(super) link: u64,
    /// The version, its digest and the model that it names.
    pub(super) chosen: (HeaderValue, HeaderValue, Option<HeaderValue>),
    pub(super) known: Known,
}

impl Small<'_> {
    /// The same as a request of HTTP.
    pub fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if let Ok(id) = HeaderValue::from_bytes(self.id) {
            headers.insert(ours::REQUEST_ID, id);
        }
        headers.insert(ours::CHOSEN_VERSION, self.version.clone());
        headers.insert(ours::CHOSEN_DIGEST, self.digest.clone());
        if let Some(model) = self.model {
            headers.insert(ours::MODEL, model.clone());
        }
        headers.insert(ours::TIMEOUT_MS, HeaderValue::from(self.timeout_ms));
        request
    }
}

impl SentHeads {
    /// How the head of this call went on a link, where it did.
    pub(super) fn of(&self, link: u64, call: &Small<'_>) -> Option<Known> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sent.as_ref().filter(|sent| sent.link == link)?;
        let (version, digest, model) = &sent.chosen;
        let same = version == call.version && digest == call.digest && model.as_ref() == call.model;
        same.then(|| sent.known.clone())
    }

    /// It went so, and its number stands for it.
    pub(super) fn went(&self, head: SentHead) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }
}
