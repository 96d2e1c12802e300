//! The driver against real sockets, and the command line.
#![allow(clippy::unwrap_used)]

mod command;
mod driver;
mod origin;
mod relay;
mod server;
mod serving;
mod sim;
