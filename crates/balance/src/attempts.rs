//! How many attempts one call gets, and what comes after one that failed.

use crate::budget::Reason;

/// Attempts of one call, the first one included, as far as nothing else is set.
pub const MAX: u32 = 3;
/// Backends that may be lost under one call: it may be what kills them.
const LOST_MAX: u32 = 2;
/// Backends that may say under one call that they have no room: then the fleet has none.
const OVERLOADED_MAX: u32 = 2;
/// Not-here replies after which the version is picked anew.
const NOT_HERE_MAX: u32 = 2;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection was to be had: nothing was sent.
    Unreached,
    /// The connection broke after the call was sent, before its whole reply was here.
    Lost,
    /// The backend refused, and another one may not.
    Refused,
    /// The backend has no room.
    Overloaded,
    /// The backend does not hold the version.
    NotHere,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same version on another backend.
    Elsewhere,
    /// The version is picked anew.
    PickAgain,
    /// Nothing: the caller gets what there is.
    GiveUp(Why),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All attempts were made.
    Attempts,
    /// Two backends were lost under this call.
    Killer,
    /// The fleet's budget for retries is spent.
    Budget,
    /// Two backends had no room.
    Overloaded,
    /// The version is not where it was said to be.
    NotHere,
}

/// The attempts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    failed: u32,
    lost: u32,
    overloaded: u32,
    not_here: u32,
    picked_again: bool,
    given_up: bool,
}

impl Attempts {
    /// What comes after an attempt that failed. `take` draws on the fleet's budget, and is asked only where all else
    /// allows another attempt; not-here replies cost nothing. `may_pick` says whether the caller left the version open,
    /// `others` whether another backend that was not tried holds it.
    pub fn after(
        &mut self,
        failure: Failure,
        attempts_max: u32,
        may_pick: bool,
        others: bool,
        take: impl FnOnce(Reason) -> bool,
    ) -> Next {
        let reason = match failure {
            Failure::NotHere => return self.not_here(may_pick, others),
            Failure::Unreached => Reason::Lost,
            Failure::Lost => {
                self.lost += 1;
                Reason::Lost
            }
            Failure::Refused => Reason::Failed,
            Failure::Overloaded => {
                self.overloaded += 1;
                Reason::Failed
            }
        };
        self.failed += 1;
        if self.failed >= attempts_max {
            Next::GiveUp(Why::Attempts)
        } else if self.lost >= LOST_MAX {
            Next::GiveUp(Why::Killer)
        } else if self.overloaded >= OVERLOADED_MAX {
            Next::GiveUp(Why::Overloaded)
        } else if take(reason) {
            Next::Elsewhere
        } else {
            Next::GiveUp(Why::Budget)
        }
    }

    fn not_here(&mut self, may_pick: bool, others: bool) -> Next {
        self.not_here += 1;
        if self.not_here < NOT_HERE_MAX && others {
            return Next::Elsewhere;
        }
        if may_pick && !self.picked_again {
            self.picked_again = true;
            self.not_here = 0;
            return Next::PickAgain;
        }
        Next::GiveUp(Why::NotHere)
    }

    /// Whether an attempt that is still on its way is given up for another one beside it: once per call, and where the
    /// fleet's budget allows. It counts as one that failed. The reason is [`Reason::Lost`] where its backend fell
    /// silent, and [`Reason::Failed`] where it is only slow.
    pub fn give_up(&mut self, reason: Reason, attempts_max: u32, take: impl FnOnce(Reason) -> bool) -> bool {
        if self.given_up || self.failed + 1 >= attempts_max || !take(reason) {
            return false;
        }
        self.given_up = true;
        self.failed += 1;
        self.lost += u32::from(reason == Reason::Lost);
        true
    }

    /// Whether an attempt may still be given up.
    pub fn may_give_up(&self) -> bool {
        !self.given_up
    }

    /// Attempts that failed and were counted.
    pub fn failed(&self) -> u32 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(attempts: &mut Attempts, failure: Failure) -> Next {
        attempts.after(failure, 3, true, true, |_| true)
    }

    #[test]
    fn three_attempts_and_no_third_after_two_lost() {
        let mut attempts = Attempts::default();
        assert_eq!(after(&mut attempts, Failure::Refused), Next::Elsewhere);
        assert_eq!(after(&mut attempts, Failure::Lost), Next::Elsewhere);
        assert_eq!(after(&mut attempts, Failure::Refused), Next::GiveUp(Why::Attempts));
        let mut attempts = Attempts::default();
        assert_eq!(attempts.after(Failure::Lost, 9, true, true, |_| true), Next::Elsewhere);
        assert_eq!(attempts.after(Failure::Lost, 9, true, true, |_| true), Next::GiveUp(Why::Killer));
    }

    #[test]
    fn two_not_here_replies_pick_once_more() {
        let mut attempts = Attempts::default();
        let next: Vec<Next> = (0..4).map(|_| after(&mut attempts, Failure::NotHere)).collect();
        assert_eq!(next, [Next::Elsewhere, Next::PickAgain, Next::Elsewhere, Next::GiveUp(Why::NotHere)]);
        assert_eq!(attempts.failed(), 0, "they cost no attempt");
        let mut named = Attempts::default();
        let none = |_| false;
        assert_eq!(named.after(Failure::NotHere, 3, false, true, none), Next::Elsewhere);
        assert_eq!(named.after(Failure::NotHere, 3, false, true, none), Next::GiveUp(Why::NotHere));
    }

    #[test]
    fn no_call_goes_into_a_fleet_that_has_no_room() {
        let mut attempts = Attempts::default();
        assert_eq!(after(&mut attempts, Failure::Overloaded), Next::Elsewhere);
        assert_eq!(attempts.after(Failure::Overloaded, 9, true, true, |_| true), Next::GiveUp(Why::Overloaded));
    }

    #[test]
    fn a_spent_budget_ends_it_and_lost_calls_say_so() {
        let mut asked = None;
        let next = Attempts::default().after(Failure::Unreached, 3, true, true, |reason| {
            asked = Some(reason);
            false
        });
        assert_eq!((next, asked), (Next::GiveUp(Why::Budget), Some(Reason::Lost)));
    }

    #[test]
    fn one_attempt_is_given_up_and_counts() {
        let mut attempts = Attempts::default();
        assert!(!attempts.give_up(Reason::Failed, 3, |_| false) && attempts.may_give_up(), "the budget is spent");
        assert_eq!(attempts.failed(), 0, "it is still on its way");
        assert!(attempts.give_up(Reason::Lost, 3, |_| true));
        assert!(!attempts.may_give_up() && !attempts.give_up(Reason::Failed, 3, |_| true), "once");
        assert_eq!(after(&mut attempts, Failure::Lost), Next::GiveUp(Why::Killer), "a silent backend counts as lost");
        assert!(!Attempts::default().give_up(Reason::Failed, 1, |_| true), "there is one attempt");
    }

    proptest! {
        #[test]
        fn every_call_ends(failures in proptest::collection::vec(0u8..5, 20), may_pick in any::<bool>(), others in any::<bool>()) {
            let mut attempts = Attempts::default();
            let (mut taken, mut ended) = (0, false);
            for failure in failures {
                let all = [Failure::Unreached, Failure::Lost, Failure::Refused, Failure::Overloaded, Failure::NotHere];
                let failure = all[failure as usize];
                let take = |_| { taken += 1; true };
                if let Next::GiveUp(_) = attempts.after(failure, 3, may_pick, others, take) {
                    ended = true;
                    break;
                }
            }
            prop_assert!(ended && taken <= 2, "{} retries", taken);
        }
    }
}
