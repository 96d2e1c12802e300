//! What is asked for and not here: calls that wait for their models, and what the keeper is told of it.
//!
//! However many calls wait for a model, it is loaded once. What is asked for is bounded by the calls in flight, and for
//! gateways by [`WANTS_MAX`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headgate_contract::{Digest, ModelName, Version};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

/// Models that gateways want and the keeper has not heard of yet, at most; of more, the latest are forgotten.
const WANTS_MAX: usize = 10_000;
/// Of the time that a call has left, the part that is kept for saying that its model is not there yet.
const ANSWER_PART: u32 = 20;
/// The most that is kept for it.
const ANSWER_MAX: Duration = Duration::from_millis(50);

/// What the keeper is asked for, and who waits for it.
#[derive(Debug)]
pub struct Demand {
    born: Instant,
    desk: Mutex<Desk>,
    asked: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Desk {
    asks: HashMap<ModelName, Ask>,
    waiting: HashMap<ModelName, Waiting>,
}

/// A model that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The version that is asked for beside those that serve, where one is named.
    pub version: Option<(Version, Digest)>,
    /// How urgent it is.
    pub urgency: Urgency,
}

/// How urgent a load is: the first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A call waits for it.
    Call,
    /// The model is resident, and another version of it serves now.
    Change,
    /// A gateway is going to call it.
    Want,
}

#[derive(Debug)]
struct Waiting {
    calls: usize,
    shown: Arc<Notify>,
}

/// A call's place among those that wait for a model.
#[derive(Debug)]
pub struct Wait<'d> {
    demand: &'d Demand,
    model: ModelName,
    shown: Arc<Notify>,
}

impl Default for Demand {
    fn default() -> Self {
        Self { born: Instant::now(), desk: Mutex::default(), asked: Arc::default() }
    }
}

impl Demand {
    /// Milliseconds from a time of its own, for telling when what was used.
    pub fn clock(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.born).as_millis() as u64
    }

    /// Asks for a model on behalf of a call.
    pub fn ask(&self, model: &ModelName, version: Option<(Version, Digest)>) {
        self.put(&mut self.desk(), model, Ask { version, urgency: Urgency::Call });
        self.asked.notify_one();
    }

    /// Asks for models that a gateway is going to call.
    pub fn want(&self, models: &[ModelName]) {
        let mut desk = self.desk();
        for model in models.iter().take(WANTS_MAX.saturating_sub(desk.asks.len())) {
            self.put(&mut desk, model, Ask { version: None, urgency: Urgency::Want });
        }
        drop(desk);
        self.asked.notify_one();
    }

    fn put(&self, desk: &mut Desk, model: &ModelName, ask: Ask) {
        match desk.asks.get_mut(model) {
            Some(known) => {
                known.urgency = known.urgency.min(ask.urgency);
                // Where two calls name two versions at once, the other one asks again.
                known.version = ask.version.or(known.version);
            }
            None => _ = desk.asks.insert(model.clone(), ask),
        }
    }

    /// Waits until something is asked for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// What was asked for since this was called last.
    pub fn take(&self) -> Vec<(ModelName, Ask)> {
        std::mem::take(&mut self.desk().asks).into_iter().collect()
    }

    /// Models are shown to calls as they are now.
    pub fn shown(&self, models: &[ModelName]) {
        let desk = self.desk();
        if desk.waiting.is_empty() {
            return;
        }
        for waiting in models.iter().filter_map(|model| desk.waiting.get(model)) {
            waiting.shown.notify_waiters();
        }
    }

    /// A call waits for a model.
    pub fn wait(&self, model: &ModelName) -> Wait<'_> {
        let mut desk = self.desk();
        let waiting = desk.waiting.entry(model.clone());
        let waiting = waiting.or_insert_with(|| Waiting { calls: 0, shown: Arc::default() });
        waiting.calls += 1;
        Wait { demand: self, model: model.clone(), shown: Arc::clone(&waiting.shown) }
    }

    /// Until when a call waits that came at a time: a moment before its answer is of no more use.
    pub fn until(came: Instant, deadline: Instant) -> Instant {
        let kept = (deadline.saturating_duration_since(came) / ANSWER_PART).min(ANSWER_MAX);
        deadline.checked_sub(kept).unwrap_or(deadline)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait<'_> {
    /// Ends when the model is shown next, counted from now.
    pub fn shown(&self) -> OwnedNotified {
        // One that is made hears of what comes after, polled or not.
        Arc::clone(&self.shown).notified_owned()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut desk = self.demand.desk();
        if let Some(waiting) = desk.waiting.get_mut(&self.model) {
            waiting.calls -= 1;
            if waiting.calls == 0 {
                desk.waiting.remove(&self.model);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_and_nothing_is_left_behind() {
        let demand = Demand::default();
        let (one, two) = (demand.wait(&name("a")), demand.wait(&name("a")));
        let heard = (one.shown(), two.shown());
        demand.shown(&[name("b"), name("a")]);
        tokio::join!(heard.0, heard.1);
        drop(one);
        assert_eq!(demand.desk().waiting.len(), 1);
        let again = two.shown();
        demand.shown(&[name("b")]);
        assert!(tokio::time::timeout(Duration::from_secs(1), again).await.is_err());
        drop(two);
        assert!(demand.desk().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_twice_is_told_once_and_as_urgent_as_can_be() {
        let demand = Demand::default();
        let version = (Version::FIRST, Digest::of("1"));
        demand.want(&[name("a"), name("b")]);
        demand.ask(&name("a"), Some(version));
        demand.ask(&name("a"), None);
        demand.asked().await;
        let mut taken = demand.take();
        taken.sort_by(|a, b| a.0.cmp(&b.0));
        let call = Ask { version: Some(version), urgency: Urgency::Call };
        let want = Ask { version: None, urgency: Urgency::Want };
        assert_eq!(taken, [(name("a"), call), (name("b"), want)]);
        assert!(demand.take().is_empty());
        let many: Vec<ModelName> = (0..2 * WANTS_MAX).map(|n| name(&format!("m{n}"))).collect();
        demand.want(&many);
        demand.ask(&name("z"), None);
        assert_eq!(demand.take().len(), WANTS_MAX + 1, "gateways keep no call out");
    }

    #[test]
    fn a_call_is_told_before_its_deadline() {
        let now = Instant::now();
        let until = |ms| Demand::until(now, now + Duration::from_millis(ms)) - now;
        assert_eq!((until(100).as_millis(), until(60_000).as_millis()), (95, 59_950));
    }
}
