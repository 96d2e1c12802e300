//! The gateway: the edge of a Headgate fleet. It finds the backends, learns from them which versions of which models
//! are ready, picks version and backend for each call, and retries where a backend fails.
//!
//! # Layout
//! - [`cli`], [`config`]: how it is started and set; [`server`]: listeners, lame duck, drain
//! - [`edge`]: the path of a request; [`upstream`]: one call to one backend
//! - [`fleet`]: what is known of backends and models; [`discovery`]: where backends come from
//! - [`foreign`]: servers that are none of ours, as backends
//! - [`workers`]: the threads that connections and links live on
//! - [`admin`], [`metrics`]: what operators see and do
//!
//! It holds no bucket credentials and reads no bucket: all that it knows of models it learns from backends.

pub mod admin;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod edge;
pub mod fleet;
pub mod foreign;
pub mod metrics;
pub mod server;
pub mod upstream;
pub mod workers;

pub use cli::{Cli, entry};
pub use config::Config;
pub use server::{Gateway, Listeners};
