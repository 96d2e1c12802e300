//! Choosing a backend, ejecting one, retrying and admitting a version: pure functions. Time is an argument
//! (milliseconds or nanoseconds on any clock that only goes forward), and so is chance (numbers uniform over all of `u64`).
//!
//! - [`life`]: a backend's states, and how it gets from one to the next; [`outlier`]: ejection of one that fails
//! - [`choose`]: which backend gets a call; [`load`]: what is known of each; [`cost`]: what a call costs
//! - [`zone`]: how many calls stay in the gateway's own zone; [`subset`]: which backends a
//!   gateway keeps connections to, in a large fleet
//! - [`limit`]: how many calls a backend is given at once; [`share`]: who is refused when that is not enough
//! - [`quantile`]: how long most calls take; [`patience`]: after how long another attempt is sent beside one
//! - [`admit`]: from when a version counts as there
//! - [`place`]: which backends hold a model where none holds all
//! - [`hash`]: what gateways that agree hash names to
//! - [`budget`]: how many retries the fleet bears; [`attempts`]: how many one call gets

pub mod admit;
pub mod attempts;
pub mod budget;
pub mod choose;
pub mod cost;
pub mod decay;
pub mod hash;
pub mod life;
pub mod limit;
pub mod load;
pub mod outlier;
pub mod patience;
pub mod place;
pub mod quantile;
pub mod share;
pub mod subset;
pub mod zone;

/// Milliseconds on a clock that only goes forward.
pub type Millis = u64;
/// Nanoseconds on such a clock, or of a duration.
pub type Nanos = u64;

/// A second in nanoseconds.
pub const SECOND: Nanos = 1_000_000_000;

/// Milliseconds in nanoseconds.
pub const fn nanos(ms: Millis) -> Nanos {
    ms.saturating_mul(1_000_000)
}

/// SplitMix64 (Steele, Lea, Flood 2014), for tests.
#[cfg(test)]
fn chance(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(hash::STEP);
        hash::mix(state)
    }
}
