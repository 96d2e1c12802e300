//! A number that loses its weight with time, in one atomic word: read and changed by all threads without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Nanos;

/// Bits of a time in nanoseconds that are not kept: a tick is 65.5 µs, and the count of ticks wraps after 78 hours.
const TICK_BITS: u32 = 16;

/// A number and when it was set. Zero and never set at first.
///
/// A number that was not touched for more than 39 hours may look fresh once: it is then as wrong as it was right before.
#[derive(Debug, Default)]
pub struct Decaying(AtomicU64);

impl Decaying {
    /// The number as it was set last and its age; none where it never was.
    pub fn get(&self, now: Nanos) -> Option<(f32, Nanos)> {
        unpack(self.0.load(Relaxed), now)
    }

    /// The number after it has faded for its age, to a part of 1/e after `tau`; 0 where it never was set.
    pub fn faded(&self, now: Nanos, tau: Nanos) -> f32 {
        self.get(now).map_or(0.0, |(value, age)| value * left(age, tau))
    }

    /// Sets it to what `change` makes of the number and its age.
    pub fn change(&self, now: Nanos, change: impl Fn(Option<(f32, Nanos)>) -> f32) {
        let changed = |word| Some(pack(change(unpack(word, now)), now));
        let _ = self.0.fetch_update(Relaxed, Relaxed, changed);
    }

    /// Adds to what is left of it.
    pub fn add(&self, more: f32, now: Nanos, tau: Nanos) {
        self.change(now, |before| more + before.map_or(0.0, |(value, age)| value * left(age, tau)));
    }
}

/// What is left of 1 after `age`: e^(-age / tau).
pub(crate) fn left(age: Nanos, tau: Nanos) -> f32 {
    if age == 0 { 1.0 } else { (-(age as f32) / tau.max(1) as f32).exp() }
}

fn pack(value: f32, now: Nanos) -> u64 {
    // A word of zeros is one that was never set.
    u64::from(value.to_bits()) << 32 | u64::from(tick(now).max(1))
}

fn unpack(word: u64, now: Nanos) -> Option<(f32, Nanos)> {
    if word == 0 {
        return None;
    }
    let passed = tick(now).wrapping_sub(word as u32);
    // Another thread's clock may have been read a little later.
    let passed = if passed > u32::MAX / 2 { 0 } else { passed };
    Some((f32::from_bits((word >> 32) as u32), u64::from(passed) << TICK_BITS))
}

fn tick(now: Nanos) -> u32 {
    (now >> TICK_BITS) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SECOND;

    #[test]
    fn it_fades_and_adds_up() {
        let number = Decaying::default();
        assert_eq!((number.get(5), number.faded(5, SECOND)), (None, 0.0));
        number.add(8.0, SECOND, SECOND);
        assert_eq!(number.faded(SECOND, SECOND), 8.0);
        let after = number.faded(2 * SECOND, SECOND);
        assert!((after - 8.0 / std::f32::consts::E).abs() < 1e-3, "{after}");
        number.add(1.0, 2 * SECOND, SECOND);
        assert!((number.faded(2 * SECOND, SECOND) - after - 1.0).abs() < 1e-3);
        assert!(number.faded(SECOND, SECOND) > 3.9, "a clock that is behind makes it no older");
    }

    proptest! {
        #[test]
        fn never_more_than_was_added(adds in proptest::collection::vec((0.0f32..10.0, 0u64..3 * SECOND), 1..50)) {
            let (number, mut now, mut sum) = (Decaying::default(), 0, 0.0);
            for (more, wait) in adds {
                now += wait;
                number.add(more, now, SECOND);
                sum += more;
                let faded = number.faded(now, SECOND);
                prop_assert!(faded >= more * 0.999 && faded <= sum * 1.001);
                prop_assert!(number.faded(now + wait, SECOND) <= faded);
            }
        }
    }
}
