//! From a parsed head to a reply.

use std::sync::Arc;

use bytes::Bytes;
use headgate_contract::route::{self, Choice, Route, Target};
use headgate_contract::{Kind, header as ours};
use http::header::{self, HeaderValue};
use http::{Request, Response, request};
use hyper::body::{Body as _, Incoming};

use super::body::{self, Read};
use super::call::Call;
use super::id::Id;
use super::log::Entry;
use super::reply::Failed;
use super::timed::Busy;
use super::{Edge, own, sound};
use crate::config::Config;
use crate::upstream::Body;

impl Edge {
    /// Answers one request, whatever happens.
    pub(super) async fn handle(&self, request: Request<Incoming>, caller: &Arc<str>, busy: Busy) -> Response<Body> {
        let config = self.config.load_full();
        let id = Id::of(request.headers());
        let mut entry = Entry::new(id, Arc::clone(caller), request.method().clone(), request.uri());
        let (head, incoming) = request.into_parts();
        let mut unread = Some(incoming);
        let sound = sound::check(&head);
        let closes = sound.is_err();
        let entered = self.gate.enter(config.limits.in_flight_max);
        let answered = match (&entered, sound) {
            (_, Err(unsound)) => Err(unsound),
            (Some(_), Ok(())) => self.route(head, &mut unread, &mut entry).await,
            (None, Ok(())) => Err(full(config.limits.in_flight_max)),
        };
        if let Some(incoming) = unread {
            body::linger(incoming, &config.limits);
        }
        // What streams is in flight until its end.
        self.finish(answered, &entry, closes, &config).map(|body| body.holding((busy, entered)))
    }

    /// The reply as its caller gets it, counted and logged. `closes`: the last one of its connection.
    pub(super) fn finish(
        &self,
        answered: Result<Response<Body>, Failed>,
        entry: &Entry,
        closes: bool,
        config: &Config,
    ) -> Response<Body> {
        let mut response = answered.unwrap_or_else(|failed| failed.response(entry.path()));
        let headers = response.headers_mut();
        headers.insert(ours::REQUEST_ID, entry.id.header());
        if closes || self.gate.is_lame_duck() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let error = response.headers().get(ours::ERROR).and_then(|kind| kind.to_str().ok());
        entry.done(response.status(), error, &self.sampler, config.log.access_every);
        response
    }

    async fn route(
        &self,
        head: request::Parts,
        unread: &mut Option<Incoming>,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Failed> {
        let limits = &self.config.load_full().limits;
        match route::parse(head.method.as_str(), head.uri.path())? {
            Route::Predict(_, target) => {
                let call = Call::new(head, target, &entry.id, limits)?;
                self.predict_door(&call, unread, entry).await
            }
            Route::Invocations => {
                let call = Call::new(head, self.default_target()?, &entry.id, limits)?.at_invocations();
                self.predict_door(&call, unread, entry).await
            }
            Route::ModelStatus(target) => {
                let call = Call::new(head, target, &entry.id, limits)?;
                let chosen = self.choose_to_tell(&call.target, &call.headers)?;
                let mut response = self.send(&call, chosen, Bytes::new(), entry).await?.into_response();
                // It is about all versions, and of none.
                response.headers_mut().remove(ours::VERSION);
                response.headers_mut().remove(ours::DIGEST);
                Ok(response)
            }
            Route::ModelMetadata(target) | Route::ModelReady(target) | Route::OpenApi(Some(target)) => {
                let call = Call::new(head, target, &entry.id, limits)?;
                Ok(self.ask(&call, entry).await?.into_response())
            }
            Route::Ping => self.ping(),
            Route::ModelList => self.model_list().await,
            Route::Statistics(target) => self.statistics_door(&head.headers, target.as_ref(), entry).await,
            Route::OpenApi(None) => Ok(own::openapi()),
            Route::Live => Ok(own::live()),
            Route::Ready => Ok(self.ready()),
            Route::ServerMetadata => Ok(own::metadata()),
            Route::RepositoryIndex => {
                let Read::Whole(body, _held) = body::read(unread, limits, &self.gate).await? else {
                    return Err(body::too_large(limits));
                };
                self.index(&body).await
            }
        }
    }

    /// Answers a call that brings rows: held here where it is small, else as it comes.
    async fn predict_door(
        &self,
        call: &Call,
        unread: &mut Option<Incoming>,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Failed> {
        let limits = &self.config.load_full().limits;
        entry.body_bytes = unread.as_ref().map_or(0, |incoming| incoming.size_hint().lower());
        match body::read(unread, limits, &self.gate).await? {
            Read::Whole(body, _held) => {
                entry.body_bytes = body.len() as u64;
                Ok(self.predict(call, body, entry).await?.into_response())
            }
            Read::Large(body, fault) => self.pass_through(call, body, &fault, entry).await,
        }
    }

    /// What `/invocations` asks.
    pub(super) fn default_target(&self) -> Result<Target, Failed> {
        let model = self.config.load().server.default_model.clone();
        let model = model.ok_or_else(|| {
            let message = "no model is set for '/invocations': 'server.default_model' names one, \
                           or '/endpoints/<model>/invocations' does";
            Failed::new(Kind::NotFound, message)
        })?;
        Ok(Target { model, choice: Choice::Any })
    }
}

/// No room for another request.
pub(super) fn full(max: usize) -> Failed {
    Failed::new(Kind::Overloaded, format!("{max} requests are in flight: no room for another"))
}
