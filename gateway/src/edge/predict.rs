//! A small call: sent whole, its reply read whole, and tried again elsewhere where that fails. Predictions are pure, so
//! that a second attempt does no harm, however far the first one came.

use std::sync::Arc;

use bytes::Bytes;
use headgate_balance::attempts::{Failure, Next, Why};
use headgate_balance::cost::{Expected, Sample};
use headgate_contract::Kind;
use headgate_contract::route::Choice;
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::Edge;
use super::answer::Answer;
use super::call::Call;
use super::choose::Chosen;
use super::log::Entry;
use super::patience::{Run, Sent, is_too_late};
use super::reply::Failed;
use crate::config::Config;
use crate::fleet::{Bounds, InFlight};
use crate::metrics;
use crate::upstream::{CallError, Came, Options, Small};

/// How an attempt ended.
pub(super) enum Outcome {
    /// With what the caller gets.
    Done(Answer),
    /// With something that another backend may do better, and what the caller gets if none does.
    Again(Failure, Result<Answer, Failed>),
}

impl Edge {
    /// Answers a call whose body is here.
    pub(super) async fn predict(&self, call: &Call, body: Bytes, entry: &mut Entry) -> Result<Answer, Failed> {
        let chosen = self.choose_version(&call.target, &call.headers)?;
        self.send(call, chosen, body, entry).await
    }

    /// Answers a question about a model.
    pub(super) async fn ask(&self, call: &Call, entry: &mut Entry) -> Result<Answer, Failed> {
        let chosen = self.choose_to_ask(&call.target, &call.headers)?;
        self.send(call, chosen, Bytes::new(), entry).await
    }

    /// Sends a call whose body is here to the backends that were chosen, until one answers.
    pub(super) async fn send(
        &self,
        call: &Call,
        mut chosen: Chosen,
        body: Bytes,
        entry: &mut Entry,
    ) -> Result<Answer, Failed> {
        chosen.keep_takers(call)?;
        let config = self.config.load_full();
        let mut now = Instant::now();
        let deadline = now + call.timeout.unwrap_or(config.limits.deadline);
        let _let_in = self.let_in(&entry.caller, &config)?;
        self.budget.request(&config.retry.budget);
        self.demanded(&chosen, call, body.len(), now, &config.fleet.place);
        let (mut run, mut again) = (Run::default(), false);
        let mut last = None;
        loop {
            entry.chose(&chosen);
            let expected = chosen.expect(call, body.len() as u64);
            let own = expected.took;
            let next = run.next.take().or_else(|| self.choose_backend(&chosen.planned, &run.tried, again, own));
            let Some(backend) = next else {
                let last = match last {
                    _ if run.tried.is_empty() && !chosen.planned.backends.is_empty() => Err(self.no_room(&chosen)),
                    Some(last) => last,
                    None => Err(nobody(&chosen)),
                };
                return run.rest(last, entry).await;
            };
            run.tried.push(backend.id);
            entry.tries(&backend);
            let in_flight = backend.begin(now, expected, true, bounds(&config));
            let reply = Box::pin(self.attempt(call, chosen.clone(), in_flight, &body, deadline, &config));
            let sent = Sent::new(backend, reply, now, deadline, chosen.hedge_after(expected, &config));
            let outcome = self.wait(sent, &mut run, &chosen, own, &config, entry).await;
            let (failure, instead) = match outcome {
                Some(Outcome::Done(answer)) => return Ok(answer),
                Some(Outcome::Again(failure, instead)) => (failure, instead),
                None => {
                    now = Instant::now();
                    continue;
                }
            };
            // A lost connection may be tried again where it was lost; who refused, or is still asked, is not asked twice.
            again = matches!(failure, Failure::Lost | Failure::Unreached) && run.earlier.is_none();
            let others = self.choose_backend(&chosen.planned, &run.tried, again, own).is_some();
            let refused = matches!(failure, Failure::Refused | Failure::Overloaded);
            if !others && (refused || run.earlier.is_some()) {
                return run.rest(instead, entry).await;
            }
            let may_pick = call.target.choice == Choice::Any;
            let tight = failure == Failure::Overloaded && self.is_tight(&config);
            let take = |reason| !tight && self.budget.take(reason, self.fleet.now(), &config.retry.budget);
            match run.attempts.after(failure, config.retry.attempts_max, may_pick, others, take) {
                Next::Elsewhere => {}
                Next::PickAgain => match self.choose_another(&call.target, &call.headers, chosen.planned.version) {
                    Ok(another) => {
                        chosen = another;
                        chosen.keep_takers(call)?;
                        run.tried.clear();
                    }
                    Err(_) => return run.rest(instead, entry).await,
                },
                Next::GiveUp(why) => return run.rest(instead.map_err(|failed| because(failed, why)), entry).await,
            }
            last = Some(instead);
            metrics::retry(failure);
            now = Instant::now();
            if now >= deadline {
                return Err(late(call, &config));
            }
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        chosen: Chosen,
        mut in_flight: InFlight,
        body: &Bytes,
        deadline: Instant,
        config: &Config,
    ) -> Outcome {
        let backend = Arc::clone(&in_flight.backend);
        // A question is no work.
        let bytes = (call.method == Method::POST).then_some(body.len() as u64);
        let (model, options) = (call.other_model(&chosen), options(config));
        let small = call.small(&chosen, model.as_ref(), in_flight.began, deadline);
        let small = Small { cost: in_flight.cost(), ..small };
        let Ok(called) = timeout_at(deadline, backend.upstream.send(&small, body, &options)).await else {
            // A caller with little patience says nothing about the backend.
            if is_too_late(in_flight.began, config) {
                in_flight.choked(None);
                if in_flight.is_met_with_silence() {
                    self.fleet.failed(&backend);
                }
            }
            return Outcome::Done(Answer::Http(late(call, config).response(call.path.path())));
        };
        match called {
            Ok(reply) => match self.judge(call, &chosen, &mut in_flight, bytes, reply) {
                Outcome::Done(answer) => Outcome::Done(answer.holding(in_flight)),
                Outcome::Again(failure, instead) => {
                    Outcome::Again(failure, instead.map(|answer| answer.holding(in_flight)))
                }
            },
            Err(error) => self.broken(&mut in_flight, &error),
        }
    }

    /// What a reply means: an answer, or a reason to ask another backend. Costs are learned where the call's bytes came
    /// at once.
    pub(super) fn judge(
        &self,
        call: &Call,
        chosen: &Chosen,
        in_flight: &mut InFlight,
        bytes: Option<u64>,
        came: Came,
    ) -> Outcome {
        let backend = &Arc::clone(&in_flight.backend);
        let (load, kind, status, says) = (came.load(), came.error(), came.status(), came.version());
        let version = chosen.planned.version;
        if status.is_success() && says.is_some_and(|says| says != version.get()) {
            in_flight.failed(load);
            self.fleet.failed(backend);
            let message = format!("backend {} answered with another version than {version}", backend.name());
            return Outcome::Again(Failure::Refused, Err(Failed::new(Kind::BadGateway, message)));
        }
        let misdirected = kind == Some(Kind::NotHere) || (kind.is_none() && status == StatusCode::MISDIRECTED_REQUEST);
        if misdirected {
            backend.suspect();
            in_flight.forget();
            let message =
                format!("backend {} does not hold version {version} of '{}'", backend.name(), chosen.model.name);
            return Outcome::Again(Failure::NotHere, Err(Failed::new(Kind::Unavailable, message)));
        }
        let plain = matches!(
            status,
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE
        );
        let refused = kind.map_or(plain, Kind::retry_elsewhere);
        // A version whose own code fails (`model_failed`) says nothing of the backend, which has others to serve.
        let at_fault = match kind {
            Some(kind) => matches!(kind, Kind::Internal | Kind::BadGateway | Kind::Unavailable),
            None => plain,
        };
        if at_fault {
            self.fleet.failed(backend);
        } else if kind == Some(Kind::ModelFailed) && backend.is_foreign() {
            self.fleet.faltered(backend);
        } else {
            self.fleet.succeeded(backend);
        }
        let too_late = kind == Some(Kind::DeadlineExceeded) && is_too_late(in_flight.began, &self.config.load());
        match bytes.filter(|_| came.is_whole()) {
            _ if kind == Some(Kind::Overloaded) || too_late => in_flight.choked(load),
            // It says nothing of the backend how long a model took to be loaded.
            _ if kind == Some(Kind::Loading) || came.has_waited() => in_flight.forget(),
            _ if at_fault || refused => in_flight.failed(load),
            Some(bytes) if status.is_success() => self.learn(call, chosen, in_flight, bytes, &came),
            // What came without being scored says nothing of how long that takes.
            _ => in_flight.forget(),
        }
        let answer = Answer::of(came, chosen, backend, call.other_model(chosen));
        match kind {
            Some(Kind::Overloaded) => Outcome::Again(Failure::Overloaded, Ok(answer)),
            // It had the call wait for that as long as could be: another one would begin anew.
            Some(Kind::Loading) if backend.member().is_some() => Outcome::Done(answer),
            _ if refused => Outcome::Again(Failure::Refused, Ok(answer)),
            _ => Outcome::Done(answer),
        }
    }

    /// What a broken connection means.
    pub(super) fn broken(&self, in_flight: &mut InFlight, error: &CallError) -> Outcome {
        let backend = &Arc::clone(&in_flight.backend);
        tracing::debug!(backend = backend.name(), %error, "call broke");
        let (failure, what) = match error {
            CallError::Unreached { .. } => (Failure::Unreached, "can't be reached"),
            CallError::Lost { .. } => (Failure::Lost, "broke off"),
        };
        // A pooled connection may have been closed while it idled: that says nothing about the backend.
        if !matches!(error, CallError::Lost { reused: true, .. }) {
            in_flight.failed(None);
            self.fleet.failed(backend);
        } else {
            in_flight.forget();
            backend.suspect();
        }
        let message = format!("backend {} {what}", backend.name());
        Outcome::Again(failure, Err(Failed::new(Kind::BadGateway, message)))
    }
}

impl Edge {
    /// Takes in how long a good reply took.
    fn learn(&self, call: &Call, chosen: &Chosen, in_flight: &mut InFlight, bytes: u64, came: &Came) {
        let now = Instant::now();
        let took = in_flight.took(now);
        let rows = came.rows();
        let cost = chosen.model.costs.of(call.form);
        let expected = cost.expect_rows(bytes, rows);
        in_flight.answered(now, expected, came.load());
        if expected.known {
            let quantile = self.config.load().retry.hedge_quantile as f32;
            chosen.model.costs.paces().add(took as f32 / expected.took as f32, quantile);
        }
        cost.learn(&Sample { bytes, rows, took, crowded: in_flight.is_crowded() }, self.fleet.nanos_at(now));
    }
}

impl Chosen {
    /// What a call with so many bytes is expected to take.
    pub(super) fn expect(&self, call: &Call, bytes: u64) -> Expected {
        self.model.costs.of(call.form).expect(bytes)
    }
}

/// How calls are counted.
pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds { load: config.fleet.load, limit: config.fleet.limit }
}

/// Bounds of a call to a backend.
pub(super) fn options(config: &Config) -> Options {
    Options {
        connect_timeout: config.fleet.connect_timeout,
        whole_bytes_max: config.limits.buffer_bytes_max,
        pool_max: config.fleet.pool_max,
    }
}

/// The deadline has passed.
pub(super) fn late(call: &Call, config: &Config) -> Failed {
    let within = call.timeout.unwrap_or(config.limits.deadline).as_millis();
    Failed::new(Kind::DeadlineExceeded, format!("model '{}' did not answer within {within} ms", call.target.model))
}

fn nobody(chosen: &Chosen) -> Failed {
    let (version, model) = (chosen.planned.version, &chosen.model.name);
    Failed::new(Kind::Unavailable, format!("no backend holds version {version} of '{model}' now"))
}

fn because(failed: Failed, why: Why) -> Failed {
    let why = match why {
        Why::Attempts => "the last of all attempts",
        Why::Killer => "two backends were lost under this call",
        Why::Overloaded => "two backends have no room",
        Why::Budget => "the fleet's budget for retries is spent",
        Why::NotHere => "nor does any other",
    };
    Failed { message: format!("{} ({why})", failed.message), ..failed }
}
