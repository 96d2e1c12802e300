//! A backend's life: `Pending -> Warming -> Active -> Draining -> Gone`, and `Ejected` beside Active.
//!
//! The state is not stored but follows from what is known: is it listed, what did it last say of itself, is it ordered
//! to drain, is it ejected, and since when does it answer. So no transition can be forgotten, and nothing starts healthy.

use crate::Millis;
use crate::outlier::Outlier;

/// Where a backend is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Listed, but it has not (or no longer) said that it is ready.
    Pending,
    /// Ready since a short while: its share grows.
    Warming,
    /// Gets its full share.
    Active,
    /// Ready, but its calls failed: left out for a while.
    Ejected,
    /// About to go: gets nothing new.
    Draining,
    /// Nothing is in flight there, or the time for that has passed.
    Gone,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It can answer predictions.
    Ready,
    /// It answers, but is not ready.
    Unready,
    /// It is about to stop.
    Draining,
}

/// How fast things happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How long a new backend's share grows.
    pub slow_start_ms: Millis,
    /// Consecutive missed probes after which it counts as unready.
    pub misses_max: u32,
    /// The longest that a backend that left may take to finish.
    pub drain_ms: Millis,
    /// The part of the fleet, 0 to 1, below which those that still serve are too few to carry its calls: see [`panics`].
    pub panic_below: f64,
}

/// A missed probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It can't be reached, or answers nonsense: nobody is there who could serve.
    Unreached,
    /// It was reached and did not answer in time, as one does that has too much to do.
    Unanswered,
}

/// What is known of one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Its ejections.
    pub outlier: Outlier,
    heard: Option<Heard>,
    misses: u32,
    /// It was ready, and then did not answer, though it was reached.
    hangs: bool,
    ready_since: Option<Millis>,
    left_at: Option<Millis>,
    ordered: bool,
    gone: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { slow_start_ms: 3_000, misses_max: 2, drain_ms: 30_000, panic_below: 0.5 }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// All states.
    pub const ALL: [State; 6] =
        [State::Pending, State::Warming, State::Active, State::Ejected, State::Draining, State::Gone];

    /// Its name in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Warming => "warming",
            State::Active => "active",
            State::Ejected => "ejected",
            State::Draining => "draining",
            State::Gone => "gone",
        }
    }

    /// Whether it gets its share of new calls.
    pub const fn serves(self) -> bool {
        matches!(self, State::Warming | State::Active)
    }

    /// Whether it is about to go, or gone.
    pub const fn leaves(self) -> bool {
        matches!(self, State::Draining | State::Gone)
    }

    /// In which round its backends are tried, 0 first; none for those that never are. Panic mode is a round above 0:
    /// where nothing that serves holds a version, what is ejected or silent is tried, then what drains.
    pub const fn round(self) -> Option<u8> {
        match self {
            State::Warming | State::Active => Some(0),
            State::Ejected | State::Pending => Some(1),
            State::Draining => Some(2),
            State::Gone => None,
        }
    }
}

impl Life {
    /// A backend that was just listed.
    pub fn new() -> Self {
        Self {
            outlier: Outlier::default(),
            heard: None,
            misses: 0,
            hangs: false,
            ready_since: None,
            left_at: None,
            ordered: false,
            gone: false,
        }
    }

    /// A probe was answered. `fresh` says that the process behind it is another one than before: it warms up anew, and
    /// what the one before did is not held against it.
    pub fn heard(&mut self, heard: Heard, fresh: bool, now: Millis) {
        self.misses = 0;
        self.hangs = false;
        self.heard = Some(heard);
        if fresh {
            self.ready_since = None;
            self.outlier = Outlier::default();
        }
        if heard == Heard::Ready {
            self.ready_since.get_or_insert(now);
            self.outlier.probed(now);
        }
    }

    /// A probe failed, or was not answered in time. Whether it has thereby fallen silent: it counted as one that answers
    /// until now.
    pub fn missed(&mut self, missed: Missed, rules: &Rules) -> bool {
        self.misses = self.misses.saturating_add(1);
        let falls_silent = self.misses >= rules.misses_max && self.heard.is_some_and(|heard| heard != Heard::Unready);
        if falls_silent {
            self.hangs = self.heard == Some(Heard::Ready);
            self.heard = Some(Heard::Unready);
        }
        self.hangs &= missed == Missed::Unanswered;
        falls_silent
    }

    /// A person orders it to drain, or takes that back.
    pub fn order_drain(&mut self, drain: bool) {
        self.ordered = drain;
    }

    /// Whether a person ordered it to drain.
    pub fn drain_ordered(&self) -> bool {
        self.ordered
    }

    /// Discovery lists it, or lists it no more.
    pub fn list(&mut self, listed: bool, now: Millis) {
        if listed {
            self.left_at = None;
        } else {
            self.left_at.get_or_insert(now);
        }
    }

    /// Whether discovery lists it no more.
    pub fn has_left(&self) -> bool {
        self.left_at.is_some()
    }

    /// Looks whether a backend that left is done; from then on it is gone for good.
    pub fn settle(&mut self, in_flight: u64, now: Millis, rules: &Rules) {
        if let Some(left) = self.left_at {
            self.gone |= in_flight == 0 || now.saturating_sub(left) >= rules.drain_ms;
        }
    }

    /// Where it is.
    pub fn state(&self, now: Millis, rules: &Rules) -> State {
        let warming = |since: Millis| now.saturating_sub(since) < rules.slow_start_ms;
        match self.heard {
            _ if self.gone => State::Gone,
            _ if self.left_at.is_some() || self.ordered || self.heard == Some(Heard::Draining) => State::Draining,
            Some(Heard::Ready) if self.outlier.is_out() => State::Ejected,
            Some(Heard::Ready) if self.ready_since.is_some_and(warming) => State::Warming,
            Some(Heard::Ready) => State::Active,
            _ => State::Pending,
        }
    }

    /// Whether it was ready until it ceased to answer probes, and can still be reached.
    pub fn hangs(&self) -> bool {
        self.hangs
    }

    /// Since when it has been ready, where it is or was.
    pub fn ready_since(&self) -> Option<Millis> {
        self.ready_since
    }

    /// Consecutive missed probes.
    pub fn misses(&self) -> u32 {
        self.misses
    }
}

/// Whether so few backends serve that their calls would take them down too, and those are used beside them that are
/// `ejected`, or hang: Envoy's panic threshold. Backends that are new, can't be reached or say that they are not ready
/// have no part in it.
pub fn panics(serving: usize, ejected: usize, hanging: usize, rules: &Rules) -> bool {
    let alive = serving + ejected + hanging;
    (serving as f64) < alive as f64 * rules.panic_below
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outlier::Reason;

    const RULES: Rules = Rules { slow_start_ms: 100, misses_max: 2, drain_ms: 1_000, panic_below: 0.5 };
    const SILENT: Missed = Missed::Unanswered;

    #[test]
    fn from_listed_to_gone() {
        let mut life = Life::new();
        assert_eq!(life.state(0, &RULES), State::Pending);
        life.heard(Heard::Unready, true, 5);
        assert_eq!(life.state(5, &RULES), State::Pending);
        life.heard(Heard::Ready, false, 10);
        assert_eq!((life.state(109, &RULES), life.state(110, &RULES)), (State::Warming, State::Active));
        life.heard(Heard::Draining, false, 200);
        assert_eq!(life.state(200, &RULES), State::Draining);
        life.heard(Heard::Ready, false, 300);
        assert_eq!(life.state(300, &RULES), State::Active, "the same process needs no second warm-up");
        life.heard(Heard::Ready, true, 400);
        assert_eq!(life.state(400, &RULES), State::Warming, "another process does");
        life.outlier.eject(Reason::Failures, 410, &crate::outlier::Rules::default());
        life.heard(Heard::Ready, false, 420);
        assert_eq!(life.state(420, &RULES), State::Ejected);
        life.heard(Heard::Ready, true, 430);
        assert_eq!(life.state(430, &RULES), State::Warming, "its successor has done nothing yet");
        life.list(false, 500);
        life.settle(1, 600, &RULES);
        assert_eq!(life.state(600, &RULES), State::Draining);
        life.settle(0, 700, &RULES);
        life.list(true, 800);
        life.heard(Heard::Ready, true, 800);
        assert_eq!(life.state(800, &RULES), State::Gone, "gone is gone");
    }

    #[test]
    fn one_missed_probe_is_forgiven_and_orders_are_taken_back() {
        let mut life = Life::new();
        life.heard(Heard::Ready, true, 0);
        assert!(!life.missed(SILENT, &RULES));
        assert_eq!(life.state(200, &RULES), State::Active);
        assert!(life.missed(SILENT, &RULES), "it falls silent");
        assert!(!life.missed(SILENT, &RULES) && life.hangs(), "it was silent before");
        assert!(!life.missed(Missed::Unreached, &RULES) && !life.hangs(), "nobody is there");
        assert_eq!(life.state(200, &RULES), State::Pending);
        life.heard(Heard::Ready, false, 300);
        life.order_drain(true);
        assert_eq!(life.state(300, &RULES), State::Draining);
        life.order_drain(false);
        assert_eq!(life.state(300, &RULES), State::Active);
    }

    #[test]
    fn half_that_hang_are_no_reason_to_panic_and_more_are() {
        assert!(!panics(2, 1, 1, &RULES) && panics(1, 1, 1, &RULES) && panics(0, 0, 1, &RULES));
        assert!(!panics(0, 0, 0, &RULES) && !panics(1, 4, 4, &Rules { panic_below: 0.0, ..RULES }));
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Heard(Heard, bool),
        Missed,
        Order(bool),
        List(bool),
        Settle(u64),
        Eject,
    }

    fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
        let heard = prop_oneof![Just(Heard::Ready), Just(Heard::Unready), Just(Heard::Draining)];
        let event = prop_oneof![
            (heard, any::<bool>()).prop_map(|(h, f)| Event::Heard(h, f)),
            Just(Event::Missed),
            any::<bool>().prop_map(Event::Order),
            any::<bool>().prop_map(Event::List),
            (0u64..3).prop_map(Event::Settle),
            Just(Event::Eject),
        ];
        proptest::collection::vec((event, 0u64..400), 1..40)
    }

    proptest! {
        #[test]
        fn laws(events in events()) {
            let (mut life, mut now, mut was_ready, mut was_gone) = (Life::new(), 0, false, false);
            let (mut listed, mut ordered) = (true, false);
            for (event, wait) in events {
                now += wait;
                match event {
                    Event::Heard(heard, fresh) => {
                        was_ready |= heard == Heard::Ready;
                        life.heard(heard, fresh, now);
                    }
                    Event::Missed => drop(life.missed(SILENT, &RULES)),
                    Event::Order(drain) => { ordered = drain; life.order_drain(drain) }
                    Event::List(l) => { listed = l; life.list(l, now) }
                    Event::Settle(n) => life.settle(n, now, &RULES),
                    Event::Eject => life.outlier.eject(Reason::Failures, now, &crate::outlier::Rules::default()),
                }
                let state = life.state(now, &RULES);
                prop_assert!(was_ready || !(state.serves() || life.hangs()), "nothing starts healthy");
                prop_assert!(!life.hangs() || !state.serves());
                prop_assert!(!state.serves() || (listed && !ordered && !life.outlier.is_out()));
                prop_assert!(!was_gone || state == State::Gone, "gone is gone");
                was_gone |= state == State::Gone;
            }
        }
    }
}
