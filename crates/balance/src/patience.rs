//! How long an attempt is waited for alone, and what its time says of its backend.
//!
//! An attempt that took half of the time left is given up: another one may go out beside it, so that a backend which hangs
//! does not use up the deadline that another could meet. So is one that takes longer than most of the model's replies do,
//! where the smaller budget for that allows: hedged requests, as in Dean and Barroso, "The Tail at Scale" (2013).

use crate::budget::Reason;
use crate::cost::Expected;
use crate::{Millis, Nanos, nanos};

/// The part of a model's replies that come before a call is slow and hedged, as far as nothing else is set.
pub const HEDGE_QUANTILE: f64 = 0.95;
/// The least time that an attempt gets.
const SHARE_MIN_MS: Millis = 50;
/// The least time after which a call is hedged: timers are no finer than a millisecond.
const HEDGE_MIN_MS: Millis = 2;

/// How long an attempt is waited for alone, from when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    after: Option<Nanos>,
    /// The same where it may not be hedged; none once that is known.
    or_after: Option<Nanos>,
}

impl Patience {
    /// Of an attempt that is sent when so much of the call's time is `left`, hedged after `hedge_after`.
    pub fn new(left: Nanos, hedge_after: Option<Nanos>) -> Self {
        let share = (left / 2).max(nanos(SHARE_MIN_MS));
        let hedge_after = hedge_after.filter(|&after| after < share);
        Self { after: Some(hedge_after.unwrap_or(share)), or_after: hedge_after.map(|_| share) }
    }

    /// After how long it is given up; none where it is not any more.
    pub fn after(&self) -> Option<Nanos> {
        self.after
    }

    /// Why it is, then.
    pub fn reason(&self) -> Reason {
        if self.or_after.is_some() { Reason::Hedge } else { Reason::Failed }
    }

    /// It could not be given up for that reason: it is asked once for each, and whether its backend falls silent is still
    /// of interest.
    pub fn goes_on(&mut self, reason: Reason) {
        self.after = self.or_after.take().filter(|_| reason == Reason::Hedge);
    }
}

/// After how long a call has taken longer than most, where that is known: `pace` is how much longer than expected most
/// replies take at most.
pub fn hedge_after(expected: Expected, pace: Option<f32>) -> Option<Nanos> {
    let after = pace.filter(|_| expected.known)? * expected.took as f32;
    Some((after as Nanos).max(nanos(HEDGE_MIN_MS)))
}

/// Whether a call that was answered too late, or not at all, speaks against its backend: a caller with little patience
/// says nothing. `deadline` is that of callers who name none.
pub fn is_too_late(took: Nanos, deadline: Nanos) -> bool {
    took >= deadline / 10 * 9
}

/// Whether an attempt speaks against its backend because one that went out beside it later was answered before it.
pub fn is_overtaken(took: Nanos, deadline: Nanos) -> bool {
    took >= deadline / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    const MS: Nanos = 1_000_000;

    #[test]
    fn hedged_then_given_up_then_left_alone() {
        let mut patience = Patience::new(SECOND, Some(20 * MS));
        assert_eq!((patience.after(), patience.reason()), (Some(20 * MS), Reason::Hedge));
        patience.goes_on(Reason::Hedge);
        assert_eq!((patience.after(), patience.reason()), (Some(500 * MS), Reason::Failed));
        patience.goes_on(Reason::Failed);
        assert_eq!(patience.after(), None);
        let mut silent = Patience::new(SECOND, Some(20 * MS));
        silent.goes_on(Reason::Lost);
        assert_eq!(silent.after(), None, "its backend is gone, and there is no other");
        assert_eq!(Patience::new(60 * MS, None).after(), Some(50 * MS));
        assert_eq!(Patience::new(SECOND, Some(600 * MS)).reason(), Reason::Failed, "a hedge would come too late");
    }

    #[test]
    fn a_hedge_needs_to_know_what_is_slow() {
        let expected = Expected { took: MS, known: true };
        assert_eq!(hedge_after(expected, Some(8.0)), Some(8 * MS));
        assert_eq!(hedge_after(expected, Some(1.5)), Some(2 * MS));
        assert_eq!(hedge_after(expected, None), None);
        assert_eq!(hedge_after(Expected { known: false, ..expected }, Some(8.0)), None);
    }

    #[test]
    fn the_impatient_blame_nobody() {
        assert!(is_too_late(900 * MS, SECOND) && !is_too_late(899 * MS, SECOND));
        assert!(is_overtaken(500 * MS, SECOND) && !is_overtaken(499 * MS, SECOND));
    }
}
