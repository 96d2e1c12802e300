//! Choosing a backend, ejecting one, retrying and admitting a version: pure functions. Time is an argument
//! (milliseconds on any clock that only goes forward), and so is chance (numbers uniform over all of `u64`).
//!
//! - [`life`]: a backend's states, and how it gets from one to the next; [`outlier`]: ejection of one that fails
//! - [`choose`]: power of two choices by in-flight cost
//! - [`admit`]: from when a version counts as there
//! - [`budget`]: how many retries the fleet bears; [`attempts`]: how many one call gets

pub mod admit;
pub mod attempts;
pub mod budget;
pub mod choose;
pub mod life;
pub mod outlier;

/// Milliseconds on a clock that only goes forward.
pub type Millis = u64;
