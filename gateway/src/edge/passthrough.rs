//! A large call: streamed to one backend as it comes. Nothing of it is kept, so that it can be sent elsewhere only as
//! long as nothing was sent.

use headgate_balance::attempts::{Attempts, Failure, Next};
use headgate_contract::Kind;
use http::Response;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::Edge;
use super::body::Fault;
use super::call::Call;
use super::log::Entry;
use super::predict::{Outcome, bounds, late, options};
use super::reply::Failed;
use crate::metrics;
use crate::upstream::{Body, CallError, Came, Streaming};

impl Edge {
    /// Answers a call whose body is too large to keep. `fault` is what the
    /// caller does wrong meanwhile: no backend is blamed for it.
    pub(super) async fn pass_through(
        &self,
        call: &Call,
        body: Streaming,
        fault: &Fault,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Failed> {
        let config = self.config.load_full();
        let deadline = Instant::now() + call.timeout.unwrap_or(config.limits.stream_deadline);
        self.budget.request(&config.retry.budget);
        let mut chosen = self.choose_version(&call.target, &call.headers)?;
        chosen.keep_takers(call)?;
        entry.chose(&chosen);
        let expected = chosen.expect(call, body.size_hint().exact().unwrap_or(config.limits.buffer_bytes_max));
        let mut body: Body = Body::Streaming(body);
        let (mut attempts, mut tried) = (Attempts::default(), Vec::new());
        loop {
            let Some(backend) = self.choose_backend(&chosen.planned, &tried, false, expected.took) else {
                let message = format!("no backend that holds '{}' can be reached", chosen.model.name);
                return Err(Failed::new(Kind::Unavailable, message));
            };
            tried.push(backend.id);
            entry.tries(&backend);
            let now = Instant::now();
            let mut in_flight = backend.begin(now, expected, false, bounds(&config));
            let model = call.other_model(&chosen);
            let request = call.small(&chosen, model.as_ref(), now, deadline).request(body);
            let bounds = options(&config);
            let Ok(called) = timeout_at(deadline, backend.upstream.call(request, &bounds)).await else {
                // How long a body takes to come is its caller's doing.
                in_flight.forget();
                return Err(late(call, &config));
            };
            if let (Err(_), Some(failed)) = (&called, fault.get()) {
                in_flight.forget();
                return Err(failed.clone());
            }
            let take = |reason| self.budget.take(reason, self.fleet.now(), &config.retry.budget);
            let outcome = match called {
                Ok(reply) => self.judge(call, &chosen, &mut in_flight, None, Came::Http(reply)),
                Err(CallError::Unreached { unsent: Some(unsent), .. })
                    if attempts.after(Failure::Unreached, config.retry.attempts_max, false, true, take)
                        == Next::Elsewhere =>
                {
                    in_flight.failed(None);
                    self.fleet.failed(&backend);
                    metrics::retry(Failure::Unreached);
                    body = unsent.into_body();
                    continue;
                }
                Err(error) => self.broken(&mut in_flight, &error),
            };
            let answer = match outcome {
                Outcome::Done(answer) => answer,
                Outcome::Again(_, instead) => instead?,
            };
            return Ok(answer.holding(in_flight).into_response());
        }
    }
}
