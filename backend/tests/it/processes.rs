//! Versions that bring their own code, as real processes: proven, served, swapped, restarted; and those that misbehave.

mod good;
mod rig;
mod rogue;
