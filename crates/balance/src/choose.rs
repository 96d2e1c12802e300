//! The choice of a backend.
//!
//! - [`Policy::PeakEwma`]: of two backends drawn by chance, the one where the call would be done sooner: pace x (cost in
//!   flight + the call's own). M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): nearly as
//!   even as asking all, without the herding that asking all brings when several gateways look at the same figures; with
//!   peak-EWMA latencies as in Finagle and linkerd, see [`crate::load`].
//! - [`Policy::HotCold`]: Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI 2024): of some
//!   backends, those are hot that have more in flight than a quantile of what was seen lately; among the cold the one is
//!   taken where the call would be done soonest, and where all are hot the one with least in flight. Load comes with
//!   replies, without probes. (The paper takes the one with the lowest latency, as measured at its load of the moment. The
//!   pace here remembers for seconds: by it alone all calls would go to the same one until that is hot.)
//! - The others are there to compare with.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::{Millis, Nanos};

/// The least part of its share that a warming backend gets, so that it warms at all.
pub const WEIGHT_MIN: f32 = 0.1;
/// Backends that the hot/cold rule looks at, as Prequal's pool.
const POOL: usize = 16;
/// Figures in flight that are remembered.
const SEEN: usize = 64;
/// Paces that differ by a smaller factor are alike.
const NOISE: f32 = 1.5;
/// Draws before all that are open are looked at.
const DRAWS: usize = 8;

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The better of two by pace x cost in flight.
    #[default]
    PeakEwma,
    /// The fastest of those that are not hot.
    HotCold,
    /// The one of two with fewer calls in flight.
    LeastInFlight,
    /// Any.
    Random,
    /// Each in its turn.
    RoundRobin,
}

/// How the choice is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// By what.
    pub policy: Policy,
    /// The quantile of calls in flight above which a backend is hot, 0 to 1: 0 looks at calls in flight only.
    pub hot_quantile: f64,
    /// Backends that must have told their load lately for the hot/cold rule; with fewer it is [`Policy::PeakEwma`].
    pub fresh_min: usize,
}

/// What is known of a backend when one is chosen: [`crate::load::Load::candidate`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Calls in flight there.
    pub calls: u32,
    /// Their cost, in nanoseconds.
    pub cost: Nanos,
    /// Calls that failed there a moment ago, and count as in flight.
    pub failed: f32,
    /// Calls of others in flight there, as far as was heard.
    pub others: f32,
    /// How much longer than expected replies take there.
    pub pace: f32,
    /// Whether it has told its load lately.
    pub fresh: bool,
    /// Its part of a full share, above 0 to 1.
    pub weight: f32,
}

/// What choices remember from one to the next: whose turn it is, and what was in flight lately.
#[derive(Debug, Default)]
pub struct Chooser {
    turn: AtomicUsize,
    /// Calls in flight of backends drawn by chance, plus one; 0 where there is none yet.
    seen: Seen,
    next: AtomicUsize,
    hot_above: AtomicU32,
}

#[derive(Debug)]
struct Seen([AtomicU32; SEEN]);

/// What may be chosen: `0..len`, those that are open, and what is known of each.
struct Field<'a, O, C> {
    len: usize,
    open: O,
    candidate: C,
    chance: &'a mut dyn FnMut() -> u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { policy: Policy::default(), hot_quantile: 0.84, fresh_min: 3 }
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 5] =
        [Policy::PeakEwma, Policy::HotCold, Policy::LeastInFlight, Policy::Random, Policy::RoundRobin];

    /// Its name in configurations and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::PeakEwma => "peak_ewma",
            Policy::HotCold => "hot_cold",
            Policy::LeastInFlight => "least_in_flight",
            Policy::Random => "random",
            Policy::RoundRobin => "round_robin",
        }
    }

    /// The policy of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

impl Candidate {
    /// The cost in flight there with a call that costs `own`.
    fn cost_with(&self, own: Nanos) -> f64 {
        self.cost as f64 + f64::from(1.0 + self.failed + self.others) * own.max(1) as f64
    }

    /// Whether a call that costs `own` would be done there sooner than at another one. Paces that differ by less than
    /// [`NOISE`] say nothing: else a lone caller would stay with the one that was faster by chance.
    fn is_sooner(&self, than: &Candidate, own: Nanos) -> bool {
        let (mine, other) = (self.cost_with(own), than.cost_with(own));
        match self.pace > than.pace * NOISE || than.pace > self.pace * NOISE {
            true => mine * f64::from(self.pace) < other * f64::from(than.pace),
            false => mine < other,
        }
    }

    /// Calls that are in flight there, or count as such.
    pub fn in_flight(&self) -> f32 {
        self.calls as f32 + self.failed + self.others
    }
}

/// Backends that a call may go to: of those that have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// That it has not tried, and that get their share of calls.
    UntriedThatServe,
    /// That it has not tried.
    Untried,
    /// Any.
    All,
}

/// Chooses for a call, whether it `is_retry` or not, by whom it may go to: what failed once goes to one that serves, even
/// where so few do that others are tried beside them; and, where `again`, to one that it tried if there is no other.
pub fn in_order(is_retry: bool, again: bool, mut choose: impl FnMut(Among) -> Option<usize>) -> Option<usize> {
    let serving = if is_retry { choose(Among::UntriedThatServe) } else { None };
    let chosen = serving.or_else(|| choose(Among::Untried));
    chosen.or_else(|| if again { choose(Among::All) } else { None })
}

/// The part of its share that a backend gets which is ready since `since`: it grows evenly over `slow_start_ms`.
pub fn weight(since: Option<Millis>, now: Millis, slow_start_ms: Millis) -> f32 {
    match since {
        Some(since) if slow_start_ms > 0 => {
            (now.saturating_sub(since) as f32 / slow_start_ms as f32).clamp(WEIGHT_MIN, 1.0)
        }
        _ => 1.0,
    }
}

impl Chooser {
    /// Chooses one of `0..len` that is open for a call that costs `own`, or none where none is. A candidate below full
    /// weight steps back with the chance that it lacks. Looks at two candidates, or at most at 16 by the hot/cold rule;
    /// at all only where most are closed.
    pub fn choose(
        &self,
        len: usize,
        open: impl Fn(usize) -> bool,
        candidate: impl Fn(usize) -> Candidate,
        own: Nanos,
        rules: &Rules,
        mut chance: impl FnMut() -> u64,
    ) -> Option<usize> {
        let mut field = Field { len, open, candidate, chance: &mut chance };
        match rules.policy {
            Policy::PeakEwma => field.better_of_two(|a, b| a.is_sooner(b, own)),
            Policy::LeastInFlight => field.better_of_two(|a, b| a.calls < b.calls),
            Policy::Random => field.better_of_two(|_, _| false),
            Policy::RoundRobin => {
                let turn = self.turn.fetch_add(1, Relaxed);
                (0..len).map(|step| turn.wrapping_add(step) % len).find(|&at| (field.open)(at))
            }
            Policy::HotCold => self.hot_cold(&mut field, own, rules),
        }
    }

    fn hot_cold<O, C>(&self, field: &mut Field<'_, O, C>, own: Nanos, rules: &Rules) -> Option<usize>
    where
        O: Fn(usize) -> bool,
        C: Fn(usize) -> Candidate,
    {
        let mut pool = [0; POOL];
        let mut known = 0;
        let len = field.pool(&mut pool);
        let pool = pool.get(..len)?;
        // Which of equals is taken is left to chance: the search begins anywhere.
        let from = below(len.max(1), (field.chance)());
        let around = || pool.iter().cycle().skip(from).take(len).copied();
        let hot_above = self.hot_above.load(Relaxed) as f32;
        let (mut coldest, mut least) = (None::<(Candidate, usize)>, None::<(f32, usize)>);
        for at in around() {
            let seen = (field.candidate)(at);
            known += usize::from(seen.fresh);
            if seen.weight < 1.0 && field.steps_back(seen.weight) {
                continue;
            }
            let in_flight = seen.in_flight();
            if in_flight <= hot_above && coldest.is_none_or(|(best, _)| seen.is_sooner(&best, own)) {
                coldest = Some((seen, at));
            }
            if least.is_none_or(|(calls, _)| in_flight < calls) {
                least = Some((in_flight, at));
            }
        }
        self.remember((field.candidate)(*pool.get(from)?).in_flight(), rules.hot_quantile);
        match known {
            0 => field.better_of_two(|_, _| false),
            _ if known < rules.fresh_min => field.better_of_two(|a, b| a.is_sooner(b, own)),
            _ => coldest.map(|(_, at)| at).or(least.map(|(_, at)| at)).or_else(|| pool.get(from).copied()),
        }
    }

    /// Remembers what one backend, drawn by chance, has in flight; now and then the quantile is taken anew.
    fn remember(&self, in_flight: f32, quantile: f64) {
        let at = self.next.fetch_add(1, Relaxed);
        if let Some(slot) = self.seen.0.get(at % SEEN) {
            slot.store(in_flight as u32 + 1, Relaxed);
        }
        if at.is_multiple_of(8) {
            let mut seen: [u32; SEEN] = std::array::from_fn(|at| self.seen.0[at].load(Relaxed));
            seen.sort_unstable();
            let empty = seen.partition_point(|&calls| calls == 0);
            let last = (SEEN - empty).saturating_sub(1) as f64;
            let above = seen.get(empty + (last * quantile.clamp(0.0, 1.0)) as usize);
            self.hot_above.store(above.map_or(0, |above| above.saturating_sub(1)), Relaxed);
        }
    }
}

impl<O, C> Field<'_, O, C>
where
    O: Fn(usize) -> bool,
    C: Fn(usize) -> Candidate,
{
    /// Draws one that is open and is not `but`, each with the same chance.
    fn draw(&mut self, but: Option<usize>) -> Option<usize> {
        let takes = |at: usize| Some(at) != but && (self.open)(at);
        if self.len > 2 {
            for _ in 0..DRAWS {
                let at = below(self.len, (self.chance)());
                if takes(at) {
                    return Some(at);
                }
            }
        }
        let count = (0..self.len).filter(|&at| takes(at)).count();
        let nth = if count > 1 { below(count, (self.chance)()) } else { 0 };
        (0..self.len).filter(|&at| takes(at)).nth(nth)
    }

    fn better_of_two(&mut self, is_better: impl Fn(&Candidate, &Candidate) -> bool) -> Option<usize> {
        let a = self.draw(None)?;
        let Some(b) = self.draw(Some(a)) else { return Some(a) };
        let (of_a, of_b) = ((self.candidate)(a), (self.candidate)(b));
        match (self.steps_back(of_a.weight), self.steps_back(of_b.weight)) {
            (true, false) => Some(b),
            (false, true) => Some(a),
            _ => Some(if is_better(&of_b, &of_a) { b } else { a }),
        }
    }

    /// Fills a pool with those that are open, or where they are more, with some drawn by chance. How many there are.
    fn pool(&mut self, pool: &mut [usize; POOL]) -> usize {
        if self.len <= POOL {
            let open = (0..self.len).filter(|&at| (self.open)(at));
            return pool.iter_mut().zip(open).map(|(slot, at)| *slot = at).count();
        }
        for (len, slot) in pool.iter_mut().enumerate() {
            match self.draw(None) {
                Some(at) => *slot = at,
                None => return len,
            }
        }
        POOL
    }

    fn steps_back(&mut self, weight: f32) -> bool {
        weight < 1.0 && unit((self.chance)()) >= weight
    }
}

/// A number that is uniform over `0..n`, from one that is over all of u64.
pub(crate) fn below(n: usize, chance: u64) -> usize {
    ((u128::from(chance) * n as u128) >> 64) as usize
}

fn unit(chance: u64) -> f32 {
    (chance >> 40) as f32 / (1u64 << 24) as f32
}

#[cfg(test)]
mod tests;
