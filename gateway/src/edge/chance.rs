//! Random numbers for choices that nobody gains by foreseeing: fast, and one generator per thread.

use std::cell::Cell;

use headgate_balance::hash::{STEP, mix};

thread_local! {
    static STATE: Cell<u64> = Cell::new(rand::random());
}

/// A number that is uniform over all of u64: SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
pub(super) fn chance() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(STEP);
        state.set(next);
        mix(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_even_and_threads_differ() {
        let ones: u32 = (0..1_000).map(|_| chance().count_ones()).sum();
        assert!((31_000..33_000).contains(&ones), "{ones} of 64,000 bits");
        let other = std::thread::spawn(chance).join();
        assert!(other.is_ok_and(|other| other != chance()));
    }
}
