//! The life of a version in this backend, as a pure state machine: time and chance are arguments.
//!
//! `Absent -> Fetching -> Verifying -> Loading -> Proving -> Ready -> Retiring -> gone`, or `Failed` with a reason, and
//! with another try after a growing pause where the cause can pass.

use std::time::Duration;

use headgate_contract::fleet::VersionState;
use tokio::time::Instant;

use plan::Fares;

pub mod demand;
pub mod job;
pub mod keeper;
pub mod model;
pub mod plan;
pub mod resident;
pub mod stage;

/// The first pause before another try.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before another try, and the pause after damage in the store.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The version's own: it fails again wherever and whenever it is tried.
    Own,
    /// What the store gave of it is not what was published. It counts as its own fault, and is tried again now and then:
    /// a reply may have lied, a replica may lag, and a store can be mended.
    Damaged,
    /// The machine's: what runs the version is not installed here. It counts as its own fault, so that nothing else waits for
    /// it, and is tried again: it may be installed yet.
    Lacking,
    /// The store's, the disk's, the memory's: it can pass.
    Passing,
}

/// A step on the way to Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its files are read from the store.
    Fetching,
    /// Its digests are checked.
    Verifying,
    /// It is built in memory.
    Loading,
    /// Its golden rows are scored.
    Proving,
}

/// Where a version is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Wanted, and waiting for its turn.
    Absent,
    /// On its way.
    Working(Stage),
    /// It can answer.
    Ready,
    /// It is picked no more, and still answers calls that name it.
    Retiring {
        /// When it goes at the latest.
        until: Instant,
    },
    /// It can't be served.
    Failed {
        /// Whose fault it is.
        cause: Cause,
        /// When it is tried again; never for a fault of its own that is no damage.
        retry_at: Option<Instant>,
    },
}

/// What happens to a version.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its turn has come.
    Start,
    /// It has come to a stage.
    Reached(Stage),
    /// It has reproduced its golden rows.
    Proven,
    /// It could not go on.
    Failed(Cause, String),
    /// Nothing routes to it any more.
    Leave,
    /// It is wanted again before it was gone.
    Return,
}

/// A version's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    state: State,
    /// Failures since it was last well.
    failures: u32,
    /// Whose fault the last one was.
    last_cause: Option<Cause>,
    /// Why it failed last, since it was last well.
    last_reason: String,
}

/// An event that can't happen in a state: a fault in our own order of things.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a version that is {state:?} can't take {event:?}")]
pub struct OutOfOrder {
    state: State,
    event: Event,
}

impl Default for Life {
    fn default() -> Self {
        Self { state: State::Absent, failures: 0, last_cause: None, last_reason: String::new() }
    }
}

impl Life {
    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes an event. `retire` is how long a version that leaves may still answer; `chance`, 0 to 1, spreads tries.
    pub fn take(&mut self, event: Event, now: Instant, retire: Duration, chance: f64) -> Result<(), OutOfOrder> {
        let next = match (&self.state, event) {
            (State::Absent, Event::Start) => State::Working(Stage::Fetching),
            (State::Working(_), Event::Reached(stage)) => State::Working(stage),
            (State::Working(_), Event::Proven) => {
                *self = Self::default();
                State::Ready
            }
            (State::Working(_), Event::Failed(cause, reason)) => {
                let retry_at = self.pause(cause, chance).map(|pause| now + pause);
                self.failures = self.failures.saturating_add(1);
                self.last_cause = Some(cause);
                self.last_reason = reason;
                State::Failed { cause, retry_at }
            }
            (State::Ready, Event::Leave) => State::Retiring { until: now + retire },
            (State::Retiring { .. }, Event::Return) => State::Ready,
            (state, event) => return Err(OutOfOrder { state: state.clone(), event }),
        };
        self.state = next;
        Ok(())
    }

    /// Lets time pass: a failed version whose pause is over waits for its turn again. True where something changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        let due = self.wakes_at().is_some_and(|at| at <= now) && matches!(self.state, State::Failed { .. });
        if due {
            self.state = State::Absent;
        }
        due
    }

    /// When time next changes something here.
    pub fn wakes_at(&self) -> Option<Instant> {
        match &self.state {
            State::Failed { retry_at, .. } => *retry_at,
            State::Retiring { until } => Some(*until),
            _ => None,
        }
    }

    /// As planning needs it. A version that is tried again counts as failed until it is well: its stand-in stays.
    pub fn fares(&self) -> Fares {
        match (&self.state, self.last_cause) {
            (State::Ready | State::Retiring { .. }, _) => Fares::Ready,
            (_, Some(Cause::Own)) => Fares::FailedOwn,
            (_, Some(Cause::Damaged | Cause::Lacking)) => Fares::FailedDamaged,
            (_, Some(Cause::Passing)) => Fares::FailedPassing,
            (_, None) => Fares::Unsettled,
        }
    }

    /// Whether the store gave something else than was published, or the machine lacked what runs it, and nothing better since.
    pub fn is_set_aside(&self) -> bool {
        matches!(self.last_cause, Some(Cause::Damaged | Cause::Lacking))
    }

    /// As gateways and callers are told, with why it failed last: while it is tried again, too. One that is damaged stays
    /// failed until it is proven.
    pub fn reported(&self) -> (VersionState, &str) {
        let state = match &self.state {
            _ if self.is_set_aside() => VersionState::Failed,
            State::Absent => VersionState::Absent,
            State::Working(Stage::Fetching) => VersionState::Fetching,
            State::Working(Stage::Verifying) => VersionState::Verifying,
            State::Working(Stage::Loading) => VersionState::Loading,
            State::Working(Stage::Proving) => VersionState::Proving,
            State::Ready => VersionState::Ready,
            State::Retiring { .. } => VersionState::Retiring,
            State::Failed { .. } => VersionState::Failed,
        };
        (state, &self.last_reason)
    }

    /// For causes that pass, doubling from [`PAUSE_FIRST`] to [`PAUSE_MAX`]; for damage always the latter; for faults of
    /// its own none. Between half of it and all of it.
    fn pause(&self, cause: Cause, chance: f64) -> Option<Duration> {
        let whole = match cause {
            Cause::Own => return None,
            Cause::Damaged => PAUSE_MAX,
            Cause::Passing | Cause::Lacking => PAUSE_FIRST.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX),
        };
        Some(whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RETIRE: Duration = Duration::from_secs(15);

    fn take(life: &mut Life, event: Event) -> Result<(), OutOfOrder> {
        life.take(event, Instant::now(), RETIRE, 1.0)
    }

    fn ready() -> Life {
        let mut life = Life::default();
        take(&mut life, Event::Start).unwrap();
        for stage in [Stage::Verifying, Stage::Loading, Stage::Proving] {
            take(&mut life, Event::Reached(stage)).unwrap();
        }
        take(&mut life, Event::Proven).unwrap();
        life
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_life() {
        let mut life = ready();
        assert_eq!(life.reported().0, VersionState::Ready);
        take(&mut life, Event::Leave).unwrap();
        assert_eq!(life.wakes_at(), Some(Instant::now() + RETIRE));
        assert!(!life.tick(Instant::now()));
        take(&mut life, Event::Return).unwrap();
        assert_eq!(life, ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_cause_is_tried_again_after_growing_pauses() {
        let mut life = Life::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            take(&mut life, Event::Start).unwrap();
            take(&mut life, Event::Failed(Cause::Passing, "store unreachable".into())).unwrap();
            assert_eq!(life.reported(), (VersionState::Failed, "store unreachable"));
            let started = Instant::now();
            tokio::time::sleep_until(life.wakes_at().unwrap() - Duration::from_millis(1)).await;
            assert!(!life.tick(Instant::now()));
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(life.tick(Instant::now()));
            pauses.push(started.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        take(&mut life, Event::Start).unwrap();
        take(&mut life, Event::Proven).unwrap();
        assert_eq!(life, ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_of_its_own_is_never_tried_again() {
        let mut life = Life::default();
        take(&mut life, Event::Start).unwrap();
        take(&mut life, Event::Failed(Cause::Own, "golden row 3".into())).unwrap();
        tokio::time::sleep(Duration::from_secs(1_000_000)).await;
        assert!(!life.tick(Instant::now()) && life.wakes_at().is_none());
        assert!(take(&mut life, Event::Start).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn damage_in_the_store_counts_as_its_own_fault_and_is_looked_at_again_each_minute() {
        let mut life = Life::default();
        for _ in 0..3 {
            take(&mut life, Event::Start).unwrap();
            take(&mut life, Event::Failed(Cause::Damaged, "no _SUCCESS".into())).unwrap();
            assert_eq!(life.fares(), Fares::FailedDamaged);
            tokio::time::sleep(PAUSE_MAX - Duration::from_millis(1)).await;
            assert!(!life.tick(Instant::now()));
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(life.tick(Instant::now()));
            // Nobody is told of a hope that comes to nothing each minute.
            assert_eq!((life.fares(), life.reported()), (Fares::FailedDamaged, (VersionState::Failed, "no _SUCCESS")));
        }
        take(&mut life, Event::Start).unwrap();
        take(&mut life, Event::Reached(Stage::Loading)).unwrap();
        assert_eq!(life.reported().0, VersionState::Failed);
        let mut worse = life.clone();
        take(&mut life, Event::Proven).unwrap();
        assert_eq!(life, ready());
        // What it is made of is now known to be whole: what is wrong with that is wrong for good.
        take(&mut worse, Event::Failed(Cause::Own, "golden row 3".into())).unwrap();
        assert_eq!((worse.fares(), worse.wakes_at()), (Fares::FailedOwn, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_machine_lacks_holds_nothing_up_and_may_come() {
        let mut life = Life::default();
        for seconds in [1, 2, 4] {
            take(&mut life, Event::Start).unwrap();
            take(&mut life, Event::Failed(Cause::Lacking, "no library".into())).unwrap();
            assert_eq!((life.fares(), life.reported().0), (Fares::FailedDamaged, VersionState::Failed));
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert!(life.tick(Instant::now()));
        }
        take(&mut life, Event::Start).unwrap();
        take(&mut life, Event::Proven).unwrap();
        assert_eq!(life, ready());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ready_that_was_not_working() {
        for event in [Event::Proven, Event::Leave, Event::Return, Event::Reached(Stage::Loading)] {
            let mut life = Life::default();
            assert!(take(&mut life, event).is_err());
            assert_eq!(life, Life::default());
        }
        assert!(take(&mut ready(), Event::Failed(Cause::Own, String::new())).is_err());
    }
}
