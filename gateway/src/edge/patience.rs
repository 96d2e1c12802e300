//! Waiting for an attempt, and for how long: a backend that hangs does not use up the deadline that another could meet.
//!
//! An attempt whose time is up (see [`headgate_balance::patience`]), or whose backend fell silent, is given up: once per
//! call, within the fleet's budget for retries, another one goes out beside it. It is listened to all the same and the
//! first answer counts, so that a call which is merely slow loses nothing.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use headgate_balance::Nanos;
use headgate_balance::attempts::Attempts;
use headgate_balance::budget::Reason;
use headgate_balance::cost::Expected;
use headgate_balance::patience::{self, Patience};
use tokio::time::{Instant, sleep_until};

use super::Edge;
use super::answer::Answer;
use super::choose::Chosen;
use super::log::Entry;
use super::predict::Outcome;
use super::reply::Failed;
use crate::config::Config;
use crate::fleet::Backend;
use crate::{metrics, workers};

/// How far a call has come.
#[derive(Default)]
pub(super) struct Run<'a> {
    pub(super) attempts: Attempts,
    /// Backends that were tried for this version, by id.
    pub(super) tried: Vec<u64>,
    /// Where the next attempt goes, where that is chosen already.
    pub(super) next: Option<Arc<Backend>>,
    /// The attempt that was given up, while nothing came of it.
    pub(super) earlier: Option<Sent<'a>>,
}

/// An attempt on its way.
pub(super) struct Sent<'a> {
    backend: Arc<Backend>,
    began: Instant,
    patience: Patience,
    reply: Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>,
}

/// What came first.
enum First {
    Outcome(Outcome),
    OfEarlier(Outcome),
    Impatience(Reason),
}

impl<'a> Sent<'a> {
    pub(super) fn new(
        backend: Arc<Backend>,
        reply: Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>,
        began: Instant,
        deadline: Instant,
        hedge_after: Option<Duration>,
    ) -> Self {
        let left = nanos(deadline.saturating_duration_since(began));
        Self { backend, began, patience: Patience::new(left, hedge_after.map(nanos)), reply }
    }

    async fn first(&mut self, earlier: Option<&mut Sent<'_>>, may_give_up: bool) -> First {
        let earlier = async {
            match earlier {
                Some(earlier) => (&mut earlier.reply).await,
                None => pending().await,
            }
        };
        let reason = self.patience.reason();
        let until = self.patience.after().map(|after| self.began + Duration::from_nanos(after));
        if let Some(until) = until.filter(|_| may_give_up) {
            workers::wakes_by(until, self.began);
        }
        let impatience = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = &mut self.reply => First::Outcome(outcome),
            outcome = earlier => First::OfEarlier(outcome),
            () = self.backend.goes_out(), if may_give_up => First::Impatience(Reason::Lost),
            () = impatience, if may_give_up => First::Impatience(reason),
        }
    }
}

impl Run<'_> {
    /// Nothing more is tried: an answer of the attempt that was given up, or what there is.
    pub(super) async fn rest(self, last: Result<Answer, Failed>, entry: &mut Entry) -> Result<Answer, Failed> {
        if let Some(earlier) = self.earlier
            && let Outcome::Done(response) = earlier.reply.await
        {
            entry.answered(&earlier.backend);
            return Ok(response);
        }
        last
    }
}

impl Chosen {
    /// After how long a call that is expected to take so long has taken longer than most, where that is known.
    pub(super) fn hedge_after(&self, expected: Expected, config: &Config) -> Option<Duration> {
        let may = config.retry.budget.hedge_ratio > 0.0;
        patience::hedge_after(expected, self.model.costs.paces().get().filter(|_| may)).map(Duration::from_nanos)
    }
}

impl Edge {
    /// Waits for an attempt, and for the one before it that was given up. None where it is given up itself, and
    /// another backend chosen.
    pub(super) async fn wait<'a>(
        &self,
        mut sent: Sent<'a>,
        run: &mut Run<'a>,
        chosen: &Chosen,
        own: Nanos,
        config: &Config,
        entry: &mut Entry,
    ) -> Option<Outcome> {
        // Backends that have too much to do are not given the same call twice.
        let take = |reason| {
            (reason == Reason::Lost || !self.is_tight(config))
                && self.budget.take(reason, self.fleet.now(), &config.retry.budget)
        };
        loop {
            match sent.first(run.earlier.as_mut(), run.attempts.may_give_up()).await {
                First::Outcome(outcome) => {
                    if let (Outcome::Done(response), Some(earlier)) = (&outcome, &run.earlier)
                        && response.status().is_success()
                    {
                        self.overtaken(earlier, config);
                    }
                    return Some(outcome);
                }
                First::OfEarlier(outcome) => {
                    let earlier = run.earlier.take();
                    if let (Outcome::Done(_), Some(earlier)) = (&outcome, &earlier) {
                        entry.answered(&earlier.backend);
                        return Some(outcome);
                    }
                }
                First::Impatience(reason) => {
                    let is_lost = reason == Reason::Lost;
                    let next = self.choose_beside(&chosen.planned, &run.tried, is_lost, own);
                    if next.is_some() && run.attempts.give_up(reason, config.retry.attempts_max, take) {
                        metrics::given_up(reason);
                        run.next = next;
                        run.earlier = Some(sent);
                        return None;
                    }
                    sent.patience.goes_on(reason);
                }
            }
        }
    }

    /// Another backend has answered a call that came to it later. A caller with little patience says nothing about the
    /// slow one.
    fn overtaken(&self, slow: &Sent<'_>, config: &Config) {
        if patience::is_overtaken(nanos(slow.began.elapsed()), nanos(config.limits.deadline)) {
            self.fleet.failed(&slow.backend);
        }
    }
}

/// Whether a call that came too late speaks against its backend.
pub(super) fn is_too_late(began: Instant, config: &Config) -> bool {
    patience::is_too_late(nanos(began.elapsed()), nanos(config.limits.deadline))
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
