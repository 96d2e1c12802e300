//! Who is refused when there is not room for all: whoever has more than its share of it.
//!
//! Callers fall by a hash into a fixed number of slots, as in stochastic fairness queueing (P. McKenney, 1990): those of one
//! slot share its part, and memory is bounded whoever calls. As long as a fifth of the room is free, anyone may take it;
//! after that only callers below an equal part of it, so that one busy caller leaves room for the others. Calls come in
//! bursts, and an equal part may be a handful: a caller that wants less than others do may have twice its part for a moment,
//! while there is room at all. What callers want is what they tried of late, let in or not.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Slots: a power of two.
const SLOTS: usize = 1_024;

/// What callers tried is halved at so many calls.
const FADES_AT: u32 = 4_096;
/// What a caller may have for a moment that wants less than others, over an equal part.
const BURST: u32 = 2;

/// Calls in flight by caller.
#[derive(Debug)]
pub struct Shares {
    slots: Box<[Slot]>,
    active: AtomicU32,
    calls: AtomicU32,
    tried: AtomicU32,
}

/// The callers of one slot.
#[derive(Debug, Default)]
struct Slot {
    calls: AtomicU32,
    /// Calls that came of late while room was tight.
    tried: AtomicU32,
}

/// What a caller may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The part of the room, 0 to 1, that anyone may take.
    pub free: f64,
}

/// A caller's place, to be given back with [`Shares::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// The caller has its share, and there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Its calls in flight.
    pub calls: u32,
    /// Its share.
    pub share: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { free: 0.8 }
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            active: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            tried: AtomicU32::new(0),
        }
    }
}

impl Shares {
    /// A call of a caller comes in, where it may: `caller` is a hash that nobody foresees, `room` the calls for which
    /// there is room in all.
    pub fn enter(&self, caller: u64, room: u32, rules: &Rules) -> Result<Place, Over> {
        let at = caller as usize % SLOTS;
        let Some(slot) = self.slots.get(at) else { return Err(Over { calls: 0, share: 0 }) };
        let has = slot.calls.load(Relaxed);
        if self.is_tight(room, rules) {
            let callers = self.active.load(Relaxed) + u32::from(has == 0);
            let share = (room / callers.max(1)).max(1);
            let wants_less = self.wants_less(slot, callers);
            let may_burst = wants_less && has < share.saturating_mul(BURST) && self.calls() < room;
            if has >= share && !may_burst {
                return Err(Over { calls: has, share });
            }
        }
        if slot.calls.fetch_add(1, Relaxed) == 0 {
            self.active.fetch_add(1, Relaxed);
        }
        self.calls.fetch_add(1, Relaxed);
        Ok(Place(at))
    }

    /// The call is over.
    pub fn leave(&self, place: Place) {
        if self.slots.get(place.0).is_some_and(|slot| slot.calls.fetch_sub(1, Relaxed) == 1) {
            self.active.fetch_sub(1, Relaxed);
        }
        self.calls.fetch_sub(1, Relaxed);
    }

    /// Notes that a call came, and says whether fewer came of its caller than of an average one.
    fn wants_less(&self, slot: &Slot, callers: u32) -> bool {
        let tried = slot.tried.fetch_add(1, Relaxed) + 1;
        let all = self.tried.fetch_add(1, Relaxed) + 1;
        if all == FADES_AT {
            let halve = |count: &AtomicU32| {
                count.fetch_sub(count.load(Relaxed) / 2, Relaxed);
            };
            self.slots.iter().for_each(|slot| halve(&slot.tried));
            halve(&self.tried);
        }
        u64::from(tried) * u64::from(callers) < u64::from(all)
    }

    /// Whether the free part of the room is taken: then nothing is sent twice.
    pub fn is_tight(&self, room: u32, rules: &Rules) -> bool {
        f64::from(self.calls()) >= f64::from(room) * rules.free
    }

    /// Calls in flight.
    pub fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Callers with calls in flight; two of one slot count as one.
    pub fn callers(&self) -> u32 {
        self.active.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { free: 0.8 };

    #[test]
    fn one_busy_caller_leaves_room_for_the_others() {
        let shares = Shares::default();
        let places: Vec<_> = (0..200).filter_map(|_| shares.enter(1, 100, &RULES).ok()).collect();
        assert_eq!(places.len(), 100, "alone, it has all");
        places.into_iter().for_each(|place| shares.leave(place));
        let quiet = shares.enter(2, 100, &RULES).unwrap();
        let busy = (0..200).filter(|_| shares.enter(1, 100, &RULES).is_ok()).count();
        assert_eq!(busy, 79, "a fifth stays for those below their share");
        assert_eq!(shares.enter(1, 100, &RULES), Err(Over { calls: 79, share: 50 }));
        assert!((0..20).all(|caller| shares.enter(10 + caller, 100, &RULES).is_ok()));
        shares.leave(quiet);
        assert_eq!((shares.calls(), shares.callers()), (99, 21));
    }

    #[test]
    fn a_burst_of_one_that_wants_little_is_let_in_and_a_greedy_caller_is_not() {
        let shares = Shares::default();
        let busy: Vec<_> = (0..1_000).filter_map(|_| shares.enter(1, 40, &RULES).ok()).collect();
        assert_eq!(busy.len(), 40);
        busy.into_iter().skip(10).for_each(|place| shares.leave(place));
        let quiet: Vec<_> = (0..30).map_while(|_| shares.enter(2, 40, &RULES).ok()).collect();
        assert_eq!(quiet.len(), 30, "half of the room is its share, and there is more");
        assert!(shares.enter(2, 40, &RULES).is_err(), "there is no room at all");
        quiet.into_iter().for_each(|place| shares.leave(place));
        // Once it wants as much as the other it gets no more than the free part of the room lets in.
        let many = || -> Vec<_> { (0..10_000).filter_map(|_| shares.enter(2, 40, &RULES).ok()).collect() };
        many().into_iter().for_each(|place| shares.leave(place));
        assert_eq!(many().len(), 22);
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_counts_return_to_nothing(callers in 1u64..20, room in 1u32..200, order in proptest::collection::vec(any::<u64>(), 0..2_000)) {
            let shares = Shares::default();
            let mut places = Vec::new();
            for draw in order {
                let caller = draw % callers;
                let (has, tight) = (places.iter().filter(|(of, _)| *of == caller).count() as u32, shares.is_tight(room, &RULES));
                match shares.enter(caller, room, &RULES) {
                    Ok(place) => places.push((caller, place)),
                    Err(over) => {
                        prop_assert!(tight && over.calls == has);
                        prop_assert!(has >= room / callers as u32, "it had {} of {} by {}", has, room, callers);
                    }
                }
                prop_assert_eq!(shares.calls() as usize, places.len());
                // Who came first may have the free part, the others their shares, and each gets one at least.
                prop_assert!(places.len() as u64 <= 2 * u64::from(room) + callers);
            }
            places.into_iter().for_each(|(_, place)| shares.leave(place));
            prop_assert_eq!((shares.calls(), shares.callers()), (0, 0));
        }
    }
}
