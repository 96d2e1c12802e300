//! Prequal as it was published, with probes of its own, to compare with: Wydrowski, Kleinberg, Rumble, Archer, "Load is
//! not what you should balance: Introducing Prequal" (NSDI 2024).
//!
//! Each call sends three probes to backends drawn by chance. An answer says how many calls are in flight there and how
//! long calls took lately that found as many. Of a pool of 16 answers, those are hot that have more in flight than a
//! quantile of what was answered lately: the fastest of the cold is taken, else the one with least in flight. An answer is
//! used a few times, counts a second at most, and one is dropped with each call: the oldest and the worst by turns.

use headgate_balance::{Nanos, SECOND};

use super::chance::Chance;

/// Answers that are kept.
const POOL: usize = 16;
/// Probes of each call.
pub const PROBES: usize = 3;
/// Answers that are dropped with each call.
const REMOVED: f64 = 1.0;
/// How long an answer counts.
const AGE: Nanos = SECOND;
/// The quantile above which a backend is hot: 2^-0.25.
const HOT: f64 = 0.84;
/// What the pool grows by with each call, as far as the number of uses is set by it.
const GROWTH: f64 = 1.0;
/// Uses of an answer where the fleet is no larger than the pool: the paper's figure has no meaning there.
const USES_MAX: f64 = 16.0;
/// Answers of which the quantile is taken.
const SEEN: usize = 64;

/// One gateway's pool.
#[derive(Debug, Default)]
pub struct Prequal {
    pool: Vec<Answer>,
    seen: Vec<u32>,
    nth: usize,
    hot_above: u32,
    drops_worst: bool,
}

/// What a backend answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The backend.
    pub backend: u32,
    /// Calls in flight there.
    pub in_flight: u32,
    /// The median of what calls took lately that found as many.
    pub took: Nanos,
    /// When it came.
    pub at: Nanos,
    /// How often it may be used yet.
    pub uses: f64,
}

/// What a backend remembers: calls in flight when one came, and what that took.
#[derive(Debug, Default)]
pub struct Recent {
    of: Vec<(u32, Nanos)>,
    nth: usize,
}

impl Recent {
    /// A call is done.
    pub fn add(&mut self, in_flight: u32, took: Nanos) {
        const KEPT: usize = 32;
        if self.of.len() < KEPT {
            self.of.push((in_flight, took));
        } else {
            self.of[self.nth % KEPT] = (in_flight, took);
        }
        self.nth += 1;
    }

    /// The median of what the eight took that found about as many.
    pub fn about(&self, in_flight: u32) -> Nanos {
        let mut near = self.of.clone();
        near.sort_unstable_by_key(|(found, took)| (found.abs_diff(in_flight), *took));
        near.truncate(8);
        near.sort_unstable_by_key(|(_, took)| *took);
        near.get(near.len() / 2).map_or(0, |(_, took)| *took)
    }
}

impl Prequal {
    /// An answer comes, of a fleet of so many.
    pub fn hears(&mut self, backend: u32, in_flight: u32, took: Nanos, backends: usize, now: Nanos) {
        if self.seen.len() < SEEN {
            self.seen.push(in_flight);
        } else {
            self.seen[self.nth % SEEN] = in_flight;
        }
        self.nth += 1;
        if self.nth.is_multiple_of(8) {
            let mut sorted = self.seen.clone();
            sorted.sort_unstable();
            self.hot_above = sorted[((sorted.len() - 1) as f64 * HOT) as usize];
        }
        let gain = (1.0 - POOL as f64 / backends as f64) * PROBES as f64 - REMOVED;
        let uses = if gain > 0.0 { ((1.0 + GROWTH) / gain).clamp(1.0, USES_MAX) } else { USES_MAX };
        self.pool.retain(|answer| answer.backend != backend);
        if self.pool.len() >= POOL {
            self.pool.remove(0);
        }
        self.pool.push(Answer { backend, in_flight, took, at: now, uses });
    }

    /// A backend failed: what it answered does not count.
    pub fn failed(&mut self, backend: u32) {
        self.pool.retain(|answer| answer.backend != backend);
    }

    /// Chooses, or none where too little is known: then any will do.
    pub fn choose(&mut self, open: impl Fn(u32) -> bool, now: Nanos, chance: &mut Chance) -> Option<u32> {
        self.pool.retain(|answer| now.saturating_sub(answer.at) <= AGE);
        let usable = self.pool.iter().enumerate().filter(|(_, answer)| open(answer.backend));
        let (cold, hot): (Vec<_>, Vec<_>) = usable.partition(|(_, answer)| answer.in_flight <= self.hot_above);
        if cold.len() + hot.len() < 2 {
            return None;
        }
        let fastest = cold.iter().min_by_key(|(_, answer)| answer.took);
        let least = hot.iter().min_by_key(|(_, answer)| answer.in_flight);
        let at = fastest.or(least).map(|(at, _)| *at)?;
        let answer = &mut self.pool[at];
        let backend = answer.backend;
        answer.in_flight += 1;
        answer.uses -= 1.0;
        // A part of a use is a use with that chance.
        if answer.uses <= 0.0 || (answer.uses < 1.0 && chance.unit() >= answer.uses) {
            self.pool.remove(at);
        }
        self.drop_one();
        Some(backend)
    }

    fn drop_one(&mut self) {
        self.drops_worst = !self.drops_worst;
        if self.pool.len() < 2 {
            return;
        }
        let worst = || {
            let all = || self.pool.iter().enumerate();
            let hot = all().filter(|(_, answer)| answer.in_flight > self.hot_above);
            let worst = hot.max_by_key(|(_, answer)| answer.in_flight).or_else(|| all().max_by_key(|(_, a)| a.took));
            worst.map(|(at, _)| at)
        };
        let at = if self.drops_worst { worst().unwrap_or(0) } else { 0 };
        self.pool.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_of_the_cold_else_the_least_in_flight() {
        let mut prequal = Prequal { hot_above: 5, ..Prequal::default() };
        let answers = [(0, 9, 10), (1, 5, 30), (2, 4, 20), (3, 7, 1)];
        let hear = |prequal: &mut Prequal| {
            answers.iter().for_each(|&(backend, in_flight, took)| prequal.hears(backend, in_flight, took, 100, SECOND));
        };
        let mut chance = Chance::new(1, 1);
        hear(&mut prequal);
        assert_eq!(prequal.choose(|_| true, SECOND, &mut chance), Some(2));
        hear(&mut prequal);
        assert_eq!(prequal.choose(|at| at != 1 && at != 2, SECOND, &mut chance), Some(3));
        hear(&mut prequal);
        assert_eq!(prequal.choose(|_| true, 3 * SECOND, &mut chance), None, "what was answered long ago");
    }

    #[test]
    fn what_took_as_long_with_as_many() {
        let mut recent = Recent::default();
        (0..64).for_each(|n| recent.add(n % 4, Nanos::from(n % 4) * 10));
        assert_eq!((recent.about(0), recent.about(3)), (0, 30));
    }
}
