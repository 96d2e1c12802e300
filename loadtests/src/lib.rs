//! Open-loop load, scenarios and faults against real Headgate processes. Nothing of what is measured is linked in: parts
//! are started as a user starts them, and seen from outside.
//!
//! # Layout
//! - [`driver`]: sends requests by a schedule and measures their replies
//! - [`system`]: starts, kills and stops the parts
//! - [`scenario`]: what is done to a system under load, and what must hold
//! - [`origin`]: a server that costs next to nothing, for benches of what is in front of it
//! - [`relay`]: a proxy that only passes bytes on, the least that a bench of proxies can find
//! - [`stalls`]: when the machine itself stood still
//! - [`report`]: what was found, as text, JSON and a page with a plot

mod accept;
pub mod driver;
pub mod origin;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod sim;
pub mod stalls;
pub mod system;
mod wire;
