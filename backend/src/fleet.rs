//! What gateways are told of this backend, and how it makes itself known to them.

pub mod board;
pub mod pollers;
pub mod register;

pub use board::Board;
