//! Versions that bring their own code, as real processes: proven, served, swapped, restarted; and those that misbehave.

mod good;
pub(crate) mod rig;
mod rogue;
