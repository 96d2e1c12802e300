//! How many retries the fleet bears: a part of its requests, and a little more.
//!
//! As Finagle's and linkerd's retry budgets: each request pays a part of a token in, each retry takes a whole one out.
//! Without it, a fleet in trouble gets more calls the worse it does. Calls that a lost connection took down come all at
//! once and did no harm to the rest: they have a reserve of their own, and take from the common budget after it. Hedges
//! (second copies of calls that are slow) take from the common budget too, and have a smaller part of their own beside it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::Millis;

/// One token, in the thousandths that are counted.
const TOKEN: i64 = 1_000;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Retries per request.
    pub ratio: f64,
    /// Hedges per request: they are retries, too.
    pub hedge_ratio: f64,
    /// Retries per second that are always granted.
    pub min_per_s: u32,
    /// The most retries that can be saved up.
    pub burst: u32,
    /// The most retries of lost calls that can be saved up; as many come back within ten seconds.
    pub reserve: u32,
}

/// Why a retry is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A backend refused, or broke off.
    Failed,
    /// A connection was lost, or there was none to be had.
    Lost,
    /// A reply takes longer than most.
    Hedge,
}

/// The tokens.
#[derive(Debug)]
pub struct Budget {
    tokens: AtomicI64,
    reserve: AtomicI64,
    hedges: AtomicI64,
    refilled_at: AtomicU64,
}

/// What is left, in whole retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of the common budget.
    pub tokens: i64,
    /// Of the reserve for lost calls.
    pub reserve: i64,
    /// Hedges, as far as there are tokens.
    pub hedges: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ratio: 0.2, hedge_ratio: 0.05, min_per_s: 10, burst: 500, reserve: 1_000 }
    }
}

impl Budget {
    /// A budget as it is after a second without requests, its reserve full.
    pub fn new(now: Millis, rules: &Rules) -> Self {
        Self {
            tokens: AtomicI64::new(tokens(rules.min_per_s)),
            reserve: AtomicI64::new(tokens(rules.reserve)),
            hedges: AtomicI64::new(0),
            refilled_at: AtomicU64::new(now),
        }
    }

    /// A request came: it pays its part in.
    pub fn request(&self, rules: &Rules) {
        let pay = |ratio: f64, to: &AtomicI64| {
            if to.load(Relaxed) < tokens(rules.burst) {
                to.fetch_add((ratio.clamp(0.0, 1.0) * TOKEN as f64) as i64, Relaxed);
            }
        };
        pay(rules.ratio, &self.tokens);
        pay(rules.hedge_ratio, &self.hedges);
    }

    /// Takes a retry, where there is one.
    pub fn take(&self, reason: Reason, now: Millis, rules: &Rules) -> bool {
        self.refill(now, rules);
        match reason {
            Reason::Failed => take(&self.tokens),
            Reason::Lost => take(&self.reserve) || take(&self.tokens),
            Reason::Hedge => self.hedges.load(Relaxed) >= TOKEN && take(&self.tokens) && take(&self.hedges),
        }
    }

    /// What is left.
    pub fn left(&self) -> Left {
        let whole = |tokens: &AtomicI64| tokens.load(Relaxed) / TOKEN;
        Left { tokens: whole(&self.tokens), reserve: whole(&self.reserve), hedges: whole(&self.hedges) }
    }

    /// Adds what time alone gives: never more than a second's worth is saved up that way.
    fn refill(&self, now: Millis, rules: &Rules) {
        let before = self.refilled_at.fetch_max(now, Relaxed);
        let passed = i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX).min(10_000);
        if passed > 0 {
            add(&self.tokens, i64::from(rules.min_per_s) * passed, tokens(rules.min_per_s));
            add(&self.reserve, i64::from(rules.reserve) * passed / 10, tokens(rules.reserve));
        }
    }
}

fn tokens(whole: u32) -> i64 {
    i64::from(whole) * TOKEN
}

fn take(tokens: &AtomicI64) -> bool {
    tokens.fetch_update(Relaxed, Relaxed, |have| (have >= TOKEN).then_some(have - TOKEN)).is_ok()
}

fn add(to: &AtomicI64, more: i64, max: i64) {
    let _ = to.fetch_update(Relaxed, Relaxed, |have| (have < max).then_some((have + more).min(max)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { ratio: 0.2, hedge_ratio: 0.05, min_per_s: 2, burst: 50, reserve: 10 };

    #[test]
    fn a_fifth_of_the_requests_and_no_more() {
        let budget = Budget::new(0, &RULES);
        (0..100).for_each(|_| budget.request(&RULES));
        let granted = (0..100).filter(|_| budget.take(Reason::Failed, 0, &RULES)).count();
        assert_eq!(granted, 22, "a fifth of 100, and the minimum of one second");
        assert!(!budget.take(Reason::Failed, 499, &RULES));
        assert!(budget.take(Reason::Failed, 1_000, &RULES), "time gives the minimum back");
    }

    #[test]
    fn lost_calls_have_their_own() {
        let budget = Budget::new(0, &RULES);
        while budget.take(Reason::Failed, 0, &RULES) {}
        assert_eq!((0..20).filter(|_| budget.take(Reason::Lost, 0, &RULES)).count(), 10);
        assert!(!budget.take(Reason::Lost, 0, &RULES));
        assert!(budget.take(Reason::Lost, 1_000, &RULES), "a tenth of the reserve is back after a second");
    }

    #[test]
    fn hedges_are_few_and_come_from_the_same_tokens() {
        let budget = Budget::new(0, &RULES);
        (0..100).for_each(|_| budget.request(&RULES));
        assert_eq!((0..100).filter(|_| budget.take(Reason::Hedge, 0, &RULES)).count(), 5);
        assert_eq!((0..100).filter(|_| budget.take(Reason::Failed, 0, &RULES)).count(), 17);
        (0..20).for_each(|_| budget.request(&RULES));
        while budget.take(Reason::Failed, 0, &RULES) {}
        assert!(!budget.take(Reason::Hedge, 0, &RULES), "no token is left");
    }

    proptest! {
        #[test]
        fn never_more_than_the_rules_allow(steps in proptest::collection::vec((0u64..500, 0u32..40, 0u32..20, 0u32..20), 1..60)) {
            let budget = Budget::new(0, &RULES);
            let (mut now, mut requests, mut failed, mut lost) = (0u64, 0u64, 0u64, 0u64);
            for (wait, came, want_failed, want_lost) in steps {
                now += wait;
                requests += u64::from(came);
                (0..came).for_each(|_| budget.request(&RULES));
                failed += (0..want_failed).filter(|_| budget.take(Reason::Failed, now, &RULES)).count() as u64;
                lost += (0..want_lost).filter(|_| budget.take(Reason::Lost, now, &RULES)).count() as u64;
                let common = requests as f64 * 0.2 + 2.0 * (now as f64 / 1_000.0 + 1.0);
                let reserve = 10.0 + now as f64 / 1_000.0;
                prop_assert!(failed as f64 <= common + 1e-6);
                prop_assert!((failed + lost) as f64 <= common + reserve + 1e-6);
                let left = budget.left();
                prop_assert!(left.tokens >= 0 && left.tokens <= 51 && (0..=10).contains(&left.reserve));
            }
        }
    }
}
