//! gRPC through the gateway.

pub(crate) mod client;

mod broken;
mod fleet;
mod stream;
mod tools;
mod unary;
