//! The engine against the training libraries' own scores, and against broken files.
#![allow(clippy::unwrap_used)]

mod broken;
mod cases;
mod differential;
mod fixtures;
mod hashed;
mod mutations;
